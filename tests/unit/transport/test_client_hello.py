"""What a client's hello says, as real clients say it, in pieces, broken, and made to be misread."""

from __future__ import annotations

import itertools
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.transport.client_hello import (
    DECODE_ERROR,
    FINITE_FIELDS,
    LONGEST_HELLO,
    MOST_RECORDS,
    ORDINARY,
    ClientHello,
    HelloRefused,
    alert_record,
    asks_again,
    first_word,
    is_answer,
    is_hello,
    read_client_hello,
)

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
X25519, P256, P384, P521, X448 = 29, 23, 24, 25, 30
NOTHING_SAID = b"\x14\x03\x03\x00\x01\x01"  #: change_cipher_spec
WARNING = b"\x15\x03\x03\x00\x02\x01\x5a"  #: an alert: user_canceled
EMPTY = b"\x16\x03\x03\x00\x00"


def hello(
    group: str | None = None,
    most: ssl.TLSVersion = V13,
    name: str | None = "db.example",
    alpn: tuple[str, ...] = ("postgresql",),
) -> bytes:
    """As OpenSSL says it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = most
    if group is not None:
        context.set_ecdh_curve(group)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def record(data: bytes, kind: int = 22) -> bytes:
    return bytes((kind, 3, 1)) + len(data).to_bytes(2, "big") + data


def cut(records: bytes, *at: int) -> bytes:
    """The message of one record in several."""
    message = records[5:]
    edges = [0, *at, len(message)]
    return b"".join(record(message[a:b]) for a, b in itertools.pairwise(edges))


def extension(number: int, value: bytes) -> bytes:
    return number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def message(*extensions: bytes) -> bytes:
    """A hello of our own making: a record."""
    tail = b"".join(extensions)
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\x00\x02\x13\x02" + b"\x01\x00"
    body += len(tail).to_bytes(2, "big") + tail
    return record(b"\x01" + len(body).to_bytes(3, "big") + body)


VERSIONS = extension(43, b"\x02\x03\x04")


def shares(*groups: int) -> bytes:
    each = b"".join(group.to_bytes(2, "big") + b"\x00\x04abcd" for group in groups)
    return extension(51, len(each).to_bytes(2, "big") + each)


def offered(*groups: int) -> bytes:
    each = b"".join(group.to_bytes(2, "big") for group in groups)
    return extension(10, len(each).to_bytes(2, "big") + each)


def read(records: bytes) -> ClientHello:
    known = read_client_hello(records, 0)
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("group", "number"),
    [
        (None, X25519), ("X25519", X25519), ("prime256v1", P256), ("secp384r1", P384), ("secp521r1", P521),
        ("X448", X448), ("ffdhe2048", 256), ("ffdhe8192", 260),
    ],
)  # fmt: skip
def test_the_group_of_the_key_exchange(group: str | None, number: int) -> None:
    assert read(hello(group)).group == number


@pytest.mark.parametrize("group", [None, "prime256v1", "secp384r1", "X448"])
def test_before_1_3_no_group_tells_what_it_takes(group: str | None) -> None:
    """A session may be resumed, which spares us the signature; RSA may have no key exchange at all."""
    known = read(hello(group, V12))
    assert (known.group, known.ordinary) == (0, False)
    known = read(message(offered(X25519)))
    assert (known.group, known.ordinary) == (0, False)


def test_the_first_share_that_is_known_counts_and_a_finite_field_before_all() -> None:
    """Which one OpenSSL takes depends on the system's settings."""
    assert read(message(VERSIONS, shares(0x11EC, P256, X25519))).group == P256
    assert read(message(VERSIONS, shares(0x11EC, X25519, 260))).group == 260
    assert read(message(VERSIONS, shares(0x11EC), offered(X25519))).group == 0
    assert read(message(VERSIONS, shares())).group == 0
    assert read(message(VERSIONS)).group == 0
    assert {P256, P384, P521, X25519, X448}.isdisjoint(FINITE_FIELDS)


def test_what_is_ordinary() -> None:
    """Each offered group is compared with each share: in a long one that takes 30 ms."""
    assert read(hello()).ordinary
    assert read(hello("X448")).ordinary
    assert not read(hello("ffdhe2048")).ordinary
    assert not read(message(VERSIONS, shares(0x11EC), offered(X25519))).ordinary
    rest = (VERSIONS, shares(X25519))
    size = len(message(*rest, extension(21, b""))) - 5
    assert read(message(*rest, extension(21, bytes(ORDINARY - size)))).ordinary
    assert not read(message(*rest, extension(21, bytes(ORDINARY - size + 1)))).ordinary


def test_answers() -> None:
    retry = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
    head = b"\x16\x03\x03\x00\x58\x02\x00\x00\x54\x03\x03"
    assert is_answer(head + bytes(50))
    assert not asks_again(head + bytes(50))
    assert asks_again(head + retry + bytes(50))
    assert not is_answer(alert_record(40))


