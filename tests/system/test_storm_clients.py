"""The storm's clients and handlers through PgBouncer, configured as the benchmark has it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from benchmarks.scram import stored_secret
from benchmarks.storm import events, ledger
from benchmarks.storm.clients import HOLDINGS, Holdings, ServerError, Session, connect, transaction
from benchmarks.storm.context import Context
from benchmarks.storm.loading import BUILT_IN, HandlerSource
from benchmarks.targets import DATABASE, HBA, HOST, SERVER_USER, USER, Login, PgBouncer
from poolproxy.demo.postgres import LocalPostgres

pytestmark = pytest.mark.system

PASSWORD = "bench secret"


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    with LocalPostgres(hba=HBA) as server:
        server.sql(f"CREATE ROLE {USER} LOGIN; CREATE ROLE {SERVER_USER} LOGIN; CREATE DATABASE {DATABASE}")
        yield server


@pytest.fixture(scope="module", params=["scram-sha-256", "md5", "plain", "any"])
def auth(request: pytest.FixtureRequest) -> str:
    """What PgBouncer asks its clients for: SCRAM, an MD5 hash, the password itself, or nothing."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def pgbouncer(postgres: LocalPostgres, auth: str) -> Iterator[PgBouncer]:
    # With a SCRAM secret `md5` would be SCRAM all the same.
    secret = stored_secret(PASSWORD) if auth == "scram-sha-256" else PASSWORD
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are for us alone
        folder = Path(name)
        folder.chmod(0o755)  # PgBouncer does not run as root
        target = PgBouncer(postgres, Login(PASSWORD, secret), folder, "pgbouncer", auth_type=auth)
        target.start()
        yield target
        target.stop()


@pytest.fixture(params=["lean", "asyncpg"], autouse=True)
def client(request: pytest.FixtureRequest, pgbouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("STORM_CLIENT", name)
    monkeypatch.setenv("DATABASE_URL", f"postgres://{USER}:bench%20secret@{HOST}:{pgbouncer.port}/{DATABASE}")
    return name


async def test_transactions_and_errors() -> None:
    session = await connect()
    async with transaction(session):
        assert await session.fetch("select $1::int + 1, $2::text", 41, None) == [(42, None)]
        assert len(await session.fetch("select generate_series(1, 5000)")) == 5000
    with pytest.raises(ServerError, match="division by zero") as caught:
        await session.fetch("select 1/0")
    assert caught.value.sqlstate == "22012"
    assert await session.fetch("select 'usable'") == [("usable",)]
    await session.close()
    assert session.closed


async def test_a_wrong_password(auth: str, monkeypatch: pytest.MonkeyPatch, pgbouncer: PgBouncer) -> None:
    url = f"postgres://{USER}:wrong@{HOST}:{pgbouncer.port}/{DATABASE}"
    monkeypatch.setenv("DATABASE_URL", url)
    if auth == "any":
        await (await connect()).close()
        return
    with pytest.raises(ServerError) as caught:
        await connect()
    assert caught.value.sqlstate in ("28P01", "08P01")


async def test_forty_clients_on_twenty_servers() -> None:
    async def one(number: int) -> list[tuple[object, ...]]:
        session: Session = await connect()
        async with transaction(session):
            found = await session.fetch("select $1::int, pg_backend_pid()", number)
            found += await session.fetch("select $1::int, pg_backend_pid()", number)
        await session.close()
        return found

    answers = await asyncio.gather(*(one(number) for number in range(40)))
    assert [[row[0] for row in rows] for rows in answers] == [[number] * 2 for number in range(40)]
    assert all(first[1] == second[1] for first, second in answers)


async def test_every_handler_and_a_clean_ledger(postgres: LocalPostgres) -> None:
    owner = await asyncpg.connect(postgres.url(DATABASE))
    await ledger.prepare(owner, SERVER_USER)  # whom PgBouncer logs in as
    acknowledged: list[tuple[str, int]] = []

    async def live(name: str, number: int) -> None:
        HOLDINGS.set(holdings := Holdings())
        handler = HandlerSource.find(name).load()
        await handler.initialise()
        for turn in range(3):
            told = Context(name, 512, f"{name} {number} {turn}", time.time() + 3, time.time)
            await handler.invoke(events.EVENTS[name](number * 3 + turn, 0.0), told)
            acknowledged.append((told.aws_request_id, told.attempt))
        holdings.kill()

    names = [name for name in BUILT_IN if name != "careless"]  # which leaves its first writes open
    lives = [asyncio.create_task(live(name, number)) for name in names for number in range(5)]
    await asyncio.gather(*lives)
    await ledger.acknowledge(owner, acknowledged)
    verdict = await ledger.verdict(owner)
    await owner.close()
    assert (verdict.acknowledged, verdict.clean, verdict.faults) == (90, 90, 0)
