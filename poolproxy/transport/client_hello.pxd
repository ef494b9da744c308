cimport cython

cdef int _CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION_DATA, _CLIENT_HELLO, _SERVER_HELLO, HEADER
cdef int _SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS, _KEY_SHARE
cdef bytes _TLS_1_3, _RETRY

cdef class ClientHello:
    cdef readonly Py_ssize_t end
    cdef readonly int group
    cdef readonly bint ordinary
    cdef readonly str server_name
    cdef readonly tuple protocols

cpdef bint is_answer(bytes said) except -1
cpdef bint asks_again(bytes answer) except -1
@cython.locals(position=Py_ssize_t, size=Py_ssize_t, kind=int, _=int)
cpdef Py_ssize_t first_word(bytes records) except -2
cpdef bint is_hello(bytes records, Py_ssize_t position) except -1
@cython.locals(message=bytes, size=Py_ssize_t, extensions=dict, newest=bint, group=int, _=int)
cpdef ClientHello read_client_hello(bytes records, Py_ssize_t position)
@cython.locals(start=Py_ssize_t, size=Py_ssize_t)
cdef bytes _vector(bytes data, Py_ssize_t position, int width)
@cython.locals(position=Py_ssize_t, number=int, known=dict, extensions=bytes, value=bytes)
cdef dict _extensions(bytes message)
@cython.locals(versions=bytes, i=Py_ssize_t)
cdef bint _speaks_1_3(dict extensions) except -1
@cython.locals(position=Py_ssize_t, group=int, first=int, shares=bytes)
cdef int _shared(dict extensions) except -1
@cython.locals(names=bytes)
cdef str _server_name(bytes value)
@cython.locals(position=Py_ssize_t, names=bytes, name=bytes, found=list)
cdef tuple _protocols(bytes value)
