"""auth_query is asked: one question per name, bounds, deadlines, and what becomes of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
import pytest_asyncio

from poolproxy.auth.credentials import UserSecret
from poolproxy.auth.lookups import DOUBT
from poolproxy.auth.server_login import ServerRefusedLogin
from poolproxy.backend import inquiring
from poolproxy.backend.inquiring import MOST_WAITING, REST, Inquirer, Question
from poolproxy.errors import PoolproxyError, UsersNotLookedUp
from poolproxy.protocol.scram import secret_from_password
from tests.fakes.routes import route_of

SCRAM = secret_from_password("pencil").format()
SQL = "select * from lookup($1)"
VALID_UNTIL = inquiring._VALIDITY
#: A third column decides whether PostgreSQL is asked for the end of validity besides.
TWO, THREE = ("name", "text"), ("name", "text", "timestamptz")


class Statement:
    """Prepared on a connection of the test's."""

    def __init__(self, connection: Connection, sql: str) -> None:
        self._connection = connection
        self._sql = sql

    def get_parameters(self) -> tuple[object, ...]:
        return (object(),) * self._connection.server.parameters

    def get_attributes(self) -> tuple[Any, ...]:
        return tuple(
            SimpleNamespace(type=SimpleNamespace(name=name)) for name in self._connection.server.columns
        )

    async def fetch(self, user: str) -> list[tuple[object, ...]]:
        return await self._connection.ask(self._sql, user)

    async def fetchval(self, user: str) -> object:
        (row,) = await self._connection.ask(self._sql, user) or [(None,)]
        return row[0]


class Connection:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.closed = False

    async def prepare(self, sql: str) -> Statement:
        return Statement(self, sql)

    async def fetch(self, sql: str) -> list[tuple[str, int | None]]:
        return [("scram-sha-256", None)]

    async def ask(self, sql: str, user: str) -> list[tuple[object, ...]]:
        self.server.asked.append((sql, user))
        await asyncio.sleep(0)
        await self.server.may_answer.wait()
        if self.closed:
            raise asyncpg.ConnectionDoesNotExistError("lost")
        if self.server.problems:
            raise self.server.problems.pop(0)
        return self.server.validity if sql == VALID_UNTIL else self.server.rows.get(user, [])

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.server.terminated += not self.closed
        self.closed = True

    async def close(self, timeout: float) -> None:
        self.server.parted += 1
        self.closed = True


class Server:
    """The PostgreSQL, and the Control that opens connections to it."""

    def __init__(self) -> None:
        self.columns: tuple[str, ...] = THREE
        self.parameters = 1
        self.rows: dict[str, list[tuple[object, ...]]] = {"bob": [("bob", SCRAM, None)]}
        self.validity: list[tuple[object, ...]] = []
        self.problems: list[Exception] = []
        self.away: Exception | None = None
        self.asked: list[tuple[str, str]] = []
        self.started_with: list[dict[str, str]] = []
        self.connections: list[Connection] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.terminated = self.parted = 0

    async def connect(self, target: object, timeout: float, at_start: Any) -> Connection:
        self.started_with.append(dict(at_start))
        await asyncio.sleep(0)
        if self.away is not None:
            raise self.away
        self.connections.append(Connection(self))
        return self.connections[-1]

    def names(self) -> list[str]:
        return [user for sql, user in self.asked if sql == SQL]


class Database:
    """Counts whom it lodges."""

    def __init__(self) -> None:
        self.lodged = 0
        self.full = False

    async def lodge(self) -> None:
        await asyncio.sleep(0)
        self.lodged += 1

    def leave(self) -> None:
        self.lodged -= 1

    def crowded(self) -> bool:
        return self.full

    def unmeasured(self) -> bool:
        return False


class Stage:
    """An inquirer, and a clock for it."""

    def __init__(self, **question: Any) -> None:
        self.server, self.database = Server(), Database()
        self.poller = SimpleNamespace(now=1000.0)
        self.wall = 50_000.0
        values = {"sql": SQL, "ttl": 60.0, "timeout": 5.0, "route": route_of(), **question}
        self.inquirer = Inquirer(
            cast(Any, self.poller),
            cast(Any, self.server),
            cast(Any, self.database),
            Question(**values),
            b"k" * 32,
            lambda: self.wall,
        )
        self.told: list[tuple[UserSecret | None, PoolproxyError | None]] = []

    def tell(self, secret: UserSecret | None, error: PoolproxyError | None) -> None:
        self.told.append((secret, error))

    async def ask(self, user: str = "bob") -> UserSecret:
        """The secret, whether it is at hand or has to be asked for."""
        secret = self.inquirer.ask(user, self.tell)
        if secret is None:
            await self.rest()
            secret, error = self.told.pop()
            assert error is None
            assert secret is not None
        return secret

    async def rest(self) -> None:
        """Until nobody waits."""
        for _ in range(10_000):
            await asyncio.sleep(0)
            if not self.inquirer._waiting:
                return
        raise AssertionError(repr(self.inquirer))

    async def gone(self) -> None:
        """Until the connection has ended, and what it took has been given back."""
        while self.inquirer._life is not None:
            await asyncio.sleep(0)
        assert self.database.lodged == 0
        assert all(connection.closed for connection in self.server.connections)


