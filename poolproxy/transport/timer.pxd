from poolproxy.transport.poller cimport Pollable, Poller

cdef class Timer(Pollable):
    cdef int open(self, Poller poller) except -1
    cdef int run(self, double first, double period) except -1
    cdef int stop(self) except -1
    cdef int on_expired(self, unsigned long times) except -1
    cpdef close(self)
