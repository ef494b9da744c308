"""Real clients over TLS: libpq in every way it can come, asyncpg, and what they find out about us."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path

import asyncpg
import psycopg
import pytest

from tests.support import messages as m
from tests.support.certificates import Certificates
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.libpq import (
    BINDS,
    DIRECT,
    MODES,
    Host,
    Psycopg,
    Way,
    every_way,
    expected,
    other_hosts,
    surprises,
)
from tests.support.proxy import ProxyProcess, tls_settings
from tests.support.stage import Stage
from tests.support.tls_wire import TlsWire, client_context
from tests.support.wire import Wire, WireError

#: What the log says of those who are not let in.
REFUSALS = "TLS|28000|certificate"


@pytest.fixture
def rules(tmp_path_factory: pytest.TempPathFactory) -> str:
    """By them md5user is asked for MD5, as by PostgreSQL's; one file for all, so that proxies are shared."""
    path = tmp_path_factory.getbasetemp() / "tls-rules"
    path.write_text("local all all scram-sha-256\nhost all md5user all md5\nhost all all all scram-sha-256\n")
    return str(path)


@pytest.mark.parametrize("mode", MODES)
def test_every_way_in(stage: Stage, certificates: Certificates, rules: str, mode: str) -> None:
    stage.expect_log(REFUSALS)
    crl = str(certificates.client_crl)
    proxy = stage.proxy(**tls_settings(certificates, mode, tls_crl_file=crl, auth_hba_file=rules))
    libpq = Psycopg(certificates)
    found = {way: libpq(way, proxy.address) for way in every_way()}
    assert not surprises(found, Host(mode))


@pytest.mark.parametrize("mode", MODES)
def test_whom_clients_do_not_believe(stage: Stage, certificates: Certificates, mode: str) -> None:
    stage.expect_log(REFUSALS)
    libpq = Psycopg(certificates)
    for way, host in other_hosts(mode):
        proxy = stage.proxy(**tls_settings(certificates, host.mode, getattr(certificates, host.identity)))
        assert libpq(way, proxy.address) == expected(way, host), f"{way} to {host}"


def test_without_a_certificate_there_is_no_tls(stage: Stage, certificates: Certificates) -> None:
    libpq = Psycopg(certificates)
    ways = [Way(mode, "ca") for mode in MODES]
    assert not surprises({way: libpq(way, stage.proxy().address) for way in ways}, Host("disable"))


def test_require_tls_is_the_mode_of_that_name(stage: Stage, certificates: Certificates) -> None:
    stage.expect_log(REFUSALS)
    proxy = stage.proxy(**tls_settings(certificates, "prefer", require_tls=True))
    libpq = Psycopg(certificates)
    ways = [Way(mode, "ca") for mode in MODES]
    assert not surprises({way: libpq(way, proxy.address) for way in ways}, Host("require"))


@pytest.fixture
def proxy(stage: Stage, certificates: Certificates) -> ProxyProcess:
    return stage.proxy(**tls_settings(certificates, "require"))


def test_who_comes_without_is_told_so(stage: Stage, proxy: ProxyProcess) -> None:
    stage.expect_log(REFUSALS)
    for user in ("app", "nobody"):
        with Wire(proxy.address) as wire:
            wire.send(m.startup({"user": user, "database": DATABASE}))
            (error,) = wire.read_to_end()
            assert (error.fields["S"], error.sqlstate) == ("FATAL", "28000")