@pytest_asyncio.fixture
async def stages() -> AsyncIterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(**question: Any) -> Stage:
        made.append(Stage(**question))
        return made[-1]

    yield make
    for stage in made:
        await stage.inquirer.close()
        assert stage.database.lodged == 0, "what was taken was given back"


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    return stages()


class TestAsking:
    async def test_an_answer_is_used_again_for_its_ttl(self, stage: Stage) -> None:
        first = await stage.ask()
        assert first.known
        stage.poller.now += 59.0
        assert stage.inquirer.ask("bob", stage.tell) is first
        stage.poller.now += 1.0
        assert await stage.ask() is not first
        assert stage.server.names() == ["bob", "bob"]
        assert stage.inquirer.results == {"found": 2, "cached": 1}

    async def test_nobody_is_kept_as_well(self, stage: Stage) -> None:
        assert not (await stage.ask("nobody")).known
        assert not (await stage.ask("nobody")).known
        assert stage.inquirer.results == {"unknown": 1, "cached": 1}

    async def test_a_failed_login_has_it_asked_again_soon(self, stage: Stage) -> None:
        for user in ("bob", "nobody"):
            await stage.ask(user)
            stage.inquirer.doubt(user)
            await stage.ask(user)
        stage.poller.now += DOUBT
        for user in ("bob", "nobody"):
            await stage.ask(user)
        assert stage.server.names() == ["bob", "nobody", "bob", "nobody"]

    async def test_many_of_one_name_are_one_question(self, stage: Stage) -> None:
        for _ in range(200):
            assert stage.inquirer.ask("nobody", stage.tell) is None
        await stage.rest()
        assert stage.server.names() == ["nobody"]
        assert len(stage.told) == 200
        assert len({id(secret) for secret, _ in stage.told}) == 1

    async def test_names_wait_in_line_and_only_so_many(self, stage: Stage) -> None:
        stage.server.may_answer.clear()
        users = [f"user {number}" for number in range(MOST_WAITING)]
        for user in users:
            assert stage.inquirer.ask(user, stage.tell) is None
        with pytest.raises(UsersNotLookedUp):
            stage.inquirer.ask("one too many", stage.tell)
        assert stage.inquirer.ask(users[0], stage.tell) is None, "whoever waits for the same is no more"
        stage.server.may_answer.set()
        await stage.rest()
        assert stage.server.names() == users
        assert len(stage.server.connections) == 1

    async def test_who_hears_and_breaks_is_alone(self, stage: Stage) -> None:
        def broken(secret: UserSecret | None, error: PoolproxyError | None) -> None:
            raise RuntimeError("a defect")

        stage.inquirer.ask("bob", broken)
        assert (await stage.ask()).known
        assert (await stage.ask("nobody")).known is False

    async def test_every_question_ends_by_itself(self, stage: Stage) -> None:
        await stage.ask()
        assert stage.server.started_with == [{"statement_timeout": "5000"}]


class TestValidity:
    async def test_by_the_third_column_whenever_it_is(self, stage: Stage) -> None:
        stage.server.rows["bob"] = [("bob", SCRAM, datetime.fromtimestamp(stage.wall + 30, UTC))]
        assert (await stage.ask()).known
        stage.wall += 31  # the clock of the cache stands still
        assert not (await stage.ask()).known
        stage.poller.now += 60
        assert not (await stage.ask()).known
        assert stage.inquirer.results == {"found": 1, "cached": 1, "expired": 1}

    async def test_without_one_postgresql_is_asked_of_everybody_alike(self, stage: Stage) -> None:
        stage.server.columns = TWO
        stage.server.rows["bob"] = [("bob", SCRAM)]
        stage.server.validity = [(datetime.fromtimestamp(stage.wall - 1, UTC),)]
        assert not (await stage.ask()).known
        stage.server.validity = []
        assert not (await stage.ask("nobody")).known
        assert stage.server.asked == [
            (SQL, "bob"), (VALID_UNTIL, "bob"), (SQL, "nobody"), (VALID_UNTIL, "nobody"),
        ]  # fmt: skip
        assert stage.inquirer.results == {"expired": 1, "unknown": 1}


