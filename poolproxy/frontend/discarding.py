"""Exchanges that are nothing but DISCARD ALL, by the extended protocol: recognised while they are whole.

Must not know clients or servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from poolproxy.protocol import messages
from poolproxy.session.assignments import is_discard_all

#: More than this no such batch has.
_LONGEST: Final = 256

_PARSE_COMPLETE: Final = messages.message(0x31)
_BIND_COMPLETE: Final = messages.message(0x32)
_NO_DATA: Final = messages.message(0x6E)
_NO_PARAMETERS: Final = messages.message(0x74, b"\0\0")


@dataclass(frozen=True, slots=True)
class Taken:
    """What is not forwarded ends at `end`; `answer` is what the client hears ahead of its tag."""

    end: int
    answer: bytes


def lone_discard_all(buffer: bytearray, position: int, following: int, end: int) -> Taken | None:
    """The batch that begins with the Parse at buffer[position:following], if it is whole and is DISCARD ALL
    alone, by the unnamed statement and portal."""
    if following > end:
        return None
    name, text, types = bytes(buffer[position + 5 : following]).split(b"\0", 2)
    if name or types != b"\0\0" or not is_discard_all(text):
        return None
    answer = _PARSE_COMPLETE
    steps: tuple[_Step, ...] = _STEPS
    data = bytes(buffer[following : min(end, following + _LONGEST)])
    place = 0
    while place + 5 <= len(data):
        kind = data[place : place + 1]
        size = 1 + int.from_bytes(data[place + 1 : place + 5], "big")
        body = data[place + 5 : place + size]
        place += size
        if place > len(data):
            return None
        step = next((number for number, each in enumerate(steps) if each.accepts(kind, body)), -1)
        if step < 0 or any(each.needed for each in steps[:step]):
            return None
        answer += steps[step].answer
        steps = steps[step + 1 :]
        if not steps:
            return Taken(following + place, answer)
    return None


@dataclass(frozen=True, slots=True)
class _Step:
    kind: bytes
    begins: bytes
    needed: bool
    answer: bytes

    def accepts(self, kind: bytes, body: bytes) -> bool:
        return kind == self.kind and body.startswith(self.begins)


#: Describe of the statement, Bind without values, Describe of the portal, Execute, Sync.
_STEPS: Final[tuple[_Step, ...]] = (
    _Step(b"D", b"S\0", False, _NO_PARAMETERS + _NO_DATA),
    _Step(b"B", b"\0\0\0\0\0\0", True, _BIND_COMPLETE),
    _Step(b"D", b"P\0", False, _NO_DATA),
    _Step(b"E", b"\0", True, b""),
    _Step(b"S", b"", True, b""),
)
