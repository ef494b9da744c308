"""The first message of a TLS handshake (RFC 8446, 4.1.2), read before OpenSSL has it.

What a handshake will cost, by which name we are called, and what is to be spoken inside stand in it; the
strangers who say it have proved nothing. Sans-IO. Must not know what is done with that.
"""

from __future__ import annotations

#: A post-quantum hello has some 2,000 bytes, one with a long list of names some more.
LONGEST_HELLO = 32_768

#: Alerts (RFC 8446, 6.2).
UNEXPECTED_MESSAGE = 10
HANDSHAKE_FAILURE = 40
DECODE_ERROR = 50
NO_APPLICATION_PROTOCOL = 120

#: Groups (RFC 8446, 4.2.7) as OpenSSL prefers them: X25519, P-256, X448, P-521, P-384.
CURVES = (29, 23, 30, 25, 24)
#: ffdhe2048 to ffdhe8192.
FINITE_FIELDS = (256, 257, 258, 259, 260)

HEADER = 5  #: bytes of a record's
_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE = 20, 21, 22  #: kinds of records
_CLIENT_HELLO = 1  #: kind of message
_SERVER_NAME, _SUPPORTED_GROUPS, _ALPN, _SUPPORTED_VERSIONS, _KEY_SHARE = 0, 10, 16, 43, 51
_TLS_1_3 = b"\x03\x04"
_SESSION = 38  #: where a session stands that is to be resumed: behind the message's head, version and random

#: Kinds of hellos, but for TLS 1.3's, which are those of their groups: before it, with the group; with a
#: session that may spare us the signature; and one that can only be answered by asking for another key.
_BEFORE_1_3, _RESUMED, _ASKED_AGAIN = 1 << 16, -1, 2 << 16


class HelloRefused(Exception):
    """It is not answered; the message says why, and nothing secret. `alert`: what the peer is told."""

    def __init__(self, reason: str, alert: int) -> None:
        super().__init__(reason)
        self.alert = alert


class ClientHello:
    """What a client has said. `end`: how many bytes of the records are its; `group`: that of the key
    exchange, as far as it can be told, 0 where it cannot; `kind`: those of one kind take as long to answer,
    below 0 where that cannot be told; `server_name`: SNI; `protocols`: ALPN, None where none is offered."""

    __slots__ = ("end", "group", "kind", "protocols", "server_name")

    def __init__(
        self,
        end: int,
        group: int,
        kind: int,
        server_name: str | None,
        protocols: tuple[bytes, ...] | None,
    ) -> None:
        self.end = end
        self.group = group
        self.kind = kind
        self.server_name = server_name
        self.protocols = protocols

    def __repr__(self) -> str:
        return f"<ClientHello group {self.group} {self.server_name} {self.protocols}>"


def alert_record(alert: int) -> bytes:
    """A fatal alert, unencrypted (RFC 8446, 6)."""
    return bytes((_ALERT, 3, 3, 0, 2, 2, alert))


def first_word(records: bytes) -> int:
    """The position of the first record that says something of the handshake: neither empty, nor an alert,
    nor one that has only been put there for the sake of middleboxes (RFC 8446, D.4). -1 where none does, or
    where one is cut off: that is no record (`whole_records`)."""
    position = 0
    while position + HEADER <= len(records):
        size = (records[position + 3] << 8) | records[position + 4]
        if position + HEADER + size > len(records):
            break
        if size and records[position] not in (_CHANGE_CIPHER_SPEC, _ALERT):
            return position
        position += HEADER + size
    return -1


def is_hello(records: bytes, position: int) -> bool:
    """Whether the record at this position begins one."""
    return records[position] == _HANDSHAKE and records[position + HEADER] == _CLIENT_HELLO


