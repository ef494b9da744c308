"""What PostgreSQL is asked about its connections, and what is allowed before, without and after an answer."""

from __future__ import annotations

import asyncio
from typing import cast

import asyncpg
import pytest

from poolproxy.backend import watching
from poolproxy.backend.catalogue import Catalogue, Fingerprint
from poolproxy.backend.database import ASK_AGAIN, ASK_SOON, LOOKS, Database
from poolproxy.backend.pools import EMPTY_POOL_LIFETIME, _database_key
from poolproxy.backend.server import Server
from poolproxy.pool.pool import Pool
from poolproxy.pool.snapshot import DatabaseSnapshot
from poolproxy.route import Target
from poolproxy.session.hazards import Hazards
from tests.fakes.routes import target_of
from tests.unit.backend.attempts import Surroundings, clients
from tests.unit.backend.databases import Control, Stage


@pytest.fixture
def stage(databases: Stage) -> Stage:
    return databases


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
        await stage.sweep(ASK_AGAIN + 1.0)
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 0, 0, 7),)
        assert control.asked == []

    async def test_it_is_asked_again_now_and_then(self, stage: Stage, control: Control) -> None:
        control.answers = [90, 40]
        clients(stage.pool(max_connections=0), 1)
        await stage.sweep()
        await stage.sweep(ASK_AGAIN / 2)
        assert len(control.asked) == 1
        await stage.sweep(ASK_AGAIN)
        assert stage.pools.databases()[0].limit == 40

    @pytest.mark.parametrize(
        "problem",
        [OSError("away"), TimeoutError(), asyncpg.InvalidPasswordError("no"), asyncpg.InterfaceError("no")],
        ids=lambda problem: type(problem).__name__,
    )
    async def test_after_a_failure_sooner(self, stage: Stage, control: Control, problem: Exception) -> None:
        control.answers = [problem, 90]
        clients(stage.pool(max_connections=0), 1)
        await stage.sweep()
        assert stage.pools.databases()[0].limit == 0
        await stage.sweep(ASK_SOON + 0.1)
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


class TestBeforeTheAnswer:
    """One server serves all, beside the connection that asks."""

    async def test_a_storm_at_the_start(self, stage: Stage, control: Control, around: Surroundings) -> None:
        control.answers = [20]
        control.may_answer.clear()
        pool = stage.pool(max_connections=0, max_connections_percent=25, pool_size=9)
        waiting = clients(pool, 9)
        await stage.sweep()
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 1, 1, 0),)
        control.may_answer.set()
        await around.rest()
        assert len(around.open) == 4, "max_parallel_connects, without waiting for a tick"
        while around.open:
            await around.succeed()
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 5, 0, 5),)
        assert sum(client.server is not None for client in waiting) == 5

    async def test_the_place_of_the_question_is_used_after_it(
        self, stage: Stage, control: Control, around: Surroundings
    ) -> None:
        control.answers = [4, 4]
        pool = stage.pool(max_connections=0, pool_size=9)
        clients(pool, 3)
        await around.rest()
        while around.open:
            await around.succeed()
        control.may_answer.clear()
        await stage.sweep(ASK_AGAIN + 1.0)
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 3, 1, 4),)
        clients(pool, 1)
        await stage.sweep()
        assert not around.open, "no room beside the question"
        control.may_answer.set()
        await around.rest()
        assert len(around.open) == 1


class TestLookingAtTheCatalogue:
    """Until that has been done each hand-over is a reset: no sweep is waited for."""

    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        users = []

        async def look(control: object, target: Target, known: object, timeout: float) -> Catalogue:
            users.append(target.user)
            return Catalogue(Fingerprint("", "", ""), Hazards(frozenset(), False, ()), {})

        monkeypatch.setattr(watching, "read_catalogue", look)
        return users

    @pytest.mark.parametrize("limit", [0, 7], ids=["behind the question for the limit", "alone"])
    async def test_as_soon_as_the_first_server_is_there(
        self, stage: Stage, control: Control, looks: list[str], limit: int
    ) -> None:
        control.answers = [90]
        pool = stage.pool(max_connections=limit, catalogue_poll_interval=5.0)
        assert pool.always_reset
        await stage.served(pool)
        assert looks == ["app"]
        assert not pool.always_reset
        stage.around.poller.now += 60.0
        await stage.served(pool)
        assert looks == ["app"], "the next one is the sweep's"

    async def test_as_soon_as_the_limit_is_known_where_servers_came_first(
        self, stage: Stage, control: Control, looks: list[str]
    ) -> None:
        control.answers = [90]
        control.may_answer.clear()
        pool = stage.pool(max_connections=0, catalogue_poll_interval=5.0)
        await stage.served(pool)
        assert looks == []
        control.may_answer.set()
        await stage.around.rest()
        assert looks == ["app"]

    async def test_not_as_a_user_that_may_be_refused(
        self, stage: Stage, control: Control, looks: list[str]
    ) -> None:
        control.answers = [asyncpg.InvalidPasswordError("no")]
        stage.pool(max_connections=0, catalogue_poll_interval=5.0)
        await stage.around.rest()
        assert looks == []