def test_names() -> None:
    known = read(hello(name="Orders.db.example", alpn=("h2", "postgresql")))
    assert (known.server_name, known.protocols) == ("Orders.db.example", (b"h2", b"postgresql"))
    known = read(hello(name=None, alpn=()))
    assert (known.server_name, known.protocols) == (None, None)
    assert read(message(extension(16, b"\x00\x00"))).protocols == ()
    assert read(hello(name="d\u00e9b".encode().decode("ascii", "ignore"))).server_name == "db"
    assert read(message(extension(0, b"\x00\x07\x00\x00\x04d\xc3\xa9b"))).server_name == "d\u00e9b"
    assert "Orders" in repr(read(hello(name="Orders")))


def test_in_several_records() -> None:
    whole = hello()
    assert read(cut(whole, 1, 2, 3, 100)).group == X25519
    assert read(cut(whole, 1)).end == len(whole) + 5
    parts = cut(whole, 3, 40)
    assert read_client_hello(parts[: 5 + 3], 0) is None
    assert read_client_hello(parts[: 5 + 3 + 5 + 37], 0) is None
    assert read(parts + b"\x17\x03\x03\x00\x01x").end == len(parts)


@pytest.mark.parametrize("before", [b"", NOTHING_SAID, WARNING, EMPTY, NOTHING_SAID * 2 + EMPTY + WARNING])
def test_nothing_hides_a_hello(before: bytes) -> None:
    records = before + hello()
    position = first_word(records)
    assert position == len(before)
    assert is_hello(records, position)


@pytest.mark.parametrize(
    "said", [b"", NOTHING_SAID, WARNING, EMPTY * 3, b"\x16\x03\x01\xff\xff\x01", b"\x16\x03"]
)
def test_where_nothing_is_said(said: bytes) -> None:
    assert first_word(said) == -1


@pytest.mark.parametrize("said", [record(b"\x10abc"), record(b"x", 23), record(b"\x01", 24)])
def test_what_is_no_hello(said: bytes) -> None:
    assert not is_hello(said, first_word(said))


BROKEN = {
    "more behind it in its record": record(hello()[5:] + b"\x01"),
    "another record in its midst": record(hello()[5:50]) + record(b"x", 23) + record(hello()[50:]),
    "a record that is cut off": record(hello()[5:50]) + b"\x16\x03\x01\xff\xffab",
    "longer than any": record(b"\x01" + (LONGEST_HELLO + 1).to_bytes(3, "big") + b"abc"),
    "nothing in it": record(b"\x01\x00\x00\x00"),
    "extensions end early": record(
        b"\x01\x00\x00\x2b" + bytes(34) + b"\0" + b"\x00\x02ab" + b"\x01\x00" + b"\x00\x09"
    ),
    "an extension without its length": message(b"\x00"),
    "an extension twice": message(VERSIONS, VERSIONS),
    "half a share": message(VERSIONS, extension(51, b"\x00\x03\x00\x4d\x00")),
    "a share beyond the end": message(VERSIONS, extension(51, b"\x00\x04\x00\x4d\x00\x09")),
    "a name that is no name": message(extension(0, b"\x00\x04\x01\x00\x01a")),
    "a name without an end": message(extension(0, b"\x00\x04\x00\x00\x09a")),
    "a protocol without a name": message(extension(16, b"\x00\x03\x00\x01a")),
    "in too many records": cut(hello(), *range(1, MOST_RECORDS + 1)),
    "a protocol without an end": message(extension(16, b"\x00\x02\x09a")),
}


@pytest.mark.parametrize("records", BROKEN.values(), ids=BROKEN)
def test_broken(records: bytes) -> None:
    with pytest.raises(HelloRefused, match="cannot be read") as refused:
        read_client_hello(records, 0)
    assert refused.value.alert == DECODE_ERROR


def test_an_alert() -> None:
    assert alert_record(40) == b"\x15\x03\x03\x00\x02\x02\x28"


def test_far_behind_records_that_say_nothing() -> None:
    assert first_word(EMPTY * (MOST_RECORDS - 1) + hello()) == 5 * (MOST_RECORDS - 1)
    with pytest.raises(HelloRefused, match="cannot be read"):
        first_word(EMPTY * MOST_RECORDS + hello())


@pytest.mark.parametrize("first", [0, 0x80, 24, 255])
def test_what_is_no_record_is_no_hello(first: int) -> None:
    """OpenSSL hears SSL 2 as well, and would answer by TLS 1.2."""
    said = bytes((first, 0x2E, 1, 3, 3, 0, 0x15)) + bytes(40)
    assert first_word(said) == 0
    assert not is_hello(said, 0)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_anything_is_read_or_refused(data: bytes, at: int) -> None:
    """A real one with something else in it, and something else."""
    whole = hello_at_hand[:at] + data + hello_at_hand[at:]
    for records in (whole, record(whole), data):
        try:
            position = first_word(records)
        except HelloRefused:
            continue
        assert -1 <= position < max(len(records), 1)
        if position < 0 or not is_hello(records, position):
            continue
        try:
            known = read_client_hello(records, position)
        except HelloRefused:
            continue
        assert known is None or position + 5 < known.end <= len(records)


hello_at_hand = hello()
