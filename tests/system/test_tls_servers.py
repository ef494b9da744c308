"""The proxy's own connections, to PostgreSQL over TLS: what libpq does with the same parameters.

That rule (tests/support/libpq.py) is held against psql in test_tls_truth.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from poolproxy.auth.server_login import ScramKeyCache, ServerRefusedLogin
from poolproxy.backend.connecting import describe, log_in
from poolproxy.backend.dialing import Dialer
from poolproxy.errors import PoolproxyError
from poolproxy.route import ServerTls, Target
from poolproxy.settings.model import SERVER_TLS
from poolproxy.transport.tls_stream import TlsStream
from tests.support import messages as m
from tests.support.certificates import Certificates
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.libpq import BINDS, DIRECT, MODES, Host, Way, expected, other_hosts, ways_of_ours
from tests.support.polling import dialer_of, served_poller
from tests.support.stage import Stage
from tests.support.tls_postgres import DEBIAN, TlsPostgres
from tests.support.wire import cancel
from tools.postgres_with_tls import binaries

pytestmark = pytest.mark.timeout(180)

#: What a client is told, and the outcome that it belongs to.
_MEANINGS = {
    r"the server has no TLS": "no tls",
    r"certificate does not hold: (Hostname|IP address) mismatch": "another host's",
    r"certificate does not hold": "not believed",
    r"no encryption": "plain refused",
    r"connection requires a valid client certificate": "certificate wanted",
    r"channel binding is required|no channel binding, and it is required": "not bound",
    r"(password|certificate) authentication failed": "another user's",
    r"alert (certificate expired|unknown ca|certificate revoked)": "certificate refused",
    r"lost in the TLS handshake|closed the connection": "closed",
}


@pytest.fixture(scope="module", params=["18", "15"])
def server(request: pytest.FixtureRequest) -> Iterator[TlsPostgres]:
    made = TlsPostgres(binaries() if request.param == "18" else DEBIAN)
    yield made
    made.close()


@pytest.fixture(scope="module")
def stages(server: TlsPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(server.postgres, tmp_path_factory.mktemp("proxies"))
    yield stage
    stage.close()


@pytest.fixture
def stage(stages: Stage) -> Iterator[Stage]:
    """In front of the server with TLS."""
    stages.begin()
    stages.expect_log("server connect failed|catalogue not read|control query failed|login")
    yield stages
    stages.end()


def serve(server: TlsPostgres, certificates: Certificates, host: Host) -> None:
    identity = None if host.mode == "disable" else getattr(certificates, host.identity)
    server.serve(identity, ca=certificates.client_ca, crl=certificates.client_crl, rules=host.rules)


def url(server: TlsPostgres, certificates: Certificates, way: Way) -> str:
    """Where `way` leads to, with all of its parameters."""
    parameters = way.parameters(certificates)
    place = f"{parameters.pop('host')}:{server.postgres.port}/{parameters.pop('dbname')}"
    login = f"{parameters.pop('user')}:{quote(PASSWORDS[way.user], safe='')}"
    if not way.root:
        del parameters["sslrootcert"]
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"postgres://{login}@{place}?{query}"


def target(server: TlsPostgres, certificates: Certificates, way: Way) -> Target:
    parameters = way.parameters(certificates)
    given = {name: parameters[name] for name in SERVER_TLS if name in parameters}
    if not way.root:
        del given["sslrootcert"]
    return Target(
        host=way.host,
        port=server.postgres.port,
        unix_path=None,
        dbname=DATABASE,
        user=way.user,
        password=PASSWORDS[way.user],
        tls=ServerTls(**given),
    )


class Seen:
    """What became of a login of the proxy's: as a client would be told, and as the server sees it."""

    def __init__(self, outcome: str, name: str | None = None) -> None:
        self.outcome = outcome
        self.name = name  #: of the certificate that the server was shown

    def __repr__(self) -> str:
        return f"{self.outcome} {self.name or ''}"

    def fits(self, way: Way, host: Host) -> bool:
        """In as libpq gets in; or refused for the reason of one of its attempts: we tell of one."""
        wanted = expected(way, host)
        if wanted == ("tls",):
            return self.outcome == "tls" and self.name == (way.identity or None)
        return self.outcome in wanted


async def entered(dialer: Dialer, server: TlsPostgres, certificates: Certificates, way: Way) -> Seen:
    """By the code that fills the pools."""
    try:
        async with asyncio.timeout(30):
            stream, greeting = await log_in(dialer, target(server, certificates, way), ScramKeyCache())
    except (OSError, PoolproxyError, ServerRefusedLogin) as error:
        said = describe(error)
        return Seen(next((kind for text, kind in _MEANINGS.items() if re.search(text, said)), said))
    try:
        ((encrypted, name),) = server.rows(
            f"select ssl, client_dn from pg_stat_ssl where pid = {greeting.pid}"
        )
    finally:
        stream.close()
    assert encrypted == isinstance(stream, TlsStream)
    return Seen("tls" if encrypted else "plain", name.rpartition("=")[2] if name else None)


@pytest.mark.parametrize("mode", MODES)
async def test_every_way_to_postgresql(server: TlsPostgres, certificates: Certificates, mode: str) -> None:
    host = Host(mode, direct=server.version >= 17)
    serve(server, certificates, host)
    async with served_poller() as poller:
        dialer = dialer_of(poller)
        found = {way: await entered(dialer, server, certificates, way) for way in ways_of_ours()}
    wrong = [
        f"{way}: {seen}, not {expected(way, host)}" for way, seen in found.items() if not seen.fits(way, host)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("mode", MODES)
async def test_servers_that_are_not_whom_they_should_be(
    server: TlsPostgres, certificates: Certificates, mode: str
) -> None:
    wrong = []
    async with served_poller() as poller:
        dialer = dialer_of(poller)
        for way, host in other_hosts(mode):
            if way.root or not mode.startswith("verify"):
                serve(server, certificates, host)
                seen = await entered(dialer, server, certificates, way)
                if not seen.fits(way, host):
                    wrong.append(f"{way} to {host}: {seen}, not {expected(way, host)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "way",
    [
        Way("require", identity="app"),
        Way("verify-full", "ca", "app", more=(DIRECT, BINDS)),
        Way("verify-full", "ca", "app", more=(BINDS,)),
    ],
    ids=str,
)
def test_a_pool_over_tls(stage: Stage, server: TlsPostgres, certificates: Certificates, way: Way) -> None:
    """Every connection that a proxy keeps, its own questions' too, and cancel requests."""
    if way.direct and server.version < 17:
        way = Way(way.sslmode, way.root, way.identity, more=(BINDS,))
    serve(server, certificates, Host("verify-full"))
    proxy = stage.fresh(databases={DATABASE: {"url": url(server, certificates, way)}}, pool_size=2)
    with proxy.login() as client:
        assert client.rows("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == [["t"]]
        text = "x" * 3_000_000
        assert client.value(f"select '{text}'") == text
        client.send(m.query("select pg_sleep(60)"))
        stage.direct.wait_running("pg_sleep(60)")
        cancel(proxy.address, client.pid, client.key)
        assert m.errors(client.read_ready()) == ["57014"]
        assert {encrypted for _, encrypted, *_ in server.sessions()} == {True}
        assert all((name or "").endswith("/CN=app") for *_, name in server.sessions())
