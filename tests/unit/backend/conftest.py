"""A poller inside the test's event loop, and a grower whose logins the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from poolproxy.errors import PoolproxyError
from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.stream import Stream
from tests.unit.backend.attempts import Stage, Surroundings


def _broken(pollable: Pollable, error: Exception) -> None:
    """As the app does it; what is not an error of ours shows as its text."""
    assert isinstance(pollable, Stream)
    pollable.handler.fail(error if isinstance(error, PoolproxyError) else PoolproxyError())


@pytest_asyncio.fixture
async def poller() -> AsyncIterator[Poller]:
    """Drained by the loop whenever one of its sockets is ready."""
    loop = asyncio.get_running_loop()
    poller = Poller(loop.call_soon, _broken)
    loop.add_reader(poller.fileno(), poller.drain)
    yield poller
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
