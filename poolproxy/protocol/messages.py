"""Builders and readers of protocol messages (manual: Frontend/Backend Protocol, Message Formats).

Builders return whole messages, header included. Readers take a body: the bytes after type letter and length.
It must not know sockets, sessions or settings, nor how a message was found in a stream (that is `framing`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

from poolproxy.errors import PoolproxyError, ProtocolViolation, UnexpectedServerAnswer
from poolproxy.protocol import codes
from poolproxy.protocol.pieces import cut, find, numbered_message

Text = str | bytes
Body = bytes | bytearray | memoryview

_HEADER = struct.Struct("!BI")
_INT32 = struct.Struct("!i")
_UINT32 = struct.Struct("!I")
_INT16 = struct.Struct("!H")

# What builds messages in every login; compiled code needs them as C integers.
_AUTHENTICATION = codes.AUTHENTICATION
_SASL_CONTINUE = codes.AUTH_SASL_CONTINUE
_SASL_FINAL = codes.AUTH_SASL_FINAL
_BACKEND_KEY_DATA = codes.BACKEND_KEY_DATA

#: Length of a cancel key in bytes: 4 up to protocol 3.0, up to 256 from 3.2 on.
MIN_CANCEL_KEY = 4
MAX_CANCEL_KEY = 256


def encoded(text: Text) -> bytes:
    """The bytes of a name or value; what `surrogateescape` preserved on the way in is restored."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def cstring(text: Text) -> bytes:
    """A String of the protocol. ValueError on a zero byte: what follows it would pose as another field."""
    raw = encoded(text)
    if b"\0" in raw:
        raise ValueError("a protocol string cannot hold a zero byte")
    return raw + b"\0"


def message(kind: int, body: bytes = b"") -> bytes:
    """A message of any type: letter, length (which counts itself), body."""
    return _HEADER.pack(kind, len(body) + 4) + body


def uint32(data: bytes, position: int) -> int:
    """The four bytes at `position`, which must be there. Compiled, it is four loads."""
    value = data[position]
    value = (value << 8) | data[position + 1]
    value = (value << 8) | data[position + 2]
    return (value << 8) | data[position + 3]


# Backend messages: what we say to clients, and what fake servers say to us.


def _authentication(code: int, data: bytes = b"") -> bytes:
    return numbered_message(_AUTHENTICATION, code, data)


def authentication_ok() -> bytes:
    return _authentication(codes.AUTH_OK)


def authentication_cleartext() -> bytes:
    return _authentication(codes.AUTH_CLEARTEXT)


def authentication_md5(salt: bytes) -> bytes:
    """`salt` is 4 random bytes."""
    if len(salt) != 4:
        raise ValueError("the salt of AuthenticationMD5Password has 4 bytes")
    return _authentication(codes.AUTH_MD5, salt)


def authentication_sasl(mechanisms: Iterable[Text]) -> bytes:
    return _authentication(codes.AUTH_SASL, b"".join(map(cstring, mechanisms)) + b"\0")


def authentication_sasl_continue(data: bytes) -> bytes:
    return _authentication(_SASL_CONTINUE, data)


def authentication_sasl_final(data: bytes) -> bytes:
    return _authentication(_SASL_FINAL, data)


def parameter_status(name: Text, value: Text) -> bytes:
    return message(codes.PARAMETER_STATUS, cstring(name) + cstring(value))


def backend_key_data(pid: int, key: bytes) -> bytes:
    """`pid` is a signed 32-bit number; `key` has 4 bytes for clients below protocol 3.2."""
    return numbered_message(_BACKEND_KEY_DATA, pid, _checked_key(key))


def ready_for_query(status: int) -> bytes:
    """`status` is one of codes.STATUS_*."""
    return message(codes.READY_FOR_QUERY, bytes((status,)))


def command_complete(tag: Text) -> bytes:
    return message(codes.COMMAND_COMPLETE, cstring(tag))


def notification_response(pid: int, channel: Text, payload: Text) -> bytes:
    return message(codes.NOTIFICATION_RESPONSE, _INT32.pack(pid) + cstring(channel) + cstring(payload))


