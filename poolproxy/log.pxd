cdef dict _LEVELS

cdef class Logger:
    cdef public int threshold
    cpdef bint enabled(self, str level) except -1
