"""When servers are opened: how many at once, how soon again, and what a failure means for whom."""

from __future__ import annotations

import pytest

from poolproxy.backend.passwords import NoPassword
from poolproxy.errors import NoServerPassword, UnexpectedServerAnswer
from poolproxy.session.lifecycle import CLIENT_IDLE
from tests.unit.backend.attempts import Stage, Surroundings, clients

#: "A database that is back is not kept waiting for longer than": seconds.
LONGEST = 1.0


class TestHowMany:
    async def test_one_for_each_who_waits(self, stage: Stage, around: Surroundings) -> None:
        first, second = clients(stage.pool(), 2)
        await around.rest()
        assert len(around.open) == 2
        await around.succeed()
        await around.succeed()
        assert None not in (first.server, second.server)
        assert around.begun == 2

    async def test_only_so_many_at_once(self, stage: Stage, around: Surroundings) -> None:
        waiting = clients(stage.pool(pool_size=9, max_parallel_connects=3), 9)
        await around.rest()
        most = 0
        while around.open:
            most = max(most, len(around.open))
            await around.succeed()
        assert most == 3
        assert around.begun == 9
        assert all(client.server is not None for client in waiting)

    async def test_one_at_a_time_goes_on_without_waiting_for_a_tick(
        self, stage: Stage, around: Surroundings
    ) -> None:
        """The attempt that has just ended no longer counts among those under way."""
        clients(stage.pool(max_parallel_connects=1), 2)
        await around.rest()
        await around.succeed()
        assert len(around.open) == 1

    async def test_never_above_the_budget(self, around: Surroundings) -> None:
        stage = Stage(around, limit=2)
        clients(stage.pool(pool_size=9), 5)
        await around.rest()
        assert len(around.open) == 2
        for _ in range(2):
            await around.succeed()
        assert (around.begun, stage.budget.servers) == (2, 2)
        await stage.grower.close()

    async def test_a_place_that_becomes_free_is_used(self, around: Surroundings) -> None:
        """By the pool that waits for it, whoever had it."""
        stage = Stage(around, limit=1)
        rich, poor = stage.pool(user="rich"), stage.pool(user="poor")
        (holder,) = clients(rich, 1)
        await around.rest()
        await around.succeed()
        (waiting,) = clients(poor, 1)
        await around.rest()
        assert not around.open
        holder.server.close("lost")
        await around.rest()
        await around.succeed()
        assert waiting.server is not None
        assert stage.budget.servers == 1
        await stage.grower.close()

    async def test_pools_take_turns(self, around: Surroundings) -> None:
        """Who came first has no right to every place that becomes free."""
        stage = Stage(around, limit=2)
        greedy, modest = stage.pool(user="greedy", pool_size=9), stage.pool(user="modest")
        holders = clients(greedy, 2)
        await around.rest()
        await around.succeed()
        await around.succeed()
        clients(greedy, 5)
        (late,) = clients(modest, 1)
        for holder in holders:
            holder.server.close("lost")
            await around.rest()
        while around.open:
            await around.succeed()
        assert late.server is not None
        await stage.grower.close()

    async def test_the_floor_is_filled_without_anybody(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool(min_pool_size=2)
        stage.grower.need(pool)
        await around.rest()
        await around.succeed()
        await around.succeed()
        assert (len(pool.idle), around.begun) == (2, 2)

    async def test_books_after_everything(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool()
        clients(pool, 3)
        await around.rest()
        far = await around.succeed()
        await around.fail(OSError("no"))
        far.close()
        await around.rest()
        assert stage.budget.servers == pool.size() == pool.connecting
        await stage.grower.close()
        assert stage.budget.servers == pool.size() == 0
        assert not around.open


class TestFailures:
    @pytest.mark.parametrize(
        ("problem", "result"),
        [
            (ConnectionRefusedError(111, "no"), "unreachable"),
            (TimeoutError(), "timeout"),
            ("57P03", "refused"),
            ("53300", "refused"),
            (UnexpectedServerAnswer(what="nonsense"), "unreachable"),
            ("28P01", "auth"),
            ("3D000", "auth"),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    async def test_counted_and_noted(
        self, stage: Stage, around: Surroundings, problem: Exception | str, result: str
    ) -> None:
        pool = stage.pool()
        clients(pool, 1)
        await around.rest()
        await around.fail(problem)
        assert pool.counters.server_connects == {result: 1}
        assert not pool.up
        assert pool.down_reason
        assert stage.budget.servers == pool.connecting == 0

    async def test_retried_soon_and_then_less_often_but_within_a_second(
        self, stage: Stage, around: Surroundings
    ) -> None:
        """A database that is back is found within a second, however long it was away."""
        clients(stage.pool(), 1)
        await around.rest()
        for _ in range(30):
            await around.fail(ConnectionRefusedError(111, "no"))
            assert not around.open, "not at once"
            await around.later()
        assert around.begun == 31
        assert around.delays[0] < 0.2
        assert max(around.delays) < LONGEST
        assert sum(around.delays[-10:]) > sum(around.delays[:10]), "a database that is down is left in peace"

    async def test_one_attempt_at_a_time_until_one_works(self, stage: Stage, around: Surroundings) -> None:
        waiting = clients(stage.pool(pool_size=4), 4)
        await around.rest()
        assert len(around.open) == 4
        for _ in range(4):
            await around.fail(ConnectionRefusedError(111, "no"))
        assert not around.open
        await around.later()
        assert len(around.open) == 1
        while around.open:
            await around.succeed()
        assert all(client.server is not None for client in waiting)

    async def test_nobody_is_sent_away_and_the_first_gets_it_once_it_is_back(
        self, stage: Stage, around: Surroundings
    ) -> None:
        pool = stage.pool()
        first, _ = clients(pool, 2)
        await around.rest()
        for _ in range(2):
            await around.fail("57P03")
        assert not stage.refusals
        assert pool.waiting.size() == 2
        await around.later()
        await around.succeed()
        assert first.server is not None
        assert (pool.up, pool.down_reason) == (True, "")

    async def test_nothing_is_tried_when_nobody_waits_any_more(
        self, stage: Stage, around: Surroundings
    ) -> None:
        pool = stage.pool()
        (client,) = clients(pool, 1)
        await around.rest()
        await around.fail(ConnectionRefusedError(111, "no"))
        pool.move_client(client, CLIENT_IDLE)
        await around.later()
        assert not around.open
        assert not around.due()

    async def test_closed_it_tries_no_more(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool()
        clients(pool, 1)
        await around.rest()
        await around.fail(ConnectionRefusedError(111, "no"))
        await stage.grower.close()
        assert not around.due()
        stage.grower.need(pool)
        await around.rest()
        assert around.begun == 1


class TestHopelessLogins:
    @pytest.mark.parametrize("sqlstate", ["28P01", "28000", "3D000"])
    async def test_end_the_waiting(self, stage: Stage, around: Surroundings, sqlstate: str) -> None:
        pool = stage.pool()
        clients(pool, 3)
        await around.rest()
        for _ in range(3):
            await around.fail(sqlstate)
        assert stage.refusals[0][0] is pool
        error = stage.refusals[0][1]
        if sqlstate == "3D000":
            assert error.sqlstate == sqlstate
        else:
            assert "PostgreSQL refused the proxy's login" in error.message
        assert pool.waiting.size() == 0

    async def test_a_password_that_could_not_be_had(self, stage: Stage, around: Surroundings) -> None:
        """As a refusal for all else, but it was not PostgreSQL who refused."""
        pool, other = stage.pool(), stage.pool(user="other")
        clients(pool, 1)
        await around.rest()
        await around.fail(NoPassword("password_secret: AWS cannot be reached", "for the log"))
        ((failed, error),) = stage.refusals
        assert failed is pool
        assert isinstance(error, NoServerPassword)
        assert error.message == (
            "there is no password for the proxy's login for pool shop/app "
            "(password_secret: AWS cannot be reached)"
        )
        assert pool.counters.server_connects == {"auth": 1}
        clients(other, 1)
        await around.rest()
        assert len(around.open) == 1, "others are not slowed down"

    async def test_not_of_those_who_wait_for_servers_that_work(
        self, stage: Stage, around: Surroundings
    ) -> None:
        """The password was changed behind us: the servers that are open still are."""
        pool = stage.pool()
        clients(pool, 1)
        await around.rest()
        await around.succeed()
        clients(pool, 1)
        await around.rest()
        await around.fail("28P01")
        assert not stage.refusals
        assert pool.waiting.size() == 1

    async def test_do_not_slow_down_other_pools(self, stage: Stage, around: Surroundings) -> None:
        """One user's password is wrong, and it keeps coming; the others are served as ever."""
        bad, good = stage.pool(user="bad"), stage.pool(user="good")
        clients(bad, 1)
        await around.rest()
        await around.fail("28P01")
        clients(bad, 1)
        waiting = clients(good, 2)
        await around.rest()
        assert len(around.open) == 2, "both at once, and now"
        for _ in range(2):
            await around.succeed()
        assert all(client.server is not None for client in waiting)

    async def test_are_not_tried_again_at_once(self, stage: Stage, around: Surroundings) -> None:
        """However many clients come: PostgreSQL must not be asked for each."""
        pool = stage.pool()
        clients(pool, 1)
        await around.rest()
        await around.fail("28P01")
        clients(pool, 3)
        await around.rest()
        waited = 0.0
        while not around.open:
            waited += await around.later()
        assert 0.3 < waited < LONGEST
        await around.succeed()
        assert pool.up


class TestTooMany:
    """53300: what we hold is what there is, for now."""

    async def test_it_shrinks_and_grows_again(self, stage: Stage, around: Surroundings) -> None:
        """Others had the slots, and leave: in the end everyone is served, without any server being closed."""
        waiting = clients(stage.pool(pool_size=5, max_parallel_connects=2), 5)
        await around.rest()
        await around.succeed()
        while around.open:
            await around.fail("53300")
        assert stage.budget.servers == 1
        assert not around.open
        for _ in range(20):
            if around.due():
                await around.later()
            while around.open:
                await around.succeed()
        assert [client.server is not None for client in waiting] == [True] * 5

    async def test_as_long_as_it_lasts_it_is_asked_one_at_a_time(
        self, stage: Stage, around: Surroundings
    ) -> None:
        clients(stage.pool(pool_size=5), 5)
        await around.rest()
        await around.succeed()
        while around.open:
            await around.fail("53300")
        for _ in range(10):
            await around.later()
            assert len(around.open) == 1
            await around.fail("53300")
        assert max(around.delays) < LONGEST

    async def test_with_nothing_open_it_tries_on(self, stage: Stage, around: Surroundings) -> None:
        (client,) = clients(stage.pool(), 1)
        await around.rest()
        for _ in range(5):
            await around.fail("53300")
            await around.later()
        await around.succeed()
        assert client.server is not None
