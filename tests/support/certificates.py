"""Certificates for tests, by trustme: of servers, of clients, and of those whom nobody should believe.

Keys belong to the account that PostgreSQL runs under, who insists on that; root reads them all the same.
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from trustme import CA, KeyType, LeafCert

from poolproxy.demo.postgres import give_away

HOSTS = ("127.0.0.1", "localhost")
LONG_AGO = datetime.datetime(2020, 1, 1)
AGO = datetime.datetime(2020, 1, 2)


@dataclass(frozen=True)
class Identity:
    """A certificate with its chain, and its key: files in PEM."""

    certificate: Path
    key: Path

    @property
    def leaf(self) -> bytes:
        """The certificate itself in DER: what a peer is shown."""
        text = self.certificate.read_bytes()
        return x509.load_pem_x509_certificate(text).public_bytes(serialization.Encoding.DER)

    def replace_by(self, other: Identity) -> None:
        """Put the other's in these files' place, at once each, the certificate first."""
        for mine, theirs in ((self.certificate, other.certificate), (self.key, other.key)):
            fresh = mine.with_suffix(".new")
            _write(fresh, theirs.read_bytes())
            fresh.rename(mine)


class Certificates:
    """All of a run. The folder is everybody's to enter: PostgreSQL is another when tests run as root."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="poolproxy-certificates-"))
        self.folder.chmod(0o755)
        servers, clients, strangers = CA(), CA(), CA()
        self.ca = self._file(
            "ca.pem", servers.cert_pem.bytes()
        )  #: whoever believes servers believes this one
        self.client_ca = self._file("client-ca.pem", clients.cert_pem.bytes())
        self.stranger_ca = self._file("stranger-ca.pem", strangers.cert_pem.bytes())
        #: Servers' own.
        self.server = self._issue("server", servers, *HOSTS)
        self.server_rsa = self._issue("server-rsa", servers, *HOSTS, key_type=KeyType.RSA)
        self.server_elsewhere = self._issue("server-elsewhere", servers, "elsewhere.example")
        self.server_expired = self._issue("server-expired", servers, *HOSTS, expired=True)
        self.server_stranger = self._issue("server-stranger", strangers, *HOSTS)
        #: Clients' own, by the user's name in CN.
        self.app = self._issue("app", clients, common_name="app")
        self.other = self._issue("other", clients, common_name="other")
        self.app_expired = self._issue("app-expired", clients, common_name="app", expired=True)
        self.app_stranger = self._issue("app-stranger", strangers, common_name="app")
        self.app_revoked = self._issue("app-revoked", clients, common_name="app")
        self.client_crl = self._file("client-crl.pem", _revoked(clients, self.app_revoked))

    def copy(self, identity: Identity, name: str) -> Identity:
        """The same in files of their own, for who replaces them."""
        copied = Identity(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        for old, new in ((identity.certificate, copied.certificate), (identity.key, copied.key)):
            _write(new, old.read_bytes())
        return copied

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _issue(
        self,
        name: str,
        authority: CA,
        *hosts: str,
        common_name: str | None = None,
        key_type: KeyType = KeyType.ECDSA,
        expired: bool = False,
    ) -> Identity:
        leaf: LeafCert = authority.issue_cert(
            *(hosts or ("user@client.example",)),
            common_name=common_name,
            key_type=key_type,
            not_before=LONG_AGO if expired else None,
            not_after=AGO if expired else None,
        )
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return Identity(
            self._file(f"{name}.pem", chain), self._file(f"{name}.key", leaf.private_key_pem.bytes())
        )

    def _file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        _write(path, content)
        return path


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
    path.chmod(0o600 if path.name.split(".")[1] == "key" else 0o644)
    give_away(path)


def _revoked(authority: trustme.CA, *identities: Identity) -> bytes:
    """The authority's list with these certificates on it."""
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject)
        .last_update(now - datetime.timedelta(days=1))
        .next_update(now + datetime.timedelta(days=365))
    )
    for identity in identities:
        certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(now - datetime.timedelta(days=1))
            .build()
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
