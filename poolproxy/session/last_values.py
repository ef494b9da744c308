"""What a sequence told last: how a server is made to forget it, and what is said to who asks then (rule 14).

Must not know connections.
"""

from __future__ import annotations

from typing import Final

from poolproxy.protocol import messages

FORGET: Final = b"DISCARD SEQUENCES"

#: Who says that there is none (sequence.c), and with which SQLSTATE.
NOT_DEFINED: Final = "55000"
_ASKING: Final = frozenset({"lastval", "currval_oid"})

_HINT: Final = (
    b"poolproxy may run each transaction on another server, and what was drawn from a sequence is told in "
    b"the same transaction only; pin_on names functions after which a session keeps its server."
)


def hinted(report: bytes, fields: dict[str, str]) -> bytes | None:
    """An ErrorResponse with the fields of `report` and a word about why; None where it is about something
    else."""
    if fields.get("R") not in _ASKING or "H" in fields:
        return None
    return messages.message(0x45, report[:-1] + b"H" + _HINT + b"\0\0")
