"""The PROXY protocol, versions 1 and 2: whom a load balancer forwards (haproxy.org: proxy-protocol.txt).

A header stands ahead of everything else that a connection says. Bytes to values, no I/O. Must not know who
may send one.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Final, NamedTuple

from poolproxy.errors import ProtocolViolation

#: What version 2 begins with.
SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
#: What version 1 begins with, and how long it may be with its end of line (2.1: 107 and a zero byte).
V1: Final = b"PROXY "
V1_LONGEST: Final = 107
#: Bytes of a version 2 header that are read at most: addresses, and room for what TLVs balancers add.
V2_LONGEST: Final = 4096

_LOCAL, _PROXY = 0, 1
_STREAM: Final = 1
#: By address family: the format of both addresses and ports.
_FAMILIES: Final = {1: "!4s4sHH", 2: "!16s16sHH"}


class ProxyHeader(NamedTuple):
    """`source`: `host:port` or `[host]:port` of the client; "" where the balancer speaks for itself (its
    health checks) or does not know. `size`: bytes of the header."""

    source: str
    size: int


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with; None where it is not whole. Raises ProtocolViolation where what is
    there cannot become one."""
    if data[: len(V1)] == V1[: len(data)]:
        return _read_v1(data)
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _read_v2(data)
    raise ProtocolViolation(what="no PROXY header, which is expected from this network")


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_LONGEST)
    if end < 0:
        if len(data) >= V1_LONGEST:
            raise ProtocolViolation(what="a PROXY header without an end")
        return None
    size = end + 2
    words = data[:end].decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader("", size)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ProtocolViolation(what="a malformed PROXY header")
    source, _, source_port, _ = words[2:]
    try:
        address = ip_address(source)
    except ValueError:
        raise ProtocolViolation(what="a PROXY header with an address that is none") from None
    # A zone ("%eth0") is no part of an address on the wire, and anything could stand in it.
    if address.version != int(words[1][3]) or "%" in source or not _is_port(source_port):
        raise ProtocolViolation(what="a malformed PROXY header")
    return ProxyHeader(_named(str(address), int(source_port)), size)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version_command, family_protocol, length = struct.unpack_from("!BBH", data, 12)
    size = 16 + length
    if version_command >> 4 != 2 or version_command & 15 not in (_LOCAL, _PROXY):
        raise ProtocolViolation(what="a PROXY header of an unknown version")
    if size > V2_LONGEST:
        raise ProtocolViolation(what=f"a PROXY header of {size} bytes")
    if len(data) < size:
        return None
    family = _FAMILIES.get(family_protocol >> 4)
    if version_command & 15 == _LOCAL or family is None or family_protocol & 15 != _STREAM:
        return ProxyHeader("", size)  # its own connection; or one whose addresses say nothing to us
    if length < struct.calcsize(family):
        raise ProtocolViolation(what="a PROXY header that is too short for its addresses")
    source, _, port, _ = struct.unpack_from(family, data, 16)
    return ProxyHeader(_named(str(ip_address(source)), port), size)


def _named(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
