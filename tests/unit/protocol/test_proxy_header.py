"""PROXY headers of both versions, whole and in pieces, and what is none."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.errors import ProtocolViolation
from poolproxy.protocol.proxy_header import SIGNATURE, V2_LONGEST, ProxyHeader, read_proxy_header


def v1(text: str) -> bytes:
    return f"PROXY {text}\r\n".encode()


def v2(command: int = 0x21, family: int = 0x11, body: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def addresses(source: str, destination: str, source_port: int = 51000, port: int = 5432) -> bytes:
    packed = ip_address(source).packed + ip_address(destination).packed
    return packed + struct.pack("!HH", source_port, port)


V4 = addresses("192.0.2.1", "192.0.2.2")
V6 = addresses("2001:db8::1", "2001:db8::2")

GOOD = {
    "v1 of IPv4": (v1("TCP4 192.0.2.1 192.0.2.2 51000 5432"), "192.0.2.1:51000"),
    "v1 of IPv6": (v1("TCP6 2001:db8::1 2001:db8::2 51000 5432"), "[2001:db8::1]:51000"),
    "v1 of nobody": (v1("UNKNOWN"), ""),
    "v1 of nobody with words": (v1("UNKNOWN ffff::1 ffff::2 1 2"), ""),
    "v1 as long as can be": (v1("TCP6 " + " ".join([":".join(["ffff"] * 8)] * 2) + " 65535 65535"),
                             f"[{':'.join(['ffff'] * 8)}]:65535"),
    "v2 of IPv4": (v2(body=V4), "192.0.2.1:51000"),
    "v2 of IPv6": (v2(family=0x21, body=V6), "[2001:db8::1]:51000"),
    "v2 with TLVs": (v2(body=V4 + b"\x04\0\x03abc"), "192.0.2.1:51000"),
    "v2 of itself": (v2(command=0x20, body=V4), ""),
    "v2 of itself, without addresses": (v2(command=0x20, family=0), ""),
    "v2 of a Unix socket": (v2(family=0x31, body=b"\0" * 216), ""),
    "v2 of datagrams": (v2(family=0x12, body=V4), ""),
    "v2 of what nobody knows": (v2(family=0), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_header_in_whatever_pieces(name: str) -> None:
    header, source = GOOD[name]
    for size in range(len(header)):
        assert read_proxy_header(header[:size]) is None
    for behind in (b"", b"\0\0\0\x08", header):
        assert read_proxy_header(header + behind) == ProxyHeader(source, len(header))


BAD = {
    "a startup message": b"\0\0\0\x08\x04\xd2\x16\x2f",
    "HTTP": b"GET / HTTP/1.1\r\n",
    "half a signature": SIGNATURE[:5] + b"x",
    "v1 without an end": b"PROXY TCP4 " + b"1" * 200,
    "v1 with an end too late": b"PROXY UNKNOWN " + b"1" * 93 + b"\r\n",
    "v1 of UDP": v1("UDP4 192.0.2.1 192.0.2.2 51000 5432"),
    "v1 without a port": v1("TCP4 192.0.2.1 192.0.2.2 51000"),
    "v1 with a word too many": v1("TCP4 192.0.2.1 192.0.2.2 51000 5432 1"),
    "v1 of the other family": v1("TCP4 2001:db8::1 2001:db8::2 51000 5432"),
    "v1 of a name": v1("TCP4 localhost 192.0.2.2 51000 5432"),
    "v1 with a port that is none": v1("TCP4 192.0.2.1 192.0.2.2 65536 5432"),
    "v1 with a port below zero": v1("TCP4 192.0.2.1 192.0.2.2 -1 5432"),
    "v1 with a zone": v1("TCP6 fe80::1%\x1b[2J 2001:db8::2 51000 5432"),
    "v1 of an interface": v1("TCP6 fe80::1%] 2001:db8::2 51000 5432"),
    "v1 with two blanks": v1("TCP4  192.0.2.1 192.0.2.2 51000 5432"),
    "v1 of nothing": b"PROXY \r\n",
    "v2 of another version": v2(command=0x11, body=V4),
    "v2 of another command": v2(command=0x22, body=V4),
    "v2 too short": v2(body=V4[:-1]),
    "v2 too short for IPv6": v2(family=0x21, body=V4),
    "v2 too long": v2(body=V4, length=V2_LONGEST),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_none(name: str) -> None:
    with pytest.raises(ProtocolViolation, match="PROXY header"):
        read_proxy_header(BAD[name])


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
    st.binary(max_size=300),
)
def test_any_bytes_end_in_a_header_or_an_error_or_want_more(begun: bytes, rest: bytes) -> None:
    data = begun + rest
    try:
        header = read_proxy_header(data)
    except ProtocolViolation:
        return
    if header is None:
        assert len(data) < V2_LONGEST
    else:
        assert 0 < header.size <= len(data)
