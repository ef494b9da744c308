"""Asking PostgreSQL about itself, with asyncpg and a connection of our own that is open only while we ask."""

from __future__ import annotations

import asyncio
from typing import Final, cast

import asyncpg

from poolproxy.auth.server_login import ScramKeyCache, ServerGreeting, ServerRefusedLogin
from poolproxy.backend.dialing import Dialer
from poolproxy.backend.link import LinkLoop
from poolproxy.backend.proving import log_in
from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.route import Target
from poolproxy.transport.stream import Stream

#: What our own connections call themselves in pg_stat_activity.
APPLICATION_NAME = "poolproxy control"

#: What such a connection starts with. Nobody else's objects are meant, whatever the role's own search_path
#: is; and UTF8 is what asyncpg asks for in its own startup message, which PostgreSQL never sees.
_AT_START: Final = (
    ("application_name", APPLICATION_NAME),
    ("search_path", "pg_catalog"),
    ("client_encoding", "UTF8"),
)

#: Why there was no answer: what `Control` raises.
UNANSWERED: Final = (
    OSError,
    ServerRefusedLogin,
    UnexpectedServerAnswer,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

#: reserved_connections exists from PostgreSQL 16 on. Not from the view pg_settings, which may be taken from
#: the public.
_USABLE = """
    SELECT current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4
        - coalesce(current_setting('reserved_connections', true)::int4, 0)
"""


class Control:
    """See the module. It logs in as pools do (backend/link.py)."""

    def __init__(self, dialer: Dialer, keys: ScramKeyCache) -> None:
        self._dialer = dialer
        self._keys = keys

    async def connect(
        self, target: Target, timeout: float, at_start: tuple[tuple[str, str], ...] = ()
    ) -> asyncpg.Connection:
        """A connection of our own; `at_start`: settings it starts with besides. Raises one of
        UNANSWERED (TimeoutError after `timeout` seconds)."""

        async def opened() -> tuple[Stream, ServerGreeting]:
            return await log_in(self._dialer, target, self._keys, _AT_START + at_start)

        return await asyncpg.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            # Not None: asyncpg would look for a password in PGPASSWORD and ~/.pgpass, and it needs none.
            password="",
            database=target.dbname,
            timeout=timeout,
            ssl=False,
            statement_cache_size=0,
            loop=cast(asyncio.AbstractEventLoop, LinkLoop(asyncio.get_running_loop(), opened)),
        )

    async def usable_connections(self, target: Target, timeout: float) -> int:
        """max_connections of a server, less the reserved ones. Each step may take `timeout` seconds. Errors
        as `connect`."""
        connection = await self.connect(target, timeout)
        try:
            return await usable(connection, timeout)
        finally:
            await connection.close(timeout=timeout)


async def usable(connection: asyncpg.Connection, timeout: float) -> int:
    """The same of the server that `connection` is to."""
    return int(await connection.fetchval(_USABLE, timeout=timeout))
