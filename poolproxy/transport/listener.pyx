"""Accepting connections: accept4 in batches, with the peer's address; pauses when descriptors run out.

Socket options are set once on the listening socket: Linux hands TCP_NODELAY, keepalive and TCP_USER_TIMEOUT down to
what it accepts, which saves six system calls per login. Must not know what becomes of a connection.
"""

cimport cython
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint16_t

import os

from poolproxy.transport.poller cimport Pollable, Poller

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN

cdef extern from "sys/socket.h" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    int accept4(int fd, sockaddr *address, socklen_t *size, int flags)
    int SOCK_NONBLOCK, SOCK_CLOEXEC, AF_INET, AF_INET6

cdef extern from "netinet/in.h" nogil:
    struct sockaddr_in:
        uint16_t sin_port
        unsigned int sin_addr
    struct in6_addr:
        pass
    struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    uint16_t ntohs(uint16_t port)

cdef extern from "arpa/inet.h" nogil:
    const char *inet_ntop(int family, const void *source, char *target, socklen_t size)

#: Connections taken per turn: a storm of logins must not hold up those that are logged in.
cdef enum:
    BURST = 16


@cython.final
cdef class Peer:
    """The address of whom we accepted. Its text is made when somebody asks: most connections are never named."""

    cdef sockaddr_in6 _address  # of either family: the larger

    def __str__(self):
        """`host:port`, `[host]:port`, or `unix`."""
        cdef char text[64]
        cdef sockaddr_in *short = <sockaddr_in *>&self._address
        if self._address.sin6_family == AF_INET:
            inet_ntop(AF_INET, &short.sin_addr, text, 64)
            return f"{text.decode('ascii')}:{ntohs(short.sin_port)}"
        if self._address.sin6_family == AF_INET6:
            inet_ntop(AF_INET6, &self._address.sin6_addr, text, 64)
            return f"[{text.decode('ascii')}]:{ntohs(self._address.sin6_port)}"
        return "unix"


cdef class Listener(Pollable):
    """Takes over a listening, non-blocking `fd`. `on_accept(fd, peer)` owns each accepted descriptor;
    `on_exhausted(listener)` is called when there are none left and accepting has paused."""

    def __init__(self, Poller poller, int fd, on_accept, on_exhausted):
        self.poller = poller
        self.fd = fd
        self._on_accept = on_accept
        self._on_exhausted = on_exhausted
        self.accepting = True
        # Level-triggered: what stays in the backlog after a burst is reported again.
        self.register(EPOLLIN)

    cdef int on_events(self, unsigned int events) except -1:
        cdef Peer peer
        cdef socklen_t size
        cdef int fd, taken
        for taken in range(BURST):
            if self.fd < 0 or not self.accepting:
                return 0
            peer = Peer.__new__(Peer)
            size = sizeof(peer._address)
            fd = accept4(self.fd, <sockaddr *>&peer._address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self._on_accept(fd, peer)
            elif errno == EAGAIN:
                return 0
            elif errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                self.pause()
                self._on_exhausted(self)
                return 0
            elif errno != EINTR and errno != ECONNABORTED:
                raise OSError(errno, os.strerror(errno))
        return 0

    cpdef pause(self):
        """Accept nothing until `resume`; connections wait in the kernel's backlog."""
        if self.accepting and self.fd >= 0:
            self.accepting = False
            self.modify(0)

    cpdef resume(self):
        if not self.accepting and self.fd >= 0:
            self.accepting = True
            self.modify(EPOLLIN)

    cpdef close(self):
        self.release()
