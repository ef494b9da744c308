"""What is read of a certificate, held against what others read of it."""

from __future__ import annotations

import _ssl
import contextlib
import datetime
import hashlib
import ssl
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.protocol.certificates import common_name, distinguished_name, end_point
from tests.support.subjects import ATTRIBUTES, SUBJECTS, Issuer, shown

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db")])
KEYS: dict[str, Any] = {
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def certificate(key: str, algorithm: hashes.HashAlgorithm | None) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(KEYS[key].public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    return builder.sign(KEYS[key], algorithm).public_bytes(Encoding.DER)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["rsa", "ec"])
@pytest.mark.parametrize("algorithm", [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_hash_of_the_signature(key: str, algorithm: hashes.HashAlgorithm) -> None:
    der = certificate(key, algorithm)
    named = x509.load_der_x509_certificate(der).signature_hash_algorithm
    assert named is not None
    assert end_point(der) == hashlib.new(named.name, der).digest()


def test_a_signature_without_a_hash_binds_nothing() -> None:
    assert end_point(certificate("ed25519", None)) is None


@given(st.binary(max_size=200))
def test_other_bytes_are_no_certificate(data: bytes) -> None:
    assert end_point(data) is None


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_broken_certificate_is_none_or_another(position: int, byte: int) -> None:
    der = bytearray(CERTIFICATE)
    der[position % len(der)] = byte
    found = end_point(bytes(der))
    assert found is None or len(found) in (28, 32, 48, 64)


CERTIFICATE = ssl.PEM_cert_to_DER_cert(trustme.CA().cert_pem.bytes().decode())


def subject(*parts: tuple[str, str | bytes]) -> dict[str, Any]:
    return {"subject": tuple((part,) for part in parts)}


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        (subject(("organizationName", "x"), ("commonName", "bob")), "bob"),
        (subject(("commonName", "first"), ("commonName", "last")), "first"),
        ({"subject": ((("commonName", "first"), ("commonName", "last")),)}, "first"),
        (subject(("commonName", ""), ("commonName", "last")), None),
        (subject(("commonName", "first\0"), ("commonName", "last")), None),
        (subject(("organizationName", "x")), None),
        (subject(("commonName", "bob\0evil")), None),
        (subject(("commonName", b"bob")), None),
        (subject(("x500UniqueIdentifier", b"\0"), ("commonName", "bob")), "bob"),
        ({}, None),
    ],
)
def test_common_names(certificate: dict[str, Any], name: str | None) -> None:
    assert common_name(certificate) == name


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(trustme.CA(), tmp_path_factory.mktemp("subjects"))


@pytest.mark.parametrize("printed", SUBJECTS)
def test_distinguished_names(issuer: Issuer, printed: str) -> None:
    """That OpenSSL and PostgreSQL have the same is tests/system/test_certificate_names.py."""
    assert distinguished_name(shown(issuer.certificate(SUBJECTS[printed]))) == printed


@pytest.mark.parametrize(
    "certificate",
    [
        subject(("commonName", "bob\0")),
        subject(("x500UniqueIdentifier", b"\1"), ("commonName", "bob")),
        {},
    ],
)
def test_no_distinguished_name(certificate: dict[str, Any]) -> None:
    assert distinguished_name(certificate) is None


def test_openssls_short_names_of_attributes() -> None:
    """All that the library at hand has for them."""
    known = 0
    for attribute in ATTRIBUTES:
        with contextlib.suppress(ValueError):  # it has none
            _, short, long, _ = _ssl.txt2obj(attribute.dotted_string)
            assert distinguished_name(subject((long, "x"))) == f"{short}=x"
            known += 1
    assert known > 100
