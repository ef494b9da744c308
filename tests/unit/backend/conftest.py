"""A poller inside the test's event loop, and a grower whose logins the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from poolproxy.backend import database as database_module
from poolproxy.errors import PoolproxyError
from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.stream import Stream
from tests.unit.backend.attempts import Stage, Surroundings
from tests.unit.backend.databases import Control
from tests.unit.backend.databases import Stage as Databases


def _broken(pollable: Pollable, error: Exception) -> None:
    """As the app does it; what is not an error of ours shows as its text."""
    assert isinstance(pollable, Stream)
    pollable.handler.fail(error if isinstance(error, PoolproxyError) else PoolproxyError())


@pytest_asyncio.fixture
async def poller() -> AsyncIterator[Poller]:
    """Served by the loop whenever it has something to do, and only then: tests set its clock."""
    poller = Poller(_broken)
    loop = asyncio.get_running_loop()

    def turn() -> None:
        poller.wait(0.0)

    async def serve_pending() -> None:
        while True:
            if poller.pending:
                turn()
            await asyncio.sleep(0)  # no timer: tests play those of the code under test

    loop.add_reader(poller.fileno(), turn)
    serving = asyncio.create_task(serve_pending())
    yield poller
    serving.cancel()
    await asyncio.wait([serving])
    loop.remove_reader(poller.fileno())
    poller.close()


@pytest_asyncio.fixture
async def around(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Surroundings]:
    around = Surroundings(poller, monkeypatch)
    yield around
    around.close()


@pytest_asyncio.fixture
async def stage(around: Surroundings) -> AsyncIterator[Stage]:
    stage = Stage(around)
    yield stage
    await stage.grower.close()


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    control = Control()
    monkeypatch.setattr(database_module, "usable_connections", control)
    return control


@pytest_asyncio.fixture
async def databases(around: Surroundings, control: Control) -> AsyncIterator[Databases]:
    stage = Databases(around, control)
    yield stage
    await stage.pools.close()
    await around.rest()
    for pool in stage.pools:
        assert pool.size() == 0, pool
    assert all(database.servers == database.control == 0 for database in stage.pools.databases())
