"""Pools over databases whose logins and control queries the test plays."""

from __future__ import annotations

import asyncio
from typing import Any

from poolproxy.backend.pools import Pools
from poolproxy.pool.pool import Pool
from poolproxy.route import Target
from tests.fakes.routes import route_of
from tests.support.polling import dialer_of
from tests.unit.backend.attempts import Client, Surroundings, clients


class Control:
    """In place of the control query: answers what the test says, and counts how often it is asked."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.asked: list[Target] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, target: Target, timeout: float) -> int:
        self.asked.append(target)
        await asyncio.sleep(0)
        await self.may_answer.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Stage:
    """Pools whose logins and control queries the test plays."""

    def __init__(self, around: Surroundings, control: Control, max_pools: int = 1000) -> None:
        self.around = around
        self.control = control
        self.pools = Pools(
            dialer_of(around.poller), max_pools, lambda result: None, lambda pool, problem: None
        )

    def pool(self, **differing: Any) -> Pool:
        return self.pools.pool(route_of(**differing))

    async def served(self, pool: Pool, count: int = 1) -> list[Client]:
        """So many clients of this pool that have a server."""
        found = clients(pool, count)
        await self.around.rest()
        while self.around.open:
            await self.around.succeed()
        assert all(client.server is not None for client in found), pool
        return found

    async def sweep(self, seconds: float = 0.1) -> None:
        self.around.poller.now += seconds
        self.pools.sweep(self.around.poller.now)
        await self.around.rest()
