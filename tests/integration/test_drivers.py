"""The Python drivers, unchanged and with their defaults: asyncpg and psycopg 3, through both pool modes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.support.cluster import Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage


@pytest.fixture(params=["transaction", "session"])
def either(stage: Stage, request: pytest.FixtureRequest) -> ProxyProcess:
    return stage.proxy(pool_mode=request.param)


# asyncpg names every statement it prepares: in transaction mode its server is kept until it leaves.


async def test_asyncpg_queries(either: ProxyProcess) -> None:
    connection = await asyncpg.connect(either.url())
    try:
        assert await connection.fetchval("select $1::int + 1", 41) == 42
        assert len(await connection.fetch("select * from item")) == 100
        async with connection.transaction():
            await connection.execute("insert into note values (1, 'asyncpg')")
            assert [r["id"] async for r in connection.cursor("select id from item order by id")][:3] == [
                1,
                2,
                3,
            ]
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("select 1/0")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("insert into item values (1, 'twice')")
        assert await connection.fetchval("select 'usable'") == "usable"
    finally:
        await connection.close()


async def test_asyncpg_executemany_and_copy(either: ProxyProcess) -> None:
    connection = await asyncpg.connect(either.url())
    try:
        await connection.execute("truncate note")
        await connection.executemany("insert into note values ($1, $2)", [(n, str(n)) for n in range(500)])
        rows = [(n, "copied") for n in range(2000)]
        await connection.copy_records_to_table("note", records=rows)
        assert await connection.fetchval("select count(*) from note") == 2500
        copied = bytearray()

        async def sink(data: bytes) -> None:
            copied.extend(data)

        await connection.copy_from_query("select * from note", output=sink)
        assert copied.count(b"\n") == 2500
        with pytest.raises(asyncpg.PostgresError):
            await connection.copy_records_to_table(
                "note", records=[(1, "a"), (2, "b")], columns=["id", "nosuch"]
            )
        assert await connection.fetchval("select 1") == 1
    finally:
        await connection.close()


async def test_asyncpg_pool_of_many(either: ProxyProcess) -> None:
    """asyncpg's own pool in front of ours, with its reset query between users."""
    async with asyncpg.create_pool(either.url(), min_size=1, max_size=4) as pool:

        async def work(n: int) -> Any:
            async with pool.acquire() as connection, connection.transaction():
                return await connection.fetchval("select $1::int * 2", n)

        assert await asyncio.gather(*(work(n) for n in range(60))) == [n * 2 for n in range(60)]


async def test_asyncpg_cancel_and_timeout(either: ProxyProcess) -> None:
    connection = await asyncpg.connect(either.url())
    try:
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetchval("select pg_sleep(30)", timeout=0.2)
        assert await connection.fetchval("select 'after the timeout'") == "after the timeout"
    finally:
        await connection.close()


async def test_asyncpg_server_settings(either: ProxyProcess) -> None:
    settings = {"application_name": "the app", "search_path": "tenant_a, public"}
    connection = await asyncpg.connect(either.url(), server_settings=settings)
    try:
        assert await connection.fetchval("select name from whose") == "a"
        assert await connection.fetchval("show application_name") == "the app"
    finally:
        await connection.close()


async def test_asyncpg_without_named_statements(stage: Stage) -> None:
    """statement_cache_size=0: nothing is named, so many clients share few servers."""
    proxy = stage.proxy(pool_size=2)

    async def one(n: int) -> Any:
        connection = await asyncpg.connect(proxy.url(), statement_cache_size=0)
        try:
            return [await connection.fetchval("select $1::int", n) for _ in range(3)]
        finally:
            await connection.close()

    assert await asyncio.gather(*(one(n) for n in range(20))) == [[n] * 3 for n in range(20)]


# psycopg


def test_psycopg_queries(either: ProxyProcess) -> None:
    with psycopg.connect(either.url()) as connection:
        assert connection.execute("select %s::int + 1", [41]).fetchone() == (42,)
        connection.commit()
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute("select 1/0")
        connection.execute("insert into note values (2, 'psycopg')")
        connection.rollback()
        assert connection.execute("select count(*) from note where body = 'psycopg'").fetchone() == (0,)


