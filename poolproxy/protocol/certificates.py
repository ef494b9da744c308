"""What a login needs to know of a certificate: what channel binding signs, and whose it is. No TLS, no
files."""

from __future__ import annotations

import hashlib
from typing import Any, Final

#: Signature algorithms by their object identifiers (DER), and the hash that tls-server-end-point takes
#: for each: the signature's own, SHA-256 in place of MD5 and SHA-1 (RFC 5929, 4.1).
_HASHES: Final = {
    "1.2.840.113549.1.1.4": "sha256",  # md5WithRSAEncryption
    "1.2.840.113549.1.1.5": "sha256",  # sha1WithRSAEncryption
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.10045.4.1": "sha256",  # ecdsa-with-SHA1
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}
_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_UTF8_STRING: Final = 0x0C

#: OpenSSL's short names of what a distinguished name is made of, by ssl's long ones, where they differ.
_SHORT: Final = {
    "commonName": "CN",
    "surname": "SN",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "givenName": "GN",
    "countryCode3c": "c3",
    "countryCode3n": "n3",
    "userId": "UID",
    "rfc822Mailbox": "mail",
    "domainComponent": "DC",
    "uniqueIdentifier": "uid",
    "jurisdictionLocalityName": "jurisdictionL",
    "jurisdictionStateOrProvinceName": "jurisdictionST",
    "jurisdictionCountryName": "jurisdictionC",
}
_ESCAPED: Final = frozenset(b',+"\\<>;')

#: What `SSLObject.getpeercert` tells of a certificate that has been verified.
PeerCertificate = dict[str, Any]


def end_point(certificate: bytes) -> bytes | None:
    """The tls-server-end-point binding of a server's certificate (DER); None where its signature has no
    hash to take, as Ed25519's and RSASSA-PSS's (RFC 5929 leaves them undefined, and PostgreSQL refuses to
    bind to them)."""
    try:
        name = _HASHES.get(_signature_algorithm(certificate))
    except (IndexError, ValueError):
        return None
    return hashlib.new(name, certificate).digest() if name is not None else None


def _signature_algorithm(certificate: bytes) -> str:
    """Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, ... },
    ... }"""
    start, _ = _element(certificate, 0, _SEQUENCE)
    _, behind = _element(certificate, start, _SEQUENCE)
    start, _ = _element(certificate, behind, _SEQUENCE)
    start, end = _element(certificate, start, _OBJECT_IDENTIFIER)
    return _identifier(certificate[start:end])


def _element(data: bytes, position: int, tag: int) -> tuple[int, int]:
    """Where the content of a DER element begins and ends. ValueError, IndexError where it is none of this
    tag."""
    if data[position] != tag:
        raise ValueError("not the element expected")
    size, start = data[position + 1], position + 2
    if size & 0x80:
        digits = size & 0x7F
        size = int.from_bytes(data[start : start + digits], "big")
        start += digits
    if start + size > len(data):
        raise ValueError("an element longer than what it is in")
    return start, start + size


def _identifier(content: bytes) -> str:
    """An OBJECT IDENTIFIER in dots: base 128, the first two arcs in one number (X.690, 8.19)."""
    numbers, number = [], 0
    for byte in content:
        number = (number << 7) | (byte & 0x7F)
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def common_name(certificate: PeerCertificate) -> str | None:
    """The CN of its subject; None where it has none, an empty one, or one that must not be believed: with a
    zero byte in it, or of bits. The first one counts, as PostgreSQL has it."""
    names = (value for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
    name = next(names, "")
    return name if name and _readable(name) else None


def distinguished_name(certificate: PeerCertificate) -> str | None:
    """Its subject as OpenSSL writes it by RFC 2253, the last attribute first: what PostgreSQL compares
    (clientname=DN). None where it has none, a zero byte in it, or bits: ssl does not tell how many."""
    parts = []
    for part in reversed(certificate.get("subject", ())):
        if not all(_readable(value) for _, value in part):
            return None
        parts.append("+".join(_attribute(key, value) for key, value in reversed(part)))
    return ",".join(parts) or None


def _readable(value: str | bytes) -> bool:
    """bytes: what is no text to ssl, but a string of bits."""
    return isinstance(value, str) and "\0" not in value


def _attribute(key: str, value: str) -> str:
    if key[0].isdecimal():  # an object identifier without a name: in DER, by RFC 2253, 2.4
        return f"{key}=#{_utf8_string(value).hex().upper()}"
    return f"{_SHORT.get(key, key)}={_escaped(value)}"


def _utf8_string(value: str) -> bytes:
    """In DER. ssl does not tell of which kind a string was; this is what they are made of today."""
    content = value.encode()
    size = len(content)
    if size < 0x80:
        return bytes((_UTF8_STRING, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((_UTF8_STRING, 0x80 | len(digits))) + digits + content


def _escaped(value: str) -> str:
    """RFC 2253, 2.4; byte by byte what is not ASCII, or controls something. OpenSSL takes a number sign alone
    for the last letter, not for the first."""
    text = "".join(
        f"\\{chr(byte)}" if byte in _ESCAPED else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:02X}"
        for byte in value.encode()
    )
    if text[:1] in (" ", "#") and text != "#":
        text = "\\" + text
    if len(value) > 1 and text.endswith(" "):
        text = text[:-1] + "\\ "
    return text
