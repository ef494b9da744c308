"""Every way in by every way on to a PostgreSQL with TLS; tests/integration has those without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import login_matrix
from tests.support.certificates import Certificates
from tests.support.stage import Stage
from tests.support.tls_postgres import TlsPostgres

SERVERS = login_matrix.ways(login_matrix.ROLES, ["tls"])


@pytest.fixture(scope="module")
def server() -> Iterator[TlsPostgres]:
    made = TlsPostgres()
    yield made
    made.close()


@pytest.fixture(scope="module")
def stored(server: TlsPostgres) -> dict[str, str]:
    return login_matrix.make_roles(server.postgres)


@pytest.fixture(scope="module")
def stages(server: TlsPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(server.postgres, tmp_path_factory.mktemp("proxies"))
    yield stage
    stage.close()


@pytest.fixture
def stage(stages: Stage) -> Iterator[Stage]:
    """In front of the server with TLS."""
    stages.begin()
    yield stages
    stages.end()


@pytest.mark.parametrize("known", login_matrix.KNOWN)
@pytest.mark.parametrize("method", login_matrix.METHODS)
def test_only_the_right_ones_get_in(
    stage: Stage,
    server: TlsPostgres,
    certificates: Certificates,
    stored: dict[str, str],
    tmp_path: Path,
    method: str,
    known: str,
) -> None:
    front = login_matrix.Front(stage, server.postgres, certificates, tmp_path, stored)
    authority = certificates.folder / "matrix.pem"  # where PostgreSQL may read it, who is another
    front.authority.cert_pem.write_to_path(authority)
    rules = [f"hostssl all {role} all {asked}" for asked, role in login_matrix.ROLES.items()]
    server.serve(certificates.server, ca=authority, rules=(*rules, "host all all all scram-sha-256"))
    front.check(method, known, SERVERS)
