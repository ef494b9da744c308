"""Environments as processes, for tests: hosts of the functions in `functions`, and how they are asked."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.storm.clock import Clock
from benchmarks.storm.runtime.forks import Room
from benchmarks.storm.runtime.processes import ProcessHost, ProcessRuntime
from benchmarks.storm.runtime.runtime import Request

Make = Callable[..., Awaitable[ProcessHost]]
numbers = itertools.count()


def state(pid: int) -> str:
    """As ps has it: R, S, D, T (stopped), Z; "" when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def gone(pid: int) -> bool:
    return state(pid) == ""


def request(event: object, **others: Any) -> Request:
    values = {"invocation": "i-1", "attempt": 1, "function": "f", "memory": 512, "environment": 1}
    return Request(event=event, **{**values, "remaining": 60.0, **others})


async def environment(host: ProcessHost) -> ProcessRuntime:
    """One whose INIT has succeeded."""
    made = await host.make()
    assert isinstance(made, ProcessRuntime)
    assert (await made.initialise()).failed is False
    return made


class Note:
    """A file that a function writes at some time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"note{next(numbers)}"

    def there(self) -> bool:
        return self.path.exists()

    def words(self) -> list[str]:
        return self.path.read_text("utf-8").split()


@asynccontextmanager
async def hosts_of(url: str) -> AsyncIterator[Make]:
    """Makes hosts whose functions have `url` as their database, and sees that they leave nothing."""
    made: list[ProcessHost] = []

    async def make(
        function: str, scale: float = 1.0, room: Room | None = None, **variables: str
    ) -> ProcessHost:
        variables = {**os.environ, "DATABASE_URL": url, **variables}
        host = ProcessHost(
            f"tests.support.functions:{function}", Clock(scale), variables=variables, room=room
        )
        made.append(host)
        await host.start()
        return host

    yield make
    for host in made:
        family = [] if gone(host.pid) else psutil.Process(host.pid).children(recursive=True)
        await host.close()
        assert gone(host.pid)
        assert [process for process in family if process.is_running()] == []
