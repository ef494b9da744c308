"""The other end of one of the proxy's sockets: a client or a PostgreSQL, as a test plays it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Self

from tests.dialogues.words import End, Refusal
from tests.support.messages import Message


def split(data: bytes) -> tuple[list[Message], bytes]:
    """The whole messages in `data`, and what is left of it."""
    found = []
    while len(data) >= 5 and (size := 1 + int.from_bytes(data[1:5], "big")) <= len(data):
        found.append(Message(chr(data[0]), bytes(data[5:size])))
        data = data[size:]
    return found, data


class Peer:
    """See the module. `settle` lets the proxy do all that it can do now."""

    def __init__(self, name: str, sock: socket.socket, settle: Callable[[], None], bytewise: bool) -> None:
        self.name = name
        self.sock = sock
        self.heard = bytearray()
        self.writes: list[bytes] = []  #: what each recv gave: over a packet socket, one write of the proxy's
        self.deaf = False  #: does not read
        self.ended = False  #: the proxy has closed the connection, and nobody has asserted it yet
        self._over = False
        self._settle = settle
        self._bytewise = bytewise

    def __repr__(self) -> str:
        return f"<{self.name} heard {split(bytes(self.heard))}{' END' if self.ended else ''}>"

    # What it says.

    def __rshift__(self, data: bytes) -> Self:
        """It says `data`; the proxy acts on it."""
        pieces = [data[i : i + 1] for i in range(len(data))] if self._bytewise else [data]
        for piece in pieces:
            self.push(piece)
            self._settle()
        return self

    def push(self, data: bytes) -> None:
        """Put `data` into the socket; the proxy does not know yet."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while data:
                data = data[self._send(data) :]

    def _send(self, data: bytes) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            self._settle()
            return self.sock.send(data)

    def leave(self) -> None:
        """Close the connection."""
        self.hang_up()
        self._settle()

    def hang_up(self) -> None:
        """Close the connection; the proxy does not know yet."""
        self._over = True
        self.sock.close()

    # What it hears.

    def listen(self) -> bool:
        """Read what has arrived; whether there was anything."""
        if self.deaf or self._over:
            return False
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if data:
            self.writes.append(data)
            self.heard += data
        else:
            self._over = self.ended = True
        return True

    def __lshift__(self, expected: bytes | Refusal | End) -> Self:
        """It has heard this next."""
        if isinstance(expected, End):
            assert not self.heard, self
            assert self.ended, f"{self.name} is still connected"
            self.ended = False
        elif isinstance(expected, Refusal):
            told = self.take()
            assert expected.accepts(told), f"{self.name} heard {told}, expected {expected}"
        else:
            heard = bytes(self.heard[: len(expected)])
            assert heard == expected, (
                f"{self.name} heard {split(bytes(self.heard))}, expected {split(expected)}"
            )
            del self.heard[: len(expected)]
        return self

    def whole(self) -> bool:
        """Whether it has heard a message to its end."""
        return bool(split(bytes(self.heard))[0])

    def take(self) -> Message:
        """The next message it has heard."""
        found, _ = split(bytes(self.heard))
        assert found, f"{self.name} has heard nothing (more)"
        del self.heard[: 5 + len(found[0].body)]
        return found[0]

    def take_all(self) -> list[Message]:
        """All that it has heard, which ends with a whole message."""
        found, rest = split(bytes(self.heard))
        assert not rest, self
        self.heard.clear()
        return found

    def close(self) -> None:
        self.sock.close()