async def test_passwords_are_stretched_for_nobody_as_well(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are stored as such; that takes a millisecond, which strangers must not be spared."""
    stretched: list[str] = []
    make = inquiring.user_secret

    def counted(user: str, text: str, key: bytes) -> UserSecret:
        stretched.append(user)
        return make(user, text, key)

    monkeypatch.setattr(inquiring, "user_secret", counted)
    await_stretching = asyncio.Event()
    aside = inquiring.aside

    def heard(call: Callable[[], UserSecret]) -> asyncio.Future[UserSecret]:
        future = aside(call)
        future.add_done_callback(lambda _: await_stretching.set())
        return future

    monkeypatch.setattr(inquiring, "aside", heard)
    assert not (await stage.ask("early")).known
    assert stretched == []
    stage.server.rows["plain"] = [("plain", "pencil", None)]
    for user in ("plain", "nobody"):
        await_stretching.clear()
        assert stage.inquirer.ask(user, stage.tell) is None
        await await_stretching.wait()
        await stage.rest()
    assert stretched == ["plain", "nobody"]
    (plain, _), (nobody, _) = stage.told
    assert plain is not None
    assert nobody is not None
    assert (plain.known, nobody.known) == (True, False)


class TestFailing:
    def failed(self, stage: Stage) -> bool:
        secret, error = stage.told.pop()
        return secret is None and isinstance(error, UsersNotLookedUp)

    @pytest.mark.parametrize(
        "problem",
        [
            OSError(111, "refused"),
            ServerRefusedLogin("28P01", "no"),
            asyncpg.InterfaceError("no"),
            TimeoutError(),
        ],
        ids=lambda problem: type(problem).__name__,
    )
    async def test_where_nobody_can_be_asked_all_hear_it_and_it_rests(
        self, stage: Stage, problem: Exception
    ) -> None:
        stage.server.away = problem
        for user in ("bob", "nobody", "bob"):
            stage.inquirer.ask(user, stage.tell)
        await stage.rest()
        assert all(self.failed(stage) for _ in range(3))
        await stage.gone()
        with pytest.raises(UsersNotLookedUp):
            stage.inquirer.ask("bob", stage.tell)
        assert len(stage.server.started_with) == 1
        stage.server.away = None
        stage.poller.now += REST
        assert (await stage.ask()).known
        assert stage.inquirer.results == {"failed": 3, "cached": 1, "found": 1}

    @pytest.mark.parametrize(
        ("columns", "parameters"),
        [(("name",), 1), (("name",) * 4, 1), (("name", "text", "date"), 1), (TWO, 2), (TWO, 0)],
    )
    async def test_a_query_that_is_none(
        self, stage: Stage, columns: tuple[str, ...], parameters: int
    ) -> None:
        stage.server.columns, stage.server.parameters = columns, parameters
        stage.inquirer.ask("bob", stage.tell)
        await stage.rest()
        assert self.failed(stage)
        await stage.gone()
        assert stage.server.names() == []

    async def test_one_that_fails_for_one_name(self, stage: Stage) -> None:
        """The connection is as good as before, and the next name may be luckier."""
        await stage.ask()
        stage.server.problems = [asyncpg.DivisionByZeroError("no")]
        stage.inquirer.ask("eve", stage.tell)
        stage.inquirer.ask("nobody", stage.tell)
        await stage.rest()
        assert not self.failed(stage)
        assert len(stage.server.connections) == 1
        assert stage.inquirer.results == {"found": 1, "failed": 1, "unknown": 1}

    async def test_a_failure_is_not_kept(self, stage: Stage) -> None:
        stage.server.problems = [asyncpg.DivisionByZeroError("no")]
        stage.inquirer.ask("bob", stage.tell)
        await stage.rest()
        assert self.failed(stage)
        assert (await stage.ask()).known

    @pytest.mark.parametrize("sqlstate", ["42622", "22021", "22P05"])
    async def test_a_name_that_cannot_be_is_nobody(self, stage: Stage, sqlstate: str) -> None:
        stage.server.problems = [asyncpg.PostgresError.new({"C": sqlstate, "M": "no"})]
        assert not (await stage.ask("x" * 100)).known
        assert not (await stage.ask("\udcff")).known
        assert stage.server.names() == ["x" * 100], "what is no text is not asked for"

    async def test_no_answer_in_time(self, stages: Callable[..., Stage]) -> None:
        stage = stages(timeout=0.01)
        stage.server.may_answer.clear()
        heard = asyncio.Event()
        stage.inquirer.ask("bob", lambda secret, error: heard.set())
        await heard.wait()
        await stage.gone()
        assert stage.server.terminated == 1, "without a goodbye that could hang as well"
        assert stage.inquirer.results == {"failed": 1}

    async def test_a_defect_of_ours_is_told_to_all(self, stage: Stage) -> None:
        stage.server.problems = [RuntimeError("a defect")]
        stage.inquirer.ask("bob", stage.tell)
        stage.inquirer.ask("nobody", stage.tell)
        await stage.rest()
        assert self.failed(stage)
        assert self.failed(stage)
        await stage.gone()


class TestConnection:
    async def test_it_is_kept_while_there_is_demand(self, stages: Callable[..., Stage]) -> None:
        stage = stages(ttl=0.0)
        for _ in range(5):
            await stage.ask()
        assert len(stage.server.connections) == stage.database.lodged == 1

    async def test_and_no_longer(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inquiring, "IDLE", 0.0)
        await stage.ask()
        await stage.gone()
        assert (stage.server.parted, stage.server.terminated) == (1, 0)
        assert (await stage.ask("nobody")).known is False
        assert len(stage.server.connections) == 2

    @pytest.mark.parametrize("error", ["lost", "another"])
    async def test_one_that_is_of_no_use_any_more_is_replaced(
        self, stages: Callable[..., Stage], error: str
    ) -> None:
        stage = stages(ttl=0.0)
        await stage.ask()
        if error == "lost":
            stage.server.may_answer.clear()
            stage.inquirer.ask("bob", stage.tell)
            while len(stage.server.asked) < 2:
                await asyncio.sleep(0)
            stage.server.connections[0].closed = True
            stage.server.may_answer.set()
            await stage.rest()
            stage.told.pop()
        else:
            stage.server.problems = [asyncpg.InvalidCachedStatementError("no")]
            await stage.ask()
        assert len(stage.server.connections) == 2
        assert stage.database.lodged == 1
        assert stage.inquirer.results == {"found": 2}

    async def test_one_that_is_too_old_is_replaced(self, stages: Callable[..., Stage]) -> None:
        """By server_lifetime: its address may have become another server's."""
        stage = stages(ttl=0.0, route=route_of(server_lifetime=600.0))
        await stage.ask()
        stage.poller.now += 599.0
        await stage.ask()
        assert len(stage.server.connections) == 1
        stage.poller.now += 1.0
        await stage.ask()
        assert [connection.closed for connection in stage.server.connections] == [True, False]
        assert stage.database.lodged == 1

    async def test_one_that_was_lost_while_idle_leaves(self, stage: Stage) -> None:
        await stage.ask()
        stage.server.connections[0].closed = True
        stage.inquirer.sweep(stage.poller.now)
        await stage.gone()

    async def test_who_is_lost_again_is_told(self, stage: Stage) -> None:
        """One more attempt, not any number."""
        await stage.ask()
        stage.server.problems = [asyncpg.InvalidCachedStatementError("no")] * 2
        stage.inquirer.ask("nobody", stage.tell)
        await stage.rest()
        assert stage.told.pop()[0] is None

    async def test_it_leaves_as_soon_as_its_place_is_needed(self, stage: Stage) -> None:
        await stage.ask()
        stage.inquirer.sweep(stage.poller.now)
        assert stage.database.lodged == 1
        stage.database.full = True
        stage.inquirer.sweep(stage.poller.now)
        await stage.gone()
        await stage.ask("nobody")
        await stage.gone()

    async def test_who_comes_while_it_parts_is_answered(self, stage: Stage) -> None:
        await stage.ask()
        stage.inquirer.leave()
        parting = asyncio.Event()
        close = Connection.close

        async def slow(self: Connection, timeout: float) -> None:
            await parting.wait()
            await close(self, timeout)

        stage.server.connections[0].close = slow.__get__(stage.server.connections[0])  # type: ignore[method-assign]
        for _ in range(10):
            await asyncio.sleep(0)
        assert stage.inquirer.ask("nobody", stage.tell) is None
        parting.set()
        await stage.rest()
        assert len(stage.server.connections) == 2
        assert stage.told.pop()[1] is None

    async def test_the_end(self, stage: Stage) -> None:
        stage.server.may_answer.clear()
        stage.inquirer.ask("bob", stage.tell)
        await asyncio.sleep(0)
        await stage.inquirer.close()
        assert stage.told == []
        with pytest.raises(UsersNotLookedUp):
            stage.inquirer.ask("bob", stage.tell)

    async def test_its_repr_names_nobody(self, stage: Stage) -> None:
        await stage.ask()
        assert repr(stage.inquirer) == "<Inquirer open, 0 waiting, 1 known>"
