cdef double monotonic() noexcept nogil

cdef class Poller

cdef class Pollable:
    cdef readonly int fd
    cdef readonly Poller poller
    cdef unsigned int generation
    cdef bint queued
    cdef Pollable _next
    cdef int on_events(self, unsigned int events) except -1
    cdef int register(self, unsigned int events) except -1
    cdef int modify(self, unsigned int events) except -1
    cdef void succeed(self, Pollable other)
    cdef void release(self) noexcept
    cdef void queue(self)

cdef class Poller:
    cdef int _epoll
    cdef list _slots
    cdef Pollable _first
    cdef Pollable _last
    cdef bint _interrupted
    cdef unsigned int _generation
    cdef readonly bytearray buffer
    cdef public double now
    cdef Pollable pacer
    cdef readonly int paced
    cdef object _on_error
    cdef list _chores
    cdef unsigned long long _turns
    cdef int _do_chore(self) except -1
    cdef void add_again(self, Pollable pollable)
    cdef serve(self, Pollable pollable, unsigned int events)
    cdef int _serve_again(self) except -1
    cdef bint _round(self, int milliseconds) except -1
    cpdef interrupt(self)
    cpdef bint wait(self, double timeout) except -1
