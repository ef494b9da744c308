from poolproxy.transport.timer cimport Timer

cdef class Ticker(Timer):
    cdef double _period
    cdef object _call
    cpdef start(self)
