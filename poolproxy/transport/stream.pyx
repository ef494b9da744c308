"""A byte stream over one socket, plain TCP or Unix: reads into the shared buffer, writes straight from it.

Back-pressure is the caller's duty and made easy: `write` says False when the socket did not take everything; the
remainder is kept here, EPOLLOUT is armed, and `on_drained` follows when it has gone. Whoever reads the other side
pauses it meanwhile, so at most one chunk per stream is ever kept. Must not know what the bytes mean.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcpy
from posix.types cimport mode_t

import os

from poolproxy.transport.pacer cimport pacer_of
from poolproxy.transport.poller cimport Pollable, Poller

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR
    unsigned int EPOLLET

cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int fd, void *data, size_t size, int flags)
    ssize_t c_send "send"(int fd, const void *data, size_t size, int flags)
    int shutdown(int fd, int how)
    int MSG_NOSIGNAL, SHUT_WR

#: Bytes per recv.
cdef enum:
    CHUNK = 131072

#: A read of so many bytes (what PostgreSQL sends at a time) belongs to bulk data, and so much of it makes a stream bulky.
cdef enum:
    BULK_READ = 8192
cdef enum:
    BULK = 262144
#: What a stream that is finishing reads at most, to let go of it.
cdef enum:
    DISCARDED = 1048576

#: Where that goes: a stream may finish while the shared buffer is in use.
cdef char _wastes[16384]

#: Looks in vain after which a paced stream is not bulky any more.
cdef enum:
    PATIENCE = 3

#: The largest remainder that is read on behind; a message that must be whole is at most this long.
cdef Py_ssize_t LIMIT = 256 * 1024
KEEP_LIMIT = LIMIT


cdef class Handler:
    """What a stream calls: see the stub. A class, because the call is made for every chunk: a compiled base costs it
    no attribute lookup and no boxed integer."""

    cpdef on_data(self, bytearray buffer, Py_ssize_t end):
        raise NotImplementedError

    cpdef on_drained(self):
        raise NotImplementedError

    cpdef on_lost(self, str reason):
        raise NotImplementedError

    cpdef fail(self, error):
        raise NotImplementedError


cdef class Stream(Pollable):
    """Takes over `fd` (non-blocking). `handler` may be replaced at any time.

    `eager`: while paused, report a peer that has closed its side as soon as it does, not when it is read."""

    def __init__(self, Poller poller, int fd, Handler handler):
        self.poller = poller
        self.fd = fd
        self.handler = handler
        self.register(self._interest())

    cpdef calm(self):
        """An exchange is over: what comes next is not more of the same, and is read at once."""
        self._flow = 0
        if self.paced:
            self._end_pace()

    @property
    def closed(self):
        return self.fd < 0

    @property
    def kept(self):
        """How many bytes wait here to be delivered again (int)."""
        return 0 if self._kept is None else len(self._kept)

    def look_at_kept(self):
        """The same bytes; they still wait."""
        return self._kept or b""

    @property
    def pending(self):
        """Whether bytes have arrived, or may have, that nobody has read yet."""
        return self._readable

    def take_kept(self):
        """What waited here to be delivered again, and what has arrived since (bytes, up to KEEP_LIMIT in all; see
        `pending`); it is the caller's now."""
        cdef char *data = PyByteArray_AS_STRING(self.poller.buffer)
        cdef ssize_t count
        while self._readable and self.fd >= 0 and len(self._kept or b"") < LIMIT:
            count = self._receive(data, CHUNK)
            if count > 0:
                self._kept = (self._kept or b"") + PyBytes_FromStringAndSize(data, count)
            elif count < 0 and errno == EAGAIN:
                self._readable = False
            else:
                break  # told when it is read again
        kept = self._kept
        self._kept = None
        return kept if kept is not None else b""

    cdef int on_events(self, unsigned int events) except -1:
        if events & EPOLLOUT:
            self._flush()
            if self.fd < 0:
                return 0
        if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            self._readable = True
            if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
                self._hangup = True
        if self._finishing:
            if not self.backlog:
                self._discard()
        elif self._broken:
            self._lost_now(self._lost)
        elif self.paused:
            if self.paced:
                self._end_pace()
            # Hung up is not lost: what the peer sent before may still be wanted (a FATAL, an INSERT and a Terminate).
            if events & EPOLLERR or (self.eager and self._hangup):
                self._lost_now("eof")
        elif self._replay:
            self._deliver_kept()
        elif self._readable:
            self._read()
        return 0

    cdef unsigned int _interest(self):
        """The events to be told of. A paced stream is not told of arrivals; in its turn it sees an end as well."""
        cdef unsigned int events = EPOLLET
        if not self.paced:
            events |= EPOLLIN | EPOLLRDHUP
        if self.backlog:
            events |= EPOLLOUT
        return events

    cdef int _pace(self, ssize_t count) except -1:
        """A read has brought so many bytes (0: none): in the midst of bulk data, wait for more to come together."""
        if count < BULK_READ:
            self._flow = 0
            if self.paced:
                self._end_pace()
        elif self.paced:
            self._missed = 0
        else:
            self._flow += count
            if self._flow >= BULK and not self._more:  # a full read needs no waiting
                self.paced = True
                self._missed = 0
                pacer_of(self.poller).join(self)
                self.modify(self._interest())
        return 0

    cdef int _end_pace(self) except -1:
        """Told of arrivals again, and of what has arrived already."""
        self.paced = False
        self._flow = 0
        pacer_of(self.poller).leave(self)
        return self.modify(self._interest())

    def _lost_now(self, str reason):
        if self.fd >= 0:
            self._owner().on_lost(reason)

    cdef Handler _owner(self):
        """The handler, held while it is called: it may close this stream, which lets it go."""
        if self.handler is None:
            raise ValueError("an open stream without a handler")
        return self.handler

    cdef int _deliver(self, Py_ssize_t end) except -1:
        self._owner().on_data(self.poller.buffer, end)
        return 0

    cdef int _deliver_kept(self) except -1:
        """Hand over again what was kept, without a recv: the rest of the socket, if any, has its turn after it."""
        cdef bytes kept = self._kept
        cdef Py_ssize_t size
        self._replay = False
        if kept is not None:
            size = len(kept)
            self._kept = None
            memcpy(PyByteArray_AS_STRING(self.poller.buffer), PyBytes_AS_STRING(kept), size)
            self._deliver(size)
        if self._readable and not self.paused and self.fd >= 0:
            self.queue()
        return 0

    cdef ssize_t _receive(self, char *data, Py_ssize_t size) except -2:
        """One recv: the bytes that were read, 0 at the end, -1 with errno. `_more`: whether there may be more; a short
        read has emptied the socket, and the next byte is a new edge."""
        cdef ssize_t count
        while True:
            count = recv(self.fd, data, size, 0)
            if count >= 0 or errno != EINTR:
                break
        self._more = count == size
        return count

    cdef int _read(self) except -1:
        cdef char *data = PyByteArray_AS_STRING(self.poller.buffer)
        cdef Py_ssize_t offset = 0
        cdef ssize_t count
        if self._kept is not None:
            offset = len(self._kept)
            if offset > LIMIT:
                raise ValueError(f"{offset} bytes were kept: more than a message that must be whole")
            memcpy(data, PyBytes_AS_STRING(self._kept), offset)
        count = self._receive(data + offset, CHUNK)
        if count > 0:
            # A hang-up has no further edge.
            self._readable = self._more or self._hangup
            self._kept = None
            if count >= BULK_READ or self._flow:
                self._pace(count)
            self._deliver(offset + count)
            if self._readable and not self.paused and self.fd >= 0:
                self.queue()
        elif count == 0:
            self._readable = False
            self._lost_now("eof")
        elif errno == EAGAIN:
            self._readable = False
            if self.paced:
                self._missed += 1
                if self._missed == PATIENCE:
                    self._end_pace()
        else:
            self._lost_now(os.strerror(errno))
        return 0

    cpdef bint write(self, object data, Py_ssize_t start, Py_ssize_t end) except -1:
        """Send data[start:end] (bytes or bytearray). False: the socket is full, `on_drained` will follow."""
        cdef char *source
        cdef ssize_t count
        if self.fd < 0 or self._broken or start >= end:
            return True
        if type(data) is bytearray:
            source = PyByteArray_AS_STRING(data) + start
        else:
            source = PyBytes_AS_STRING(data) + start
        if self.backlog:
            if self._flushed:
                del self._backlog[:self._flushed]
                self._flushed = 0
            self._backlog += source[:end - start]
            self.backlog += end - start
            return False
        while True:
            count = c_send(self.fd, source, end - start, MSG_NOSIGNAL)
            if count >= 0 or errno != EINTR:
                break
        if count == end - start:
            return True
        if count < 0:
            if errno != EAGAIN:
                self._break(errno)
                return True
            count = 0
        self.backlog = end - start - count
        self._backlog = PyByteArray_FromStringAndSize(source + count, self.backlog)
        self._flushed = 0
        self.modify(self._interest())
        return False

    cpdef send(self, bytes data):
        """`write` of a whole bytes object."""
        self.write(data, 0, len(data))

    cdef int _break(self, int error) except -1:
        """A send failed. The handler is told in a turn of its own: it may be in the middle of its books now."""
        self._broken = True
        self._lost = os.strerror(error)
        self._backlog = None
        self.backlog = 0
        self.queue()
        return 0

    cdef int _flush(self) except -1:
        cdef ssize_t count
        if not self.backlog:
            return 0
        count = c_send(self.fd, PyByteArray_AS_STRING(self._backlog) + self._flushed, self.backlog, MSG_NOSIGNAL)
        if count < 0:
            if errno != EAGAIN and errno != EINTR:
                self._break(errno)
            return 0
        self._flushed += count
        self.backlog -= count
        if self.backlog:
            return 0
        self._backlog = None
        self.modify(self._interest())
        if self._finishing:
            self._part()
        else:
            self._owner().on_drained()
        return 0

    cpdef keep(self, Py_ssize_t start, Py_ssize_t end):
        """Keep poller.buffer[start:end] for the next `on_data`, which finds it in front. At most KEEP_LIMIT bytes
        where the stream is to be read on at once."""
        if start < 0 or end > len(self.poller.buffer):
            raise ValueError(f"no bytes {start} to {end} in the shared buffer")
        if start < end:
            self._kept = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self.poller.buffer) + start, end - start)

    cpdef bytes copy(self, Py_ssize_t start, Py_ssize_t end):
        """poller.buffer[start:end] as bytes of their own."""
        return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self.poller.buffer) + start, end - start)

    cdef int _take_over(self, Stream other) except -1:
        """Go on with the other's descriptor, with what it has not sent yet, and in its handler's place; it is closed,
        as far as it knows. What it kept, and what has arrived, is the caller's to take before."""
        cdef unsigned int registered = other._interest()
        self.poller = other.poller
        self.handler = other.handler
        self.eager = other.eager
        self.paused = other.paused
        self._backlog, self._flushed, self.backlog = other._backlog, other._flushed, other.backlog
        self._readable, self._hangup = other._readable, other._hangup
        self._broken, self._lost = other._broken, other._lost
        self.succeed(other)
        if self._interest() != registered:
            self.modify(self._interest())
        other.handler = None
        other._backlog = None
        other.backlog = 0
        if self._broken or self._readable:
            self.queue()
        return 0

    cpdef pause(self):
        """Read no more until `resume`. A peer that hangs up meanwhile is still reported."""
        self.paused = True

    cpdef look(self):
        """Read now, without being told of an arrival: whoever has just connected has something to say, and to sleep
        until one is told takes longer than to look."""
        self.poller.serve(self, EPOLLIN)

    cpdef resume(self):
        """Deliver what was kept, then read on; in a turn of its own, never from within the caller."""
        self.paused = False
        if self.fd >= 0:
            self._replay = self._kept is not None
            if self._replay or self._readable:
                self.queue()

    cpdef close(self):
        """Close now; nothing more is reported, and `handler` is let go: it knows the stream, and of a circle only
        the garbage collector would be rid, in its own time."""
        self.handler = None
        self._backlog = None
        self.backlog = 0
        self._kept = None
        if self.paced:
            self.paced = False
            pacer_of(self.poller).leave(self)
        self.release()

    cpdef finish(self):
        """Close once everything written has gone and the peer has closed its side; whoever calls bounds the time.

        Not at once: closing with unread bytes resets the connection, and the peer loses what it had not read."""
        if self._broken or self.fd < 0:
            self.close()
            return
        self._finishing = True
        self.paused = True
        self._kept = None
        self._replay = False
        if self.paced:
            self._end_pace()
        if not self.backlog:
            self._part()

    cdef int _part(self) except -1:
        """Everything has been said: tell the peer, and wait for its end. Nothing is written any more."""
        self._broken = True
        if shutdown(self.fd, SHUT_WR) < 0:
            self.close()
            return 0
        return self._discard()

    cdef int _discard(self) except -1:
        """Read what the peer still sends, for nobody; close at its end, or when it is too much."""
        cdef ssize_t count
        while True:
            count = recv(self.fd, _wastes, sizeof(_wastes), 0)
            if count > 0:
                self._discarded += count
                if self._discarded <= DISCARDED:
                    continue
            elif count < 0 and errno == EINTR:
                continue
            elif count < 0 and errno == EAGAIN:
                return 0
            self.close()
            return 0
