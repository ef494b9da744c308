"""A regular call from among the data plane's sockets: the event loop's own timers cost an idle process ten times as much.

Must not know what is to be done.
"""

from poolproxy.transport.poller cimport Poller, monotonic
from poolproxy.transport.timer cimport Timer


cdef class Ticker(Timer):
    """`call(now)` every `period` seconds (of the monotonic clock) from `start` on; late, not more often, after a stall."""

    def __init__(self, Poller poller, double period, call):
        self._period = period
        self._call = call
        self.open(poller)

    cpdef start(self):
        """From now on."""
        self.run(monotonic() + self._period, self._period)

    cdef int on_expired(self, unsigned long times) except -1:
        self._call(self.poller.now)
        return 0
