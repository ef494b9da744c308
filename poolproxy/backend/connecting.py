"""Logging in to PostgreSQL: the login dialogue driven over a line (backend/dialing.py). Policy is the
grower's.

Must not know pools beyond the route's target.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Final

from poolproxy.auth.dialogue import Dialogue, Offload, Receive, Send, Step
from poolproxy.auth.server_login import (
    Channel,
    ScramKeyCache,
    ServerGreeting,
    ServerRefusedLogin,
    server_login,
)
from poolproxy.backend.aside import aside
from poolproxy.backend.dialing import Dialer, Line, NoTls, ways_to
from poolproxy.errors import PoolproxyError, UnexpectedServerAnswer
from poolproxy.protocol.codes import MAX_STARTUP_LENGTH
from poolproxy.protocol.framing import NOTHING, PARTIAL, Framer, stop_table
from poolproxy.route import Target
from poolproxy.transport.stream import Handler, Stream

#: Room for what a server says at login: notices and errors may be longer than what clients may send.
_MAX_LOGIN_MESSAGE = 8 * MAX_STARTUP_LENGTH

#: invalid_authorization_specification: what pg_hba.conf has no rule for.
_NO_RULE: Final = "28000"

#: What a server may say unasked: a parameter, a notice, a notification; an error, as it ends.
_UNASKED = stop_table(b"SNAE")


class LoginDriver(Handler):
    """Drives a login dialogue over a stream, and completes a future with its greeting or its error."""

    def __init__(self, stream: Stream, dialogue: Dialogue[ServerGreeting]) -> None:
        self._loop = asyncio.get_running_loop()
        self._dialogue = dialogue
        self._framer = Framer(stop_table(b""))
        self._receiving = False
        self.done: asyncio.Future[ServerGreeting] = self._loop.create_future()
        self.stream = stream
        stream.handler = self
        stream.resume()
        self._advance(lambda: next(dialogue))

    def _advance(self, resume: Callable[[], Step]) -> None:
        """Go on until the dialogue waits for a message or for something to be computed elsewhere."""
        try:
            step = resume()
            while isinstance(step, Send):
                self.stream.send(step.data)
                step = self._dialogue.send(None)
            if isinstance(step, Offload):
                self.stream.pause()
                aside(step.call).add_done_callback(self._computed)
            else:
                self._receiving = isinstance(step, Receive)
        except StopIteration as finished:
            self.stream.pause()
            self._finish(finished.value, None)
        except Exception as error:
            self._finish(None, error)

    def _finish(self, greeting: ServerGreeting | None, error: Exception | None) -> None:
        if self.done.done():
            return
        if greeting is not None:
            self.done.set_result(greeting)
        elif error is not None:
            self.done.set_exception(error)

    def _computed(self, future: asyncio.Future[object]) -> None:
        if self.done.done():
            return
        self._advance(lambda: self._dialogue.send(future.result()))
        self.stream.resume()

    def on_data(self, buffer: bytearray, end: int) -> None:
        position = 0
        while self._receiving and not self.done.done():
            position = self._framer.scan(buffer, position, end)
            following = position + self._framer.size
            if self._framer.kind in (NOTHING, PARTIAL) or following > end:
                if self._framer.kind >= 0 and self._framer.size > _MAX_LOGIN_MESSAGE:
                    self.fail(
                        UnexpectedServerAnswer(what=f"a message of {self._framer.size} bytes during login")
                    )
                break
            message = self._framer.kind, bytes(buffer[position + 5 : following])
            position = following
            self._receiving = False
            self._advance(lambda message=message: self._dialogue.send(message))  # type: ignore[misc]
        self.stream.keep(position, end)

    def on_drained(self) -> None:
        """Nothing waits for it."""

    def on_lost(self, reason: str) -> None:
        self._finish(None, ConnectionResetError(f"connection lost during login: {reason}"))

    def fail(self, error: PoolproxyError) -> None:
        """A length out of range, or an answer that cannot be: whoever it is, it is no PostgreSQL."""
        self._finish(None, UnexpectedServerAnswer(what=error.message))


async def log_in(
    dialer: Dialer, target: Target, keys: ScramKeyCache, at_start: Iterable[tuple[str, str]] = ()
) -> tuple[Stream, ServerGreeting]:
    """A stream to a session that is ready for its first query, still paused; `at_start`: settings it starts
    with. Raises OSError, ServerRefusedLogin, UnexpectedServerAnswer; the caller bounds the time."""
    *others, last = ways_to(target)
    for encrypted in others:
        try:
            line = await dialer.dial(target, encrypted)
        except NoTls:
            continue
        try:
            return await _log_in_over(line, target, keys, at_start)
        except ServerRefusedLogin as refusal:
            # It may have a rule for the other way, as libpq has it; no rule changes what a password is worth.
            if not refusal.at_once or refusal.sqlstate != _NO_RULE or line.encrypted is not encrypted:
                raise
    return await _log_in_over(await dialer.dial(target, last), target, keys, at_start)


async def _log_in_over(
    line: Line, target: Target, keys: ScramKeyCache, at_start: Iterable[tuple[str, str]]
) -> tuple[Stream, ServerGreeting]:
    parameters = {**dict(at_start), "database": target.dbname}
    channel = Channel(
        private=line.encrypted or target.unix_path is not None,
        encrypted=line.encrypted,
        end_point=line.end_point,
        binding=target.tls.channel_binding,
    )
    dialogue = server_login(target.user, target.password, parameters, channel, keys, target.methods)
    driver = LoginDriver(line.stream, dialogue)
    try:
        greeting = await driver.done
        _check_silence(driver.stream.look_at_kept())
        return driver.stream, greeting
    except BaseException:
        driver.stream.close()
        raise


def _check_silence(behind: bytes) -> None:
    """What a server has said behind its ReadyForQuery must not be the answer to anything: whoever asks first
    would take it for its own."""
    framer = Framer(_UNASKED)
    try:
        framer.scan(bytearray(behind), 0, len(behind))
    except PoolproxyError as error:
        raise UnexpectedServerAnswer(what=error.message) from None
    if framer.kind not in (NOTHING, PARTIAL):
        raise UnexpectedServerAnswer(what=f"message type {framer.kind:#04x} before anything was asked")


def describe(error: BaseException) -> str:
    """An error of `log_in` in a few words, for a client's message and the log."""
    if isinstance(error, ServerRefusedLogin):
        return error.message
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error)