class TestWithoutAnAnswer:
    async def test_a_share_is_not_exceeded_and_nobody_is_forgotten(
        self, stage: Stage, control: Control, around: Surroundings
    ) -> None:
        """Of two users, on one server in turn, until an answer comes."""
        control.answers = [asyncpg.InsufficientPrivilegeError("no"), 40]
        one, two = (
            stage.pool(user=user, max_connections=0, max_connections_percent=50, pool_size=9)
            for user in ("one", "two")
        )
        (first, *others) = clients(one, 3)
        (other,) = clients(two, 1)
        await stage.sweep()
        assert (around.begun, len(around.open)) == (1, 1)
        await around.succeed()
        for client in (first, *others):
            assert client.server is not None, "in turn"
            client.give_back()
        await stage.sweep()
        assert one.size() == 0, "it makes way"
        await around.succeed()
        assert other.server is not None
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 1, 0, 0),)
        clients(one, 3)
        await stage.sweep(ASK_SOON)
        assert stage.pools.databases()[0].limit == 20
        assert len(around.open) == 3

    async def test_all_of_it_is_left_to_postgresql(
        self, stage: Stage, control: Control, around: Surroundings
    ) -> None:
        """It refuses what is too much by itself; one server for everybody would help nobody."""
        control.answers = [asyncpg.InsufficientPrivilegeError("no")]
        clients(stage.pool(max_connections=0, max_connections_percent=100, pool_size=9), 9)
        await around.rest()
        assert len(around.open) == 4
        while around.open:
            await around.succeed()
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 9, 0, 0),)

    async def test_a_database_that_is_back_is_asked_at_once(
        self, stage: Stage, control: Control, around: Surroundings
    ) -> None:
        control.answers = [ConnectionRefusedError("down"), 40]
        clients(stage.pool(max_connections=0, max_connections_percent=50), 3)
        await stage.sweep()
        await around.fail(ConnectionRefusedError("down"))
        await around.later()
        assert len(control.asked) == 1
        await around.succeed()
        await stage.sweep()
        assert len(control.asked) == 2
        assert stage.pools.databases()[0].limit == 20
        assert len(around.open) == 2

    async def test_a_user_whose_login_works_is_asked_for(
        self, stage: Stage, control: Control, around: Surroundings
    ) -> None:
        """The first to come may be the one whose password is wrong."""
        control.answers = [asyncpg.InvalidPasswordError("no"), 40]
        wrong = stage.pool(user="wrong", target=target_of(user="wrong"), max_connections=0)
        right = stage.pool(user="right", target=target_of(user="right"), max_connections=0)
        clients(wrong, 1)
        await around.rest()
        await around.fail("28P01")
        clients(right, 1)
        await around.rest()
        await around.succeed()
        await stage.sweep()
        assert [target.user for target in control.asked] == ["wrong", "right"]

    async def test_a_known_limit_stays(self, stage: Stage, control: Control) -> None:
        control.answers = [40, OSError("away")]
        stage.pool(max_connections=0, min_pool_size=1)
        await stage.sweep()
        await stage.sweep(ASK_AGAIN + 1.0)
        assert len(control.asked) == 2
        assert stage.pools.databases()[0].limit == 40


