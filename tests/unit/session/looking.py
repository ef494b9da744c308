"""How the tests look at a text: as the hot path does, in a larger buffer, by the build under test."""

from __future__ import annotations

from poolproxy.session.assignments import Assignment
from poolproxy.session.statements import Finding, Scanner

Found = str | tuple[Assignment, ...] | None


def look(text: str | bytes, cautious: bool = False, scanner: type[Scanner] = Scanner) -> Found:
    """None when the text is clean, why it is suspect, or the assignments that are tracked."""
    return meaning(looker(text, cautious, scanner)[1])


def found(text: str) -> Finding | None:
    """All that is remarkable about a text."""
    return looker(text, False, Scanner)[1]


def controls(text: str) -> bool:
    """Whether a statement of the text begins or ends a transaction."""
    return looker(text, False, Scanner)[0].controls


def looker(text: str | bytes, cautious: bool, scanner: type[Scanner]) -> tuple[Scanner, Finding | None]:
    data = text.encode() if isinstance(text, str) else text
    eyes = scanner()
    eyes.cautious = cautious
    # What stands around a statement is other people's: it must not be read.
    buffer = bytearray(b"set a=1;'" + data + b"'; set a=1; listen x")
    return eyes, eyes.look(buffer, 9, 9 + len(data))


def meaning(finding: Finding | None) -> Found:
    if finding is None:
        return None
    if finding.sequence and not finding.reason:
        return "sequence"
    return finding.reason or finding.assignments or None


def one(name: str, fragment: str | None) -> tuple[Assignment, ...]:
    return (Assignment(name, fragment),)
