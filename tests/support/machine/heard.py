"""What a client hears, in a form that is the same on any connection."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.messages import Message
from tests.support.sessions import normalised

#: What `drop table pg_temp.note` may be told where there is none.
_NOT_THERE = ('schema "pg_temp" does not exist', 'table "note" does not exist')


@dataclass
class Heard:
    """The answer to an exchange."""

    messages: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)  #: reported since its login
    ended: bool = False
    failed: bool = field(default=False, compare=False)  #: with an error
    rows: list[list[bytes | None]] = field(default_factory=list, compare=False, repr=False)


def compared(message: Message) -> str:
    """Where a lock was waited for is not part of it, nor is a hint of poolproxy's, nor whether a server has
    ever had a temporary table (docs/differences.md)."""
    if message.letter == "E" and message.sqlstate == "55P03":
        return f"E 55P03 {message.fields.get('M')}"
    if message.letter == "E" and message.sqlstate == "55000":
        fields = {field: value for field, value in message.fields.items() if field not in "FLRH"}
        return f"E {fields}"
    if message.letter == "E" and message.fields.get("M") in _NOT_THERE:
        return "E no temporary table note"
    return normalised(message)
