"""Asking PostgreSQL about itself, with asyncpg and a connection of our own that is open only while we ask."""

from __future__ import annotations

import asyncio

import asyncpg

from poolproxy.backend.connecting import addresses
from poolproxy.route import Target

#: What our own connections call themselves in pg_stat_activity.
APPLICATION_NAME = "poolproxy control"

#: reserved_connections exists from PostgreSQL 16 on. Not from the view pg_settings, which may be taken from
#: the public.
_USABLE = """
    SELECT current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4
        - coalesce(current_setting('reserved_connections', true)::int4, 0)
"""


async def connect(target: Target, timeout: float) -> asyncpg.Connection:
    """A connection of our own. Raises OSError (TimeoutError after `timeout` seconds) or an error of
    asyncpg's."""
    async with asyncio.timeout(timeout):
        # Looked up here, or the event loop would keep threads for it (see backend.aside).
        found = await addresses(target)
    return await asyncpg.connect(
        host=target.host if target.unix_path is not None else [address[0] for _, address in found],
        port=target.port,
        user=target.user,
        # Not None: asyncpg would look for a password of its own in PGPASSWORD and ~/.pgpass.
        password=target.password or "",
        database=target.dbname,
        timeout=timeout,
        ssl=False,
        statement_cache_size=0,
        # Nobody else's objects are meant, whatever the role's own search_path is.
        server_settings={"application_name": APPLICATION_NAME, "search_path": "pg_catalog"},
    )


async def usable(connection: asyncpg.Connection, timeout: float) -> int:
    """max_connections less the reserved ones, of the server that `connection` is to."""
    return int(await connection.fetchval(_USABLE, timeout=timeout))


async def usable_connections(target: Target, timeout: float) -> int:
    """The same for a server. Each step may take `timeout` seconds. Errors as `connect`."""
    connection = await connect(target, timeout)
    try:
        return await usable(connection, timeout)
    finally:
        await connection.close(timeout=timeout)