def negotiate_protocol_version(minor: int, options: Iterable[Text]) -> bytes:
    """The newest 3.x we speak and the `_pq_.` options we do not know.

    The manual speaks of the minor version; PostgreSQL and libpq put the whole version number on the wire.
    """
    names = [cstring(option) for option in options]
    head = _INT32.pack(codes.PROTOCOL_3_0 | minor) + _INT32.pack(len(names))
    return message(codes.NEGOTIATE_PROTOCOL_VERSION, head + b"".join(names))


def data_row(values: Sequence[bytes | None]) -> bytes:
    return message(codes.DATA_ROW, _INT16.pack(len(values)) + _values(values))


def error_response(error: PoolproxyError) -> bytes:
    """The ErrorResponse that tells a client about an error of ours."""
    return error_response_fields(error.severity, error.sqlstate, error.message, hint=error.hint)


def error_response_fields(
    severity: str, sqlstate: str, text: str, detail: str = "", hint: str = "", routine: str = ""
) -> bytes:
    """`routine`: of PostgreSQL, where drivers tell errors by it."""
    return message(codes.ERROR_RESPONSE, _report(severity, sqlstate, text, detail, hint, routine))


def notice_response_fields(
    severity: str, sqlstate: str, text: str, detail: str = "", hint: str = ""
) -> bytes:
    return message(codes.NOTICE_RESPONSE, _report(severity, sqlstate, text, detail, hint))


def _report(severity: str, sqlstate: str, text: str, detail: str, hint: str, routine: str = "") -> bytes:
    """Fields of ErrorResponse and NoticeResponse. V repeats S: servers may translate S, we never do."""
    fields = (
        ("S", severity),
        ("V", severity),
        ("C", sqlstate),
        ("M", text),
        ("D", detail),
        ("H", hint),
        ("R", routine),
    )
    # An error report must never fail to be built: what does not fit is replaced, not refused.
    present = (
        (letter + value).replace("\0", "").encode("utf-8", "replace") for letter, value in fields if value
    )
    return b"\0".join(present) + b"\0\0"


# Frontend messages: what we say to servers, and what test clients say to us.


def startup_message(parameters: Mapping[str, str], minor: int = 2) -> bytes:
    """The first packet of a session, protocol 3.`minor`."""
    pairs = b"".join(cstring(name) + cstring(value) for name, value in parameters.items())
    return _first_packet(codes.PROTOCOL_3_0 | minor, pairs + b"\0")


def cancel_request(pid: int, key: bytes) -> bytes:
    return _first_packet(codes.CANCEL_REQUEST, _INT32.pack(pid) + _checked_key(key))


def ssl_request() -> bytes:
    return _first_packet(codes.SSL_REQUEST)


def gssenc_request() -> bytes:
    return _first_packet(codes.GSSENC_REQUEST)


def _first_packet(code: int, data: bytes = b"") -> bytes:
    return struct.pack("!II", len(data) + 8, code) + data


def _checked_key(key: bytes) -> bytes:
    if not MIN_CANCEL_KEY <= len(key) <= MAX_CANCEL_KEY:
        raise ValueError(f"a cancel key has {MIN_CANCEL_KEY} to {MAX_CANCEL_KEY} bytes")
    return key


def password_message(password: Text) -> bytes:
    return message(codes.PASSWORD, cstring(password))


def sasl_initial_response(mechanism: Text, data: bytes | None) -> bytes:
    """`data` None: the mechanism's first message is not sent along."""
    return message(codes.PASSWORD, cstring(mechanism) + _values((data,)))


def sasl_response(data: bytes) -> bytes:
    return message(codes.PASSWORD, data)


def query(sql: Text) -> bytes:
    return message(codes.QUERY, cstring(sql))


def parse(name: Text, sql: Text, types: Sequence[int] = ()) -> bytes:
    """`types` are the declared parameter types' oids, 0 for one that the server is to infer."""
    oids = struct.pack(f"!H{len(types)}I", len(types), *types)
    return message(codes.PARSE, cstring(name) + cstring(sql) + oids)


