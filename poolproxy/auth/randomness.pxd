cimport cython

from poolproxy.protocol.pieces cimport cut

cdef class RandomBytes:
    cdef bytes _block
    cdef Py_ssize_t _taken
    @cython.locals(begin=Py_ssize_t)
    cpdef bytes take(self, Py_ssize_t size)
