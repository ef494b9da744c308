"""A poller on a table: streams over socket pairs, and handlers that write down what they were told."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from poolproxy.errors import PoolproxyError
from poolproxy.transport import stream
from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.stream import Stream


class Handler(stream.Handler):
    """Consumes everything, unless a test gives it something else to do in `on`."""

    stream: Stream

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []  #: "data", "drained", "lost: ..." in order
        self.on: Callable[[bytes], None] | None = None  #: what else to do with each chunk
        self.keeps = 0  #: how many bytes of the end of each chunk to keep

    @property
    def lost(self) -> list[str]:
        return [event.removeprefix("lost: ") for event in self.told if event.startswith("lost: ")]

    def on_data(self, buffer: bytearray, end: int) -> None:
        consumed = max(0, end - self.keeps)
        chunk = bytes(buffer[:consumed])
        self.data += chunk
        self.told.append("data")
        self.stream.keep(consumed, end)
        if self.on is not None:
            self.on(chunk)

    def on_drained(self) -> None:
        self.told.append("drained")

    def on_lost(self, reason: str) -> None:
        self.told.append("lost: " + reason)
        self.stream.close()

    def fail(self, error: PoolproxyError) -> None:
        """Called by whoever handles errors, never by a stream."""
        raise NotImplementedError


class Table:
    """See the module. What handlers raise is in `errors`."""

    def __init__(self) -> None:
        self.errors: list[tuple[Pollable, Exception]] = []
        self.poller = Poller(self._on_error)
        self._ready = select.poll()
        self._ready.register(self.poller.fileno(), select.POLLIN)
        self._opened: list[Any] = []

    def _on_error(self, pollable: Pollable, error: Exception) -> None:
        self.errors.append((pollable, error))

    @property
    def wanted(self) -> bool:
        """Whether the poller has something to do."""
        return self.poller.pending or bool(self._ready.poll(0))

    def turn(self) -> None:
        """One round of the poller's."""
        self.poller.wait(0.0)

    def settle(self) -> None:
        """As many as it takes until nothing is ready any more."""
        for _ in range(10_000):
            if self.poller.paced and not self.wanted:
                self._ready.poll(1000)  # the pacer's timer
            if not self.wanted:
                return
            self.turn()
        raise AssertionError("the poller does not come to rest")

    def adopt(self, sock: socket.socket) -> tuple[Stream, Handler]:
        """A stream that owns this socket from now on."""
        sock.setblocking(False)
        handler = Handler()
        handler.stream = Stream(self.poller, sock.detach(), handler)
        self._opened.append(handler.stream)
        return handler.stream, handler

    def pair(self, buffer: int = 0) -> tuple[Stream, Handler, socket.socket]:
        """A stream, its handler, and the far end. `buffer`: bytes the kernel holds on the way, about."""
        near, far = socket.socketpair()
        if buffer:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        return *self.adopt(near), self.far(far)

    def tcp_pair(self) -> tuple[Stream, Handler, socket.socket]:
        """The same over loopback TCP, which alone has resets."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            far = socket.create_connection(server.getsockname())
            near, _ = server.accept()
        return *self.adopt(near), self.far(far)

    def far(self, sock: socket.socket) -> socket.socket:
        """A far end that never blocks and is closed after the test."""
        sock.setblocking(False)
        self._opened.append(sock)
        return sock

    def heard(self, far: socket.socket) -> bytes:
        """All that comes out at the far end until the poller has no more to send, or has closed."""
        data = b""
        while True:
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                while chunk := far.recv(1 << 16):
                    data += chunk
            if not self.wanted:
                return data
            self.turn()

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self.poller.close()


def reset(sock: socket.socket) -> None:
    """Hang up without a word: RST in place of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def said(far: socket.socket, data: bytes) -> None:
    """All of it fits into the socket."""
    assert far.send(data) == len(data)


def laid() -> Iterator[Table]:
    """For a fixture."""
    table = Table()
    yield table
    table.close()
