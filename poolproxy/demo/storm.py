"""One storm, seen from its middle: worker processes full of clients, and an observer inside PostgreSQL.

Starts the workers of `clients.py`, counts the servers in pg_stat_activity over a superuser connection of its
own, and feeds both into `figures.Figures`. Must not know whether there is a proxy in between, nor how figures
are shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import asyncpg

from poolproxy.demo.clients import GIVE_UP, Order
from poolproxy.demo.figures import Figures, Report

CONTROL_NAME = "poolproxy control"
"""The application_name of the proxy's own connections, which serve no client."""

SAMPLE_EVERY = 0.05
"""Seconds between two looks at pg_stat_activity."""

_COUNT = """
    SELECT count(*) FILTER (WHERE application_name <> $2), count(*) FILTER (WHERE application_name = $2)
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = $1
"""

Observer: TypeAlias = "asyncpg.Connection[Any]"


class StormFailed(Exception):
    """A worker process ended as it should not: the figures would be wrong."""


class Database(Protocol):
    """What a storm must know about the PostgreSQL it looks into: `LocalPostgres` is one."""

    host: str
    port: int
    superuser: str
    password: str


def split(order: Order, workers: int) -> list[Order]:
    """The same order for several workers, each with its own clients, as equal in number as can be."""
    bounds = [order.clients * n // workers for n in range(workers + 1)]
    return [
        replace(order, first=order.first + start, clients=end - start)
        for start, end in itertools.pairwise(bounds)
        if end > start
    ]


async def run_storm(order: Order, database: Database, figures: Figures) -> None:
    """Let the storm of `order` loose and fill `figures` until its last client has left.

    Raises StormFailed when a worker dies. When cancelled, the workers are killed first.
    """
    async with _observer(database, order.database) as observer, contextlib.AsyncExitStack() as stack:
        await observer.execute("UPDATE visits SET done = 0")
        workers = [
            await stack.enter_async_context(_worker(part))
            for part in split(order, min(2, os.cpu_count() or 1))
        ]
        loop = asyncio.get_running_loop()
        figures.begin(loop.time())
        watching = asyncio.create_task(_watch(observer, order.user, figures))
        try:
            async with asyncio.timeout(order.seconds + 2 * GIVE_UP):
                await asyncio.gather(*(_listen(n, worker, figures) for n, worker in enumerate(workers)))
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        if not watching.cancelled():
            watching.result()
        figures.end(await observer.fetchval("SELECT sum(done)::int FROM visits"))


@contextlib.asynccontextmanager
async def _observer(database: Database, name: str) -> AsyncIterator[Observer]:
    connection = await asyncpg.connect(
        host=database.host,
        port=database.port,
        user=database.superuser,
        password=database.password,
        database=name,
        ssl=False,
        server_settings={"application_name": "poolproxy demo observer"},
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def _watch(observer: Observer, user: str, figures: Figures) -> None:
    while True:
        row = await observer.fetchrow(_COUNT, user, CONTROL_NAME)
        assert row is not None
        figures.add_sample(row[0], row[1])
        await asyncio.sleep(SAMPLE_EVERY)


@contextlib.asynccontextmanager
async def _worker(order: Order) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker that has read its order and is ready; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "poolproxy.demo.clients",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
        start_new_session=True,  # Ctrl-C is for us alone: we end the workers
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order.to_line())
        if await process.stdout.readline() != b"ready\n":
            raise StormFailed("a worker process did not start")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listen(number: int, worker: asyncio.subprocess.Process, figures: Figures) -> None:
    """Start the clients of one worker and take its reports until it ends."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(b"go\n")
    loop = asyncio.get_running_loop()
    async for line in worker.stdout:
        figures.add_report(number, Report.from_line(line), loop.time())
    if status := await worker.wait():
        raise StormFailed(f"a worker process ended with status {status}")
