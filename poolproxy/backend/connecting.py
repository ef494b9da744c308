"""One connection to PostgreSQL: DNS, socket, and the login dialogue driven over a stream. Policy is the
grower's.

asyncio for the waiting, the data plane's own streams for the bytes. Must not know pools beyond the route's
target.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from poolproxy.auth.dialogue import Dialogue, Offload, Receive, Send, Step
from poolproxy.auth.server_login import ScramKeyCache, ServerGreeting, ServerRefusedLogin, server_login
from poolproxy.backend.aside import aside
from poolproxy.errors import PoolproxyError, UnexpectedServerAnswer
from poolproxy.protocol.codes import MAX_STARTUP_LENGTH
from poolproxy.protocol.framing import NOTHING, PARTIAL, Framer, stop_table
from poolproxy.route import Target
from poolproxy.transport.poller import Poller
from poolproxy.transport.sockets import TcpOptions
from poolproxy.transport.stream import Handler, Stream

#: Room for what a server says at login: notices and errors may be longer than what clients may send.
_MAX_LOGIN_MESSAGE = 8 * MAX_STARTUP_LENGTH


async def addresses(target: Target) -> list[tuple[int, Any]]:
    """(family, address) of each, one at least; socket.gaierror, an OSError, where the name is not known."""
    if target.unix_path is not None:
        return [(socket.AF_UNIX, target.unix_path)]
    look_up = partial(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
    try:
        found = look_up(flags=socket.AI_NUMERICHOST)  # no name, no question
    except socket.gaierror:
        found = await aside(look_up)
    if not found:
        raise OSError(errno.EADDRNOTAVAIL, f"no address for {target.host}")
    return [(entry[0], entry[4]) for entry in found]


async def _connect(sock: socket.socket, address: Any) -> None:
    """As loop.sock_connect, which may have a thread look up the address, and keep that thread."""
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        writable = loop.create_future()

        def over() -> None:
            if not writable.done():
                writable.set_result(None)

        loop.add_writer(sock, over)
        try:
            await writable
        finally:
            loop.remove_writer(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, f"cannot connect to {address}: {os.strerror(code)}")


async def open_socket(target: Target, options: TcpOptions) -> socket.socket:
    """A connected, non-blocking socket; OSError says what was tried. All addresses of the name are tried in
    turn."""
    problem: OSError | None = None
    for family, address in await addresses(target):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            options.set_on(sock)
            await _connect(sock, address)
            return sock
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
    assert problem is not None, "no address was tried"
    raise problem


class LoginDriver(Handler):
    """Drives a login dialogue over a stream, and completes a future with its greeting or its error."""

    def __init__(self, poller: Poller, sock: socket.socket, dialogue: Dialogue[ServerGreeting]) -> None:
        self._loop = asyncio.get_running_loop()
        self._dialogue = dialogue
        self._framer = Framer(stop_table(b""))
        self._receiving = False
        self.done: asyncio.Future[ServerGreeting] = self._loop.create_future()
        self.stream = Stream(poller, sock.detach(), self)
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
    poller: Poller,
    target: Target,
    options: TcpOptions,
    keys: ScramKeyCache,
    at_start: Iterable[tuple[str, str]] = (),
) -> tuple[Stream, ServerGreeting]:
    """A stream to a session that is ready for its first query, still paused; `at_start`: settings it starts
    with. Raises OSError, ServerRefusedLogin, UnexpectedServerAnswer; the caller bounds the time."""
    sock = await open_socket(target, options)
    local = target.unix_path is not None
    parameters = {**dict(at_start), "database": target.dbname}
    dialogue = server_login(target.user, target.password, parameters, local, keys, target.methods)
    driver = LoginDriver(poller, sock, dialogue)
    try:
        return driver.stream, await driver.done
    except BaseException:
        driver.stream.close()
        raise


def describe(error: BaseException) -> str:
    """An error of `log_in` in a few words, for a client's message and the log."""
    if isinstance(error, ServerRefusedLogin):
        return error.message
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error)
