"""A storm whose environments are processes: the model decides, the kernel stops, kills and forks anew."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import psutil
import pytest

from benchmarks.storm import ledger
from benchmarks.storm.clock import Clock
from benchmarks.storm.live import Progress
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.service import Service
from benchmarks.storm.recorder import Recorder
from benchmarks.storm.runner import Storm
from benchmarks.storm.runtime.forks import Room, TooManyProcesses
from benchmarks.storm.runtime.processes import ProcessHost, ProcessRuntime
from benchmarks.storm.scenarios.scenario import Arrival
from tests.support.cluster import DATABASE, Direct
from tests.support.stage import Stage
from tests.support.waiting import soon

SCALE = 2.0
ENVIRONMENTS = 8


@pytest.fixture
async def shop(stage: Stage) -> AsyncIterator[asyncpg.Connection[Any]]:
    """The tables that the built-in handlers work with."""
    connection = await asyncpg.connect(stage.postgres.url(DATABASE))
    await ledger.prepare(connection)
    yield connection
    await ledger.remove(connection)
    await connection.close()


class Trial:
    """The built-in `order`, with a timeout of 5 s, 2.5 of ours."""

    def __init__(self, stage: Stage, room: Room | None = None) -> None:
        self.clock = Clock(SCALE)
        self.progress = Progress("processes", "direct", 1, 1)
        self.recorder = Recorder(self.progress, SCALE, lambda _: "")
        variables = {**os.environ, "DATABASE_URL": stage.postgres.url(DATABASE), "STORM_CLIENT": "lean"}
        self.host = ProcessHost("order", self.clock, variables=variables, room=room)
        service = Service([Function("order", timeout=5.0, memory=1769)])
        self.storm = Storm(service, {"order": self.host}, self.clock, self.recorder)
        self._sent = 0

    async def invoke(self, count: int) -> dict[str, int]:
        """So many at once; the outcomes of them."""
        before = dict(self.progress.outcomes)
        now = self.clock.now()
        arrivals = [Arrival("order", now, self._sent + number) for number in range(count)]
        self._sent += count
        await self.storm.send(arrivals, 60.0)
        outcomes = self.progress.outcomes
        return {name: more for name in outcomes if (more := outcomes[name] - before.get(name, 0))}

    def pids(self) -> set[int]:
        found = self.storm.runtimes().values()
        return {runtime.pid for runtime in found if isinstance(runtime, ProcessRuntime)}


async def test_the_timeout_wall_kills_and_the_next_run_is_another_process(
    stage: Stage, direct: Direct, shop: asyncpg.Connection[Any]
) -> None:
    """In mid-transaction: nothing of it is there, and nothing that was acknowledged is missing."""
    trial = Trial(stage)
    before = direct.pids()
    await trial.host.start()
    async with trial.storm:
        assert await trial.invoke(ENVIRONMENTS) == {"succeeded": ENVIRONMENTS}
        first = trial.pids()
        assert len(first) == ENVIRONMENTS
        assert trial.storm.clients() == ENVIRONMENTS
        await soon(lambda: {psutil.Process(pid).status() for pid in first} == {"stopped"}, "all are frozen")

        async with shop.transaction():
            await shop.execute("LOCK TABLE storm.item IN EXCLUSIVE MODE")  # every order waits for it
            assert await trial.invoke(ENVIRONMENTS) == {"timed out": ENVIRONMENTS}
            assert len(direct.sessions("wait_event_type = 'Lock'")) == ENVIRONMENTS
            await soon(lambda: not any(map(psutil.pid_exists, first)), "all are dead, and reaped")

        assert await trial.invoke(ENVIRONMENTS) == {"succeeded": ENVIRONMENTS}
        second = trial.pids()
        assert len(second) == ENVIRONMENTS
        assert not first & second
    assert not any(map(psutil.pid_exists, {trial.host.pid, *second}))
    await soon(lambda: direct.pids() <= before, "none of their sessions is left")
    await ledger.acknowledge(shop, trial.recorder.acknowledged)
    verdict = await ledger.verdict(shop)
    assert (verdict.acknowledged, verdict.clean, verdict.faults) == (2 * ENVIRONMENTS, 2 * ENVIRONMENTS, 0)
    assert await shop.fetchval("select count(*) from storm.purchase") == 2 * ENVIRONMENTS


async def test_more_environments_than_there_is_room_for(stage: Stage, shop: asyncpg.Connection[Any]) -> None:
    trial = Trial(stage, Room(4))
    with pytest.raises(TooManyProcesses, match="at most 4 execution environments can be processes"):
        async with trial.storm:
            await trial.invoke(ENVIRONMENTS)
    assert not psutil.pid_exists(trial.host.pid)
