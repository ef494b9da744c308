cimport cython

cdef int _CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _CLIENT_HELLO
cdef int _SERVER_NAME, _SUPPORTED_GROUPS, _ALPN, _SUPPORTED_VERSIONS, _KEY_SHARE
cdef bytes _TLS_1_3
cdef int _SESSION, _BEFORE_1_3, _RESUMED, _ASKED_AGAIN

cdef class ClientHello:
    cdef readonly Py_ssize_t end
    cdef readonly int group
    cdef readonly int kind
    cdef readonly str server_name
    cdef readonly tuple protocols

@cython.locals(position=Py_ssize_t, size=Py_ssize_t)
cpdef Py_ssize_t first_word(bytes records) except -2
cpdef bint is_hello(bytes records, Py_ssize_t position) except -1
@cython.locals(message=bytes, size=Py_ssize_t, extensions=dict, newest=bint, group=int, kind=int)
cpdef ClientHello read_client_hello(bytes records, Py_ssize_t position)
@cython.locals(start=Py_ssize_t, size=Py_ssize_t)
cdef bytes _vector(bytes data, Py_ssize_t position, int width)
@cython.locals(position=Py_ssize_t, number=int, known=dict, extensions=bytes, value=bytes)
cdef dict _extensions(bytes message)
@cython.locals(group=int)
cdef int _group(dict extensions, bint newest) except -1
@cython.locals(versions=bytes)
cdef bint _speaks_1_3(dict extensions) except -1
@cython.locals(position=Py_ssize_t, group=int)
cdef int _shared(bytes shares) except -1
@cython.locals(i=Py_ssize_t)
cdef set _pairs(bytes data)
@cython.locals(names=bytes, name=bytes)
cdef str _server_name(bytes value)
@cython.locals(position=Py_ssize_t, names=bytes, name=bytes, found=list)
cdef tuple _protocols(bytes value)
