cdef dict _LEVELS
cdef int _INFO, _DEBUG

cdef class Logger:
    cdef public int threshold
    cpdef bint enabled(self, str level) except -1
    cpdef bint informs(self) noexcept
    cpdef bint debugs(self) noexcept
