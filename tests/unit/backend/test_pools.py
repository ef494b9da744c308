"""All pools together: how many there may be, who makes way for whom, and what the sweep does."""

from __future__ import annotations

from typing import Any

import pytest

from poolproxy.backend.pools import EMPTY_POOL_LIFETIME
from poolproxy.errors import TooManyPools
from poolproxy.session.lifecycle import CLIENT_CLOSED
from tests.fakes.routes import target_of
from tests.unit.backend.attempts import Client, Surroundings, clients
from tests.unit.backend.databases import Control, Stage


@pytest.fixture
def stage(databases: Stage) -> Stage:
    return databases


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
        await stage.sweep()
        leave(holders[1])
        await stage.sweep()
        new = stage.pool(user="new")
        assert set(stage.pools) == {busy, second, new}
        assert first.size() == 0, "its idle server was closed"
        assert second.size() == 1
        await stage.pools.close()

    async def test_an_empty_one_is_dropped_after_a_while(self, stage: Stage) -> None:
        pool = stage.pool()
        await stage.sweep()
        await stage.sweep(EMPTY_POOL_LIFETIME - 1.0)
        assert list(stage.pools) == [pool]
        await stage.sweep(2.0)
        assert list(stage.pools) == []
        assert stage.pools.databases() == ()

    async def test_not_while_somebody_is_there(self, stage: Stage) -> None:
        pool = stage.pool()
        Client(pool)
        for _ in range(3):
            await stage.sweep(EMPTY_POOL_LIFETIME)
        assert list(stage.pools) == [pool]

    async def test_a_pool_with_a_floor_stays(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool(min_pool_size=1)
        await stage.sweep()
        await around.succeed()
        for _ in range(3):
            await stage.sweep(EMPTY_POOL_LIFETIME)
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
            await stage.sweep()
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
        await stage.sweep()
        assert not around.open
        assert holder.server is not None

    async def test_other_databases_are_left_alone(self, stage: Stage, around: Surroundings) -> None:
        elsewhere = stage.pool(database="other", target=target_of(dbname="other"), max_connections=1)
        (client,) = await stage.served(elsewhere)
        client.give_back()
        full = stage.pool(max_connections=1)
        await stage.served(full)
        clients(full, 1)
        await stage.sweep()
        assert not around.open
        assert elsewhere.size() == 1


class TestTick:
    async def test_what_is_missing_is_opened(self, stage: Stage, around: Surroundings) -> None:
        stage.pool(min_pool_size=2)
        await stage.sweep()
        assert len(around.open) == 2

    async def test_what_was_idle_for_too_long_is_closed(self, stage: Stage) -> None:
        pool = stage.pool(server_idle_timeout=10.0)
        (client,) = await stage.served(pool)
        client.give_back()
        await stage.sweep(9.0)
        assert pool.size() == 1
        await stage.sweep(12.0)  # jitter keeps it up to twice as long
        assert pool.size() == 0

    async def test_what_is_idle_beyond_the_share_is_closed(self, stage: Stage) -> None:
        pool = stage.pool(max_connections=4, pool_size=4, max_idle_connections_percent=50)
        for client in await stage.served(pool, 4):
            client.give_back()
        await stage.sweep()
        assert len(pool.idle) == 2

    async def test_the_share_is_the_databases_and_not_each_pools(self, stage: Stage) -> None:
        """Four users with three idle servers each, of twenty: a fifth of these may stay, and no more."""
        pools = [
            stage.pool(user=user, max_connections=20, max_idle_connections_percent=20) for user in "abcd"
        ]
        for client in [client for pool in pools for client in await stage.served(pool, 3)]:
            stage.around.poller.now += 0.001
            client.give_back()
        await stage.sweep()
        assert [len(pool.idle) for pool in pools] == [0, 0, 1, 3], "the coldest go"

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
        server.abandon(False, False)
        await stage.sweep(9.0)
        assert cancelled == []
        await stage.sweep(2.0)
        assert cancelled == [server]
        await stage.sweep(9.0)
        assert (cancelled, pool.size()) == ([server], 1)
        server.cancelling = 1
        await stage.sweep(2.0)
        assert pool.size() == 1, "not while a cancel request is on its way: it would hit whoever is next"
        server.cancelling = 0
        await stage.sweep(0.1)
        assert pool.size() == 0
