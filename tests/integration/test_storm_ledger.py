"""The ledger of `benchmarks/storm` on a real PostgreSQL: every fault is planted, and every one is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from benchmarks.storm import ledger
from benchmarks.storm.ledger import NOTE, NOTED, Verdict
from poolproxy.demo.postgres import LocalPostgres
from tests.support.cluster import PASSWORDS
from tests.support.stage import Stage

Connection: TypeAlias = "asyncpg.Connection[Any]"
DATABASE = "second"
NONE = Verdict(acknowledged=0, rows=0, clean=0, lost=0, duplicated=0, half=0, in_doubt=0, retried=0)


async def open_as(postgres: LocalPostgres, user: str = "") -> Connection:
    url = postgres.url(DATABASE, user, PASSWORDS[user]) if user else postgres.url(DATABASE)
    return await asyncpg.connect(url)


@pytest.fixture
async def owner(stage: Stage) -> AsyncIterator[Connection]:
    """Who has made the ledger, in a database where nobody else does anything."""
    connection = await open_as(stage.postgres)
    await ledger.prepare(connection, "app")
    yield connection
    await connection.execute("DROP SCHEMA IF EXISTS storm CASCADE")
    await connection.close()


@pytest.fixture
async def handler(stage: Stage, owner: Connection) -> AsyncIterator[Connection]:
    """The login of the handlers."""
    connection = await open_as(stage.postgres, "app")
    yield connection
    await connection.close()


async def commit(handler: Connection, invocation: str, attempt: int, *parts: int, of: int) -> None:
    """One transaction with these parts in it."""
    async with handler.transaction():
        for part in parts:
            await handler.execute(NOTE, invocation, attempt, part, of)


# What is as it should be.


async def test_nothing_happened(owner: Connection) -> None:
    assert await ledger.verdict(owner) == NONE


async def test_acknowledged_and_there_once(owner: Connection, handler: Connection) -> None:
    await commit(handler, "a", 1, 1, 2, 3, of=3)
    await commit(handler, "b", 1, 1, of=1)
    await ledger.acknowledge(owner, [("a", 1)])
    await ledger.acknowledge(owner, [("b", 1)])
    assert await ledger.verdict(owner) == Verdict(2, 4, 2, 0, 0, 0, 0, 0)


async def test_rolled_back_and_not_acknowledged_leaves_nothing(
    owner: Connection, handler: Connection
) -> None:
    await handler.execute("BEGIN")
    await handler.execute(NOTE, "a", 1, 1, 2)
    await handler.execute("ROLLBACK")
    assert await ledger.verdict(owner) == NONE


async def test_in_doubt(owner: Connection, handler: Connection) -> None:
    """The answer to COMMIT was lost: no fault."""
    await commit(handler, "a", 1, 1, 2, of=2)
    verdict = await ledger.verdict(owner)
    assert verdict == Verdict(0, 2, 0, 0, 0, 0, in_doubt=1, retried=0)
    assert verdict.faults == 0


@pytest.mark.parametrize(
    ("acknowledged", "clean", "in_doubt"), [([2], 1, 1), ([1, 2], 2, 0), ([], 0, 2), ([1], 1, 1)]
)
async def test_a_duplicate_by_retry(
    owner: Connection, handler: Connection, acknowledged: list[int], clean: int, in_doubt: int
) -> None:
    """Two attempts of one invocation have both committed, as at-least-once delivery makes them: no fault."""
    await commit(handler, "a", 1, 1, 2, of=2)
    await commit(handler, "a", 2, 1, 2, of=2)
    await ledger.acknowledge(owner, [("a", attempt) for attempt in acknowledged])
    verdict = await ledger.verdict(owner)
    assert verdict == Verdict(len(acknowledged), 4, clean, 0, 0, 0, in_doubt, retried=1)
    assert verdict.faults == 0


async def test_three_attempts_are_two_duplicates(owner: Connection, handler: Connection) -> None:
    for attempt in (1, 2, 3):
        await commit(handler, "a", attempt, 1, of=1)
    assert (await ledger.verdict(owner)).retried == 2


# Faults.


async def test_a_lost_commit(owner: Connection) -> None:
    await ledger.acknowledge(owner, [("a", 1)])
    examples = ["lost: a attempt 1"]
    assert await ledger.verdict(owner) == Verdict(1, 0, 0, 1, 0, 0, 0, 0, examples)


async def test_a_lost_commit_is_lost_though_its_retry_is_there(
    owner: Connection, handler: Connection
) -> None:
    await commit(handler, "a", 2, 1, of=1)
    await ledger.acknowledge(owner, [("a", 1), ("a", 2)])
    verdict = await ledger.verdict(owner)
    assert (verdict.clean, verdict.lost, verdict.retried) == (1, 1, 0)
    assert verdict.examples == ["lost: a attempt 1"]


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_an_attempt_that_was_committed_twice(
    owner: Connection, handler: Connection, acknowledged: bool
) -> None:
    for _ in range(2):
        await commit(handler, "a", 1, 1, 2, of=2)
    await ledger.acknowledge(owner, [("a", 1)] * acknowledged)
    verdict = await ledger.verdict(owner)
    assert (verdict.duplicated, verdict.faults, verdict.clean, verdict.retried) == (1, 1, 0, 0)
    assert verdict.examples == ["duplicated: a attempt 1"]


async def test_a_statement_that_ran_twice_in_its_transaction(owner: Connection, handler: Connection) -> None:
    await commit(handler, "a", 1, 1, 2, 2, of=2)
    await ledger.acknowledge(owner, [("a", 1)])
    verdict = await ledger.verdict(owner)
    assert (verdict.duplicated, verdict.faults, verdict.clean) == (1, 1, 0)


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("parts", [(1,), (3,), (1, 2), (2, 3), (1, 3)])
async def test_half_a_transaction(
    owner: Connection, handler: Connection, parts: tuple[int, ...], acknowledged: bool
) -> None:
    await commit(handler, "a", 1, *parts, of=3)
    await ledger.acknowledge(owner, [("a", 1)] * acknowledged)
    verdict = await ledger.verdict(owner)
    examples = ["half: a attempt 1"]
    assert verdict == Verdict(int(acknowledged), len(parts), 0, 0, 0, 1, 0, 0, examples)


async def test_a_transaction_that_came_apart_is_half_though_all_parts_are_there(
    owner: Connection, handler: Connection
) -> None:
    """As when a pooler moves a client to another server in the middle of its transaction."""
    await commit(handler, "a", 1, 1, 2, of=3)
    await commit(handler, "a", 1, 3, of=3)
    await ledger.acknowledge(owner, [("a", 1)])
    verdict = await ledger.verdict(owner)
    assert (verdict.half, verdict.faults, verdict.clean) == (1, 1, 0)


async def test_all_at_once_each_in_one_class(owner: Connection, handler: Connection) -> None:
    await commit(handler, "clean", 1, 1, 2, of=2)
    await commit(handler, "doubt", 1, 1, 2, of=2)
    await commit(handler, "retried", 1, 1, of=1)
    await commit(handler, "retried", 2, 1, of=1)
    for _ in range(2):
        await commit(handler, "twice", 1, 1, of=1)
    await commit(handler, "half", 1, 1, of=2)
    await commit(handler, "whole and half", 1, 1, 2, of=2)
    await commit(handler, "whole and half", 1, 1, of=2)
    names = ["clean", "lost", "twice", "half", "whole and half"]
    await ledger.acknowledge(owner, [*((name, 1) for name in names), ("retried", 2)])
    assert await ledger.verdict(owner) == Verdict(
        acknowledged=6,
        rows=2 + 2 + 2 + 2 + 1 + 3,
        clean=2,
        lost=1,
        duplicated=1,
        half=2,
        in_doubt=2,
        retried=1,
        examples=[
            "duplicated: twice attempt 1",
            "half: half attempt 1",
            "half: whole and half attempt 1",
            "lost: lost attempt 1",
        ],
    )


async def test_a_few_examples_of_many_faults(owner: Connection) -> None:
    await ledger.acknowledge(owner, [(f"{number:03}", 1) for number in range(100)])
    verdict = await ledger.verdict(owner)
    assert verdict.lost == 100
    assert verdict.examples == [f"lost: {number:03} attempt 1" for number in range(15)]


async def test_the_note_that_rides_on_a_statement(owner: Connection, handler: Connection) -> None:
    sql = NOTED + "UPDATE storm.item SET stock = stock - $5 WHERE id = $6"
    assert await handler.execute(sql, "a", 1, 1, 1, 2, 7) == "UPDATE 1"
    assert await handler.fetchval("SELECT stock FROM storm.item WHERE id = 7") == ledger.STOCK - 2
    assert (await ledger.verdict(owner)).rows == 1
    assert await handler.execute(sql, "b", 1, 1, 1, 2, -1) == "UPDATE 0"
    assert (await ledger.verdict(owner)).rows == 2


# The tables.


async def test_the_data(owner: Connection) -> None:
    assert await owner.fetchval("SELECT count(*) FROM storm.item WHERE price >= 100") == ledger.ITEMS
    assert await owner.fetchval("SELECT count(*) FROM storm.sale") == ledger.SALES
    assert await owner.fetchval("SELECT count(DISTINCT region) FROM storm.sale") == 4


async def test_tables_survive_a_crash(owner: Connection) -> None:
    """An unlogged one would be empty after a restart, and every commit lost."""
    kinds = await owner.fetch(
        "SELECT DISTINCT relpersistence::text FROM pg_class WHERE relnamespace = 'storm'::regnamespace"
    )
    assert [row[0] for row in kinds] == ["p"]


async def test_prepared_anew_and_cleared(owner: Connection, handler: Connection) -> None:
    await commit(handler, "a", 1, 1, of=1)
    await handler.execute("UPDATE storm.item SET stock = 0 WHERE id < 100")
    await ledger.acknowledge(owner, [("a", 1)])
    await ledger.clear(owner)
    assert await ledger.verdict(owner) == NONE
    assert await owner.fetchval("SELECT min(stock) FROM storm.item") == ledger.STOCK
    await commit(handler, "a", 1, 1, of=1)
    await ledger.prepare(owner, "app")
    assert await ledger.verdict(owner) == NONE


async def test_a_role_with_an_odd_name(owner: Connection) -> None:
    await owner.execute('CREATE ROLE "odd ""role"')
    try:
        await ledger.prepare(owner, 'odd "role')
        granted = "SELECT has_table_privilege('odd \"role', 'storm.ledger', 'INSERT')"
        assert await owner.fetchval(granted) is True
    finally:
        await ledger.remove(owner)
        await owner.execute('DROP ROLE "odd ""role"')


async def test_handlers_acknowledge_nothing_and_take_nothing_back(handler: Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await handler.execute("INSERT INTO storm.acknowledged VALUES ('a', 1)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await handler.execute("DELETE FROM storm.ledger")


async def test_an_attempt_is_acknowledged_once(owner: Connection) -> None:
    await ledger.acknowledge(owner, [("a", 1)])
    with pytest.raises(asyncpg.UniqueViolationError):
        await ledger.acknowledge(owner, [("a", 1)])


async def test_a_part_beyond_the_last_is_refused(handler: Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await handler.execute(NOTE, "a", 1, 3, 2)


async def test_somebody_elses_schema_is_left_alone(owner: Connection) -> None:
    await ledger.remove(owner)
    await ledger.remove(owner)  # nothing is there
    await owner.execute("CREATE SCHEMA storm; CREATE TABLE storm.precious AS SELECT 1")
    for touch in (ledger.remove(owner), ledger.prepare(owner, "app")):
        with pytest.raises(ledger.SchemaTaken, match="has not made"):
            await touch
    assert await owner.fetchval("SELECT count(*) FROM storm.precious") == 1


async def test_a_million_rows(owner: Connection) -> None:
    """333,334 invocations of three parts; some of them are faulty. One query, in seconds."""
    await owner.execute(
        "INSERT INTO storm.ledger (invocation, attempt, part, parts)"
        " SELECT 'request ' || n, 1, part, 3 FROM generate_series(1, 333334) n, generate_series(1, 3) part"
        " WHERE NOT (n <= 10 AND part = 2)",
        timeout=60,
    )
    await ledger.acknowledge(owner, ((f"request {number}", 1) for number in range(5, 333_341)))
    verdict = await ledger.verdict(owner)
    assert verdict.rows == 1_000_002 - 10
    assert (verdict.half, verdict.lost, verdict.in_doubt) == (10, 6, 0)
    assert verdict.clean == 333_334 - 10
