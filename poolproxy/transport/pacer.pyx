"""Streams in the midst of bulk data, read at a steady pace instead of at every arrival.

PostgreSQL sends 8 KiB at a time. A proxy that is faster is woken for each, and the waking costs several times the
copying; read a little later, many of them come in one recv and leave in one send. It is what network drivers do with
interrupts. Must not know which streams are bulky: they come and leave.
"""

from poolproxy.transport.poller cimport Pollable, Poller, monotonic
from poolproxy.transport.timer cimport Timer

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN

#: Seconds between two looks: what the end of a bulk answer may come later than it could.
cdef double PACE = 600e-6


cdef class Pacer(Timer):
    """Serves each of its members every PACE seconds as if its socket had become readable, until it leaves."""

    def __init__(self, Poller poller):
        self._members = []
        self.open(poller)

    cdef int join(self, Pollable member) except -1:
        self._members.append(member)
        self.poller.paced += 1
        if len(self._members) == 1:
            self.run(monotonic() + PACE, PACE)
        return 0

    cdef int leave(self, Pollable member) except -1:
        self._members.remove(member)
        self.poller.paced -= 1
        if not self._members:
            self.stop()
        return 0

    cdef int on_expired(self, unsigned long times) except -1:
        cdef Pollable member
        for member in list(self._members):  # a member may leave, or take another one's connection with it
            if member.fd >= 0:
                self.poller.serve(member, EPOLLIN)
        return 0


cpdef Pacer pacer_of(Poller poller):
    """The poller's own, made when it is first asked for."""
    if poller.pacer is None:
        poller.pacer = Pacer(poller)
    return <Pacer>poller.pacer
