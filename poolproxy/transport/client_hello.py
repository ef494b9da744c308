"""The first message of a TLS handshake (RFC 8446, 4.1.2), read before OpenSSL has it.

What a handshake will cost, by which name we are called, and what is to be spoken inside stand in it; the
strangers who say it have proved nothing. Sans-IO. Must not know what is done with that.
"""

from __future__ import annotations

#: Bytes. A post-quantum hello has some 2,000; of what is longer than `ORDINARY` OpenSSL may compare each part
#: with each, for 30 ms.
LONGEST_HELLO = 16_384
ORDINARY = 4096

#: Records that it may come in, or behind: drivers use one.
MOST_RECORDS = 64

#: Alerts (RFC 8446, 6.2).
UNEXPECTED_MESSAGE = 10
HANDSHAKE_FAILURE = 40
DECODE_ERROR = 50
NO_APPLICATION_PROTOCOL = 120

#: ffdhe2048 to ffdhe8192 (RFC 8446, 4.2.7).
FINITE_FIELDS = range(256, 261)

HEADER = 5  #: bytes of a record's
_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION_DATA = 20, 21, 22, 23  #: kinds of records
_CLIENT_HELLO, _SERVER_HELLO = 1, 2  #: kinds of messages
_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS, _KEY_SHARE = 0, 16, 43, 51
_TLS_1_3 = b"\x03\x04"
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


class HelloRefused(Exception):
    """It is not answered; the message says why, and nothing secret. `alert`: what the peer is told."""

    def __init__(self, reason: str, alert: int) -> None:
        super().__init__(reason)
        self.alert = alert


class ClientHello:
    """What a client has said. `end`: how many bytes of the records are its; `group`: that of the key
    exchange, one over a finite field before all others, 0 where it cannot be told; `ordinary`: the first
    answer to it takes as long as to any of its group; `server_name`: SNI; `protocols`: ALPN, None where none
    is offered."""

    __slots__ = ("end", "group", "ordinary", "protocols", "server_name")

    def __init__(
        self,
        end: int,
        group: int,
        ordinary: bool,
        server_name: str | None,
        protocols: tuple[bytes, ...] | None,
    ) -> None:
        self.end = end
        self.group = group
        self.ordinary = ordinary
        self.server_name = server_name
        self.protocols = protocols

    def __repr__(self) -> str:
        return f"<ClientHello group {self.group} {self.server_name} {self.protocols}>"


def alert_record(alert: int) -> bytes:
    """A fatal alert, unencrypted (RFC 8446, 6)."""
    return bytes((_ALERT, 3, 3, 0, 2, 2, alert))


def is_answer(said: bytes) -> bool:
    """Whether what the server says begins with a ServerHello."""
    return said[0] == _HANDSHAKE and said[HEADER] == _SERVER_HELLO


def asks_again(answer: bytes) -> bool:
    """Whether that is a HelloRetryRequest (RFC 8446, 4.1.3): another hello has to follow."""
    return answer[HEADER + 6 : HEADER + 38] == _RETRY


def first_word(records: bytes) -> int:
    """The position of the first record that says something of the handshake: neither empty, nor an alert,
    nor one that has only been put there for the sake of middleboxes (RFC 8446, D.4). -1 where none does, or
    where one is cut off: that is no record (`whole_records`). Raises HelloRefused where it is not near."""
    position = 0
    for _ in range(MOST_RECORDS):
        if position == len(records):
            return -1
        kind = records[position]
        if not _CHANGE_CIPHER_SPEC <= kind <= _APPLICATION_DATA:
            return position  # SSL 2, for one, which OpenSSL would still hear
        if position + HEADER > len(records):
            return -1
        size = (records[position + 3] << 8) | records[position + 4]
        if position + HEADER + size > len(records):
            return -1
        if size and kind not in (_CHANGE_CIPHER_SPEC, _ALERT):
            return position
        position += HEADER + size
    raise _broken()


def is_hello(records: bytes, position: int) -> bool:
    """Whether the record at this position begins one."""
    return records[position] == _HANDSHAKE and records[position + HEADER] == _CLIENT_HELLO


def read_client_hello(records: bytes, position: int) -> ClientHello | None:
    """The one that begins at this position; None while a record is missing. Raises HelloRefused."""
    message = b""
    size = 0
    for _ in range(MOST_RECORDS):
        if position + HEADER > len(records):
            return None
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
            group = _shared(extensions) if newest else 0
            return ClientHello(
                position,
                group,
                0 < group < FINITE_FIELDS.start and size <= ORDINARY,
                _server_name(extensions.get(_SERVER_NAME)),
                _protocols(extensions.get(_ALPN)),
            )
    raise _broken()


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
    position = 38  # the message's head, version, random
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
    """Of older versions a session may be resumed, or the key be used otherwise: no group tells what they
    take."""
    versions = _vector(extensions.get(_SUPPORTED_VERSIONS, b"\0"), 0, 1)
    return any(versions[i : i + 2] == _TLS_1_3 for i in range(0, len(versions), 2))


def _shared(extensions: dict[int, bytes]) -> int:
    """The group of the first share of a key that OpenSSL may take; over a finite field, of any."""
    shares = _vector(extensions.get(_KEY_SHARE, b"\0\0"), 0, 2)
    position = 0
    first = 0
    while position < len(shares):
        if position + 4 > len(shares):
            raise _broken()
        group = (shares[position] << 8) | shares[position + 1]
        if 256 <= group <= 260:  # FINITE_FIELDS
            return group
        if not first and (23 <= group <= 25 or 29 <= group <= 30):  # P-256, P-384, P-521; X25519, X448
            first = group
        position += 4 + len(_vector(shares, position + 2, 2))
    return first


def _server_name(value: bytes | None) -> str | None:
    """The host name (RFC 6066, 3): the first of the list, and the only kind there is."""
    if value is None:
        return None
    names = _vector(value, 0, 2)
    if len(names) < 3 or names[0] != 0:
        raise _broken()
    return _vector(names, 1, 2).decode("utf-8", "surrogateescape")


def _protocols(value: bytes | None) -> tuple[bytes, ...] | None:
    """RFC 7301, 3.1."""
    if value is None:
        return None
    names = _vector(value, 0, 2)
    found: list[bytes] = []
    position = 0
    while position < len(names):
        name = _vector(names, position, 1)
        if not name:
            raise _broken()
        found.append(name)
        position += 1 + len(name)
    return tuple(found)