def bind(
    portal: Text,
    statement: Text,
    values: Sequence[bytes | None] = (),
    formats: Sequence[int] = (),
    result_formats: Sequence[int] = (),
) -> bytes:
    """Formats: 0 text, 1 binary; none at all means text, one means the same for all."""
    head = cstring(portal) + cstring(statement) + _formats(formats) + _INT16.pack(len(values))
    return message(codes.BIND, head + _values(values) + _formats(result_formats))


def describe(target: bytes, name: Text = b"") -> bytes:
    """`target`: b"S" a statement, b"P" a portal."""
    return message(codes.DESCRIBE, target + cstring(name))


def execute(portal: Text = b"", max_rows: int = 0) -> bytes:
    """`max_rows` 0: all of them."""
    return message(codes.EXECUTE, cstring(portal) + _INT32.pack(max_rows))


def close(target: bytes, name: Text = b"") -> bytes:
    """`target`: b"S" a statement, b"P" a portal."""
    return message(codes.CLOSE, target + cstring(name))


def function_call(
    oid: int, values: Sequence[bytes | None], formats: Sequence[int] = (), result: int = 0
) -> bytes:
    """`result`: the format of the result, 0 text, 1 binary."""
    head = _UINT32.pack(oid) + _formats(formats) + _INT16.pack(len(values))
    return message(codes.FUNCTION_CALL, head + _values(values) + _INT16.pack(result))


def flush() -> bytes:
    return message(codes.FLUSH)


def sync() -> bytes:
    return message(codes.SYNC)


def terminate() -> bytes:
    return message(codes.TERMINATE)


def copy_data(data: bytes) -> bytes:
    return message(codes.COPY_DATA, data)


def copy_done() -> bytes:
    return message(codes.COPY_DONE)


def copy_fail(reason: Text) -> bytes:
    return message(codes.COPY_FAIL, cstring(reason))


def _formats(formats: Sequence[int]) -> bytes:
    return struct.pack(f"!H{len(formats)}H", len(formats), *formats)


def _values(values: Iterable[bytes | None]) -> bytes:
    """Each value after its length; NULL is the length -1 alone."""
    return b"".join(
        b"\xff\xff\xff\xff" if value is None else _UINT32.pack(len(value)) + value for value in values
    )


# Readers. Those of server messages raise UnexpectedServerAnswer, those of client messages ProtocolViolation.

_Blame = Callable[[str], PoolproxyError]


def _server_fault(what: str) -> PoolproxyError:
    return UnexpectedServerAnswer(what=what)


def _client_fault(what: str) -> PoolproxyError:
    return ProtocolViolation(what=what)


def _strings(data: bytes, count: int, name: str, blame: _Blame) -> list[bytes]:
    """Exactly `count` zero-terminated strings and nothing after them."""
    parts = data.split(b"\0", count + 1)
    if len(parts) != count + 1 or parts[-1]:
        raise blame(f"malformed {name}")
    return parts[:-1]


def error_fields(body: Body) -> dict[str, str]:
    """Letter -> value of an ErrorResponse or NoticeResponse ('S', 'V', 'C', 'M', 'D', 'H' and so on).

    Never fails: an error must be reportable however the server garbled it. Unterminated fields are taken as
    they are, missing ones are missing, bytes that are not UTF-8 become U+FFFD.
    """
    fields: dict[str, str] = {}
    for field in bytes(body).split(b"\0"):
        if not field:
            break
        fields.setdefault(chr(field[0]), field[1:].decode("utf-8", "replace"))
    return fields


def parameter_status_fields(body: Body) -> tuple[bytes, bytes]:
    name, value = _strings(bytes(body), 2, "ParameterStatus", _server_fault)
    return name, value


