"""All pools together: how many there may be, who makes way for whom, and what the tick does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from poolproxy.backend import pools as pools_module
from poolproxy.backend.pools import ASK_AGAIN, ASK_SOON, EMPTY_POOL_LIFETIME, Pools
from poolproxy.errors import TooManyPools
from poolproxy.pool.pool import Pool
from poolproxy.pool.snapshot import DatabaseSnapshot
from poolproxy.route import Target
from poolproxy.session.lifecycle import CLIENT_CLOSED
from poolproxy.transport.sockets import TcpOptions
from tests.fakes.routes import route_of, target_of
from tests.unit.backend.attempts import Client, Surroundings, clients


class Control:
    """In place of the control query: answers what the test says, and counts how often it is asked."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.asked: list[Target] = []

    async def __call__(self, target: Target, timeout: float) -> int:
        self.asked.append(target)
        await asyncio.sleep(0)
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
            around.poller, TcpOptions(), max_pools, lambda result: None, lambda pool, problem: None
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

    async def tick(self, seconds: float = 0.1) -> None:
        self.around.poller.now += seconds
        self.pools.tick(self.around.poller.now)
        await self.around.rest()


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    control = Control()
    monkeypatch.setattr(pools_module, "usable_connections", control)
    return control


@pytest_asyncio.fixture
async def stage(around: Surroundings, control: Control) -> AsyncIterator[Stage]:
    stage = Stage(around, control)
    yield stage
    await stage.pools.close()
    await around.rest()
    for pool in stage.pools:
        assert pool.size() == 0, pool
    assert all(database.servers == database.control == 0 for database in stage.pools.databases())


def leave(client: Client) -> None:
    """Its transaction is over, and it disconnects."""
    if client.server is not None:
        client.give_back()
    client.pool.move_client(client, CLIENT_CLOSED)


class TestManyPools:
    async def test_the_same_names_share_one(self, stage: Stage) -> None:
        assert stage.pool(user="a") is stage.pool(user="a")
        assert stage.pool(user="a") is not stage.pool(user="b")
        assert len(list(stage.pools)) == 2

    async def test_no_more_than_max_pools(self, around: Surroundings, control: Control) -> None:
        stage = Stage(around, control, max_pools=2)
        for user in "ab":
            clients(stage.pool(user=user), 1)
        with pytest.raises(TooManyPools, match="too many pools: 2 "):
            stage.pool(user="c")
        assert stage.pool(user="a"), "those that exist go on"
        await stage.pools.close()

    async def test_the_one_unused_for_longest_makes_way(self, around: Surroundings, control: Control) -> None:
        stage = Stage(around, control, max_pools=3)
        busy, first, second = (stage.pool(user=user) for user in ("busy", "first", "second"))
        holders = [(await stage.served(pool))[0] for pool in (busy, second, first)]
        leave(holders[2])
        await stage.tick()
        leave(holders[1])
        await stage.tick()
        new = stage.pool(user="new")
        assert set(stage.pools) == {busy, second, new}
        assert first.size() == 0, "its idle server was closed"
        assert second.size() == 1
        await stage.pools.close()

    async def test_an_empty_one_is_dropped_after_a_while(self, stage: Stage) -> None:
        pool = stage.pool()
        await stage.tick()
        await stage.tick(EMPTY_POOL_LIFETIME - 1.0)
        assert list(stage.pools) == [pool]
        await stage.tick(2.0)
        assert list(stage.pools) == []
        assert stage.pools.databases() == ()

    async def test_not_while_somebody_is_there(self, stage: Stage) -> None:
        pool = stage.pool()
        Client(pool)
        for _ in range(3):
            await stage.tick(EMPTY_POOL_LIFETIME)
        assert list(stage.pools) == [pool]

    async def test_a_pool_with_a_floor_stays(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool(min_pool_size=1)
        await stage.tick()
        await around.succeed()
        for _ in range(3):
            await stage.tick(EMPTY_POOL_LIFETIME)
        assert (list(stage.pools), pool.size()) == ([pool], 1)


class TestEviction:
    async def test_an_idle_server_of_another_pool_makes_way(self, stage: Stage) -> None:
        rich, poor = stage.pool(user="rich", max_connections=2), stage.pool(user="poor", max_connections=2)
        for client in await stage.served(rich, 2):
            client.give_back()
        warm = rich.idle[-1]
        await stage.served(poor)
        assert rich.idle == [warm], "the coldest goes"
        assert (rich.size(), poor.size()) == (1, 1)

    async def test_of_three_pools_whose_ends_ask_for_new_beginnings(self, stage: Stage) -> None:
        """Evicting closes a server, closing asks the grower, which is evicting: one place, and no more."""
        names = ("a", "b", "c")
        a, b, c = (stage.pool(user=name, max_connections=1) for name in names)
        (first,) = await stage.served(a)
        waiting_b, waiting_c = clients(b, 1)[0], clients(c, 1)[0]
        await stage.around.rest()
        assert not stage.around.open, "the only place is taken, by one at work"
        first.give_back()
        for _ in range(3):
            await stage.tick()
            assert a.size() + b.size() + c.size() <= 1
            while stage.around.open:
                assert len(stage.around.open) == 1
                await stage.around.succeed()
            for client in (waiting_b, waiting_c):
                if client.server is not None:
                    leave(client)
        assert (b.waiting.size(), c.waiting.size()) == (0, 0), "each had its turn"
        (database,) = stage.pools.databases()
        assert database.servers == a.size() + b.size() + c.size() <= 1

    async def test_servers_at_work_stay(self, stage: Stage, around: Surroundings) -> None:
        busy, poor = stage.pool(user="busy", max_connections=1), stage.pool(user="poor", max_connections=1)
        (holder,) = await stage.served(busy)
        clients(poor, 1)
        await stage.tick()
        assert not around.open
        assert holder.server is not None

    async def test_other_databases_are_left_alone(self, stage: Stage, around: Surroundings) -> None:
        elsewhere = stage.pool(database="other", target=target_of(dbname="other"), max_connections=1)
        (client,) = await stage.served(elsewhere)
        client.give_back()
        full = stage.pool(max_connections=1)
        await stage.served(full)
        clients(full, 1)
        await stage.tick()
        assert not around.open
        assert elsewhere.size() == 1


class TestLimits:
    async def test_postgresql_says_how_many(
        self, stage: Stage, control: Control, around: Surroundings
    ) -> None:
        control.answers = [90]
        stage.pool(max_connections=0, max_connections_percent=50)
        await around.rest()
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 0, 0, 45),)

    async def test_while_it_is_asked_our_connection_counts(self, stage: Stage, control: Control) -> None:
        control.answers = [90]
        stage.pool(max_connections=0)
        await asyncio.sleep(0)
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 0, 1, 0),)

    async def test_an_absolute_limit_needs_no_question(self, stage: Stage, control: Control) -> None:
        stage.pool(max_connections=7)
        await stage.tick(ASK_AGAIN + 1.0)
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 0, 0, 7),)
        assert control.asked == []

    async def test_it_is_asked_again_now_and_then(self, stage: Stage, control: Control) -> None:
        control.answers = [90, 40]
        clients(stage.pool(max_connections=0), 1)
        await stage.tick()
        await stage.tick(ASK_AGAIN / 2)
        assert len(control.asked) == 1
        await stage.tick(ASK_AGAIN)
        assert stage.pools.databases()[0].limit == 40

    @pytest.mark.parametrize(
        "problem",
        [OSError("away"), TimeoutError(), asyncpg.InvalidPasswordError("no"), asyncpg.InterfaceError("no")],
        ids=lambda problem: type(problem).__name__,
    )
    async def test_after_a_failure_sooner(self, stage: Stage, control: Control, problem: Exception) -> None:
        control.answers = [problem, 90]
        clients(stage.pool(max_connections=0), 1)
        await stage.tick()
        assert stage.pools.databases()[0].limit == 0, "pool sizes alone bound it"
        await stage.tick(ASK_SOON + 0.1)
        assert stage.pools.databases()[0].limit == 90

    async def test_one_database_is_asked_once_for_all_its_pools(
        self, stage: Stage, control: Control, around: Surroundings
    ) -> None:
        control.answers = [90]
        for user in "abc":
            stage.pool(user=user, max_connections=0)
        await around.rest()
        assert len(control.asked) == 1
        assert len(stage.pools.databases()) == 1