def read_client_hello(records: bytes, position: int) -> ClientHello | None:
    """The one that begins at this position; None while a record is missing. Raises HelloRefused."""
    message = b""
    size = 0
    while position + HEADER <= len(records):
        size = (records[position + 3] << 8) | records[position + 4]
        if records[position] != _HANDSHAKE or position + HEADER + size > len(records):
            raise _broken()
        position += HEADER
        message = message + records[position : position + size]
        position += size
        if len(message) < 4:
            continue
        size = 4 + ((message[1] << 16) | (message[2] << 8) | message[3])
        if size > LONGEST_HELLO or len(message) > size:
            raise _broken()  # nobody says more before it has an answer
        if len(message) == size:
            extensions = _extensions(message)
            newest = _speaks_1_3(extensions)
            group = _group(extensions, newest)
            kind = group
            if newest and not group:
                kind = _ASKED_AGAIN
            elif not newest:
                kind = _RESUMED if message[_SESSION] else group | _BEFORE_1_3
            return ClientHello(
                position,
                group,
                kind,
                _server_name(extensions.get(_SERVER_NAME)),
                _protocols(extensions.get(_ALPN)),
            )
    return None


def _broken() -> HelloRefused:
    return HelloRefused("the client's hello cannot be read", DECODE_ERROR)


def _vector(data: bytes, position: int, width: int) -> bytes:
    """What stands behind its length, which has so many bytes."""
    start = position + width
    if start > len(data):
        raise _broken()
    size = data[position] if width == 1 else (data[position] << 8) | data[position + 1]
    if start + size > len(data):
        raise _broken()
    return data[start : start + size]


def _extensions(message: bytes) -> dict[int, bytes]:
    """By number. A hello without any is that of TLS 1.2."""
    known: dict[int, bytes] = {}
    position = _SESSION
    position += 1 + len(_vector(message, position, 1))  # session
    position += 2 + len(_vector(message, position, 2))  # cipher suites
    position += 1 + len(_vector(message, position, 1))  # compression
    if position == len(message):
        return known
    extensions = _vector(message, position, 2)
    if position + 2 + len(extensions) != len(message):
        raise _broken()
    position = 0
    while position < len(extensions):
        if position + 4 > len(extensions):
            raise _broken()
        number = (extensions[position] << 8) | extensions[position + 1]
        if number in known:
            raise _broken()
        known[number] = value = _vector(extensions, position + 2, 2)
        position += 4 + len(value)
    return known


def _speaks_1_3(extensions: dict[int, bytes]) -> bool:
    versions = extensions.get(_SUPPORTED_VERSIONS)
    return versions is not None and _TLS_1_3 in _pairs(_vector(versions, 0, 1))


def _group(extensions: dict[int, bytes], newest: bool) -> int:
    """That of the first share of a key that OpenSSL knows; before TLS 1.3, the one that it prefers."""
    if newest:
        return _shared(_vector(extensions.get(_KEY_SHARE, b"\0\0"), 0, 2))
    offered = _pairs(_vector(extensions.get(_SUPPORTED_GROUPS, b"\0\0"), 0, 2))
    for group in CURVES:
        if bytes((group >> 8, group & 255)) in offered:
            return group
    return 0


def _shared(shares: bytes) -> int:
    position = 0
    while position < len(shares):
        if position + 4 > len(shares):
            raise _broken()
        group = (shares[position] << 8) | shares[position + 1]
        if group in CURVES or group in FINITE_FIELDS:
            return group
        position += 4 + len(_vector(shares, position + 2, 2))
    return 0


def _pairs(data: bytes) -> set[bytes]:
    return {data[i : i + 2] for i in range(0, len(data), 2)}


def _server_name(value: bytes | None) -> str | None:
    """The host name (RFC 6066, 3): the first of the list, and the only kind there is."""
    if value is None:
        return None
    names = _vector(value, 0, 2)
    if len(names) < 3 or names[0] != 0:
        raise _broken()
    name = _vector(names, 1, 2)
    try:
        return name.decode("ascii")
    except UnicodeDecodeError:
        raise _broken() from None


def _protocols(value: bytes | None) -> tuple[bytes, ...] | None:
    """RFC 7301, 3.1."""
    if value is None:
        return None
    names = _vector(value, 0, 2)
    found: list[bytes] = []
    position = 0
    while position < len(names):
        name = _vector(names, position, 1)
        found.append(name)
        position += 1 + len(name)
    return tuple(found)
