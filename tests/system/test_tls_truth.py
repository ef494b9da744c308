"""What psql gets from PostgreSQL itself over TLS: the rule that other tests go by is held against it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.certificates import Certificates
from tests.support.libpq import MODES, Host, Psql, Psycopg, every_way, expected, other_hosts, surprises
from tests.support.tls_postgres import DEBIAN, TlsPostgres
from tools.postgres_with_tls import binaries


@pytest.fixture(scope="module", params=["18", "15"])
def server(request: pytest.FixtureRequest) -> Iterator[TlsPostgres]:
    made = TlsPostgres(binaries() if request.param == "18" else DEBIAN)
    yield made
    made.close()


def serve(server: TlsPostgres, certificates: Certificates, host: Host) -> None:
    identity = None if host.mode == "disable" else getattr(certificates, host.identity)
    server.serve(identity, ca=certificates.client_ca, crl=certificates.client_crl, rules=host.rules)


@pytest.mark.parametrize("mode", MODES)
def test_every_way_into_postgresql(server: TlsPostgres, certificates: Certificates, mode: str) -> None:
    host = Host(mode, direct=server.version >= 17)
    serve(server, certificates, host)
    psql = Psql(binaries(), certificates)
    found = {way: psql(way, server.address) for way in every_way()}
    assert not surprises(found, host)


@pytest.mark.parametrize("mode", MODES)
def test_servers_that_are_not_whom_they_should_be(
    server: TlsPostgres, certificates: Certificates, mode: str
) -> None:
    psql, psycopg = Psql(binaries(), certificates), Psycopg(certificates)
    for way, host in other_hosts(mode):
        serve(server, certificates, host)
        assert psql(way, server.address) == expected(way, host), f"{way} to {host}"
        assert psycopg(way, server.address) == expected(way, host), f"{way} to {host}"
