"""The few messages of the PostgreSQL protocol 3.0 that the lean client speaks, and how it reads them.

Bytes in, values out. PostgreSQL manual, "Frontend/Backend Protocol", "Message Formats". Must not know
sockets.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

from benchmarks.storm.clients.errors import ProtocolError, ServerError

LARGEST = 1 << 30  #: bytes of one message: PostgreSQL's own limit on a value is 1 GB

AUTHENTICATION = ord("R")
BACKEND_KEY_DATA = ord("K")
COMMAND_COMPLETE = ord("C")
DATA_ROW = ord("D")
ERROR_RESPONSE = ord("E")
NOTICE_RESPONSE = ord("N")
NOTIFICATION_RESPONSE = ord("A")
PARAMETER_STATUS = ord("S")
READY_FOR_QUERY = ord("Z")
ROW_DESCRIPTION = ord("T")
#: ParseComplete, BindComplete, NoData, EmptyQueryResponse: nothing to learn from them.
STEPS = frozenset(b"12nI")
STEPS_AND_ROWS = STEPS | {ROW_DESCRIPTION, DATA_ROW}
#: What a server may say at any time, idle or not.
ASIDES = frozenset((NOTICE_RESPONSE, NOTIFICATION_RESPONSE, PARAMETER_STATUS))

#: What a server tells of a session as it begins: nothing that this client needs.
ABOUT_THE_SESSION = frozenset((PARAMETER_STATUS, BACKEND_KEY_DATA))

_PROTOCOL_3_0 = 196608
_length = struct.Struct(">I").unpack_from

Decoder: TypeAlias = Callable[[bytes], object]


# What the client says.


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def startup(parameters: Iterable[tuple[str, str]]) -> bytes:
    """StartupMessage, the one message without a letter."""
    pairs = b"".join(_string(name) + _string(value) for name, value in parameters)
    return struct.pack(">II", len(pairs) + 9, _PROTOCOL_3_0) + pairs + b"\0"


def password(secret: bytes) -> bytes:
    """PasswordMessage, of cleartext and MD5."""
    return message(b"p", secret + b"\0")


def sasl_initial(mechanism: bytes, data: bytes) -> bytes:
    return message(b"p", mechanism + b"\0" + len(data).to_bytes(4, "big") + data)


def sasl_response(data: bytes) -> bytes:
    return message(b"p", data)


@lru_cache(maxsize=256)
def simple(sql: str) -> bytes:
    """Query."""
    return message(b"Q", _string(sql))


def extended(sql: str, args: Sequence[object]) -> bytes:
    """Unnamed Parse, Bind, Describe, Execute and Sync in one write: one round trip, nothing to keep."""
    values = b"".join(map(_value, args))
    bind = b"\0\0\0\0" + len(args).to_bytes(2, "big") + values + b"\0\0"  # all text, in and out
    return _parse(sql) + message(b"B", bind) + _DESCRIBE_EXECUTE_SYNC


@lru_cache(maxsize=256)
def _parse(sql: str) -> bytes:
    return message(b"P", b"\0" + _string(sql) + b"\0\0")


_DESCRIBE_EXECUTE_SYNC = message(b"D", b"P\0") + message(b"E", b"\0\0\0\0\0") + message(b"S")
TERMINATE = message(b"X")


def _string(text: str) -> bytes:
    if "\0" in text:
        raise ValueError("PostgreSQL takes no text with a zero byte in it")
    return text.encode() + b"\0"


def _value(value: object) -> bytes:
    """A parameter in text format, with its length. Raises TypeError for what has no such form here."""
    if type(value) is int:
        text = b"%d" % value
    elif isinstance(value, str):
        text = value.encode()
    elif value is None:
        return b"\xff\xff\xff\xff"
    elif isinstance(value, bool):
        text = b"t" if value else b"f"
    elif isinstance(value, bytes):
        text = b"\\x" + value.hex().encode()
    elif isinstance(value, (list, tuple, dict, set)):
        raise TypeError(f"the lean client passes no {type(value).__name__} as a parameter")
    else:
        text = str(value).encode()
    return len(text).to_bytes(4, "big") + text


# What the server says.


class Frames:
    """Cuts a stream of bytes into messages. Keeps nothing but an incomplete message."""

    __slots__ = ("_rest", "_wanted")

    def __init__(self) -> None:
        self._rest: bytearray | None = None
        self._wanted = 0

    def feed(self, data: bytes, skipped: Collection[int] = ()) -> list[tuple[int, bytes]]:
        """The messages (letter, body) that `data` completes, but for those that nobody wants up to the next
        ReadyForQuery. Raises ProtocolError for a bad length."""
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []  # a large message in many pieces is looked at once, not once per piece
            data = bytes(self._rest)
            self._rest = None
        found = []
        at, size, wanted = 0, len(data), 5
        while size - at >= 5:
            length = _length(data, at + 1)[0]
            if not 4 <= length <= LARGEST:
                raise ProtocolError(f"no PostgreSQL speaks like this: {data[at : at + 40]!r}")
            end = at + 1 + length
            if end > size:
                wanted = 1 + length
                break
            kind = data[at]
            if kind not in skipped:
                found.append((kind, data[at + 5 : end]))
                if kind == READY_FOR_QUERY:
                    skipped = ()
            at = end
        if at < size:
            self._rest = bytearray(data[at:])
            self._wanted = wanted
        return found


def server_error(body: bytes) -> ServerError:
    """An ErrorResponse. The severity that is never translated is field V; servers before 9.6 have none."""
    fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in body.split(b"\0") if field}
    severity = fields.get(b"V") or fields.get(b"S") or "ERROR"
    return ServerError(fields.get(b"C", "XX000"), severity, fields.get(b"M", ""))


def _boolean(text: bytes) -> bool:
    return text == b"t"


#: By type OID (pg_type): bool; int8, int2, int4, oid; float4, float8. All else stays text.
_DECODERS: Mapping[int, Decoder] = MappingProxyType(
    {16: _boolean, 20: int, 21: int, 23: int, 26: int, 700: float, 701: float}
)


def row_decoders(body: bytes) -> list[Decoder]:
    """How to read each column that a RowDescription tells of."""
    decoders: list[Decoder] = []
    at = 2
    for _ in range(int.from_bytes(body[:2], "big")):
        at = body.index(b"\0", at) + 1
        decoders.append(_DECODERS.get(_length(body, at + 6)[0], bytes.decode))
        at += 18
    return decoders


def row(body: bytes, decoders: Sequence[Decoder]) -> tuple[object, ...]:
    """A DataRow, its values as Python has them."""
    values: list[object] = []
    at = 2
    for decode in decoders:
        length = _length(body, at)[0]
        at += 4
        if length == 0xFFFFFFFF:
            values.append(None)
        else:
            values.append(decode(body[at : at + length]))
            at += length
    return tuple(values)
