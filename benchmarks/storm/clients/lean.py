"""The lean client: an asyncio protocol that is its own session, for thousands of clients in one process.

What a driver does on top (type introspection, statement caches, PBKDF2 at every login) is left away, so that
the other side is what is measured. `python -m benchmarks.storm.clients.cost` says what one costs. Beside
itself an idle client has its transport and the object that cuts messages; an exchange and a future live as
long as the statement. Must not know handlers or targets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from benchmarks.storm.clients import encryption, messages
from benchmarks.storm.clients.address import Address
from benchmarks.storm.clients.errors import (
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    ServerError,
    SessionError,
)
from benchmarks.storm.clients.exchanges import Answer, Exchange, Login
from benchmarks.storm.clients.session import Row, Session

NOTHING: frozenset[int] = frozenset()

CONNECT_TIMEOUT = 60.0  #: seconds for the connection and the login together, as asyncpg has it


class LeanSession(asyncio.Protocol, Session):
    """One connection. Made by `open_session`; asyncio.Protocol's methods are for the event loop alone."""

    __slots__ = (
        "__weakref__",
        "_exchange",
        "_frames",
        "_frozen",
        "_loop",
        "_reason",
        "_transport",
        "_waiter",
    )

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._frames = messages.Frames()
        self._exchange: Exchange | None = None  # under way
        self._waiter: asyncio.Future[Any] | None = None  # for the end of the exchange, or of the connection
        self._reason: SessionError | None = None  # why it is over
        self._frozen = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "busy" if self._exchange else "idle"
        return f"<LeanSession {'frozen, ' if self._frozen else ''}{state}>"

    # As a session.

    @property
    def closed(self) -> bool:
        return self._transport is None or self._reason is not None

    def _execute(self, sql: str, args: Sequence[object]) -> Awaitable[str]:
        return self.converse(_asked(sql, args), Answer(keep=False))

    def _fetch(self, sql: str, args: Sequence[object]) -> Awaitable[list[Row]]:
        return self.converse(_asked(sql, args), Answer(keep=True))

    def _given_up(self) -> None:
        self.abort()  # what would still arrive is nobody's

    def converse(self, first: bytes, exchange: Exchange) -> asyncio.Future[Any]:
        """Say `first` and have the exchange: its outcome, or what the server said, or why the connection
        ended. A future and no coroutine: every statement of every client comes by here. Whoever is cancelled
        while waiting for it must end the connection. Raises why there is none."""
        if self._exchange is not None:
            raise SessionError("another statement is under way on this session")
        if self._transport is None or self._reason is not None:
            raise self._farewell()
        self._exchange = exchange
        self._waiter = waiter = self._loop.create_future()
        self._transport.write(first)
        return waiter

    async def close(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if self.closed or self._exchange is not None:
            self.abort()
            return
        self._reason = ConnectionLost("this side has closed it")
        self.thaw()  # a transport that reads sees its end
        transport.write(messages.TERMINATE)
        self._waiter = self._loop.create_future()
        transport.close()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def abort(self) -> None:
        self._end(ConnectionLost("this side has closed it"))

    def freeze(self) -> None:
        if self._transport is not None and not self._frozen and not self.closed:
            self._frozen = True
            self._transport.pause_reading()

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    # For the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        try:
            for kind, body in self._frames.feed(data, NOTHING if exchange is None else exchange.skipped):
                if self._reason is not None:
                    return
                self._take(kind, body)
        except SessionError as error:
            self._end(error)

    def _take(self, kind: int, body: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self._overhear(kind, body)
            return
        if reply := exchange.take(kind, body):
            assert self._transport is not None
            self._transport.write(reply)
        if not exchange.done:
            return
        if exchange.error is not None and exchange.error.fatal:
            self._end(exchange.error)  # at once: whoever says FATAL may forget to close
            return
        waiter = self._take_waiter()
        if waiter is None:
            return  # it was cancelled: its connection is about to be ended
        if exchange.error is not None:
            waiter.set_exception(exchange.error)
        else:
            waiter.set_result(exchange.outcome)

    def _take_waiter(self) -> asyncio.Future[Any] | None:
        """The exchange is over: who is to hear of it, if anybody still waits."""
        waiter = self._waiter
        self._exchange = self._waiter = None
        return None if waiter is None or waiter.done() else waiter

    def _overhear(self, kind: int, body: bytes) -> None:
        """What comes though nothing was asked: the server's last words, or asides."""
        if kind == messages.ERROR_RESPONSE:
            raise messages.server_error(body)
        if kind not in messages.ASIDES:
            raise ProtocolError(f"the server sends {chr(kind)!r} though nothing was asked")

    def connection_lost(self, exc: Exception | None) -> None:
        how = f": {exc}" if exc is not None else ""
        when = "in the middle of a statement" if self._exchange is not None else "between two statements"
        self._transport = None
        self._end(ConnectionLost(f"the server closed the connection {when}{how}"))
        if self._exchange is None and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)  # of `close`

    def _end(self, reason: SessionError) -> None:
        """The connection is over; the first reason is the one that counts, and whoever waits hears it."""
        if self._reason is None:
            self._reason = reason
        if self._transport is not None:
            self._transport.abort()
        if self._exchange is not None and (waiter := self._take_waiter()) is not None:
            waiter.set_exception(self._farewell())

    def _farewell(self) -> SessionError:
        """The reason, to be raised: an exception of its own each time, for it grows a traceback."""
        reason = self._reason
        if isinstance(reason, ServerError):
            return ServerError(reason.sqlstate, reason.severity, str(reason))
        if reason is None:
            return ConnectionLost("the connection was never made")
        return type(reason)(str(reason))


def _asked(sql: str, args: Sequence[object]) -> bytes:
    return messages.extended(sql, args) if args else messages.simple(sql)


async def open_session(address: Address, timeout: float = CONNECT_TIMEOUT) -> LeanSession:
    """Connect and log in.

    Raises ServerError when the server refuses, ProtocolError when it is none, else ConnectFailed.
    """
    session = LeanSession()
    opened = False
    try:
        async with asyncio.timeout(timeout):
            await _connect(session, address)
            login = Login(address)
            await session.converse(login.first(), login)
        opened = True
    except OSError as error:  # of a TimeoutError that is ours there is nothing to quote
        said = str(error) or f"not logged in within {timeout:g} s"
        raise ConnectFailed(f"no connection to {address}: {said}") from error
    except ConnectionLost as error:
        raise ConnectFailed(f"{address} closed the connection during login ({error})") from error
    finally:
        if not opened:
            session.abort()
    return session


async def _connect(session: LeanSession, address: Address) -> None:
    loop = asyncio.get_running_loop()
    if path := address.socket_path:
        await loop.create_unix_connection(lambda: session, path)
    elif address.sslmode:
        await encryption.connect(session, address)
    else:
        await loop.create_connection(lambda: session, address.host, address.port)
