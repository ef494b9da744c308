"""Asking PostgreSQL about itself, with asyncpg and a connection of our own that is open only while we ask."""

from __future__ import annotations

import asyncpg

from poolproxy.route import Target

#: What our own connections call themselves in pg_stat_activity.
APPLICATION_NAME = "poolproxy control"

#: reserved_connections exists from PostgreSQL 16 on.
_LIMIT = """
    SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END)
    FROM pg_catalog.pg_settings
    WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
"""


async def usable_connections(target: Target, timeout: float) -> int:
    """max_connections less the reserved ones. Raises OSError or asyncpg.PostgresError."""
    connection = await asyncpg.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password,
        database=target.dbname,
        timeout=timeout,
        ssl=False,
        server_settings={"application_name": APPLICATION_NAME},
    )
    try:
        return int(await connection.fetchval(_LIMIT))
    finally:
        await connection.close(timeout=timeout)