class TestNames:
    """Two names for one database: one budget, and a row for each."""

    async def test_each_has_its_own_servers_and_the_same_limit(
        self, stage: Stage, around: Surroundings
    ) -> None:
        shop, alias = stage.pool(max_connections=4), stage.pool(database="alias", max_connections=4)
        await stage.served(shop, 1)
        await stage.served(alias, 3)
        assert stage.pools.databases() == (
            DatabaseSnapshot("shop", 1, 0, 4),
            DatabaseSnapshot("alias", 3, 0, 4),
        )
        clients(shop, 1)
        await around.rest()
        assert not around.open

    async def test_a_name_goes_with_its_last_pool(self, stage: Stage) -> None:
        stage.pool(max_connections=4, min_pool_size=1)
        stage.pool(database="alias", max_connections=4)
        await stage.sweep()
        await stage.sweep(EMPTY_POOL_LIFETIME + 1.0)
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 1, 0, 4),)

    async def test_the_question_counts_once(self, stage: Stage, control: Control) -> None:
        control.answers = [40]
        control.may_answer.clear()
        for name in ("shop", "alias"):
            stage.pool(database=name, max_connections=0)
        await stage.sweep()
        assert sum(database.control for database in stage.pools.databases()) == 1


async def test_a_database_dropped_while_it_is_asked_goes_afterwards(stage: Stage, control: Control) -> None:
    control.answers = [40, 40]
    control.may_answer.clear()
    stage.pool(max_connections=0, max_connections_percent=10)
    await stage.sweep()
    await stage.sweep(EMPTY_POOL_LIFETIME + 1.0)
    assert list(stage.pools) == []
    control.may_answer.set()
    await stage.sweep()
    await stage.sweep()
    stage.pool(max_connections=0, max_connections_percent=10)
    assert stage.pools.databases()[0].limit == 0, "a new one, not asked yet"
    await stage.sweep()


class TestLodging:
    """A connection of our own that stays has a place in the budget as a server has."""

    def database(self, stage: Stage, pool: Pool) -> Database:
        return stage.pools._databases[_database_key(pool.route.target)]

    async def test_where_there_is_room(self, stage: Stage) -> None:
        database = self.database(stage, stage.pool(max_connections=3))
        await database.lodge()
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 0, 1, 3),)
        assert not database.crowded()
        assert not database.vacant()
        database.leave()
        assert database.vacant()

    async def test_an_idle_server_makes_way(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool(max_connections=2, pool_size=2)
        for client in await stage.served(pool, 2):
            client.give_back()
        database = self.database(stage, pool)
        lodging = asyncio.create_task(database.lodge())
        await around.rest()
        await around.later()
        await lodging
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 1, 1, 2),)
        assert database.crowded()
        waiting = clients(pool, 2)
        await stage.sweep()
        assert not around.open, "no place for another server"
        database.leave()
        await around.rest()
        await around.succeed()
        assert all(client.server is not None for client in waiting)

    async def test_a_busy_server_makes_way_when_it_is_free(self, stage: Stage, around: Surroundings) -> None:
        pool = stage.pool(max_connections=2, pool_size=2)
        await stage.served(pool, 2)
        database = self.database(stage, pool)
        lodging = asyncio.create_task(database.lodge())
        await around.rest()
        for _ in range(LOOKS - 1):
            await around.later()
        assert not lodging.done()
        (retired,) = (server for server in pool.servers if cast(Server, server).expires == -1.0)
        cast(Server, retired).close("its lifetime is over")
        await around.later()
        await lodging
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 1, 1, 2),)
        database.leave()

    async def test_who_gives_up_has_taken_nothing(self, stage: Stage) -> None:
        pool = stage.pool(max_connections=1, pool_size=1)
        await stage.served(pool)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await self.database(stage, pool).lodge()
        assert stage.pools.databases() == (DatabaseSnapshot("shop", 1, 0, 1),)

    async def test_it_does_not_come_while_the_limit_is_asked_for(
        self, stage: Stage, control: Control
    ) -> None:
        """One server and one connection of ours are what was promised until then."""
        control.answers = [90]
        control.may_answer.clear()
        database = self.database(stage, stage.pool(max_connections=0))
        lodging = asyncio.create_task(database.lodge())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not lodging.done()
        control.may_answer.set()
        await lodging
        database.leave()

    async def test_it_measures_for_itself(self, stage: Stage, control: Control) -> None:
        control.answers = [OSError("away")]
        database = self.database(stage, stage.pool(max_connections=0, max_connections_percent=50))
        await stage.sweep()
        await database.lodge()
        await stage.sweep(ASK_SOON + 1.0)
        assert len(control.asked) == 1, "not by another connection"
        assert database.unmeasured()
        database.measured(90)
        assert (database.budget.limit, database.unmeasured()) == (45, False)
        database.leave()
