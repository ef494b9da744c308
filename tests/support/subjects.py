"""Certificates of any subject."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from trustme import CA

CN = NameOID.COMMON_NAME

Subject = tuple[tuple[tuple[x509.ObjectIdentifier, str], ...], ...]


def named(*parts: tuple[x509.ObjectIdentifier, str]) -> Subject:
    """Of parts with one value each."""
    return tuple((part,) for part in parts)


class Issuer:
    """An authority that believes whatever it is told. Its files lie in `folder`."""

    def __init__(self, authority: CA, folder: Path) -> None:
        self._issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
        self._authority_key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._folder = folder
        self.key = folder / "subject.key"  #: of all of them
        self.key.touch(mode=0o600)
        self.key.write_bytes(
            self._key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def certificate(self, subject: Subject) -> Path:
        """Of the one who is called so; the file is the next one's as well."""
        assert isinstance(self._authority_key, ec.EllipticCurvePrivateKey)
        now = datetime.datetime.now(datetime.UTC)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a name is shorter or longer than it should be
            attributes = [
                [x509.NameAttribute(kind, value, _validate=False) for kind, value in part] for part in subject
            ]
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.RelativeDistinguishedName(part) for part in attributes]))
            .issuer_name(self._issuer.subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(self._authority_key, hashes.SHA256())
        )
        path = self._folder / "subject.pem"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return path
