"""The protocol as tests see it: builders of frontend messages and a reader of backend ones.

Written apart from `poolproxy.protocol` on purpose: an oracle that shares the product's code shares its
mistakes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

PROTOCOL_3_0 = 0x00030000
CANCEL = 80877102
SSL = 80877103
GSSENC = 80877104


def message(letter: str, body: bytes = b"") -> bytes:
    return letter.encode() + struct.pack("!i", len(body) + 4) + body


def text(value: str | bytes) -> bytes:
    return (value.encode() if isinstance(value, str) else value) + b"\0"


def untyped(body: bytes) -> bytes:
    return struct.pack("!i", len(body) + 4) + body


def startup(parameters: dict[str, str], version: int = PROTOCOL_3_0) -> bytes:
    pairs = b"".join(text(name) + text(value) for name, value in parameters.items())
    return untyped(struct.pack("!i", version) + pairs + b"\0")


def ssl_request() -> bytes:
    return untyped(struct.pack("!i", SSL))


def gssenc_request() -> bytes:
    return untyped(struct.pack("!i", GSSENC))


def cancel_request(pid: int, key: bytes) -> bytes:
    return untyped(struct.pack("!iI", CANCEL, pid) + key)


def query(sql: str | bytes) -> bytes:
    return message("Q", text(sql))


def parse(sql: str, name: str = "", types: Sequence[int] = ()) -> bytes:
    return message("P", text(name) + text(sql) + struct.pack(f"!h{len(types)}I", len(types), *types))


def bind(
    values: Iterable[bytes | None] = (),
    *,
    statement: str = "",
    portal: str = "",
    formats: Sequence[int] = (),
    result_formats: Sequence[int] = (),
) -> bytes:
    body = text(portal) + text(statement) + struct.pack(f"!h{len(formats)}h", len(formats), *formats)
    parameters = list(values)
    body += struct.pack("!h", len(parameters))
    for value in parameters:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack(f"!h{len(result_formats)}h", len(result_formats), *result_formats))


def describe_statement(name: str = "") -> bytes:
    return message("D", b"S" + text(name))


def describe_portal(name: str = "") -> bytes:
    return message("D", b"P" + text(name))


def execute(portal: str = "", limit: int = 0) -> bytes:
    return message("E", text(portal) + struct.pack("!i", limit))


def close_statement(name: str = "") -> bytes:
    return message("C", b"S" + text(name))


def close_portal(name: str = "") -> bytes:
    return message("C", b"P" + text(name))


def function_call(oid: int, *arguments: bytes) -> bytes:
    """A FunctionCall with text arguments and a text result."""
    body = struct.pack("!Ihh", oid, 0, len(arguments))
    body += b"".join(struct.pack("!i", len(value)) + value for value in arguments)
    return message("F", body + struct.pack("!h", 0))


def copy_data(data: bytes) -> bytes:
    return message("d", data)


def copy_fail(reason: str) -> bytes:
    return message("f", text(reason))


SYNC = message("S")
FLUSH = message("H")
COPY_DONE = message("c")
TERMINATE = message("X")


def extended(sql: str, *values: bytes | None, statement: str = "", limit: int = 0) -> bytes:
    """Parse, Bind, Describe and Execute of the unnamed portal, without a Sync."""
    return (
        parse(sql, statement) + bind(values, statement=statement) + describe_portal() + execute(limit=limit)
    )


def frontend_messages(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The letter and the body of each message in what a client sends."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("!i", data, at + 1)
        yield chr(data[at]), data[at + 5 : at + 1 + length]
        at += 1 + length


def frontend_letters(data: bytes) -> str:
    """The letters of the messages in what a client sends."""
    return "".join(letter for letter, _ in frontend_messages(data))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the backend."""

    letter: str
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """Of ErrorResponse and NoticeResponse: values by field letter."""
        parts = self.body.rstrip(b"\0").split(b"\0")
        return {part[:1].decode(): part[1:].decode("utf-8", "replace") for part in parts if part}

    @property
    def sqlstate(self) -> str:
        return self.fields["C"]

    @property
    def row(self) -> list[bytes | None]:
        """Of DataRow."""
        (count,) = struct.unpack_from("!h", self.body)
        values: list[bytes | None] = []
        at = 2
        for _ in range(count):
            (length,) = struct.unpack_from("!i", self.body, at)
            at += 4
            values.append(None if length < 0 else self.body[at : at + length])
            at += max(length, 0)
        return values

    @property
    def tag(self) -> str:
        """Of CommandComplete."""
        return self.body.rstrip(b"\0").decode()

    @property
    def status(self) -> str:
        """Of ReadyForQuery: I, T or E."""
        return self.body.decode()

    @property
    def pair(self) -> tuple[str, str]:
        """Of ParameterStatus: name and value."""
        name, value, _ = self.body.split(b"\0")
        return name.decode(), value.decode()

    def __repr__(self) -> str:
        shown = repr(self.body if len(self.body) <= 60 else self.body[:60] + b"...")[2:-1]
        return f"{self.letter}({shown})"


def letters(messages: Iterable[Message]) -> str:
    return "".join(m.letter for m in messages)


def rows(messages: Iterable[Message]) -> list[list[bytes | None]]:
    return [m.row for m in messages if m.letter == "D"]


def tags(messages: Iterable[Message]) -> list[str]:
    return [m.tag for m in messages if m.letter == "C"]


def errors(messages: Iterable[Message]) -> list[str]:
    """The SQLSTATEs of the errors, in order."""
    return [m.sqlstate for m in messages if m.letter == "E"]
