"""How late the data-plane thread gets to what is ready: a timer among its sockets.

A timer of the event loop's would measure the same at some ten times the cost, a hundred times a second. Must not know
who is kept waiting, or by what.
"""

from poolproxy.transport.poller cimport Poller, monotonic
from poolproxy.transport.timer cimport Timer


cdef class StallWatch(Timer):
    """Expires every `period` seconds from `start` on; `observe(seconds)` hears how much later it was served."""

    def __init__(self, Poller poller, double period, observe):
        self._period = period
        self._observe = observe
        self.open(poller)

    cpdef start(self):
        """From now on."""
        self._due = monotonic() + self._period
        self.run(self._due, self._period)

    cdef int on_expired(self, unsigned long times) except -1:
        # Several periods are one stall: it began when the first of them was due.
        cdef double late = max(0.0, monotonic() - self._due)
        self._due += times * self._period
        self.longest = max(self.longest, late)
        self._observe(late)
        return 0
