"""Every way in by every way on: which clients get to which servers (CVE-2025-46801: some got to all).

Generated, not sampled (tests/support/login_matrix.py). Servers with TLS are in tests/system.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from poolproxy.demo.postgres import LocalPostgres
from poolproxy.settings import InvalidSettings, load
from tests.support import login_matrix
from tests.support.certificates import Certificates
from tests.support.cluster import make_postgres
from tests.support.stage import Stage

METHODS = [method for method in login_matrix.ROLES if method != "cert"]
SERVERS = login_matrix.ways(METHODS, ["unix", "tcp"])
STORED = "SCRAM-SHA-256$4096:AAAA$" + "A" * 43 + "=:" + "A" * 43 + "="


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    lines = [
        line.format(login_matrix.ROLES[method], method)
        for method in METHODS
        for line in ("local all {} {}", "host all {} all {}")
    ]
    cluster = make_postgres(hba=(*lines, "local all all scram-sha-256", "host all all all scram-sha-256"))
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def stored(postgres: LocalPostgres) -> dict[str, str]:
    return login_matrix.make_roles(postgres)


@pytest.mark.parametrize("known", login_matrix.KNOWN)
@pytest.mark.parametrize("method", login_matrix.METHODS)
def test_only_the_right_ones_get_in(
    stage: Stage,
    postgres: LocalPostgres,
    certificates: Certificates,
    stored: dict[str, str],
    tmp_path: Path,
    method: str,
    known: str,
) -> None:
    front = login_matrix.Front(stage, postgres, certificates, tmp_path, stored)
    front.check(method, known, SERVERS)


@pytest.mark.parametrize(
    ("method", "password", "url", "said"),
    [
        ("reject", login_matrix.PASSWORD, "postgres://127.0.0.1/app", "auth_method"),
        ("scram-sha-256", "md5" + "a" * 32, "postgres://127.0.0.1/app", "cannot use the md5 form"),
        ("trust", STORED, "postgres:///app?host=/tmp&channel_binding=require", "needs TLS"),
        ("trust", STORED, "postgres://127.0.0.1/app?sslmode=disable&channel_binding=require", "needs TLS"),
    ],
)
def test_what_cannot_be_set(tmp_path: Path, method: str, password: str, url: str, said: str) -> None:
    """Whom rules reject, or ask otherwise than by auth_method, is in the matrix."""
    file = tmp_path / "poolproxy.toml"
    file.write_text(f"auth_method = '{method}'\n[users.app]\npassword = '{password}'\n")
    with pytest.raises(InvalidSettings) as raised:
        load(file, {"DATABASE_URL": url})
    assert said in str(raised.value.problems)
