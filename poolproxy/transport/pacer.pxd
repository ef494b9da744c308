from poolproxy.transport.poller cimport Pollable, Poller
from poolproxy.transport.timer cimport Timer

cdef class Pacer(Timer):
    cdef list _members
    cdef int join(self, Pollable member) except -1
    cdef int leave(self, Pollable member) except -1

cpdef Pacer pacer_of(Poller poller)
