"""Channels by their names: as texts spell them, as PostgreSQL knows them, as our own texts spell them.

A name is a `str` here; a byte that is of no character (in a database without an encoding) is a surrogate, as
with the error handler `surrogateescape`. Must not know connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from poolproxy.protocol.encodings import codec_of

#: A custom setting that a server holds while it listens in its client's stead: what undoes the one undoes the
#: other.
LENT: Final = "poolproxy.listening"

#: Bytes of a name: NAMEDATALEN - 1.
NAME_BYTES: Final = 63

_LISTEN = re.compile(
    rb"(?:^|;)\s*listen\s*("
    rb'"(?:[^"\0]|"")+"'  # quoted
    rb"|(?<=\s)[a-z_\x80-\xff][a-z0-9_$\x80-\xff]*)",
    re.IGNORECASE,
)

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*\Z")


def listened(text: bytes) -> tuple[bytes, ...]:
    """The names behind LISTEN in an SQL text, as they are spelled there. What stands in a string may be among
    them; a name behind a comment or in the form U&"..." is not."""
    return tuple(dict.fromkeys(match[1] for match in _LISTEN.finditer(text)))


def channel(spelled: str) -> str | None:
    """The name that is spelled so; None where only PostgreSQL can say (manual 4.1.1: it folds letters and
    cuts what is too long)."""
    if spelled.startswith('"'):
        name = spelled[1:-1].replace('""', '"')
    elif _PLAIN.match(spelled):
        name = spelled.lower()
    else:
        return None
    return name if len(name.encode("utf-8", "surrogateescape")) <= NAME_BYTES else None


def decoded(name: bytes, encoding: str) -> str:
    """A name from bytes in an encoding of PostgreSQL's."""
    return name.decode(codec_of(encoding) or "utf-8", "surrogateescape")


def quoted(name: str, encoding: str) -> bytes:
    """A quoted identifier for a text in that encoding; a character that it lacks is escaped (manual
    4.1.1: U&)."""
    plain = '"' + name.replace('"', '""') + '"'
    try:
        return plain.encode(codec_of(encoding) or "utf-8", "surrogateescape")
    except UnicodeEncodeError:
        escaped = "".join(
            c if c.isascii() and c != "\\" else f"\\+{ord(c):06x}" for c in name.replace('"', '""')
        )
        return f'U&"{escaped}"'.encode("ascii")


def listen_query(names: Iterable[str], encoding: str) -> bytes:
    """LISTEN to all of these."""
    return b"; ".join(b"LISTEN " + quoted(name, encoding) for name in sorted(names))


def lend_texts(names: Iterable[str], encoding: str) -> list[bytes]:
    """The same, on a server whose client listens elsewhere, so that it can be asked what is left of it:
    statements for one transaction."""
    return [b"SET %s = '1'" % LENT.encode(), *(b"LISTEN " + quoted(name, encoding) for name in sorted(names))]


#: After which a server that was lent channels, or that its client has listened on, does so no more.
UNLISTEN: Final = b"UNLISTEN *; SET %s = ''" % LENT.encode()
