"""From an accepted connection to a greeted client, or to a cancel request, or to a refusal.

Drives the first packets and the login dialogue over a stream. Everything it needs of the rest comes through a `Door`.
Must not know pools or servers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from poolproxy.auth.client_login import AuthMethod, client_login
from poolproxy.auth.credentials import UserSecret
from poolproxy.auth.dialogue import Dialogue, Receive, Send, Step
from poolproxy.errors import AuthenticationFailed, LoginTimeout, PoolproxyError, ProtocolViolation
from poolproxy.protocol import messages
from poolproxy.protocol.codes import MAX_STARTUP_LENGTH
from poolproxy.protocol.startup import (
    CancelRequest,
    GssEncRequest,
    SslRequest,
    StartupMessage,
    negotiation,
    read_first_packet,
)
from poolproxy.session.parameters import ParameterSet
from poolproxy.session.startup_parameters import wanted_parameters
from poolproxy.transport.stream import Stream


class Door(Protocol):
    """What a login needs to know and to tell."""

    method: AuthMethod

    def secret(self, user: str) -> UserSecret:
        """What the user has to prove, a mock for one that does not exist."""

    def admit(self, login: Login) -> None:
        """Raise TooManyClients or ShuttingDown if nobody can be let in now."""

    def cancel(self, pid: int, key: bytes) -> None:
        """A cancel request was received."""

    def enter(self, login: Login, startup: StartupMessage, wanted: ParameterSet, proof: bytes) -> None:
        """Authenticated: the stream is handed over; `proof` goes ahead of AuthenticationOk. May raise PoolproxyError."""

    def left(self, login: Login, result: str, error: PoolproxyError | None) -> None:
        """The login is over: ok, failed, refused, timeout, lost, cancel."""


class Login:
    """One connection that has not logged in yet."""

    __slots__ = (
        "_authenticating", "_dialogue", "_door", "_encryption_asked", "_startup", "_wanted", "address", "began", "stream",
    )  # fmt: skip

    def __init__(self, door: Door, open_stream: Callable[[Login], Stream], address: str, now: float) -> None:
        self._door = door
        self._dialogue: Dialogue[bytes] | None = None
        self._startup: StartupMessage | None = None
        self._wanted: ParameterSet | None = None
        self._encryption_asked: set[type] = set()
        self.address = address
        self.began = now
        self.stream = open_stream(self)

    def __repr__(self) -> str:
        return f"<Login {self.address} {self.user() or 'unknown user'}>"

    def user(self) -> str:
        """Who the client says it is; empty before its startup message."""
        return self._startup.user if self._startup is not None else ""

    def on_data(self, buffer: bytearray, end: int) -> None:
        """Bytes of the first packet, or of the dialogue."""
        try:
            position = 0
            while self._dialogue is None:
                read = read_first_packet(memoryview(buffer)[position:end])
                if read is None:
                    self.stream.keep(position, end)
                    return
                packet, size = read
                position += size
                if not self._first_packet(packet):
                    return
            self._messages(buffer, position, end)
        except PoolproxyError as error:
            self.fail(error)

    def _first_packet(self, packet: StartupMessage | SslRequest | GssEncRequest | CancelRequest) -> bool:
        """Act on a first packet; False when nothing more is to be read."""
        if isinstance(packet, CancelRequest):
            self._over("cancel")
            self.stream.close()
            self._door.cancel(packet.pid, packet.key)
            return False
        if isinstance(packet, StartupMessage):
            self._start(packet)
            return True
        if type(packet) in self._encryption_asked:
            # Each is answered once at most: two of them in turns must not keep us busy (CVE-2026-6479).
            raise ProtocolViolation(what="encryption was asked for twice")
        self._encryption_asked.add(type(packet))
        self.stream.send(b"N")
        return True

    def _start(self, startup: StartupMessage) -> None:
        self._startup = startup
        answer = negotiation(startup)
        self._door.admit(self)
        self._wanted = wanted_parameters(startup.parameters)
        if answer:
            self.stream.send(answer)
        self._dialogue = client_login(self._door.method, startup.user, self._door.secret(startup.user), os.urandom)
        self._advance(None)

    def _advance(self, message: tuple[int, bytes] | None) -> bool:
        """Resume the dialogue; True while it waits for another message."""
        assert self._dialogue is not None
        try:
            step: Step = self._dialogue.send(message)
            while isinstance(step, Send):
                self.stream.send(step.data)
                step = self._dialogue.send(None)
            assert isinstance(step, Receive), "a client's login computes nothing long"
            return True
        except StopIteration as finished:
            self._enter(finished.value)
            return False

    def _enter(self, proof: bytes) -> None:
        assert self._startup is not None
        assert self._wanted is not None
        self._door.enter(self, self._startup, self._wanted, proof)
        self._over("ok")

    def _messages(self, buffer: bytearray, position: int, end: int) -> None:
        """Whole messages of the dialogue, each at most as long as PostgreSQL allows before a login."""
        while not self.stream.closed and self.stream.handler is self and end - position >= 5:
            length = int.from_bytes(buffer[position + 1 : position + 5], "big")
            if not 4 <= length <= MAX_STARTUP_LENGTH:
                raise ProtocolViolation(what=f"message length {length} out of range during login")
            following = position + 1 + length
            if following > end:
                break
            message = buffer[position], bytes(buffer[position + 5 : following])
            position = following
            if not self._advance(message):
                break
        self.stream.keep(position, end)
        if self.stream.handler is not self and position < end and not self.stream.paused:
            self.stream.resume()  # what came behind the last message is for the new handler

    def on_drained(self) -> None:
        """Nothing waits for it."""

    def on_lost(self, reason: str) -> None:
        self._over("lost")
        self.stream.close()

    def time_out(self, seconds: float) -> None:
        """The client did not do its part in time."""
        self.fail(LoginTimeout(seconds=seconds), "timeout")

    def fail(self, error: PoolproxyError, result: str = "") -> None:
        """Tell the client why not, and close."""
        self.stream.send(
            messages.error_response_fields("FATAL", error.sqlstate, error.message, "", error.hint)
        )
        self._over(result or ("failed" if isinstance(error, AuthenticationFailed) else "refused"), error)
        self.stream.finish()

    def _over(self, result: str, error: PoolproxyError | None = None) -> None:
        self._door.left(self, result, error)
