"""What a client hears, in a form that is the same on any connection."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.messages import Message
from tests.support.sessions import normalised


@dataclass
class Heard:
    """The answer to an exchange."""

    messages: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)  #: reported since its login
    ended: bool = False
    failed: bool = field(default=False, compare=False)  #: with an error
    rows: list[list[bytes | None]] = field(default_factory=list, compare=False, repr=False)


def compared(message: Message) -> str:
    """Where a row lies in its table, and where a lock was waited for, are not part of it."""
    if message.letter == "E" and message.sqlstate == "55P03":
        return f"E 55P03 {message.fields.get('M')}"
    return normalised(message)
