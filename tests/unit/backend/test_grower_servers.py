"""What becomes of a server that has just been opened: init_query, its lifetime, and what it reports."""

from __future__ import annotations

from tests.dialogues.words import error, ready, row, tag
from tests.support import messages as m
from tests.unit.backend.attempts import Stage, Surroundings, clients

#: "A database that is back is not kept waiting for longer than": seconds.
LONGEST = 1.0


class TestInitQuery:
    async def test_is_asked_before_anybody_gets_the_server(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool(init_query="set work_mem = '9MB'")
        (client,) = clients(pool, 1)
        await around.rest()
        far = await around.succeed()
        assert far.recv(1000) == m.query("set work_mem = '9MB'")
        far.send(tag("SET") + ready())
        await around.rest()
        assert b"pg_show_all_settings" in far.recv(1000)
        assert list(pool.waiting) == [client]
        far.send(row("role", "none", "app") + row("setting", "work_mem", "9216") + tag("SELECT 1") + ready())
        await around.rest()
        assert client.server is not None
        assert pool.baseline.values == client.server.parameters.values
        assert set(pool.baseline.values) == {"work_mem"}

    async def test_failing_it_makes_no_storm(self, stage: Stage, around: Surroundings) -> None:
        """A typing error in the settings: at most two connections per pause, and the pauses grow."""
        pool = stage.pool(init_query="slect 1")
        waiting = clients(pool, 3)
        await around.rest()
        pauses = 0
        while pauses < 12:
            while around.open:
                far = await around.succeed()
                far.recv(1000)
                far.send(error("42601", "syntax error") + ready())
                await around.rest()
            await around.later()
            pauses += 1
        assert around.begun <= 3 + 1 + 2 * pauses
        assert max(around.delays) < LONGEST
        assert sum(around.delays[-4:]) > 4 * around.delays[0]
        assert (pool.up, pool.down_reason) == (False, "init_query failed: syntax error")
        assert all(client.server is None for client in waiting)
        assert stage.budget.servers == pool.size() == pool.connecting

    async def test_the_reason_stands_until_a_server_is_ready(
        self, stage: Stage, around: Surroundings
    ) -> None:
        """Whoever gives up while the next server is being asked is told why there is none."""
        pool = stage.pool(init_query="slect 1")
        clients(pool, 1)
        await around.rest()
        (await around.succeed()).send(error("42601", "syntax error") + ready())
        await around.rest()
        await around.later()
        assert (await around.succeed()).recv(1000) == m.query("slect 1")
        assert pool.down_reason == "init_query failed: syntax error"

    async def test_a_server_lost_meanwhile_is_a_failure_like_any_other(
        self, stage: Stage, around: Surroundings
    ) -> None:
        pool = stage.pool(init_query="select pg_sleep(1)")
        (client,) = clients(pool, 1)
        await around.rest()
        (await around.succeed()).close()
        await around.rest()
        assert (pool.up, pool.down_reason) == (False, "the connection was lost during init_query")
        assert not pool.up
        assert around.due()
        assert client.server is None
        assert stage.budget.servers == pool.size()


class TestServers:
    async def test_are_closed_when_they_have_lived_long_enough(
        self, stage: Stage, around: Surroundings
    ) -> None:
        pool = stage.pool(server_lifetime=100.0)
        born = around.poller.now
        (client,) = clients(pool, 1)
        await around.rest()
        await around.succeed()
        assert 89.0 < client.server.expires - born < 111.0
        assert client.server.born >= born

    async def test_of_no_limited_lifetime(self, stage: Stage, around: Surroundings) -> None:
        (client,) = clients(stage.pool(server_lifetime=0.0), 1)
        await around.rest()
        await around.succeed()
        assert client.server.expires == 0.0

    async def test_greetings_are_learnt_anew_when_servers_report_something_else(
        self, stage: Stage, around: Surroundings
    ) -> None:
        pool = stage.pool()
        (client,) = clients(pool, 1)
        await around.rest()
        await around.succeed()
        assert pool.reported is client.server.reported
        pool.greetings[(pool.baseline, False)] = pool.reported
        client.server.close("lost")
        await around.rest()
        assert not pool.greetings, "the last server has gone, and what it said with it"

    async def test_a_pool_that_is_dropped_gets_no_more(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool()
        clients(pool, 1)
        await around.rest()
        await around.fail("57P03")
        stage.grower.forget(pool)
        await around.later()
        assert not around.open