def test_over_a_unix_socket_nobody_needs_it(stage: Stage, certificates: Certificates, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    proxy = stage.fresh(**tls_settings(certificates, "verify-full", unix_socket_dir=str(folder)))
    with Wire(str(folder / f".s.PGSQL.{proxy.port}")) as wire:
        wire.send(m.ssl_request())
        assert wire.read_exactly(1) == b"N"
        wire.send(m.startup({"user": "app", "database": DATABASE}))
        wire.authenticate("app", PASSWORDS["app"])
        assert wire.value("select 1") == "1"


def test_what_the_log_says(stage: Stage, certificates: Certificates) -> None:
    proxy = stage.fresh(**tls_settings(certificates))
    context = client_context(certificates.ca, certificates.app)
    with TlsWire.encrypted(proxy.address, context).enter("app", PASSWORDS["app"], DATABASE) as wire:
        assert wire.value("select 1") == "1"
    line = proxy.wait_log(lambda line: line["event"] == "client logged in")
    assert (line["tls"], line["tls_name"]) == ("TLSv1.3", "localhost")


# What goes through it.


@pytest.mark.parametrize("more", [(), (DIRECT,), (BINDS,)], ids=["asked", "direct", "bound"])
def test_large_results_and_large_parameters(
    proxy: ProxyProcess, certificates: Certificates, more: tuple[tuple[str, str], ...]
) -> None:
    way = Way("verify-full", "ca", more=more)
    with Psycopg(certificates).connect(way, proxy.address) as connection:
        rows = connection.execute("select n, repeat('x', 1000) from generate_series(1, 20000) n").fetchall()
        assert [n for n, _ in rows] == list(range(1, 20_001))
        text = "größe" * 600_000
        assert connection.execute("select %s", [text]).fetchone() == (text,)


def test_copy_both_ways(stage: Stage, proxy: ProxyProcess, certificates: Certificates) -> None:
    lines = [f"{n}\tline {n}\n".encode() for n in range(50_000)]
    stage.direct.rows("truncate note")
    with Psycopg(certificates).connect(Way("require"), proxy.address) as connection:
        with connection.cursor().copy("copy note from stdin") as copy:
            for line in lines:
                copy.write(line)
        with connection.cursor().copy("copy (select * from note order by id) to stdout") as copy:
            assert b"".join(bytes(part) for part in copy) == b"".join(lines)
        connection.execute("truncate note")


def test_psycopg_cancels(stage: Stage, proxy: ProxyProcess, certificates: Certificates) -> None:
    """libpq's cancel request is encrypted as its connection is."""
    handshakes = proxy.metrics().value("poolproxy_tls_handshakes_total", result="ok")
    with Psycopg(certificates).connect(Way("verify-full", "ca"), proxy.address) as connection:
        caught: list[BaseException] = []

        def sleep() -> None:
            try:
                connection.execute("select pg_sleep(60)")
            except psycopg.Error as error:
                caught.append(error)

        sleeping = threading.Thread(target=sleep)
        sleeping.start()
        stage.direct.wait_running("pg_sleep(60)")
        connection.cancel_safe()
        sleeping.join(30)
        assert [type(error) for error in caught] == [psycopg.errors.QueryCanceled]
    now = proxy.metrics().value("poolproxy_tls_handshakes_total", result="ok")
    assert now - handshakes == 2


@pytest.mark.parametrize("direct", [False, True], ids=["asked", "direct"])
async def test_asyncpg(stage: Stage, proxy: ProxyProcess, certificates: Certificates, direct: bool) -> None:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.set_alpn_protocols(["postgresql"])
    connection = await asyncpg.connect(proxy.url(), ssl=context, direct_tls=direct)
    try:
        encrypted = connection._transport.get_extra_info("ssl_object")
        assert encrypted.version() == "TLSv1.3"
        assert await connection.fetchval("select sum(id) from item where id <= $1", 100) == 5050
        assert len(await connection.fetchval("select repeat('x', 3000000)")) == 3_000_000
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetchval("select pg_sleep(60)", timeout=0.5)  # it sends a cancel request
        assert await connection.fetchval("select 1") == 1
    finally:
        await connection.close()
    assert not stage.direct.sessions("state = 'active' and query like '%pg_sleep(60)%'")


@pytest.mark.parametrize("mode", MODES)
async def test_asyncpg_by_its_mode(
    stage: Stage, proxy: ProxyProcess, certificates: Certificates, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.expect_log(REFUSALS)
    monkeypatch.setenv("PGSSLROOTCERT", str(certificates.ca))
    if mode == "disable":
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(proxy.url(), ssl=mode)
        return
    connection = await asyncpg.connect(proxy.url(), ssl=mode)
    try:
        assert await connection.fetchval("select 1") == 1
        assert connection._transport.get_extra_info("ssl_object") is not None
    finally:
        await connection.close()


# Channel binding.


def mechanisms(wire: Wire) -> list[bytes]:
    wire.send(m.startup({"user": "app", "database": DATABASE}))
    message = wire.read()
    assert message.body[:4] == b"\0\0\0\x0a"
    return message.body[4:].rstrip(b"\0").split(b"\0")


def test_what_scram_is_offered(stage: Stage, certificates: Certificates) -> None:
    stage.expect_log("login")
    proxy = stage.proxy(**tls_settings(certificates))
    with TlsWire.encrypted(proxy.address) as wire:
        assert mechanisms(wire) == [b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"]
    with Wire(proxy.address) as plain:
        assert mechanisms(plain) == [b"SCRAM-SHA-256"]


@pytest.mark.parametrize("identity", ["server", "server_rsa"])
def test_bound(stage: Stage, certificates: Certificates, identity: str) -> None:
    proxy = stage.proxy(**tls_settings(certificates, identity=getattr(certificates, identity)))
    with TlsWire.encrypted(proxy.address, client_context(certificates.ca)) as wire:
        wire.binding = wire.end_point
        assert wire.enter("app", PASSWORDS["app"], DATABASE).value("select 1") == "1"


def test_bound_to_another_certificate(stage: Stage, proxy: ProxyProcess, certificates: Certificates) -> None:
    """Somebody in the middle, who has a certificate of his own, gets nowhere with what he relays."""
    with TlsWire.encrypted(proxy.address) as wire:
        wire.binding = bytes(32)
        with pytest.raises(
            WireError, match="28000: SCRAM channel binding check failed: it is to another certificate"
        ):
            wire.enter("app", PASSWORDS["app"], DATABASE)


def first_message(wire: Wire, mechanism: bytes, flag: bytes) -> list[str]:
    """The SQLSTATEs that answer a first SCRAM message."""
    mechanisms(wire)
    first = flag + b",,n=,r=clientnonce"
    wire.send(m.message("p", mechanism + b"\0" + len(first).to_bytes(4, "big") + first))
    message = wire.read()
    return [message.sqlstate] if message.letter == "E" else []


@pytest.mark.parametrize(
    ("mechanism", "flag", "refused"),
    [
        (b"SCRAM-SHA-256", b"n", False),
        (
            b"SCRAM-SHA-256",
            b"y",
            True,
        ),  # it could, and has been told that we cannot: somebody is in the middle
        (b"SCRAM-SHA-256", b"p=tls-server-end-point", True),
        (b"SCRAM-SHA-256-PLUS", b"n", True),
        (b"SCRAM-SHA-256-PLUS", b"y", True),
        (b"SCRAM-SHA-256-PLUS", b"p=tls-unique", True),
        (b"SCRAM-SHA-256-PLUS", b"p=tls-exporter", True),
        (b"SCRAM-SHA-256-PLUS", b"p=tls-server-end-point", False),
    ],
)
def test_mechanism_and_flag_belong_together(
    stage: Stage, proxy: ProxyProcess, mechanism: bytes, flag: bytes, refused: bool
) -> None:
    stage.expect_log("28P01|28000|08P01|login")
    with TlsWire.encrypted(proxy.address) as wire:
        assert bool(first_message(wire, mechanism, flag)) == refused


@pytest.mark.parametrize("flag", [b"n", b"y", b"p=tls-server-end-point"])
def test_without_tls_nothing_is_bound(stage: Stage, flag: bytes) -> None:
    stage.expect_log("28P01|28000|08P01|login")
    with Wire(stage.proxy().address) as wire:
        assert first_message(wire, b"SCRAM-SHA-256-PLUS", flag)


# The name by which we are called.


def test_a_database_by_its_host_name(stage: Stage, certificates: Certificates) -> None:
    stage.expect_log("3D000|login")
    url = f"postgres://{stage.postgres.host}:{stage.postgres.port}"
    proxy = stage.fresh(
        databases={
            DATABASE: {"url": f"{url}/{DATABASE}"},
            "second": {"url": f"{url}/second", "tls_hostnames": ["second.example"]},
        },
        **tls_settings(certificates),
    )
    for name, asked, got in (
        ("second.example", DATABASE, "second"),
        ("SECOND.example", "nowhere", "second"),
        ("localhost", DATABASE, DATABASE),
        (None, DATABASE, DATABASE),
    ):
        with TlsWire.encrypted(proxy.address, name=name).enter("app", PASSWORDS["app"], asked) as wire:
            assert wire.value("select current_database()") == got
    with pytest.raises(WireError, match="3D000"):
        TlsWire.encrypted(proxy.address, name="third.example").enter("app", PASSWORDS["app"], "nowhere")
