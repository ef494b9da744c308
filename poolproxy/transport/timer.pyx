"""A kernel timer as one of the poller's descriptors: finer than the event loop's milliseconds, and served without it.

Must not know what it is for.
"""

from libc.errno cimport errno
from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, itimerspec, timespec
from posix.unistd cimport read

import os

from poolproxy.transport.poller cimport Pollable, Poller

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN

cdef extern from "sys/timerfd.h" nogil:
    int timerfd_create(int clockid, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *new_value, itimerspec *old_value)
    int TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME


cdef timespec _spec(double seconds):
    cdef timespec spec
    spec.tv_sec = <long>seconds
    spec.tv_nsec = <long>((seconds - spec.tv_sec) * 1e9)
    return spec


cdef class Timer(Pollable):
    """Not running until `run`."""

    cdef int open(self, Poller poller) except -1:
        """Take a descriptor."""
        self.poller = poller
        self.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(errno, os.strerror(errno))
        return self.register(EPOLLIN)

    cdef int run(self, double first, double period) except -1:
        """Expire at `first` (seconds of the monotonic clock) and every `period` seconds from then on."""
        cdef itimerspec times
        times.it_value = _spec(first)
        times.it_interval = _spec(period)
        if timerfd_settime(self.fd, TFD_TIMER_ABSTIME, &times, NULL) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef int stop(self) except -1:
        """Expire no more, until `run`."""
        return self.run(0.0, 0.0)

    cdef int on_events(self, unsigned int events) except -1:
        cdef uint64_t times = 0
        if read(self.fd, &times, sizeof(times)) == sizeof(times):
            self.on_expired(times)
        return 0

    cdef int on_expired(self, unsigned long times) except -1:
        """It has expired so many times since the last call."""
        raise NotImplementedError  # abstract: each kind of timer has its own

    cpdef close(self):
        self.release()
