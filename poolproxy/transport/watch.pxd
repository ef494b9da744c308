from poolproxy.transport.timer cimport Timer

cdef class StallWatch(Timer):
    cdef readonly double longest
    cdef object _observe
    cdef double _period
    cdef double _due
    cpdef start(self)
