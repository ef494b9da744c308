"""What a server says to the lean client, built apart from it; beside tests/dialogues/words.py."""

from __future__ import annotations

import struct

from tests.support import messages as m

TEXT, INT4, INT8, BOOL, FLOAT8 = 25, 23, 20, 16, 701

OK = m.message("R", struct.pack("!i", 0))
KEY = m.message("K", struct.pack("!ii", 7, 8))
READY = m.message("Z", b"I")


def authentication(code: int, data: bytes = b"") -> bytes:
    return m.message("R", struct.pack("!i", code) + data)


def described(**columns: int) -> bytes:
    """RowDescription: type OIDs by name."""
    fields = b"".join(
        m.text(name) + struct.pack("!ihihih", 0, 0, oid, -1, -1, 0) for name, oid in columns.items()
    )
    return m.message("T", struct.pack("!h", len(columns)) + fields)


def row(*values: bytes | None) -> bytes:
    cells = [struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in values]
    return m.message("D", struct.pack("!h", len(values)) + b"".join(cells))


def split(data: bytes) -> list[tuple[int, bytes]]:
    """The messages in it: type and body."""
    return [(ord(letter), body) for letter, body in m.frontend_messages(data)]
