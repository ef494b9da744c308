"""Servers over TLS: a proxy in front of another one, which shows a certificate, and what each sslmode
makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import trustme

from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(tmp_path: Path, authority: trustme.CA) -> dict[str, str]:
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    return {"tls_cert_file": str(tmp_path / "server.pem")}


def before(
    stage: Stage, server: ProxyProcess, host: str = "127.0.0.1", patience: float = 30.0, **tls: str
) -> ProxyProcess:
    """A proxy whose server is that one. `patience`: who is refused may wait so long to hear of it."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in tls.items())
    password = quote(PASSWORDS["app"])
    url = f"postgres://app:{password}@{host}:{server.port}/{DATABASE}?{query}"
    return stage.fresh(databases={DATABASE: {"url": url}}, connection_borrow_timeout=patience)


def placed(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Settings with the names of authorities replaced by their files."""
    return {k: str(folder / f"{v}.pem") if v in ("ca", "other") else v for k, v in settings.items()}


def ask(proxy: ProxyProcess) -> str:
    """What a client gets: a row, or an error's text. The proxy ends, and so do its servers' clients."""
    try:
        with psycopg.connect(
            host="127.0.0.1", port=proxy.port, user="app", password=PASSWORDS["app"], dbname=DATABASE
        ) as connection:
            return str(connection.execute("select 'here'").fetchone())
    except psycopg.OperationalError as error:
        return str(error)
    finally:
        assert proxy.stop() == 0


def entered(server: ProxyProcess) -> set[str]:
    """With which TLS, if any, the server has been logged in to; who got a row has been, but its log is a
    moment behind."""
    server.wait_log(lambda line: line.get("event") == "client logged in")
    return seen(server)


def seen(server: ProxyProcess) -> set[str]:
    """The same where nobody may have got in."""
    return {line.get("tls", "none") for line in server.log if line.get("event") == "client logged in"}


@pytest.mark.parametrize(
    ("tls", "found"),
    [
        ({}, "TLSv1.3"),
        ({"sslmode": "disable"}, "none"),
        ({"sslmode": "allow"}, "none"),
        ({"sslmode": "prefer"}, "TLSv1.3"),
        ({"sslmode": "require"}, "TLSv1.3"),
        ({"sslmode": "require", "sslnegotiation": "direct"}, "TLSv1.3"),
        ({"sslmode": "verify-ca", "sslrootcert": "ca"}, "TLSv1.3"),
        ({"sslmode": "verify-full", "sslrootcert": "ca", "channel_binding": "require"}, "TLSv1.3"),
        ({"sslmode": "prefer", "sslrootcert": "other"}, "none"),
    ],
)
def test_what_is_used(
    stage: Stage, certificate: dict[str, str], tmp_path: Path, tls: dict[str, str], found: str
) -> None:
    server = stage.fresh(**certificate)
    stage.expect_log("handshake failed")
    assert ask(before(stage, server, **placed(tls, tmp_path))) == "('here',)"
    assert entered(server) == {found}


@pytest.mark.parametrize(
    ("host", "tls", "settings", "said"),
    [
        ("127.0.0.1", {"sslmode": "require"}, {"tls_mode": "disable"}, "the server has no TLS"),
        ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": "other"}, {}, "certificate does not hold"),
        ("localhost", {"sslmode": "verify-full", "sslrootcert": "ca"}, {}, "certificate does not hold"),
        ("127.0.0.1", {"sslmode": "disable"}, {"require_tls": True}, "requires TLS"),
        (
            "127.0.0.1",
            {"sslmode": "allow"},
            {"tls_mode": "verify-ca", "tls_ca_file": "ca"},
            "client certificate",
        ),
        (
            "127.0.0.1",
            {"sslmode": "require", "channel_binding": "require"},
            {"auth_method": "md5"},
            "channel binding is required",
        ),
        (
            "127.0.0.1",
            {"sslmode": "require", "channel_binding": "require"},
            {"auth_method": "trust"},
            "channel binding is required",
        ),
    ],
)
def test_what_is_refused(
    stage: Stage,
    certificate: dict[str, str],
    tmp_path: Path,
    host: str,
    tls: dict[str, str],
    settings: dict[str, Any],
    said: str,
) -> None:
    server = stage.fresh(**certificate, **placed(settings, tmp_path))
    for pattern in ("server connect failed", "catalogue not read", "control query failed", "login"):
        stage.expect_log(pattern)
    assert said in ask(before(stage, server, host, 2.0, **placed(tls, tmp_path)))
    # Who trusts everybody has let us in before we could say that this is not enough.
    if settings == {"auth_method": "trust"}:
        assert entered(server) == {"TLSv1.3"}
    else:
        assert seen(server) == set()


def test_allow_and_prefer_try_the_other_way(
    stage: Stage, certificate: dict[str, str], tmp_path: Path
) -> None:
    """As libpq: where a rule lets nobody in who comes that way."""
    stage.expect_log("28000|login")
    for mode, kind in (("allow", "hostssl"), ("prefer", "hostnossl")):
        rules = tmp_path / f"{kind}.conf"
        rules.write_text(f"{kind} all all all scram-sha-256\n")
        server = stage.fresh(**certificate, auth_hba_file=str(rules))
        assert ask(before(stage, server, sslmode=mode)) == "('here',)"
        assert entered(server) == {"TLSv1.3" if kind == "hostssl" else "none"}


def test_a_certificate_of_our_own(
    stage: Stage, certificate: dict[str, str], tmp_path: Path, authority: trustme.CA
) -> None:
    issued = authority.issue_cert(common_name="app")
    issued.private_key_pem.write_to_path(tmp_path / "app.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "app.pem")
    server = stage.fresh(**certificate, tls_mode="verify-full", tls_ca_file=str(tmp_path / "ca.pem"))
    proxy = before(
        stage, server, sslmode="require", sslcert=str(tmp_path / "app.pem"), sslkey=str(tmp_path / "app.key")
    )
    assert ask(proxy) == "('here',)"