class TestTick:
    async def test_what_is_missing_is_opened(self, stage: Stage, around: Surroundings) -> None:
        stage.pool(min_pool_size=2)
        await stage.tick()
        assert len(around.open) == 2

    async def test_what_was_idle_for_too_long_is_closed(self, stage: Stage) -> None:
        pool = stage.pool(server_idle_timeout=10.0)
        (client,) = await stage.served(pool)
        client.give_back()
        await stage.tick(9.0)
        assert pool.size() == 1
        await stage.tick(12.0)  # jitter keeps it up to twice as long
        assert pool.size() == 0

    async def test_what_is_idle_beyond_the_share_is_closed(self, stage: Stage) -> None:
        pool = stage.pool(max_connections=4, pool_size=4, max_idle_connections_percent=50)
        for client in await stage.served(pool, 4):
            client.give_back()
        await stage.tick()
        assert len(pool.idle) == 2

    async def test_what_an_absent_client_left_running_is_cancelled_and_then_closed(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cancelled: list[Any] = []
        monkeypatch.setattr(stage.pools.canceller, "cancel", cancelled.append)
        pool = stage.pool(server_rescue_timeout=10.0)
        (client,) = await stage.served(pool)
        server = client.server
        server.pipeline.skip_query()  # it still runs something
        client.server = None
        pool.move_client(client, CLIENT_CLOSED)
        server.abandon(False)
        await stage.tick(9.0)
        assert cancelled == []
        await stage.tick(2.0)
        assert cancelled == [server]
        await stage.tick(9.0)
        assert (cancelled, pool.size()) == ([server], 1)
        server.cancelling = 1
        await stage.tick(2.0)
        assert pool.size() == 1, "not while a cancel request is on its way: it would hit whoever is next"
        server.cancelling = 0
        await stage.tick(0.1)
        assert pool.size() == 0
