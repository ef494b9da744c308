"""The first packet of a connection, the only one without a type letter (manual: Message Flow, Start-up).

It must not know what is done with the packet: no users, no databases, no sockets. Whoever reads the bytes
calls `read_first_packet` until it answers, again after each refused request for encryption.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from poolproxy.errors import MissingUser, ProtocolViolation, UnsupportedProtocol
from poolproxy.protocol import messages
from poolproxy.protocol.codes import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    MAX_STARTUP_LENGTH,
    PROTOCOL_3_0,
    SSL_REQUEST,
)
from poolproxy.protocol.messages import uint32
from poolproxy.protocol.pieces import cut

#: The newest minor version of protocol 3 that we speak.
NEWEST_MINOR = 2


class StartupMessage:
    """A client that wants a session. Strings are UTF-8 with `surrogateescape`; the last of equals counts.

    `user` is never empty; `database` is the user's name where the client names none, as in PostgreSQL.
    """

    __slots__ = ("database", "major", "minor", "options_unknown", "parameters", "user")

    def __init__(
        self, major: int, minor: int, parameters: dict[str, str], options_unknown: tuple[str, ...] = ()
    ) -> None:
        self.major = major
        self.minor = minor
        self.parameters = parameters
        self.options_unknown = options_unknown
        self.user = self.parameters["user"]
        self.database = self.parameters.get("database") or self.user

    def __repr__(self) -> str:
        return f"<StartupMessage {self.major}.{self.minor} {self.parameters} {self.options_unknown}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StartupMessage) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


@dataclass(frozen=True, slots=True)
class SslRequest:
    """A client that wants TLS; it waits for one byte, S or N."""


@dataclass(frozen=True, slots=True)
class GssEncRequest:
    """A client that wants GSSAPI encryption; it waits for one byte, G or N."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A client that wants another's query cancelled; it waits for nothing but the end of the connection."""

    pid: int
    key: bytes = field(repr=False)


FirstPacket = StartupMessage | SslRequest | GssEncRequest | CancelRequest


def read_first_packet(data: bytes) -> tuple[FirstPacket, int] | None:
    """(the packet, how many bytes it took), or None while bytes are missing.

    Decides as early as it can, so that a stranger's bytes (HTTP, a TLS hello, noise) are refused at once and
    never gathered: the length after 4 bytes, the kind after 8. Raises ProtocolViolation, UnsupportedProtocol,
    MissingUser.
    """
    if len(data) < 4:
        return None
    length = uint32(data, 0)
    if not 8 <= length <= MAX_STARTUP_LENGTH:
        raise ProtocolViolation(what="invalid length of startup packet")
    if len(data) < 8:
        return None
    code = uint32(data, 4)
    _check_kind(code, length)
    if len(data) < length:
        return None
    return _packet(code, cut(data, 8, length)), length


def _check_kind(code: int, length: int) -> None:
    """Refuses what can be refused before the rest of the packet has come."""
    if code >> 16 == PROTOCOL_3_0 >> 16:
        return
    if code in (SSL_REQUEST, GSSENC_REQUEST):
        if length != 8:
            raise ProtocolViolation(what="invalid length of encryption request")
    elif code == CANCEL_REQUEST:
        if not messages.MIN_CANCEL_KEY <= length - 12 <= messages.MAX_CANCEL_KEY:
            raise ProtocolViolation(what="invalid length of cancel request")
    else:
        raise UnsupportedProtocol(major=code >> 16, minor=code & 0xFFFF)


def _packet(code: int, body: bytes) -> FirstPacket:
    """The packet of a kind and a size that `_check_kind` let pass."""
    if code == SSL_REQUEST:
        return SslRequest()
    if code == GSSENC_REQUEST:
        return GssEncRequest()
    if code == CANCEL_REQUEST:
        return CancelRequest(int.from_bytes(body[:4], "big", signed=True), body[4:])
    return _startup(code, body)


def _startup(code: int, body: bytes) -> StartupMessage:
    """name, zero, value, zero, ... and one more zero that must be the last byte."""
    # One decode and one split for the whole packet: this is on the path of every login.
    parts = body.decode("utf-8", "surrogateescape").split("\0")
    if len(parts) % 2 or parts[-1] or parts[-2]:
        raise ProtocolViolation(what="invalid startup packet layout")
    parameters: dict[str, str] = {}
    reserved = False
    for index in range(0, len(parts) - 2, 2):
        name = parts[index]
        if not name:
            raise ProtocolViolation(what="invalid startup packet layout")
        reserved = reserved or name[0] == "_"
        parameters[name] = parts[index + 1]
    unknown = _unknown_options(parameters) if reserved else ()
    if not parameters.get("user"):
        raise MissingUser()
    return StartupMessage(code >> 16, code & 0xFFFF, parameters, unknown)


def _unknown_options(parameters: dict[str, str]) -> tuple[str, ...]:
    """Takes the names of protocol options, of which we know none, out of the parameters."""
    unknown = tuple(name for name in parameters if name.startswith("_pq_."))
    for name in unknown:
        del parameters[name]
    return unknown


def negotiation(startup: StartupMessage) -> bytes:
    """NegotiateProtocolVersion where the client asked for more than we know, else b"".

    It goes out ahead of the first Authentication message; a client that cannot live with the answer leaves.
    """
    if startup.minor <= NEWEST_MINOR and not startup.options_unknown:
        return b""
    return messages.negotiate_protocol_version(min(startup.minor, NEWEST_MINOR), startup.options_unknown)
