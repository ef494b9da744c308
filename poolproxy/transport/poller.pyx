"""The nested epoll: edge-triggered readiness for every data-plane socket, drained in one call per wake-up.

Edge-triggered, because a client that waits for a server is not read and must not wake us: level triggering would
cost two epoll_ctl calls per wait. The price is a rule that streams keep: after an event, read until a short read.
Must not know what a pollable does with its events.
"""

from libc.errno cimport errno, EINTR
from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

import functools
import os

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout)
    int EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC

#: Sockets served per epoll_wait, and rounds per drain: a bound on how long timers and logins of others wait.
cdef enum:
    BATCH = 128
cdef enum:
    ROUNDS = 8

#: Size of the shared buffer: room for a kept remainder (see Stream.KEEP_LIMIT) and one recv behind it.
BUFFER_SIZE = 256 * 1024 + 128 * 1024 + 16


cdef double monotonic() noexcept nogil:
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return moment.tv_sec + moment.tv_nsec * 1e-9


def _fail(error):
    """Raised in a callback of its own: the event loop reports it."""
    raise error


cdef class Pollable:
    """A file descriptor with a handler of its events; owned by exactly one poller."""

    def __cinit__(self):
        self.fd = -1

    cdef int on_events(self, unsigned int events) except -1:
        raise NotImplementedError  # abstract: each kind of pollable has its own

    cdef int register(self, unsigned int events) except -1:
        cdef epoll_event event
        cdef Poller poller = self.poller
        poller._generation += 1
        self.generation = poller._generation
        while len(poller._slots) <= self.fd:
            poller._slots.append(None)
        poller._slots[self.fd] = self
        event.events = events
        event.data.u64 = (<uint64_t>self.generation << 32) | <uint64_t>self.fd
        if epoll_ctl(poller._epoll, EPOLL_CTL_ADD, self.fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef int modify(self, unsigned int events) except -1:
        cdef epoll_event event
        event.events = events
        event.data.u64 = (<uint64_t>self.generation << 32) | <uint64_t>self.fd
        if epoll_ctl(self.poller._epoll, EPOLL_CTL_MOD, self.fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef void release(self) noexcept:
        """Close the descriptor and forget it; an event of it still in the batch is ignored by its generation."""
        if self.fd >= 0:
            self.poller._slots[self.fd] = None
            close(self.fd)
            self.fd = -1

    cdef void queue(self):
        """Serve this pollable once more, after those whose turn it is now."""
        if not self.queued:
            self.queued = True
            self.poller.add_again(self)


cdef class Poller:
    """See the module. `schedule(call)` runs `call` soon from the event loop; `on_error(pollable, error)` gets what a
    handler raised, and is expected to close that pollable: one broken connection disturbs no other."""

    def __init__(self, schedule, on_error):
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, os.strerror(errno))
        self._slots = []
        self.pacer = None
        self._schedule = schedule
        self._on_error = on_error
        self.buffer = bytearray(BUFFER_SIZE)
        self.now = monotonic()

    def fileno(self):
        """The descriptor to watch for reading in the outer loop."""
        return self._epoll

    def close(self):
        """Close the epoll descriptor. Pollables are their owners' to close first."""
        if self.pacer is not None:
            self.pacer.release()
            self.pacer = None
        if self._epoll >= 0:
            close(self._epoll)
            self._epoll = -1

    cdef void add_again(self, Pollable pollable):
        if self._last is None:
            self._first = pollable
        else:
            self._last._next = pollable
        self._last = pollable
        if not self._draining and not self._scheduled:
            self._scheduled = True
            self._schedule(self.drain)

    cdef serve(self, Pollable pollable, unsigned int events):
        """One turn of a pollable; what it raises is its own affair."""
        try:
            pollable.on_events(events)
        except Exception as error:
            try:
                self._on_error(pollable, error)
            except Exception as another:
                # The rest of the batch has no part in it: an edge that is not served now is not seen again.
                self._schedule(functools.partial(_fail, another))

    cdef bint _drain_again(self) except -1:
        """Serve those that asked for another turn; True when there were any."""
        cdef Pollable pollable, following = self._first
        if following is None:
            return False
        self._first = self._last = None
        while following is not None:
            pollable, following = following, following._next
            pollable._next = None
            pollable.queued = False
            if pollable.fd >= 0:
                self.serve(pollable, 0)
        return True

    cpdef drain(self):
        """Serve all that is ready now. Called by the event loop when `fileno()` is readable."""
        if self._epoll < 0:
            return
        self._draining = True
        self._scheduled = False
        self.now = monotonic()
        try:
            self._serve()
        finally:
            self._draining = False
        if self._first is not None and not self._scheduled:
            self._scheduled = True
            self._schedule(self.drain)
        self.now = monotonic()

    cdef _serve(self):
        """Rounds of epoll_wait until nothing is ready, or it is time to let the event loop have its turn."""
        cdef epoll_event events[BATCH]
        cdef int count, i, fd, rounds
        cdef unsigned int generation
        cdef Pollable pollable
        cdef bint more
        for rounds in range(ROUNDS):
            count = epoll_wait(self._epoll, events, BATCH, 0)
            if count < 0:
                if errno == EINTR:
                    continue
                raise OSError(errno, os.strerror(errno))
            for i in range(count):
                fd = <int><uint32_t>events[i].data.u64
                generation = <uint32_t>(events[i].data.u64 >> 32)
                pollable = self._slots[fd]
                if pollable is not None and pollable.generation == generation:
                    self.serve(pollable, events[i].events)
            more = self._drain_again()
            if not more and count < BATCH:
                break
