"""The clients of `benchmarks/storm`: the lean one and asyncpg, directly and through poolproxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvloop

from benchmarks import scram
from benchmarks.storm.clients import (
    HOLDINGS,
    METER,
    ConnectFailed,
    ConnectionLost,
    Holdings,
    Meter,
    ProtocolError,
    ServerError,
    Session,
    connect,
    transaction,
)
from benchmarks.storm.clients import lean as lean_client
from benchmarks.storm.clients.address import Address
from benchmarks.storm.clients.lean import LeanSession
from poolproxy.demo.postgres import LocalPostgres, free_port
from tests.dialogues import words
from tests.support.cluster import DATABASE, PASSWORDS, Direct, make_postgres
from tests.support.proxy import bare_environment
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.unit.storm.clients import backend

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENTS = ("lean", "asyncpg")


def direct_url(postgres: LocalPostgres, user: str = "app", database: str = DATABASE) -> str:
    return postgres.url(database, user, PASSWORDS[user])


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either client is the one that `connect` takes."""
    name: str = request.param
    monkeypatch.setenv("STORM_CLIENT", name)
    return name


@pytest.fixture
def lean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORM_CLIENT", "lean")


@pytest.fixture
def to_direct(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", direct_url(stage.postgres))


@pytest.fixture(params=["direct", "poolproxy"])
def place(request: pytest.FixtureRequest, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where `connect` leads to: PostgreSQL itself, or the proxy."""
    name: str = request.param
    url = direct_url(stage.postgres) if name == "direct" else stage.proxy().url()
    monkeypatch.setenv("DATABASE_URL", url)
    return name


@pytest.fixture
async def session(client: str, place: str) -> AsyncIterator[Session]:
    """Either client, at either place."""
    opened = await connect()
    yield opened
    await opened.close()
    assert opened.closed


# What a handler does with it.


async def test_values_and_parameters(session: Session) -> None:
    async with transaction(session):
        assert await session.fetch("select 1, 'ü', true, null::int, 1.5::float8, 9000000000") == [
            (1, "ü", True, None, 1.5, 9_000_000_000)
        ]
        sql = "select $1::int + 1, $2::text, $3::bool, $4::text, $5::bytea = '\\x00ff'"
        assert await session.fetch(sql, 41, "it's", False, None, b"\x00\xff") == [
            (42, "it's", False, None, True)
        ]
        assert await session.fetch("select id, name from item where id < $1 order by id", 3) == [
            (1, "item 1"),
            (2, "item 2"),
        ]
        assert await session.fetch("select id from item where id < 0") == []


async def test_command_tags(session: Session) -> None:
    assert await session.execute("BEGIN") == "BEGIN"
    assert await session.execute("select * from item") == "SELECT 100"
    assert await session.execute("insert into note values ($1, $2)", 1, "storm") == "INSERT 0 1"
    assert await session.execute("update note set id = 2 where body = 'storm'") == "UPDATE 1"
    assert await session.execute("ROLLBACK") == "ROLLBACK"


async def test_large_rows_and_many(session: Session) -> None:
    async with transaction(session):
        sql = "select n, repeat('x', $1) from generate_series(1, 300) n"
        rows = await session.fetch(sql, 10_000)
    assert [row[0] for row in rows] == list(range(1, 301))
    assert {row[1] for row in rows} == {"x" * 10_000}


async def test_an_error_has_its_sqlstate_and_the_session_goes_on(session: Session) -> None:
    with pytest.raises(ServerError, match="division by zero") as caught:
        await session.fetch("select 1/0")
    assert (caught.value.sqlstate, caught.value.severity) == ("22012", "ERROR")
    with pytest.raises(ServerError) as caught:
        async with transaction(session):
            await session.execute("insert into item values ($1, 'twice')", 1)
    assert caught.value.sqlstate == "23505"
    assert await session.fetch("select 'usable'") == [("usable",)]


async def test_a_commit_that_rolled_back_is_told(session: Session) -> None:
    await session.execute("BEGIN")
    with pytest.raises(ServerError):
        await session.fetch("select 1/0")
    assert await session.execute("COMMIT") == "ROLLBACK"


async def test_what_it_spends_is_metered(client: str, place: str) -> None:
    METER.set(meter := Meter())
    opened = await connect()
    async with transaction(opened):
        await opened.fetch("select 1")
    with pytest.raises(ServerError):
        await opened.fetch("select 1/0")
    await opened.close()
    assert (meter.connects, meter.statements) == (1, 3)
    assert len(meter.first_answers) == 1
    assert 0 < meter.connect_seconds < meter.first_answers[0]
    assert meter.first_answers[0] < meter.connect_seconds + meter.statement_seconds
    assert meter.errors == {"22012": 1}
    assert meter.examples == {"22012": "division by zero"}


async def test_thirty_clients_share_two_servers(
    client: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", stage.proxy(pool_size=2).url())

    async def one(number: int) -> list[tuple[Any, ...]]:
        opened = await connect()
        try:
            found = []
            for _ in range(3):
                async with transaction(opened):
                    found += await opened.fetch("select $1::int, pg_backend_pid()", number)
                    found += await opened.fetch("select $1::int, pg_backend_pid()", number)
            return found
        finally:
            await opened.close()

    answers = await asyncio.gather(*(one(number) for number in range(30)))
    assert [[row[0] for row in rows] for rows in answers] == [[number] * 6 for number in range(30)]
    assert len({row[1] for rows in answers for row in rows}) <= 2


@pytest.mark.parametrize("names", ["0", "100"])
async def test_asyncpg_names_statements_only_where_it_may(
    to_direct: None, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    monkeypatch.setenv("STORM_STATEMENT_CACHE", names)
    opened = await connect()
    await opened.fetch("select id from item where id = $1", 1)
    ((named,),) = await opened.fetch("select count(*) from pg_prepared_statements where name <> ''")
    await opened.close()
    assert (named > 0) is (names == "100")


@pytest.mark.parametrize("client", CLIENTS)
def test_both_run_on_uvloop(client: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's event loop; the other tests run on asyncio's own."""
    monkeypatch.setenv("STORM_CLIENT", client)

    async def all_of_it() -> None:
        opened = await connect()
        async with transaction(opened):
            assert await opened.fetch("select $1::int", 7) == [(7,)]
        waiting = asyncio.create_task(opened.fetch("select pg_sleep(0.2)"))
        await asyncio.sleep(0)
        opened.abort()
        with pytest.raises(ConnectionLost):
            await waiting
        opened = await connect()
        opened.freeze()
        opened.thaw()
        assert await opened.fetch("select 1") == [(1,)]
        await opened.close()
        assert opened.closed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_of_it())


# Logging in.


@pytest.mark.parametrize("user", list(PASSWORDS))
async def test_whatever_the_server_asks_for(
    client: str, stage: Stage, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    """SCRAM, MD5 and trust, as pg_hba.conf of the tests' cluster has it."""
    monkeypatch.setenv("DATABASE_URL", direct_url(stage.postgres, user))
    opened = await connect()
    assert await opened.fetch("select current_user::text") == [(user,)]
    await opened.close()


@pytest.fixture(scope="module")
def cleartext() -> Iterator[LocalPostgres]:
    """A server that asks for the password itself."""
    with make_postgres(hba=("local all all trust", "host all all all password")) as postgres:
        yield postgres


async def test_cleartext(client: str, cleartext: LocalPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", direct_url(cleartext, "other"))
    opened = await connect()
    assert await opened.fetch("select current_user::text") == [("other",)]
    await opened.close()


async def test_a_unix_socket(client: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", stage.postgres.url(DATABASE, "app", PASSWORDS["app"], unix=True))
    opened = await connect()
    assert await opened.fetch("select inet_server_port()") == [(None,)]
    await opened.close()


async def test_parameters_of_the_url(client: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", os.environ["DATABASE_URL"] + "?application_name=a%20storm")
    opened = await connect()
    assert await opened.fetch("show application_name") == [("a storm",)]
    await opened.close()


async def test_pbkdf2_is_done_once_for_a_password(lean: None, place: str) -> None:
    scram._keys.cache_clear()
    for _ in range(5):
        await (await connect()).close()
    told = scram._keys.cache_info()
    assert (told.misses, told.hits) == (1, 4)


@pytest.mark.parametrize(
    ("user", "password", "database", "sqlstate"),
    [("app", "wrong", DATABASE, "28P01"), ("app", PASSWORDS["app"], "nosuch", "3D000")],
)
async def test_a_login_that_is_refused(
    client: str,
    place: str,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    password: str,
    database: str,
    sqlstate: str,
) -> None:
    port = stage.postgres.port if place == "direct" else stage.proxy().port
    url = f"postgres://{user}:{quote(password)}@127.0.0.1:{port}/{database}"
    monkeypatch.setenv("DATABASE_URL", url)
    METER.set(meter := Meter())
    with pytest.raises(ServerError) as caught:
        await connect()
    assert (caught.value.sqlstate, caught.value.fatal) == (sqlstate, True)
    assert (meter.errors, meter.connects) == ({sqlstate: 1}, 0)


async def test_too_many_connections(
    client: str, stage: Stage, direct: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a storm makes of a database without a pooler."""
    monkeypatch.setenv("DATABASE_URL", direct_url(stage.postgres, database="second"))
    direct.rows("alter database second connection limit 0")
    try:
        with pytest.raises(ServerError, match="too many connections") as caught:
            await connect()
        assert caught.value.sqlstate == "53300"
    finally:
        direct.rows("alter database second connection limit -1")


async def test_nobody_listens(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgres://app:x@127.0.0.1:{free_port()}/app")
    with pytest.raises(ConnectFailed, match="no connection"):
        await connect()


# A server that goes away. `Script` is one that says what it is told and then closes.


class Script:
    """Listens on a port of its own. For each connection: hears the StartupMessage (asyncpg's SSLRequest is
    declined), says the first of `pieces`, and each following one when it has heard something more. After the
    last it closes, resets, or just stays."""

    def __init__(self, *pieces: bytes, ending: str = "close") -> None:
        self._pieces = pieces
        self._ending = ending
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.heard_all = asyncio.Event()  #: every piece is said
        self.left = asyncio.Event()  #: the client has closed

    async def __aenter__(self) -> Script:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"postgres://app:secret@127.0.0.1:{self.port}/app"

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port, "app", "secret", "app")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        for piece in self._pieces:
            heard = await reader.read(65536)
            if len(heard) == 8:
                writer.write(b"N")
                heard = await reader.read(65536)
            if not heard:
                return
            writer.write(piece)
            await writer.drain()
        self.heard_all.set()
        if self._ending == "close":
            writer.close()
        elif self._ending == "reset":
            writer.transport.abort()
        else:
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass
            self.left.set()


SASL = backend.authentication(10, b"SCRAM-SHA-256\0\0")
LOGGED_IN = backend.OK + words.parameter("server_version", "18.0") + backend.KEY + backend.READY
HALF_A_ROW = backend.described(a=backend.INT4) + backend.row(b"1") + backend.row(b"2")[:7]


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b""],
        [SASL[:3]],
        [SASL],
        [SASL, b""],
        [backend.OK],
        [backend.OK + words.parameter("server_version", "18.0")[:9]],
    ],
    ids=["at once", "no word", "half a message", "SASL begun", "a proof lost", "let in", "half let in"],
)
async def test_cut_during_login(
    client: str, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], ending: str
) -> None:
    async with Script(*pieces, ending=ending) as server, asyncio.timeout(10):
        monkeypatch.setenv("DATABASE_URL", server.url)
        with pytest.raises(ConnectFailed):
            await connect()


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize(
    "answer", [b"", HALF_A_ROW[:-7], HALF_A_ROW], ids=["no word", "a whole row", "half a row"]
)
async def test_cut_in_the_middle_of_a_statement(
    client: str, monkeypatch: pytest.MonkeyPatch, answer: bytes, ending: str
) -> None:
    async with Script(LOGGED_IN, answer, ending=ending) as server, asyncio.timeout(10):
        monkeypatch.setenv("DATABASE_URL", server.url)
        opened = await connect()
        with pytest.raises(ConnectionLost):
            await opened.execute("select 1")
        assert opened.closed
        with pytest.raises(ConnectionLost):
            await opened.execute("select 1")
        await opened.close()


async def test_a_last_word_in_the_middle_of_a_statement(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    last = words.fatal("57P01", "terminating connection")
    async with Script(LOGGED_IN, last, ending="close") as server, asyncio.timeout(10):
        monkeypatch.setenv("DATABASE_URL", server.url)
        opened = await connect()
        with pytest.raises(ServerError, match="terminating connection") as caught:
            await opened.execute("select 1")
        assert caught.value.sqlstate == "57P01"
        opened.abort()


async def test_a_last_word_of_a_server_that_does_not_close(
    lean: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lean client closes."""
    async with Script(LOGGED_IN, words.fatal("57P01"), ending="stay") as server, asyncio.timeout(10):
        monkeypatch.setenv("DATABASE_URL", server.url)
        opened = await connect()
        with pytest.raises(ServerError):
            await opened.execute("select 1")
        await server.left.wait()


@pytest.mark.parametrize("pieces", [[], [b""], [SASL], [backend.OK]])
async def test_a_server_that_does_not_let_us_in(pieces: list[bytes]) -> None:
    async with Script(*pieces, ending="stay") as server, asyncio.timeout(10):
        with pytest.raises(ConnectFailed, match=r"not logged in within 0\.2 s"):
            await lean_client.open_session(server.address, timeout=0.2)
        await server.left.wait()


async def test_a_connect_that_is_given_up_is_closed(lean: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the timeout wall in the middle of a login."""
    async with Script(SASL, b"", ending="stay") as server, asyncio.timeout(10):
        monkeypatch.setenv("DATABASE_URL", server.url)
        connecting = asyncio.create_task(connect())
        await server.heard_all.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await server.left.wait()


async def test_a_web_server(lean: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Script(b"HTTP/1.1 400 Bad Request\r\n\r\n", ending="stay") as server, asyncio.timeout(10):
        monkeypatch.setenv("DATABASE_URL", server.url)
        with pytest.raises(ProtocolError, match="no PostgreSQL speaks like this"):
            await connect()


# A real server that goes away, or whose client does.


async def test_terminated_in_the_middle_of_a_statement(client: str, to_direct: None, direct: Direct) -> None:
    opened = await connect()
    waiting = asyncio.create_task(opened.execute("select pg_sleep(30)"))
    (pid,) = await asyncio.to_thread(direct.wait_running, "select pg_sleep(30)")
    direct.rows("select pg_terminate_backend(%s)", [pid])
    with pytest.raises(ServerError) as caught:
        await waiting
    assert caught.value.sqlstate == "57P01"
    assert opened.closed


async def test_terminated_while_idle(lean: None, to_direct: None, direct: Direct) -> None:
    opened = await connect()
    ((pid,),) = await opened.fetch("select pg_backend_pid()")
    direct.rows("select pg_terminate_backend(%s)", [pid])
    with pytest.raises(ServerError) as caught:
        await opened.fetch("select 1")
    assert caught.value.sqlstate == "57P01"
    assert opened.closed


async def test_the_proxy_is_killed_in_the_middle_of_a_statement(
    client: str, stage: Stage, direct: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = stage.fresh()
    monkeypatch.setenv("DATABASE_URL", proxy.url())
    opened = await connect()
    waiting = asyncio.create_task(opened.execute("select pg_sleep(30)"))
    (pid,) = await asyncio.to_thread(direct.wait_running, "select pg_sleep(30)")
    proxy.kill()
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionLost):
            await waiting
    with pytest.raises(ConnectFailed):
        await connect()
    direct.rows("select pg_terminate_backend(%s, 10000)", [pid])  # the next test waits for one like it


async def test_killed_without_a_goodbye_and_without_a_cancel_request(
    client: str, to_direct: None, direct: Direct
) -> None:
    """As SIGKILL does it: the statement runs on in the server."""
    HOLDINGS.set(holdings := Holdings())
    opened = await connect()
    waiting = asyncio.create_task(opened.execute("select pg_sleep(30)"))
    (pid,) = await asyncio.to_thread(direct.wait_running, "select pg_sleep(30)")
    holdings.kill()
    waiting.cancel()
    with pytest.raises((asyncio.CancelledError, ConnectionLost)):
        await waiting
    other = await connect()  # later than any CancelRequest would have been
    await other.fetch("select 1")
    await other.close()
    assert direct.wait_running("select pg_sleep(30)") == [pid]
    direct.rows("select pg_terminate_backend(%s, 10000)", [pid])  # the next test waits for one like it


async def test_frozen_it_hears_nothing(client: str, to_direct: None, direct: Direct) -> None:
    HOLDINGS.set(holdings := Holdings())
    opened = await connect()
    asked = asyncio.create_task(opened.execute("select 'frozen'"))
    await asyncio.sleep(0)
    holdings.freeze()
    idle = "query = 'select ''frozen''' and state = 'idle'"
    await asyncio.to_thread(eventually, lambda: direct.sessions(idle), "answered")
    other = await connect()
    for _ in range(3):
        await other.fetch("select 1")  # the event loop reads what it may
    assert not asked.done()
    await other.close()
    holdings.thaw()
    assert await asked == "SELECT 1"
    await opened.close()


async def test_thawed_after_its_transaction_was_ended(
    client: str, place: str, stage: Stage, direct: Direct
) -> None:
    """The client finds out by its next statement; what it had done is gone."""
    opened = await connect()
    async with asyncio.timeout(20):
        await opened.execute("BEGIN")
        await opened.execute("insert into note values (77, 'frozen')")
        await opened.execute("set local idle_in_transaction_session_timeout = '50ms'")
        opened.freeze()
        if place == "poolproxy":
            stage.expect_log("25P03")
        eventually(lambda: not direct.sessions("state like 'idle in transaction%'"), "ended by the server")
        opened.thaw()
        with pytest.raises((ServerError, ConnectionLost)) as caught:
            await opened.execute("COMMIT")
        if client == "lean":
            assert getattr(caught.value, "sqlstate", "") == "25P03"
    assert opened.closed
    await opened.close()
    assert direct.value("select count(*) from note where id = 77") == 0


# What one costs.


@pytest.mark.parametrize("name", CLIENTS)
def test_the_cost_of_a_client_is_told(stage: Stage, name: str) -> None:
    url = stage.proxy().url()
    command = [sys.executable, "-m", "benchmarks.storm.clients.cost", "--clients", "60", "--client", name]
    done = subprocess.run(
        [*command, "--url", url],
        cwd=ROOT,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["client"], told["clients"]) == (name, 60)
    assert 0 < told["statement_us"] < told["connect_us"]
    assert 0 <= told["idle_bytes"] < 1_000_000


@pytest.mark.timeout(120)
def test_ten_lean_clients_measured_on_servers_of_their_own() -> None:
    command = [sys.executable, "-m", "benchmarks.storm.clients.cost", "--clients", "10"]
    done = subprocess.run(
        command, cwd=ROOT, env=bare_environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["connect_us"] > 0


async def test_a_lean_session_shows_its_state(lean: None, to_direct: None) -> None:
    opened = await connect()
    assert isinstance(opened, LeanSession)
    assert repr(opened) == "<LeanSession idle>"
    await opened.close()
    assert repr(opened) == "<LeanSession closed>"


# TLS that there is none of. What there is of it: tests/system/test_bench_tls.py.


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"N", ConnectFailed, "has no TLS"),
        (b"", ConnectFailed, "closed when it was asked for TLS"),
        (b"E\0\0\0\x05\0", ProtocolError, "answers b'E"),
        (b"SR\0\0\0\x08\0\0\0\0", ProtocolError, "answers b'SR"),  # pushed in before the handshake
        (b"S\x15\x03\x03\0\x02\x02\x28", ProtocolError, "answers b'S"),
    ],
)
async def test_a_server_that_has_no_tls_or_says_more_than_a_byte_of_it(
    answer: bytes, error: type[Exception], said: str
) -> None:
    """Nothing but the request is said to it."""
    heard = b""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard = await reader.readexactly(8)
        writer.write(answer)
        if not answer:
            writer.close()
        heard += await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = Address("127.0.0.1", port, "app", "secret", "app", sslmode="require")
        with pytest.raises(error, match=said):
            await lean_client.open_session(address)
        await gone.wait()
    assert heard == b"\0\0\0\x08\x04\xd2\x16\x2f"


async def test_a_handshake_that_the_server_breaks_off() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        await reader.read(100)  # of the ClientHello
        writer.write(b"\x15\x03\x03\0\x02\x02\x28")  # alert: handshake_failure
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = Address("127.0.0.1", port, "app", "secret", "app", sslmode="require")
        with pytest.raises(ConnectFailed, match=r"no connection to 127\.0\.0\.1:\d+"):
            await lean_client.open_session(address)
