cdef dict _LEVELS
cdef int _INFO

cdef class Logger:
    cdef public int threshold
    cpdef bint enabled(self, str level) except -1
    cpdef bint informs(self) noexcept
