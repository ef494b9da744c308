cimport cython

from poolproxy.protocol.pieces cimport cut, find, numbered_message

cdef int _AUTHENTICATION, _BACKEND_KEY_DATA, _SASL_CONTINUE, _SASL_FINAL

cdef bytes _authentication(int code, bytes data=*)
cpdef bytes message(int kind, bytes body=*)
cpdef bytes authentication_sasl_continue(bytes data)
cpdef bytes authentication_sasl_final(bytes data)
cpdef bytes backend_key_data(int pid, bytes key)
cdef bytes _checked_key(bytes key)
@cython.locals(zero=Py_ssize_t, rest=Py_ssize_t, length=Py_ssize_t)
cpdef tuple sasl_initial_fields(bytes body)
@cython.locals(value=cython.uint)
cpdef unsigned int uint32(bytes data, Py_ssize_t position) except? 0
