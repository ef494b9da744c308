"""What the benches compare over TLS is alike: nobody gets in without, and all speak the same; and our clients
believe whom they should."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvloop

from benchmarks.certificate import Certificate, self_signed
from benchmarks.crowd import Served, crowd
from benchmarks.lean import SSL_REQUEST, LeanClient, Place, tls_context
from benchmarks.scram import stored_secret
from benchmarks.storm.clients import ConnectFailed, ServerError, SessionError, connect
from benchmarks.storm.clients.address import Address, parse
from benchmarks.storm.clients.lean import open_session
from benchmarks.storm.endpoints import LOCAL, Limits, Local, make_local, make_postgres
from benchmarks.targets import DATABASE, HOST, SERVER_USER, USER, Login

pytestmark = pytest.mark.system

every_target = pytest.mark.parametrize("name", LOCAL)


@dataclass
class Ground:
    """The targets, started when they are asked for."""

    endpoints: dict[str, Local]
    certificate: Certificate
    password: str

    def endpoint(self, name: str) -> Local:
        self.endpoints[name].start()
        return self.endpoints[name]

    def place(self, name: str, tls: bool = True) -> Place:
        return Place(HOST, self.endpoint(name).target.port, USER, DATABASE, self.password, tls)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="poolproxy-tls-") as name:
        Path(name).chmod(0o755)  # servers run under another account
        yield from _ground(Path(name))


def _ground(folder: Path) -> Iterator[Ground]:
    certificate = self_signed(folder)
    password = secrets.token_urlsafe(12)
    login = Login(password, stored_secret(password))
    with make_postgres(certificate) as postgres, contextlib.ExitStack() as stack:
        roles = f"CREATE ROLE {USER} LOGIN PASSWORD '{login.secret}'; CREATE ROLE {SERVER_USER} LOGIN"
        postgres.sql(roles)
        postgres.sql(f"CREATE DATABASE {DATABASE}")
        rest = (postgres, login, folder, Limits(), certificate)
        endpoints = {name: make_local(name, *rest) for name in LOCAL}
        for endpoint in endpoints.values():
            stack.callback(endpoint.stop)
        yield Ground(endpoints, certificate, password)


@every_target
def test_who_comes_without_tls_is_refused(ground: Ground, name: str) -> None:
    LeanClient(ground.place(name)).close()
    with pytest.raises(RuntimeError):
        LeanClient(ground.place(name, tls=False))


@every_target
def test_all_speak_the_same_and_give_no_tickets(ground: Ground, name: str) -> None:
    place = ground.place(name)
    with socket.create_connection((place.host, place.port), 10.0) as plain:
        plain.sendall(SSL_REQUEST)
        assert plain.recv(1) == b"S"
        with tls_context().wrap_socket(plain) as encrypted:
            body = b"user\0%b\0database\0%b\0\0" % (place.user.encode(), place.database.encode())
            encrypted.sendall(struct.pack(">II", len(body) + 8, 196608) + body)
            assert encrypted.recv(1) == b"R"  # and before it what else the server says after a handshake
            assert encrypted.cipher() == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)
            assert encrypted.session is not None
            assert not encrypted.session.has_ticket
            shown = encrypted.getpeercert(binary_form=True)
    assert shown == ssl.PEM_cert_to_DER_cert(ground.certificate.file.read_text())


def test_the_key_is_p256_and_belongs_to_who_serves(ground: Ground) -> None:
    show = ["openssl", "x509", "-noout", "-text", "-in", str(ground.certificate.file)]
    said = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    assert "ASN1 OID: prime256v1" in said
    assert "DNS:localhost, IP Address:127.0.0.1" in said
    assert ground.certificate.key.stat().st_mode & 0o077 == 0


@every_target
@pytest.mark.parametrize("client", ["lean", "asyncpg"])
async def test_both_clients_of_a_handler_come_over_tls(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str, client: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", ground.endpoint(name).url)
    monkeypatch.setenv("STORM_CLIENT", client)
    session = await connect()
    assert await session.fetch("select $1::int + 1, repeat('x', 100000)", 41) == [(42, "x" * 100_000)]
    session.freeze()
    session.thaw()
    assert await session.fetch("select 1") == [(1,)]
    await session.close()
    assert session.closed
    session = await connect()
    asked = asyncio.ensure_future(session.fetch("select pg_sleep(60)"))
    await asyncio.sleep(0)
    session.abort()
    with pytest.raises(SessionError):
        await asked


@pytest.mark.parametrize(
    ("sslmode", "host", "believed"),
    [
        ("require", "127.0.0.1", True),
        ("verify-ca", "127.0.0.1", True),
        ("verify-full", "127.0.0.1", True),
        ("verify-full", "localhost", True),
        ("verify-ca", "127.0.0.2", True),
        ("verify-full", "127.0.0.2", False),  # the certificate does not say that
    ],
)
async def test_whom_the_lean_client_believes(ground: Ground, sslmode: str, host: str, believed: bool) -> None:
    address = replace(
        parse(ground.endpoint("direct").url),
        host=host,
        sslmode=sslmode,
        sslrootcert=str(ground.certificate.file),
    )
    if believed:
        session = await open_session(address)
        sql = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
        assert await session.fetch(sql) == [(True, "TLSv1.3")]
        await session.close()
    else:
        with pytest.raises(ConnectFailed, match="certificate verify failed"):
            await open_session(address)


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
async def test_it_believes_nobody_whom_its_authorities_do_not_know(
    ground: Ground, tmp_path: Path, sslmode: str
) -> None:
    """As libpq: in every mode, once there are authorities."""
    another = self_signed(tmp_path)
    address = replace(parse(ground.endpoint("direct").url), sslmode=sslmode, sslrootcert=str(another.file))
    with pytest.raises(ConnectFailed, match="certificate verify failed"):
        await open_session(address)
    with pytest.raises(ConnectFailed, match="No such file"):
        await open_session(replace(address, sslrootcert=str(tmp_path / "nowhere.pem")))


def test_a_crowd_counts_from_the_moment_that_each_was_meant_to_come(ground: Ground) -> None:
    """All were meant to come a while ago: they are late, and the time of a login has that in it."""
    where = parse(ground.endpoint("pgbouncer").url)

    async def run(address: Address) -> Served:
        return await crowd(address, 20, 0.0, time.monotonic() - 0.5, "SELECT 1")

    served = uvloop.run(run(where))
    assert served.count == 20
    assert served.p99_ms >= served.mean_ms > 500
    assert served.late_ms >= 500


def test_one_that_is_not_served_is_no_result(ground: Ground) -> None:
    where = replace(parse(ground.endpoint("pgbouncer").url), password="wrong")

    async def run() -> None:
        await crowd(where, 20, 0.0, time.monotonic(), "SELECT 1")

    with pytest.raises(ServerError):
        uvloop.run(run())
