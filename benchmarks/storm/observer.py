"""Twice a second, how things stand: connections, servers, who waits, what the endpoint has used.

Servers are counted where they end, in pg_stat_activity, for every endpoint alike; clients where they begin,
in the generator. Over a connection of its own that is opened anew when PostgreSQL was away. Must not know
scenarios.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import asyncpg

from benchmarks.storm.clock import Clock
from benchmarks.storm.results import UNKNOWN, Sample

EVERY = 0.5  #: seconds

# poolproxy's control connection serves no client.
_COUNT = """
    SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%' OR state = 'active')
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename = $1 AND application_name <> 'poolproxy control'
"""

#: What a connection raises that is lost. asyncpg calls it an internal error where the server goes between
#: two messages of its own.
LOST = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError,
)  # fmt: skip

Connection: TypeAlias = "asyncpg.Connection[Any]"


class Observed(Protocol):
    """What an endpoint tells of itself."""

    async def waiting(self) -> int: ...
    def cpu(self) -> float: ...
    def memory(self) -> int: ...


class Observer:
    """`connect` opens a connection to PostgreSQL itself, past the endpoint; None where there is none. `user`
    is whom the endpoint's servers are logged in as."""

    def __init__(
        self, endpoint: Observed, user: str, connect: Callable[[], Any] | None, clock: Clock
    ) -> None:
        self._endpoint = endpoint
        self._user = user
        self._connect = connect
        self._clock = clock
        self._connection: Connection | None = None
        self._asking = asyncio.Lock()  # the samples are one who asks, a scenario another

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*LOST):
                await connection.close(timeout=1.0)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def servers(self) -> tuple[int, int]:
        """Server connections, and how many of them are in a transaction; UNKNOWN while nobody can tell."""
        if self._connect is None:
            return UNKNOWN, UNKNOWN
        async with self._asking:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connect()
                row = await self._connection.fetchrow(_COUNT, self._user, timeout=5.0)
            except LOST:
                self._drop()  # a driver whose server went away in mid-answer may not know yet
                return UNKNOWN, UNKNOWN
        assert row is not None
        return row[0], row[1]

    async def sample(self, clients: int, environments: int, in_flight: int) -> Sample:
        """Now. What the generator knows is given."""
        at = self._clock.elapsed()
        servers, _ = await self.servers()
        waiting = await self._endpoint.waiting()
        cpu = await asyncio.to_thread(self._endpoint.cpu)
        memory = await asyncio.to_thread(self._endpoint.memory)
        return Sample(at, clients, servers, waiting, environments, in_flight, cpu, memory)
