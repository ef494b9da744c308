cimport cython

@cython.locals(length=cython.uint, code=cython.uint)
cpdef read_first_packet(bytes data)
@cython.locals(value=cython.uint)
cdef unsigned int _uint32(bytes data, Py_ssize_t position) except? 0
cdef _check_kind(unsigned int code, unsigned int length)
cdef _packet(unsigned int code, bytes body)
@cython.locals(parts=list, parameters=dict)
cdef _startup(unsigned int code, bytes body)
cpdef bytes negotiation(startup)
