"""Every way in by every way on: which clients get to which servers (CVE-2025-46801: some got to all).

Generated, not sampled: {method of the client} x {method of the server} x {right, wrong, unknown}.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme

from poolproxy.demo.postgres import LocalPostgres
from tests.support.cluster import DATABASE, make_postgres
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage

#: Methods of servers, and the users whom they ask so. Over a Unix socket, so that clear text is one of them.
SERVERS = {"scram-sha-256": "by_scram", "md5": "by_md5", "password": "by_password", "trust": "by_trust"}
CLIENTS = ("scram-sha-256", "md5", "password", "iam", "cert", "trust")
PROOFS = ("right", "wrong", "unknown")
PASSWORD = "right as rain"

#: Who need not prove anything to us, and who proves it to the server alone.
FREE = ("trust",)
TRIED = ("iam",)


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    lines = [f"local all {user} {method}" for method, user in SERVERS.items()]
    cluster = make_postgres(hba=(*lines, "local all all scram-sha-256", "host all all all scram-sha-256"))
    try:
        for method, user in SERVERS.items():
            kind = "md5" if method == "md5" else "scram-sha-256"
            cluster.sql(
                f"set client_min_messages = error; set password_encryption = '{kind}'; "
                f"create role {user} login password '{PASSWORD}'"
            )
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def gets_in(client: str, server: str, proof: str) -> bool:
    """Whether it should: the right one does, everywhere but where nobody could tell; no other does."""
    if proof == "unknown":
        return False
    if client in TRIED:
        return proof == "right" and server != "trust"
    return proof == "right" or client in FREE


def front(
    stage: Stage, postgres: LocalPostgres, client: str, folder: Path, authority: trustme.CA
) -> ProxyProcess:
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return stage.fresh(
        databases={
            DATABASE: {"url": f"postgres:///{DATABASE}?host={postgres.socket_dir}&port={postgres.port}"}
        },
        users={user: {"password": PASSWORD} for user in SERVERS.values()},
        auth_method=client,
        tls_cert_file=str(folder / "server.pem"),
        tls_ca_file=str(folder / "ca.pem"),
        failed_login_delay=0,
    )


def certificate(folder: Path, authority: trustme.CA, name: str) -> dict[str, str]:
    issued = authority.issue_cert(common_name=name)
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(paths[0])
    issued.private_key_pem.write_to_path(paths[1])
    paths[1].chmod(0o600)
    return {"sslcert": str(paths[0]), "sslkey": str(paths[1])}


@pytest.mark.parametrize("client", CLIENTS)
def test_only_the_right_ones_get_in(
    stage: Stage, postgres: LocalPostgres, authority: trustme.CA, tmp_path: Path, client: str
) -> None:
    for pattern in ("login", "server connect failed", "catalogue not read", "control query failed", "token"):
        stage.expect_log(pattern)
    proxy = front(stage, postgres, client, tmp_path, authority)
    found = {}
    for server, owner in SERVERS.items():
        for proof in PROOFS:
            user = "nobody" if proof == "unknown" else owner
            named = {"right": owner, "wrong": "somebody", "unknown": "nobody"}[proof]
            options: dict[str, Any] = certificate(tmp_path, authority, named) if client == "cert" else {}
            try:
                with psycopg.connect(
                    host="127.0.0.1", port=proxy.port, user=user, dbname=DATABASE, sslmode="require",
                    password="wrong as can be" if proof == "wrong" else PASSWORD, **options,
                ) as connection:  # fmt: skip
                    assert connection.execute("select session_user").fetchone() == (owner,)
                    found[client, server, proof] = True
            except psycopg.OperationalError:
                found[client, server, proof] = False
    assert found == {
        (client, server, proof): gets_in(client, server, proof) for server in SERVERS for proof in PROOFS
    }
