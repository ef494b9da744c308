"""A poller inside the test's event loop, and a grower whose logins the test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from poolproxy.backend import control as control_module
from poolproxy.transport.poller import Poller
from tests.support.polling import served_poller
from tests.unit.backend.attempts import Stage, Surroundings
from tests.unit.backend.databases import Control
from tests.unit.backend.databases import Stage as Databases


@pytest_asyncio.fixture
async def poller() -> AsyncIterator[Poller]:
    async with served_poller() as poller:
        yield poller


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
    monkeypatch.setattr(control_module.Control, "usable_connections", control)
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
