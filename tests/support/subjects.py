"""Subjects of certificates, and how OpenSSL prints them: what PostgreSQL compares by clientname=DN."""

from __future__ import annotations

import _ssl
import datetime
import warnings
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from trustme import CA

CN = NameOID.COMMON_NAME
#: What nobody has given a name.
UNNAMED = x509.ObjectIdentifier("1.2.3.4")

Subject = tuple[tuple[tuple[x509.ObjectIdentifier, str], ...], ...]


def named(*parts: tuple[x509.ObjectIdentifier, str]) -> Subject:
    """Of parts with one value each."""
    return tuple((part,) for part in parts)


#: As `openssl x509 -noout -subject -nameopt RFC2253` prints them (3.0.19). The first CN of each is "app".
SUBJECTS: dict[str, Subject] = {
    "CN=app,O=Acme,C=DE": named(
        (NameOID.COUNTRY_NAME, "DE"), (NameOID.ORGANIZATION_NAME, "Acme"), (CN, "app")
    ),
    'CN=app,O=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h=i': named(
        (NameOID.ORGANIZATION_NAME, 'a,b+c"d\\e<f>g;h=i'), (CN, "app")
    ),
    "CN=app,OU=\\ ,O=\\ #x\\ ": named(
        (NameOID.ORGANIZATION_NAME, " #x "), (NameOID.ORGANIZATIONAL_UNIT_NAME, " "), (CN, "app")
    ),
    "CN=app,OU=\\  x \\ ,O=\\#x#": named(
        (NameOID.ORGANIZATION_NAME, "#x#"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "  x  "), (CN, "app")
    ),
    "CN=app,OU=\\E6\\97\\A5\\E6\\9C\\AC \\F0\\9F\\90\\98,O=M\\C3\\BCller": named(
        (NameOID.ORGANIZATION_NAME, "Müller"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "日本 🐘"), (CN, "app")
    ),
    "CN=app,O=#": named((NameOID.ORGANIZATION_NAME, "#"), (CN, "app")),
    "CN=app,O=a\\0A\\01\\7F~": named((NameOID.ORGANIZATION_NAME, "a\n\x01\x7f~"), (CN, "app")),
    "CN=app,O=(a)*": named((NameOID.ORGANIZATION_NAME, "(a)*"), (CN, "app")),
    "UID=7+CN=app": (((CN, "app"), (NameOID.USER_ID, "7")),),
    "UID=7+CN=app+OU=a,C=DE": (
        ((NameOID.COUNTRY_NAME, "DE"),),
        ((NameOID.ORGANIZATIONAL_UNIT_NAME, "a"), (NameOID.USER_ID, "7"), (CN, "app")),
    ),
    "CN=other,CN=app": named((CN, "app"), (CN, "other")),
    "CN=app,title=d,initials=c,SN=b,GN=a": named(
        (NameOID.GIVEN_NAME, "a"),
        (NameOID.SURNAME, "b"),
        (NameOID.INITIALS, "c"),
        (NameOID.TITLE, "d"),
        (CN, "app"),
    ),
    "CN=app,dnQualifier=c,generationQualifier=b,pseudonym=a": named(
        (NameOID.PSEUDONYM, "a"),
        (NameOID.GENERATION_QUALIFIER, "b"),
        (NameOID.DN_QUALIFIER, "c"),
        (CN, "app"),
    ),
    "CN=app,DC=d,emailAddress=b@c,serialNumber=a": named(
        (NameOID.SERIAL_NUMBER, "a"),
        (NameOID.EMAIL_ADDRESS, "b@c"),
        (NameOID.DOMAIN_COMPONENT, "d"),
        (CN, "app"),
    ),
    "CN=app,ST=c,postalCode=b,street=a": named(
        (NameOID.STREET_ADDRESS, "a"),
        (NameOID.POSTAL_CODE, "b"),
        (NameOID.STATE_OR_PROVINCE_NAME, "c"),
        (CN, "app"),
    ),
    "CN=app,jurisdictionL=b,L=a": named(
        (NameOID.LOCALITY_NAME, "a"), (NameOID.JURISDICTION_LOCALITY_NAME, "b"), (CN, "app")
    ),
    "CN=app,1.2.3.4=#0C04C3A42C62": named((UNNAMED, "ä,b"), (CN, "app")),
    "CN=app,1.2.3.4=#0C81C8" + 200 * "78": named((UNNAMED, "x" * 200), (CN, "app")),
}

#: Attributes that names may be made of: X.520's, COSINE's, PKCS #9's, and those of extended validation.
ATTRIBUTES = tuple(
    x509.ObjectIdentifier(f"{arc}.{number}")
    for arc, last in (
        ("2.5.4", 120),
        ("0.9.2342.19200300.100.1", 60),
        ("1.2.840.113549.1.9", 9),
        ("1.3.6.1.4.1.311.60.2.1", 3),
    )
    for number in range(1, last + 1)
    if (arc, number) != ("2.5.4", 45)  # a string of bits
)


def shown(certificate: Path) -> dict[str, Any]:
    """What `SSLObject.getpeercert` tells of it, without a handshake."""
    told: dict[str, Any] = _ssl._test_decode_cert(str(certificate))  # type: ignore[attr-defined]
    return told


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
