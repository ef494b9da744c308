"""Drives a login dialogue by hand: whole messages in, the bytes it sends out. A driver without a socket."""

from __future__ import annotations

from typing import Generic, TypeVar

from poolproxy.auth.client_login import ClientLogin
from poolproxy.auth.dialogue import Dialogue, Offload, Receive, Send

T = TypeVar("T")


def split(data: bytes) -> list[tuple[int, bytes]]:
    """The (type, body) of every message in `data`."""
    found = []
    while data:
        end = 1 + int.from_bytes(data[1:5], "big")
        found.append((data[0], data[5:end]))
        data = data[end:]
    return found


class Driven(Generic[T]):
    """A dialogue stopped at a Receive, or done. What it raises comes out of `feed`."""

    def __init__(self, dialogue: Dialogue[T]) -> None:
        self._dialogue = dialogue
        self._result: list[T] = []
        self.offloaded = 0
        self.sent = b""
        self._advance(None)

    def _advance(self, value: object) -> None:
        self.sent = b""
        try:
            while True:
                step = self._dialogue.send(value)
                value = None
                if isinstance(step, Send):
                    self.sent += step.data
                elif isinstance(step, Offload):
                    self.offloaded += 1
                    value = step.call()
                else:
                    assert isinstance(step, Receive)
                    return
        except StopIteration as stop:
            self._result.append(stop.value)

    def feed(self, data: bytes) -> bytes:
        """The peer says these messages; what the dialogue sends after the last of them."""
        for message in split(data):
            assert not self.done, "the dialogue asked for nothing more"
            self._advance(message)
        return self.sent

    @property
    def done(self) -> bool:
        return bool(self._result)

    @property
    def result(self) -> T:
        (result,) = self._result
        return result


class DrivenClient:
    """A client's login, which asks for a message or is done. What it raises comes out of `feed`."""

    def __init__(self, login: ClientLogin) -> None:
        self._login = login
        self.sent = login.begin()
        self.result = self.sent if login.done else b""

    def feed(self, data: bytes) -> bytes:
        """The client says these messages; what it is sent after the last, short of AuthenticationOk."""
        for kind, body in split(data):
            assert not self.done, "nothing more is asked for"
            self.sent = self._login.answer(kind, body)
            if self._login.work is not None:
                self.sent = self._login.conclude(self._login.work())
            if self.done:
                self.result, self.sent = self.sent, b""
        return self.sent

    @property
    def done(self) -> bool:
        return self._login.done
