from poolproxy.transport.poller cimport Pollable

cdef class StallWatch(Pollable):
    cdef readonly double longest
    cdef object _observe
    cdef double _period
    cdef double _due
    cpdef start(self)
    cpdef close(self)
