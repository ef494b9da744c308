"""How late the data-plane thread gets to what is ready: a kernel timer among its sockets.

A timer of the event loop's would measure the same at some ten times the cost, a hundred times a second. Must not know
who is kept waiting, or by what.
"""

from libc.errno cimport errno
from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, itimerspec
from posix.unistd cimport read

import os

from poolproxy.transport.poller cimport Pollable, Poller, monotonic

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN

cdef extern from "sys/timerfd.h" nogil:
    int timerfd_create(int clockid, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *new_value, itimerspec *old_value)
    int TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME


cdef class StallWatch(Pollable):
    """Expires every `period` seconds from `start` on; `observe(seconds)` hears how much later it was served."""

    def __init__(self, Poller poller, double period, observe):
        self.poller = poller
        self._observe = observe
        self._period = period

    cpdef start(self):
        """From now on."""
        cdef itimerspec times
        self.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(errno, os.strerror(errno))
        self._due = monotonic() + self._period
        times.it_value.tv_sec = <long>self._due
        times.it_value.tv_nsec = <long>((self._due - <long>self._due) * 1e9)
        times.it_interval.tv_sec = <long>self._period
        times.it_interval.tv_nsec = <long>((self._period - <long>self._period) * 1e9)
        if timerfd_settime(self.fd, TFD_TIMER_ABSTIME, &times, NULL) < 0:
            raise OSError(errno, os.strerror(errno))
        self.register(EPOLLIN)

    cdef int on_events(self, unsigned int events) except -1:
        cdef uint64_t expired = 0
        cdef double late
        if read(self.fd, &expired, sizeof(expired)) != sizeof(expired):
            return 0
        # Several periods are one stall: it began when the first of them was due.
        late = max(0.0, monotonic() - self._due)
        self._due += expired * self._period
        self._observe(late)
        self.longest = max(self.longest, late)
        return 0

    cpdef close(self):
        self.release()
