"""Whose a certificate is: PostgreSQL and the proxy are shown the same ones, and say the same."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import trustme
from cryptography.x509.oid import NameOID

from poolproxy.demo.postgres import give_away
from poolproxy.protocol.certificates import distinguished_name
from tests.support.certificates import Certificates
from tests.support.cluster import DATABASE
from tests.support.proxy import ProxyProcess, tls_settings
from tests.support.stage import Stage
from tests.support.subjects import ATTRIBUTES, CN, SUBJECTS, Issuer, Subject, named, shown
from tests.support.tls_postgres import DEBIAN, TlsPostgres
from tests.support.wire import Address
from tools.postgres_with_tls import binaries

RULES = ("hostssl all all all cert",)
#: Who may be whom: several names in a row, in one part, and elsewhere than at the end.
CALLED: tuple[Subject, ...] = (
    named((CN, "app")),
    named((CN, "app"), (CN, "other")),
    named((CN, "other"), (CN, "app")),
    named((CN, "app"), (NameOID.ORGANIZATION_NAME, "x"), (CN, "other")),
    (((CN, "other"), (CN, "app")),),
    (((NameOID.USER_ID, "other"), (CN, "app")),),
    named((NameOID.ORGANIZATION_NAME, "app")),
    named((CN, ""), (CN, "app")),
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Path:
    """Its file, where PostgreSQL can read it."""
    path = certificates.folder / "subjects-ca.pem"
    authority.cert_pem.write_to_path(path)
    path.chmod(0o644)
    give_away(path)
    return path


@pytest.fixture
def issuer(authority: trustme.CA, tmp_path: Path) -> Issuer:
    return Issuer(authority, tmp_path)


@pytest.fixture(scope="module", params=["18", "15"])
def server(request: pytest.FixtureRequest, certificates: Certificates, ca: Path) -> Iterator[TlsPostgres]:
    made = TlsPostgres(binaries() if request.param == "18" else DEBIAN)
    made.serve(certificates.server, ca=ca, rules=RULES)
    yield made
    made.close()


@pytest.fixture
def proxy(stage: Stage, certificates: Certificates, ca: Path, tmp_path: Path) -> ProxyProcess:
    stage.expect_log("28000|login")
    rules = tmp_path / "rules"
    rules.write_text("\n".join(RULES) + "\n")
    return stage.fresh(**tls_settings(certificates, tls_ca_file=str(ca), auth_hba_file=str(rules)))


def asked(address: Address, user: str, issuer: Issuer, subject: Subject, query: str) -> str:
    """What is answered to who is called so; why not, if it is not let in."""
    try:
        with psycopg.connect(
            host="127.0.0.1", port=address[1], user=user, dbname=DATABASE, sslmode="require",
            sslcert=str(issuer.certificate(subject)), sslkey=str(issuer.key),
        ) as connection:  # fmt: skip
            return str((connection.execute(query.encode()).fetchone() or ("",))[0])
    except psycopg.OperationalError as error:
        return str(error).rpartition("FATAL: ")[2].strip()


def test_whom_a_certificate_lets_in(server: TlsPostgres, proxy: ProxyProcess, issuer: Issuer) -> None:
    tried = [(user, subject) for subject in CALLED for user in ("app", "other")]
    theirs, ours = (
        [asked(address, user, issuer, subject, "select current_user") for user, subject in tried]
        for address in (server.address, proxy.address)
    )
    assert ours == theirs
    assert {"app", "other"} <= set(theirs)


def openssl(certificate: Path) -> str:
    """How it prints the subject."""
    command = ["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", str(certificate)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.removeprefix("subject=").removesuffix("\n")


@pytest.mark.parametrize("printed", SUBJECTS)
def test_as_openssl_prints_it(issuer: Issuer, printed: str) -> None:
    assert openssl(issuer.certificate(SUBJECTS[printed])) == printed


def test_every_attribute_as_openssl_prints_it(issuer: Issuer) -> None:
    certificate = issuer.certificate(named(*((attribute, "x") for attribute in ATTRIBUTES)))
    assert distinguished_name(shown(certificate)) == openssl(certificate)


@pytest.mark.parametrize("byte", range(1, 0x80))
def test_every_character_as_openssl_prints_it(issuer: Issuer, byte: int) -> None:
    letter = chr(byte)
    values = (letter, letter * 2, f"{letter}x{letter}", f"x{letter}x")
    certificate = issuer.certificate(named(*((NameOID.ORGANIZATION_NAME, value) for value in values)))
    assert distinguished_name(shown(certificate)) == openssl(certificate)


@pytest.mark.parametrize("server", ["18"], indirect=True)
def test_what_postgresql_compares(server: TlsPostgres, issuer: Issuer) -> None:
    """Its system_user is that name; 15 does not tell. What has attributes without names it lets nowhere."""
    found = {
        printed: asked(server.address, "app", issuer, subject, "select system_user")
        for printed, subject in SUBJECTS.items()
    }
    lost = "could not get NID for ASN1_OBJECT object"
    assert found == {printed: lost if "1.2.3.4" in printed else f"cert:{printed}" for printed in SUBJECTS}
