"""The data plane's epoll: edge-triggered readiness for every socket of ours, served where the thread waits.

Edge-triggered, because a client that waits for a server is not read and must not wake us: level triggering would
cost two epoll_ctl calls per wait. The price is a rule that streams keep: after an event, read until a short read.

The event loop waits here as well, with its own descriptors in one that is watched (`watch`): a byte of a client's is
served where the thread has been woken, and not one turn of the event loop later. Must not know what a pollable does
with its events, nor what an event loop is.
"""

from libc.errno cimport errno, EINTR
from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

import os
from heapq import heappop, heappush

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout)
    int EPOLLIN, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC

cdef extern from "Python.h" nogil:
    ctypedef struct PyInterpreterState:
        pass
    ctypedef struct PyThreadState:
        pass
    PyInterpreterState *PyInterpreterState_Get()
    PyThreadState *PyInterpreterState_ThreadHead(PyInterpreterState *interpreter)
    PyThreadState *PyThreadState_Next(PyThreadState *state)

#: Sockets served per epoll_wait: a bound on how long the event loop and those behind wait.
cdef enum:
    BATCH = 128

#: What the kernel tells of the descriptor that is watched; a generation so high is never reached.
cdef uint64_t WATCHED = 0xFFFFFFFFFFFFFFFF

#: Milliseconds of one epoll_wait at most: what an int surely holds.
cdef double MAX_WAIT = 1e9

#: Size of the shared buffer: room for a kept remainder (see Stream.KEEP_LIMIT) and one recv behind it.
BUFFER_SIZE = 256 * 1024 + 128 * 1024 + 16


cdef double monotonic() noexcept nogil:
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return moment.tv_sec + moment.tv_nsec * 1e-9


cdef bint _alone() noexcept:
    """Whether no other thread runs Python. Then nobody can want the GIL while this one sleeps, for only a running
    thread starts another; to give it up and take it back is a tenth of our instructions for a lonely message."""
    return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) == NULL


cdef void _tell_python(error) noexcept:
    """Nobody can handle it: `sys.unraisablehook` is told, as of all that is raised where nothing may be."""
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

    cdef void succeed(self, Pollable other):
        """Take the other's place, its descriptor and its registration: the next event is this one's, also that of a
        batch that is being served. What the other has been told already is the caller's to take over."""
        self.fd, other.fd = other.fd, -1
        self.generation = other.generation
        self.poller._slots[self.fd] = self

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
    """See the module. `on_error(pollable, error)` gets what a handler raised, and is expected to close that pollable:
    one broken connection disturbs no other. What it raises itself goes to `sys.unraisablehook`."""

    def __init__(self, on_error):
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, os.strerror(errno))
        self._slots = []
        self.pacer = None
        self._on_error = on_error
        self._chores = []
        self.buffer = bytearray(BUFFER_SIZE)
        self.now = monotonic()

    def fileno(self):
        """Readable when something of the data plane is ready."""
        return self._epoll

    def watch(self, int fd):
        """End a `wait` when this descriptor, the event loop's own, is readable as well."""
        cdef epoll_event event
        event.events = EPOLLIN
        event.data.u64 = WATCHED
        if epoll_ctl(self._epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))

    def close(self):
        """Close the epoll descriptor. Pollables are their owners' to close first."""
        if self.pacer is not None:
            self.pacer.release()
            self.pacer = None
        if self._epoll >= 0:
            close(self._epoll)
            self._epoll = -1

    @property
    def pending(self):
        """Whether a pollable has asked for another turn: the next `wait` does not sleep."""
        return self._first is not None or bool(self._chores)

    def defer(self, double since, call):
        """Call it when all that is ready has been served: one such call between two rounds, and of those that wait the
        one that has since the earliest time. What it raises goes to `sys.unraisablehook`."""
        self._turns += 1
        heappush(self._chores, (since, self._turns, call))

    cdef int _do_chore(self) except -1:
        try:
            heappop(self._chores)[2]()
        except Exception as error:
            _tell_python(error)
        return 0

    cdef void add_again(self, Pollable pollable):
        if self._last is None:
            self._first = pollable
        else:
            self._last._next = pollable
        self._last = pollable

    cdef serve(self, Pollable pollable, unsigned int events):
        """One turn of a pollable; what it raises is its own affair."""
        try:
            pollable.on_events(events)
        except Exception as error:
            try:
                self._on_error(pollable, error)
            except Exception as another:
                # The rest of the batch has no part in it: an edge that is not served now is not seen again.
                _tell_python(another)

    cdef int _serve_again(self) except -1:
        """Serve those that had asked for another turn."""
        cdef Pollable pollable, following = self._first
        self._first = self._last = None
        while following is not None:
            pollable, following = following, following._next
            pollable._next = None
            pollable.queued = False
            if pollable.fd >= 0:
                self.serve(pollable, 0)
        return 0

    cpdef interrupt(self):
        """The event loop has been asked for something: a `wait` under way ends when it has served its batch."""
        self._interrupted = True

    cpdef bint wait(self, double timeout) except -1:
        """Serve all that is ready, and what becomes ready, for `timeout` seconds (0: one round, negative: no limit),
        until the watched descriptor is readable, `interrupt` is called, or a signal comes. Whether the watched one is."""
        cdef double until
        cdef int milliseconds
        cdef bint watched = False
        self._interrupted = False
        self.now = monotonic()
        until = self.now + timeout
        while True:
            if timeout == 0.0 or self._first is not None or self._chores:
                milliseconds = 0
            elif timeout < 0.0:
                milliseconds = -1
            else:
                milliseconds = 1 + <int>min(1000.0 * max(0.0, until - self.now), MAX_WAIT)
            watched = self._round(milliseconds)
            if self._chores:
                self._do_chore()
            if watched or self._interrupted or timeout == 0.0 or (timeout > 0.0 and self.now >= until):
                break
        self.now = monotonic()  # what has been served took its time
        return watched

    cdef bint _round(self, int milliseconds) except -1:
        """One epoll_wait and what it brought. Whether the watched descriptor is readable."""
        cdef epoll_event events[BATCH]
        cdef int count, i, fd
        cdef unsigned int generation
        cdef Pollable pollable
        cdef bint watched = False
        if milliseconds == 0 or _alone():
            count = epoll_wait(self._epoll, events, BATCH, milliseconds)
        else:
            with nogil:
                count = epoll_wait(self._epoll, events, BATCH, milliseconds)
        if count < 0:
            if errno != EINTR:
                raise OSError(errno, os.strerror(errno))
            self._interrupted = True  # Python's own handlers of signals run in the event loop
        self.now = monotonic()
        for i in range(count):
            if events[i].data.u64 == WATCHED:
                watched = True
                continue
            fd = <int><uint32_t>events[i].data.u64
            generation = <uint32_t>(events[i].data.u64 >> 32)
            pollable = self._slots[fd]
            if pollable is not None and pollable.generation == generation:
                self.serve(pollable, events[i].events)
        if self._first is not None:
            self._serve_again()
        return watched