def backend_key_fields(body: Body) -> tuple[int, bytes]:
    """(pid, key), the key of 4 to 256 bytes."""
    if not MIN_CANCEL_KEY <= len(body) - 4 <= MAX_CANCEL_KEY:
        raise UnexpectedServerAnswer(what="malformed BackendKeyData")
    pid: int = _INT32.unpack_from(body)[0]
    return pid, bytes(body[4:])


def ready_status(body: Body) -> int:
    """One of codes.STATUS_*."""
    if len(body) == 1 and body[0] in (codes.STATUS_IDLE, codes.STATUS_TRANSACTION, codes.STATUS_ERROR):
        return body[0]
    raise UnexpectedServerAnswer(what="malformed ReadyForQuery")


def command_tag(body: Body) -> bytes:
    return _strings(bytes(body), 1, "CommandComplete", _server_fault)[0]


def notification_fields(body: Body) -> tuple[int, bytes, bytes]:
    """(pid of the notifying session, channel, payload)."""
    if len(body) < 4:
        raise UnexpectedServerAnswer(what="malformed NotificationResponse")
    channel, payload = _strings(bytes(body[4:]), 2, "NotificationResponse", _server_fault)
    pid: int = _INT32.unpack_from(body)[0]
    return pid, channel, payload


def authentication_fields(body: Body) -> tuple[int, bytes]:
    """(codes.AUTH_*, what follows it)."""
    if len(body) < 4:
        raise UnexpectedServerAnswer(what="malformed Authentication")
    code: int = _INT32.unpack_from(body)[0]
    return code, bytes(body[4:])


def sasl_mechanisms(data: bytes) -> list[bytes]:
    """The mechanisms of an AuthenticationSASL, from what follows its code."""
    names = data.split(b"\0")
    if len(names) < 3 or names[-2:] != [b"", b""] or not all(names[:-2]):
        raise UnexpectedServerAnswer(what="malformed AuthenticationSASL")
    return names[:-2]


def negotiated_version(body: Body) -> tuple[int, list[bytes]]:
    """(the minor version answered, the options that the server does not know) of NegotiateProtocolVersion."""
    if len(body) < 8:
        raise UnexpectedServerAnswer(what="malformed NegotiateProtocolVersion")
    version, count = struct.unpack_from("!Ii", body)
    if version >> 16 != codes.PROTOCOL_3_0 >> 16 or not 0 <= count <= len(body):
        raise UnexpectedServerAnswer(what="malformed NegotiateProtocolVersion")
    return version & 0xFFFF, _strings(bytes(body[8:]), count, "NegotiateProtocolVersion", _server_fault)


def data_row_values(body: Body) -> list[bytes | None]:
    """The column values of a DataRow, None for NULL."""
    data = bytes(body)
    values: list[bytes | None] = []
    try:
        (count,) = _INT16.unpack_from(data)
        offset = 2
        for _ in range(count):
            (length,) = _INT32.unpack_from(data, offset)
            offset += 4
            values.append(None if length == -1 else data[offset : offset + length])
            if length < -1 or length > len(data) - offset:
                raise UnexpectedServerAnswer(what="malformed DataRow")
            offset += max(length, 0)
    except struct.error:
        raise UnexpectedServerAnswer(what="malformed DataRow") from None
    if offset != len(data):
        raise UnexpectedServerAnswer(what="malformed DataRow")
    return values


def password_text(body: Body) -> bytes:
    """The password, or the md5 response, of a PasswordMessage."""
    return _strings(bytes(body), 1, "PasswordMessage", _client_fault)[0]


def sasl_initial_fields(body: bytes) -> tuple[bytes, bytes | None]:
    """(mechanism, the mechanism's first message or None) of a SASLInitialResponse."""
    zero = find(body, 0, 0)
    rest = len(body) - zero - 5
    if zero < 0 or rest < 0:
        raise ProtocolViolation(what="malformed SASLInitialResponse")
    length = uint32(body, zero + 1)
    if length == rest:
        return cut(body, 0, zero), cut(body, zero + 5, len(body))
    if length != 0xFFFFFFFF or rest:
        raise ProtocolViolation(what="malformed SASLInitialResponse")
    return body[:zero], None