def test_psycopg_prepared(either: ProxyProcess) -> None:
    """From the sixth execution on psycopg names the statement."""
    with psycopg.connect(either.url(), autocommit=True) as connection:
        for n in range(12):
            assert connection.execute("select %s::int + 0", [n]).fetchone() == (n,)
        assert connection.execute("select %s::text", ["x"], prepare=True).fetchone() == ("x",)


def test_psycopg_pipeline(either: ProxyProcess) -> None:
    with psycopg.connect(either.url(), autocommit=True) as connection:
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", [n]) for n in range(50)]
            assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(50)]
        with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline():
            connection.execute("select 1/0")
        with connection.pipeline() as pipeline:
            first = connection.execute("select 'a'")
            pipeline.sync()
            second = connection.execute("select 'b'")
        assert (first.fetchone(), second.fetchone()) == (("a",), ("b",))


@pytest.mark.parametrize("clients", [2, 3])
def test_libpq_prepares_without_a_name_on_whatever_server(stage: Stage, clients: int) -> None:
    """PQprepare and PQexecPrepared with the unnamed statement, each in an exchange of its own: what is run is
    what was prepared last, though the two may run on different servers that both hold an older one."""
    proxy = stage.proxy(pool_size=clients, min_pool_size=clients)
    wrong: list[tuple[int, int]] = []

    def run(client: int) -> None:
        connection = psycopg.pq.PGconn.connect(proxy.url().encode())
        for number in range(client, 600 * clients, clients):
            connection.prepare(b"", f"select {number} + $1::int".encode())
            result = connection.exec_prepared(b"", [b"1"])
            value = result.get_value(0, 0)
            if value is None or int(value) != number + 1:
                wrong.append((number, int(value or b"0")))
        connection.finish()

    threads = [threading.Thread(target=run, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_psycopg_copy(either: ProxyProcess) -> None:
    with psycopg.connect(either.url()) as connection, connection.cursor() as cursor:
        cursor.execute("truncate note")
        with cursor.copy("copy note from stdin") as copy:
            for n in range(1000):
                copy.write_row((n, "row"))
        with cursor.copy("copy note to stdout") as copy:
            assert sum(1 for _ in copy.rows()) == 1000
        with (
            pytest.raises(psycopg.errors.InvalidTextRepresentation),
            cursor.copy("copy note from stdin") as copy,
        ):
            copy.write_row(("not a number", "x"))
        connection.rollback()
        with pytest.raises(ZeroDivisionError), cursor.copy("copy note from stdin") as copy:
            copy.write_row((1 // len(connection.info.host) // 0, "the program fails in mid-copy"))
        connection.rollback()
        assert cursor.execute("select 1").fetchone() == (1,)


def test_psycopg_cursors(either: ProxyProcess) -> None:
    with psycopg.connect(either.url()) as connection:
        with connection.cursor("server_side") as cursor:
            cursor.execute("select n from generate_series(1, 5000) n")
            assert sum(n for (n,) in cursor) == 5000 * 5001 // 2
        with psycopg.ClientCursor(connection) as cursor:
            assert cursor.execute("select %s, %s", [1, "a"]).fetchone() == (1, "a")
        assert len(list(connection.cursor().stream("select * from item"))) == 100
        assert connection.execute("select %b::int", [7]).fetchone() == (7,)


def test_psycopg_cancel(either: ProxyProcess, direct: Direct) -> None:
    with psycopg.connect(either.url(), autocommit=True) as connection:
        connection.execute("set statement_timeout = '20s'")

        def cancel() -> None:
            direct.wait_running("pg_sleep(15)")
            connection.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(15)")
        canceller.join()
        assert connection.execute("select 1").fetchone() == (1,)


async def test_psycopg_async_crowd(stage: Stage) -> None:
    proxy = stage.proxy(pool_size=2)

    async def one(n: int) -> Any:
        async with await psycopg.AsyncConnection.connect(proxy.url(), prepare_threshold=None) as connection:
            return await (await connection.execute("select %s::int", [n])).fetchone()

    assert await asyncio.gather(*(one(n) for n in range(30))) == [(n,) for n in range(30)]
