"""What PostgreSQL says in a dialogue, built apart from the product; and errors of ours, without their text.

Arrows are seen from the one they stand beside: `client >> query("x")` is said by it, `client << ready()` is
heard.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.support import messages as m
from tests.support.messages import Message

PARSED = m.message("1")
BOUND = m.message("2")
CLOSED = m.message("3")
NO_DATA = m.message("n")
SUSPENDED = m.message("s")
EMPTY = m.message("I")
COPY_DONE = m.message("c")
COPY_IN = m.message("G", b"\0" + struct.pack("!h", 0))
COPY_OUT = m.message("H", b"\0" + struct.pack("!h", 0))
COPY_BOTH = m.message("W", b"\0" + struct.pack("!h", 0))
PARAMETERS = m.message("t", struct.pack("!h", 0))
DESCRIPTION = m.message("T", struct.pack("!h", 0))
CALLED = m.message("V", struct.pack("!i", -1))

#: What ends a batch whose client is gone.
ROLL_BACK = m.parse("ROLLBACK") + m.bind() + m.execute() + m.SYNC


def row(*values: str) -> bytes:
    return m.message("D", struct.pack("!h", len(values)) + b"".join(map(_cell, values)))


def _cell(value: str) -> bytes:
    return struct.pack("!i", len(value.encode())) + value.encode()


def tag(text: str) -> bytes:
    return m.message("C", m.text(text))


def ready(status: str = "I") -> bytes:
    return m.message("Z", status.encode())


def parameter(name: str, value: str) -> bytes:
    return m.message("S", m.text(name) + m.text(value))


def error(sqlstate: str, text: str = "no", severity: str = "ERROR", **more: str) -> bytes:
    return m.message("E", _fields(S=severity, V=severity, C=sqlstate, M=text, **more))


def fatal(sqlstate: str, text: str = "no") -> bytes:
    return error(sqlstate, text, "FATAL")


def notice(text: str) -> bytes:
    return m.message("N", _fields(S="NOTICE", V="NOTICE", C="00000", M=text))


def notification(channel: str, payload: str, pid: int = 7) -> bytes:
    return m.message("A", struct.pack("!i", pid) + m.text(channel) + m.text(payload))


def _fields(**fields: str) -> bytes:
    return b"".join(letter.encode() + m.text(value) for letter, value in fields.items()) + b"\0"


def answer(value: str, status: str = "I") -> bytes:
    """The answer to `select` of one value."""
    return DESCRIPTION + row(value) + tag("SELECT 1") + ready(status)


def done(text: str, status: str = "I") -> bytes:
    return tag(text) + ready(status)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An ErrorResponse of ours: its severity and SQLSTATE, and a part of its text."""

    severity: str
    sqlstate: str
    part: str = ""

    def accepts(self, heard: Message) -> bool:
        return (
            heard.letter == "E"
            and heard.fields["S"] == heard.fields["V"] == self.severity
            and heard.sqlstate == self.sqlstate
            and self.part in heard.fields["M"]
        )


def refused(sqlstate: str, part: str = "") -> Refusal:
    """An error of ours after which the session goes on."""
    return Refusal("ERROR", sqlstate, part)


def ended(sqlstate: str, part: str = "") -> Refusal:
    """An error of ours that ends the session."""
    return Refusal("FATAL", sqlstate, part)


class End:
    """The connection has been closed."""

    def __repr__(self) -> str:
        return "END"


END = End()
