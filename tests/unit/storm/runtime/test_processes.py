"""A kill while a process is being forked: whoever comes next has the environment to himself."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from benchmarks.storm.runtime.forks import Fork, Forks
from benchmarks.storm.runtime.processes import ProcessRuntime
from benchmarks.storm.runtime.runtime import Killed


class Forked:
    def __init__(self, number: int, alive: bool = True) -> None:
        self.number = number
        self.alive = alive
        self.killed = not alive

    def kill(self) -> None:
        self.alive, self.killed = False, True


class Nursery:
    """Forks when the test says so."""

    def __init__(self) -> None:
        self.births: list[asyncio.Future[Forked]] = []

    async def fork(self) -> Forked:
        self.births.append(asyncio.get_running_loop().create_future())
        return await self.births[-1]


async def test_two_inits_of_which_the_first_was_killed_while_it_was_forked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    async def ask(runtime: Any, document: dict[str, Any]) -> str:
        asked.append(runtime.pid)
        return "answer"

    monkeypatch.setattr(ProcessRuntime, "_ask", ask)
    monkeypatch.setattr(ProcessRuntime, "pid", property(lambda runtime: runtime._fork.number))
    nursery = Nursery()
    dead = Forked(0, alive=False)
    runtime = ProcessRuntime(cast("Forks", nursery), 1.0, cast("Fork", dead))
    first = asyncio.create_task(runtime.initialise())
    await asyncio.sleep(0)
    runtime.kill()
    second = asyncio.create_task(runtime.initialise())
    await asyncio.sleep(0)
    one, two = Forked(1), Forked(2)
    for birth, fork in zip(nursery.births, (one, two), strict=True):
        birth.set_result(fork)
    with pytest.raises(Killed):
        await first
    assert await second == "answer"
    assert (one.alive, two.alive) == (False, True)
    assert asked == [2]
