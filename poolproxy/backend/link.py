"""asyncpg on a connection that we have opened and logged in ourselves.

asyncpg's own login would answer whatever a server asks for, a cleartext password too, and stretch a password
as often as a server likes, on the event loop. Here it is given a session that is logged in: what it says
first is swallowed, and it hears what PostgreSQL has said to us. Must not know what is asked on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from poolproxy.auth.server_login import ServerGreeting
from poolproxy.errors import PoolproxyError, UnexpectedServerAnswer
from poolproxy.protocol import messages
from poolproxy.protocol.framing import NOTHING, PARTIAL, Framer, stop_table
from poolproxy.transport.stream import Handler, Stream

#: Bytes of a cancel key that asyncpg knows of.
_KEY_BYTES = 4

#: Bytes of one message, and of all that a server may say on one connection: rows are kept until the last one.
MAX_ANSWER = 16 << 20
MAX_ANSWERS = 256 << 20

LogIn = Callable[[], Awaitable[tuple[Stream, ServerGreeting]]]


class LinkLoop:
    """What asyncpg takes for its event loop: the first connection that it makes is by `log_in`, wherever it
    means to go. All else is the loop's, the connection of a cancel request included."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log_in: LogIn) -> None:
        self._loop = loop
        self._log_in: LogIn | None = log_in

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Callable[[], Any], *address: Any, **options: Any) -> Any:
        if self._log_in is None:
            return await self._loop.create_connection(factory, *address, **options)
        return await self._link(self._log_in, factory)

    async def create_unix_connection(self, factory: Callable[[], Any], *path: Any, **options: Any) -> Any:
        if self._log_in is None:
            return await self._loop.create_unix_connection(factory, *path, **options)
        return await self._link(self._log_in, factory)

    async def _link(self, log_in: LogIn, factory: Callable[[], Any]) -> tuple[Link, Any]:
        self._log_in = None
        stream, greeting = await log_in()
        protocol = factory()
        link = Link(self._loop, stream, protocol)
        protocol.connection_made(link)  # here it says its startup message
        self._loop.call_soon(protocol.data_received, _welcome(greeting))
        return link, protocol


def _welcome(greeting: ServerGreeting) -> bytes:
    return b"".join(
        (
            messages.authentication_ok(),
            *(messages.parameter_status(name, value) for name, value in greeting.parameters.items()),
            messages.backend_key_data(greeting.pid, greeting.key[:_KEY_BYTES].ljust(_KEY_BYTES, b"\0")),
            messages.ready_for_query(greeting.status),
        )
    )


class Link(asyncio.Transport):
    """The stream as asyncpg sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: Stream, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self.stream = stream
        self._protocol = protocol
        self._begun = False
        self._over = False
        stream.handler = _Receiver(self, protocol)
        stream.resume()

    def __repr__(self) -> str:
        return f"<Link {'closed' if self._over else 'open'}>"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._begun:
            self._begun = True  # its startup message: we have said ours
        elif not self._over:
            self.stream.send(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def is_closing(self) -> bool:
        return self._over

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._over:
            self._over = True
            self.stream.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    def pause_reading(self) -> None:
        self.stream.pause()

    def resume_reading(self) -> None:
        self.stream.resume()


class _Receiver(Handler):
    """Hands to asyncpg what comes, if it is made of messages: a length below four sends asyncpg round for
    ever, and one of a gigabyte is gathered."""

    __slots__ = ("_framer", "_left", "_link", "_protocol")

    def __init__(self, link: Link, protocol: asyncio.Protocol) -> None:
        self._link = link
        self._protocol = protocol
        self._framer = Framer(stop_table(b""))
        self._left = MAX_ANSWERS

    def on_data(self, buffer: bytearray, end: int) -> None:
        framer = self._framer
        position = framer.scan(buffer, 0, end)
        while framer.kind not in (NOTHING, PARTIAL):
            if framer.size > MAX_ANSWER:
                raise UnexpectedServerAnswer(what=f"a message of {framer.size} bytes")
            position = framer.scan(buffer, framer.skip(position, end), end)
        self._left -= position
        if self._left < 0:
            raise UnexpectedServerAnswer(what="no end of rows")
        self._link.stream.keep(position, end)
        try:
            self._protocol.data_received(bytes(buffer[:position]))
        except Exception as error:
            raise UnexpectedServerAnswer(what=f"asyncpg: {type(error).__name__}") from error

    def on_drained(self) -> None:
        """Queries of ours are short."""

    def on_lost(self, reason: str) -> None:
        self._link.abort()

    def fail(self, error: PoolproxyError) -> None:
        self._link.abort()
