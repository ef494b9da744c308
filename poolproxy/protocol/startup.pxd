cimport cython

from poolproxy.protocol.messages cimport uint32
from poolproxy.protocol.pieces cimport cut

cdef unsigned int CANCEL_REQUEST, GSSENC_REQUEST, MAX_STARTUP_LENGTH, PROTOCOL_3_0, SSL_REQUEST
cdef int NEWEST_MINOR

cdef class StartupMessage:
    cdef readonly int major
    cdef readonly int minor
    cdef readonly dict parameters
    cdef readonly tuple options_unknown
    cdef readonly str user
    cdef public str database

@cython.locals(length=cython.uint, code=cython.uint)
cpdef tuple read_first_packet(bytes data)
cdef _check_kind(unsigned int code, unsigned int length)
cdef _packet(unsigned int code, bytes body)
@cython.locals(parts=list, parameters=dict, index=Py_ssize_t, name=str, reserved=bint)
cdef StartupMessage _startup(unsigned int code, bytes body)
cdef tuple _unknown_options(dict parameters)
cpdef bytes negotiation(StartupMessage startup)
