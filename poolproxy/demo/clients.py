"""One worker process of a storm: many short-lived asyncpg clients (`python -m poolproxy.demo.clients`).

A process of its own, so that the clients' Python does not hold up the display. It reads its order as one JSON
line from standard input, says `ready`, waits for `go`, and writes `figures.Report` lines until its clients
have left. Must not know whether it talks to a proxy or to PostgreSQL itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

import asyncpg
import uvloop

from poolproxy.demo.figures import Report

REPORT_EVERY = 0.25
"""Seconds between two reports."""

GIVE_UP = 30.0
"""Seconds after which a client stops waiting for a connection or an answer, and counts an error."""

PAUSE = (0.1, 0.5)
"""Seconds, at random between these, that a refused client waits before it tries again."""


@dataclass(slots=True, frozen=True)
class Order:
    """What a worker is to do: `clients` of them, numbered from `first`, for `seconds`, against one
    address."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    first: int
    clients: int
    seconds: float

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Order:
        return cls(**json.loads(line))


class Crowd:
    """The clients of one worker. Each is in one state at a time, and `_move` is what moves it."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._states: Counter[str] = Counter()
        self._served: set[int] = set()
        self._transactions = 0
        self._errors: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._latencies: list[float] = []

    async def run(self) -> None:
        """All clients at once; back when each has left, or has been waited for as long as it may take."""
        ends = time.monotonic() + self._order.seconds
        numbers = range(self._order.first, self._order.first + self._order.clients)
        tasks = [asyncio.create_task(self._client(number, ends)) for number in numbers]
        _, late = await asyncio.wait(tasks, timeout=self._order.seconds + GIVE_UP)
        for task in late:
            self._errors["unfinished"] += 1
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def report(self) -> Report:
        latencies, self._latencies = self._latencies, []
        return Report(
            connecting=self._states["connecting"],
            waiting=self._states["waiting"],
            working=self._states["working"],
            resting=self._states["resting"],
            served=len(self._served),
            transactions=self._transactions,
            errors=dict(self._errors),
            examples=dict(self._examples),
            latencies=latencies,
        )

    def _move(self, before: str, after: str) -> str:
        self._states[before] -= 1
        self._states[after] += 1
        return after

    async def _client(self, number: int, ends: float) -> None:
        """Connect, one transaction, disconnect, and again until `ends`; a transaction once wanted is tried
        on."""
        state = self._move("", "resting")
        try:
            while time.monotonic() < ends:
                wished = time.monotonic()
                while not await self._visit(number):
                    await asyncio.sleep(random.uniform(*PAUSE))
                    if time.monotonic() >= ends:
                        return
                self._latencies.append(time.monotonic() - wished)
                self._transactions += 1
                self._served.add(number)
        finally:
            self._move(state, "")

    async def _visit(self, number: int) -> bool:
        """One connection and its transaction; False after an error, which is counted."""
        order = self._order
        state = self._move("resting", "connecting")
        connection = None
        try:
            connection = await asyncpg.connect(
                host=order.host,
                port=order.port,
                user=order.user,
                password=order.password,
                database=order.database,
                ssl=False,
                timeout=GIVE_UP,
                command_timeout=GIVE_UP,
                server_settings={"application_name": "storm"},
            )
            state = self._move(state, "waiting")
            async with connection.transaction():
                state = self._move(state, "working")
                await connection.execute("UPDATE visits SET done = done + 1 WHERE client = $1", number)
            await connection.close()
            return True
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            kind = getattr(error, "sqlstate", None) or type(error).__name__
            self._errors[kind] += 1
            self._examples.setdefault(kind, str(error).partition("\n")[0][:200])
            return False
        finally:
            if connection is not None:
                connection.terminate()
            self._move(state, "resting")


async def work(order: Order) -> None:
    """The storm of one worker, its reports on standard output; the last one is written when all clients have
    left."""
    # Our starter writes nothing more: standard input turns readable only when it is gone, and then so are we.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 1)
    crowd = Crowd(order)
    storm = asyncio.create_task(crowd.run())
    while not storm.done():
        await asyncio.wait([storm], timeout=REPORT_EVERY)
        sys.stdout.buffer.write(crowd.report().to_line())
        sys.stdout.buffer.flush()
    await storm


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    line = sys.stdin.buffer.readline()
    if not line:
        return  # our starter was interrupted
    order = Order.from_line(line)
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    if sys.stdin.buffer.readline() == b"go\n":
        uvloop.run(work(order))


if __name__ == "__main__":
    main()
