from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks.storm.clients import full, lean
from benchmarks.storm.clients.address import Address
from benchmarks.storm.clients.errors import ConnectFailed, ConnectionLost, ServerError, SessionError
from benchmarks.storm.clients.holdings import HOLDINGS, Holdings
from benchmarks.storm.clients.meter import METER, Meter
from benchmarks.storm.clients.opening import Choice, Held, connect
from tests.unit.storm.clients.fakes import FakeSession

URL = "postgres://app:secret@db/app"


class Place:
    """Where both clients end up in these tests. Each connect takes two seconds on the fake clock."""

    def __init__(self) -> None:
        self.time = 0.0
        self.asked: list[tuple[object, ...]] = []
        self.made: list[FakeSession] = []
        self.failure: BaseException | None = None

    async def open_lean(self, address: Address) -> FakeSession:
        return self._open("lean", address.host, address.password)

    async def open_full(self, url: str, statement_cache: int) -> FakeSession:
        return self._open("asyncpg", url, statement_cache)

    def _open(self, *asked: object) -> FakeSession:
        self.asked.append(asked)
        self.time += 2.0
        if self.failure is not None:
            raise self.failure
        self.made.append(FakeSession())
        return self.made[-1]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place()
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.delenv("STORM_CLIENT", raising=False)
    monkeypatch.delenv("STORM_STATEMENT_CACHE", raising=False)
    monkeypatch.setattr(lean, "open_session", place.open_lean)
    monkeypatch.setattr(full, "open_session", place.open_full)
    monkeypatch.setattr(time, "perf_counter", lambda: place.time)
    return place


def test_the_defaults() -> None:
    assert Choice.read({"DATABASE_URL": URL}) == Choice(URL, "asyncpg", 0)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": URL, "STORM_CLIENT": "psycopg"}, "STORM_CLIENT is 'psycopg', not one of"),
        ({"DATABASE_URL": URL, "STORM_STATEMENT_CACHE": "-1"}, "STORM_STATEMENT_CACHE is '-1'"),
    ],
)
def test_wrong_variables_are_named(variables: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Choice.read(variables)


async def test_asyncpg_by_default(place: Place) -> None:
    assert await connect() is place.made[0]
    assert place.asked == [("asyncpg", URL, 0)]


async def test_asyncpg_with_its_cache(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORM_STATEMENT_CACHE", "100")
    await connect()
    assert place.asked == [("asyncpg", URL, 100)]


async def test_lean(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORM_CLIENT", "lean")
    assert await connect() is place.made[0]
    assert place.asked == [("lean", "db", "secret")]


async def test_a_connect_is_metered_and_held(place: Place) -> None:
    METER.set(meter := Meter())
    HOLDINGS.set(holdings := Holdings())
    session = await connect()
    assert (meter.connects, meter.connect_seconds) == (1, 2.0)
    assert holdings.sessions() == [session]
    await session.execute("BEGIN")
    assert meter.first_answers == [2.0]


async def test_a_connect_that_fails_costs_its_time(place: Place) -> None:
    METER.set(meter := Meter())
    place.failure = ConnectFailed("refused")
    with pytest.raises(ConnectFailed):
        await connect()
    assert (meter.connects, meter.connect_seconds) == (0, 2.0)
    assert meter.errors == {"ConnectFailed": 1}


async def test_a_connect_that_is_cut_off_costs_its_time(place: Place) -> None:
    METER.set(meter := Meter())
    place.failure = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await connect()
    assert (meter.connect_seconds, meter.errors) == (2.0, {})


async def test_an_environment_keeps_its_connection_until_it_is_lost(place: Place) -> None:
    held = Held()
    first = await held.session()
    assert await held.session() is first
    place.made[0].answers["BEGIN"] = ConnectionLost("gone")
    with pytest.raises(ConnectionLost):
        await first.execute("BEGIN")
    second = await held.session()
    assert second is not first
    assert await held.session() is second
    assert len(place.asked) == 2


TERMINATED = ServerError("57P01", "FATAL", "terminating connection")
FULL = ServerError("53300", "FATAL", "too many connections")
STARTING = ServerError("57P03", "FATAL", "the database system is starting up")
FAILED = ServerError("25P02", "ERROR", "current transaction is aborted")


@pytest.mark.parametrize("found", [ConnectionLost("gone"), TERMINATED], ids=repr)
async def test_a_transaction_begins_anew_where_begin_finds_the_connection_lost(
    place: Place, found: SessionError
) -> None:
    held = Held()
    await held.session()
    place.made[0].answers["BEGIN"] = found
    async with held.transaction() as session:
        await session.execute("SELECT 1")
    assert [made.said for made in place.made] == [["BEGIN"], ["BEGIN", "SELECT 1", "COMMIT"]]
    assert await held.session() is session


@pytest.mark.parametrize("found", [FULL, STARTING, FAILED], ids=repr)
async def test_who_is_turned_away_or_may_go_on_does_not_begin_anew(place: Place, found: SessionError) -> None:
    held = Held()
    await held.session()
    place.made[0].answers["BEGIN"] = found
    with pytest.raises(type(found)):
        async with held.transaction():
            pytest.fail("it has not begun")
    assert len(place.made) == 1


async def test_a_loss_in_the_midst_of_a_transaction_is_raised(place: Place) -> None:
    """What was sent may have been done."""
    held = Held()
    await held.session()
    place.made[0].answers["SELECT 1"] = ConnectionLost("gone")
    with pytest.raises(ConnectionLost):
        async with held.transaction() as session:
            await session.execute("SELECT 1")
    assert [made.said for made in place.made] == [["BEGIN", "SELECT 1"]]


async def test_it_connects_anew_once(place: Place) -> None:
    held = Held()
    await held.session()
    place.made[0].answers["BEGIN"] = ConnectionLost("gone")
    place.failure = ConnectFailed("refused")
    with pytest.raises(ConnectFailed):
        async with held.transaction():
            pytest.fail("it has not begun")
    assert len(place.asked) == 2
