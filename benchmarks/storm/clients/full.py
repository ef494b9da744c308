"""The full client: asyncpg behind the face of a session, for fidelity. Its errors become ours.

Must not know handlers or targets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import asyncpg

from benchmarks.storm.clients.errors import (
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    ServerError,
    SessionError,
)
from benchmarks.storm.clients.session import Row, Session

Connection: TypeAlias = "asyncpg.Connection[Any]"


class AsyncpgSession(Session):
    """A connection of asyncpg's. Made by `open_session`."""

    __slots__ = ("__weakref__", "_connection", "_frozen", "_transport")

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        # No public name leads to it, and a freeze must reach the socket.
        self._transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]
        self._frozen = False

    def __repr__(self) -> str:
        return f"<AsyncpgSession {'frozen, ' if self._frozen else ''}{'closed' if self.closed else 'open'}>"

    @property
    def closed(self) -> bool:
        return self._connection.is_closed()

    async def _execute(self, sql: str, args: Sequence[object]) -> str:
        async with self._translated():
            return await self._connection.execute(sql, *args)

    async def _fetch(self, sql: str, args: Sequence[object]) -> list[Row]:
        async with self._translated():
            return [tuple(record) for record in await self._connection.fetch(sql, *args)]

    def _given_up(self) -> None:
        """asyncpg sends a CancelRequest."""

    async def close(self) -> None:
        self.thaw()
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await self._connection.close()
        self._connection.terminate()

    def abort(self) -> None:
        self._connection.terminate()

    def freeze(self) -> None:
        if not self._frozen and not self.closed:
            self._frozen = True
            self._transport.pause_reading()

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    @contextlib.asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise translated(error, self.closed) from error
        except OSError as error:
            raise ConnectionLost(str(error)) from error


def translated(error: Exception, closed: bool) -> SessionError:
    """An error of asyncpg's as ours. `closed`: whether the connection is over."""
    if isinstance(error.__cause__, asyncpg.PostgresError):
        return translated(error.__cause__, closed)  # a connection was closed, and the server had said why
    if isinstance(error, asyncpg.PostgresError):
        said = error.as_dict()
        if severity := said.get("severity_en") or said.get("severity"):
            return ServerError(error.sqlstate or "XX000", severity, said.get("message") or str(error))
    if isinstance(error, asyncpg.InternalClientError):
        return ProtocolError(str(error))
    # What is left asyncpg says itself, some of it under the classes of server errors: 08003 where a
    # connection ended without a word, 22000 for a parameter of the wrong type.
    return ConnectionLost(str(error)) if closed else SessionError(str(error))


async def open_session(url: str, statement_cache: int = 0) -> AsyncpgSession:
    """Connect and log in with asyncpg's defaults, but for the size of its cache of named statements.

    Raises ServerError when the server refuses, ProtocolError when it is none, else ConnectFailed.
    """
    try:
        connection = await asyncpg.connect(url, statement_cache_size=statement_cache)
    except OSError as error:  # TimeoutError too, with nothing to quote
        raise ConnectFailed(f"no connection: {error or 'not logged in within 60 s'}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        reason = translated(error, closed=True)
        if isinstance(reason, ConnectionLost):
            reason = ConnectFailed(f"the connection was closed during login ({reason})")
        raise reason from error
    return AsyncpgSession(connection)
