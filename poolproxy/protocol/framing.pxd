cimport cython

cdef Py_ssize_t MAX_MESSAGE_LENGTH

@cython.final
cdef class Framer:
    cdef public bytes stops
    cdef public int kind
    cdef public int size
    cdef public Py_ssize_t rest

    @cython.locals(length=Py_ssize_t, data=cython.p_uchar, stops=cython.p_uchar)
    cpdef Py_ssize_t scan(self, bytearray buffer, Py_ssize_t position, Py_ssize_t end) except -1
    cpdef Py_ssize_t skip(self, Py_ssize_t position, Py_ssize_t end) except -1

@cython.locals(data=cython.p_uchar)
cpdef Py_ssize_t string_end(bytearray buffer, Py_ssize_t position, Py_ssize_t end) except -2
