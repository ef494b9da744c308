"""Sockets and their options: keepalive and TCP_USER_TIMEOUT fit for middleboxes that forget a flow after 350
s.

Must not know who uses a socket. Linux only, as the epoll beside it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TcpOptions:
    """Keepalive times in seconds (0 = the system's own), probes, and the user timeout in seconds."""

    keepalive_idle: int = 60
    keepalive_interval: int = 10
    keepalive_count: int = 3
    user_timeout: float = 30.0

    def set_on(self, sock: socket.socket) -> None:
        """Set them, and TCP_NODELAY: every write of ours is one that somebody waits for. Not for Unix
        sockets."""
        if sock.family == socket.AF_UNIX:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, self.keepalive_idle),
            (socket.TCP_KEEPINTVL, self.keepalive_interval),
            (socket.TCP_KEEPCNT, self.keepalive_count),
            (socket.TCP_USER_TIMEOUT, int(self.user_timeout * 1000)),
        ):
            if value:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


#: Connections the kernel keeps for us between two turns; capped by net.core.somaxconn.
BACKLOG = 4096


def listen_tcp(host: str, port: int, options: TcpOptions) -> list[socket.socket]:
    """Listening sockets for every address of `host`; OSError names the address that cannot be had."""
    found: list[socket.socket] = []
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        sock = socket.socket(family, kind, protocol)
        found.append(sock)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            options.set_on(sock)
            # A host of several addresses listens on one port: the first decides where any is free.
            sock.bind(
                (address[0], port or (found[0].getsockname()[1] if len(found) > 1 else 0), *address[2:])
            )
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            for opened in found:
                opened.close()
            raise OSError(
                error.errno, f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
            ) from error
    return found


def listen_unix(directory: str, port: int, mode: int) -> socket.socket:
    """A listening Unix socket `.s.PGSQL.<port>`; a dead one of that name is replaced, a live one is an
    OSError."""
    path = Path(directory, f".s.PGSQL.{port}")
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            if probe.connect_ex(str(path)) in (0, errno.EAGAIN):  # EAGAIN: it listens, and has no time
                raise OSError(f"cannot listen on {path}: somebody does already")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        try:
            path.chmod(mode)
            sock.listen(BACKLOG)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror}") from error
    sock.setblocking(False)
    return sock


def peer_uid(descriptor: int) -> int:
    """Which user has connected to a Unix socket: the effective one of then, as the kernel keeps it (unix(7):
    SO_PEERCRED)."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
    try:
        _, uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
    finally:
        sock.detach()
    return int(uid)


#: struct ucred: process, user, group.
_CREDENTIALS = struct.Struct("iII")
