from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from benchmarks.storm.clients.errors import CommitRefused, ConnectionLost, ServerError
from benchmarks.storm.clients.meter import METER, Meter
from benchmarks.storm.clients.session import transaction
from tests.unit.storm.clients.fakes import FakeSession

DUPLICATE = ServerError("23505", "ERROR", "duplicate key")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    """Its clock is the one that the metering reads."""
    fake = FakeSession()
    monkeypatch.setattr(time, "perf_counter", lambda: fake.time)
    return fake


@pytest.fixture
def meter() -> Iterator[Meter]:
    token = METER.set(made := Meter())
    yield made
    METER.reset(token)


# The metering.


def run(*asked: object) -> None:
    async def all_of_them() -> None:
        for one in asked:
            await one  # type: ignore[misc]

    asyncio.run(all_of_them())


def test_statements_and_their_seconds_are_counted(session: FakeSession, meter: Meter) -> None:
    session.seconds = 0.25
    run(session.execute("BEGIN"), session.fetch("SELECT 1"), session.execute("COMMIT"))
    assert (meter.statements, meter.statement_seconds) == (3, 0.75)
    assert meter.first_answers == []  # nobody has said when it was opened


def test_a_commit_counts_when_it_is_answered_by_commit(session: FakeSession, meter: Meter) -> None:
    session.answers["COMMIT"] = "ROLLBACK"  # a statement had failed
    run(session.execute("BEGIN"), session.execute("COMMIT"))
    assert meter.commits == 0
    del session.answers["COMMIT"]
    run(session.execute("BEGIN"), session.execute("INSERT"), session.execute("COMMIT"))
    assert meter.commits == 1


def test_the_seconds_of_a_begin_are_those_in_which_a_server_was_waited_for(
    session: FakeSession, meter: Meter
) -> None:
    async def order() -> None:
        async with transaction(session):
            await session.execute("INSERT")

    session.seconds = 0.25
    run(order())
    assert (meter.begin_seconds, meter.statement_seconds, meter.commits) == (0.25, 0.75, 1)


def test_a_begin_that_is_refused_was_waited_for_too(session: FakeSession, meter: Meter) -> None:
    async def order() -> None:
        async with transaction(session):
            raise AssertionError("it has not begun")

    session.seconds = 0.25
    session.answers["BEGIN"] = ServerError("53300", "FATAL", "no server in time")
    with pytest.raises(ServerError):
        run(order())
    assert (meter.begin_seconds, meter.commits) == (0.25, 0)


def test_the_first_answer_counts_from_the_connect_without_the_time_between(
    session: FakeSession, meter: Meter
) -> None:
    session.opened(2.0)
    session.time = 1000.0  # frozen after INIT
    session.seconds = 0.5
    run(session.execute("BEGIN"), session.execute("COMMIT"))
    assert meter.first_answers == [2.5]


def test_an_error_is_no_first_answer_but_its_time_counts(session: FakeSession, meter: Meter) -> None:
    session.opened(2.0)
    session.seconds = 0.5
    session.answers["BEGIN"] = ServerError("08P01", "ERROR", "query_wait_timeout")

    async def twice() -> None:
        with pytest.raises(ServerError):
            await session.execute("BEGIN")
        assert meter.first_answers == []
        await session.execute("SELECT 1")

    asyncio.run(twice())
    assert meter.first_answers == [3.0]
    assert meter.errors == {"08P01": 1}
    assert (meter.statements, meter.statement_seconds) == (1, 1.0)


def test_the_first_answer_belongs_to_the_invocation_in_which_it_comes(session: FakeSession) -> None:
    session.opened(1.0)
    during_init, invocation, next_one = Meter(), Meter(), Meter()

    async def one_after_the_other() -> None:
        METER.set(during_init)
        METER.set(invocation)
        await session.execute("BEGIN")
        METER.set(next_one)
        await session.execute("BEGIN")

    asyncio.run(one_after_the_other())
    assert [len(meter.first_answers) for meter in (during_init, invocation, next_one)] == [0, 1, 0]


def test_a_statement_that_is_given_up_costs_its_time(session: FakeSession, meter: Meter) -> None:
    session.seconds = 0.5
    session.answers["SELECT 1"] = asyncio.CancelledError()

    async def cancelled() -> None:
        with pytest.raises(asyncio.CancelledError):
            await session.execute("SELECT 1")

    asyncio.run(cancelled())
    assert (meter.statements, meter.statement_seconds, meter.errors) == (0, 0.5, {})


# The transaction.


async def test_a_transaction_is_begun_and_committed(session: FakeSession) -> None:
    async with transaction(session):
        await session.execute("INSERT 1")
    assert session.said == ["BEGIN", "INSERT 1", "COMMIT"]


async def test_an_exception_rolls_back_and_goes_on(session: FakeSession) -> None:
    session.answers["INSERT 1"] = DUPLICATE
    with pytest.raises(ServerError) as caught:
        async with transaction(session):
            await session.execute("INSERT 1")
    assert caught.value is DUPLICATE
    assert session.said == ["BEGIN", "INSERT 1", "ROLLBACK"]


async def test_an_exception_of_the_handler_rolls_back_too(session: FakeSession) -> None:
    with pytest.raises(KeyError):
        async with transaction(session):
            raise KeyError("body")
    assert session.said == ["BEGIN", "ROLLBACK"]


async def test_a_lost_connection_is_not_asked_to_roll_back(session: FakeSession) -> None:
    session.answers["INSERT 1"] = ConnectionLost("gone")
    with pytest.raises(ConnectionLost, match="gone"):
        async with transaction(session):
            await session.execute("INSERT 1")
    assert session.said == ["BEGIN", "INSERT 1"]


async def test_a_rollback_that_fails_does_not_hide_the_reason(session: FakeSession) -> None:
    session.answers["INSERT 1"] = DUPLICATE
    session.answers["ROLLBACK"] = ConnectionLost("gone")
    with pytest.raises(ServerError):
        async with transaction(session):
            await session.execute("INSERT 1")


async def test_a_commit_that_rolls_back_is_no_success(session: FakeSession) -> None:
    """PostgreSQL answers COMMIT of a failed transaction by the tag ROLLBACK, without an error."""
    session.answers["COMMIT"] = "ROLLBACK"
    with pytest.raises(CommitRefused, match="ROLLBACK"):
        async with transaction(session):
            pass


async def test_who_is_cancelled_says_nothing_more(session: FakeSession) -> None:
    with pytest.raises(asyncio.CancelledError):
        async with transaction(session):
            raise asyncio.CancelledError
    assert session.said == ["BEGIN"]
