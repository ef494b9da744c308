"""Custom settings (`app.tenant`) by their names: PostgreSQL lists them nowhere (guc.c: GUC_NO_SHOW_ALL).

So whoever wants to know what a session holds must know what to ask for. The names come from texts that set
or read them, from the values bound to such texts, and from the bodies of routines and policies; nobody else
can read them (sessions.md, rule 2). Must not know connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: Names that are remembered per database; the oldest make way.
MAX_NAMES: Final = 1000

_NAME = rb"([a-z_][a-z0-9_$]*(?:\.[a-z_][a-z0-9_$]*)+)"

#: Between two words: blanks and comments. Atomic, and bounded: a text of many beginnings must not cost more
#: than its length.
_GAP = rb"(?>\s++|--[^\r\n]{0,200}+|/\*.{0,200}?\*/)++"

#: A name of which each part may be quoted by itself.
_PARTS = rb'("?[a-z_][a-z0-9_$]*"?(?:\s*\.\s*"?[a-z_][a-z0-9_$]*"?)+)'

#: In a text: a string however it is quoted, a quoted name, or what stands behind SET, RESET and SHOW.
_IN_TEXT = re.compile(
    rb"['\"]" + _NAME + rb"(?![a-z0-9_$.])"
    rb"|\$([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)+)\$"
    rb"|\b(?:set|session|show|reset)" + _GAP + _PARTS,
    re.IGNORECASE | re.DOTALL,
)

_NOT_OF_NAME = re.compile(rb'[\s"]+')

#: Among bound values lengths and other bytes stand around it: words with a point, and what may precede a name
#: there. Words first, for a value may be one of 200,000 letters.
_WORD = re.compile(rb"[a-z0-9_$.]++", re.IGNORECASE)
_IN_WORD = re.compile(_NAME, re.IGNORECASE)


def custom_names(text: bytes) -> tuple[str, ...]:
    """The names in an SQL text that may be of custom settings, in lower case."""
    return tuple(
        _NOT_OF_NAME.sub(b"", match[match.lastindex or 0]).decode("ascii").lower()
        for match in _IN_TEXT.finditer(text)
    )


def bound_names(values: bytes) -> tuple[str, ...]:
    """The same among the values of a Bind message."""
    words = (match[0] for match in _WORD.finditer(values) if b"." in match[0] and len(match[0]) <= 64)
    found = (_IN_WORD.search(word) for word in words)
    return tuple(match[1].decode("ascii").lower() for match in found if match is not None)


class CustomNames:
    """The custom settings of one database that anybody has named so far."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._refused: set[str] = set()

    def learn(self, names: Iterable[str]) -> None:
        """From now on these are known."""
        for name in names:
            if name not in self._names and name not in self._refused and len(name) < 64:
                if len(self._names) >= MAX_NAMES:
                    del self._names[next(iter(self._names))]
                self._names[name] = None

    def forget_named(self, message: str) -> bool:
        """An error said `message`, which may name one that must not be asked for: whether it does."""
        named = [name for name in self._names if name in message.lower()]
        for name in named:
            del self._names[name]
            self._refused.add(name)
        return bool(named)

    def names(self, held: Iterable[str] = ()) -> tuple[str, ...]:
        """All of them, and those that are `held`, however many."""
        more = [
            name for name in held if name.isascii() and name not in self._names and name not in self._refused
        ]
        return (*self._names, *more)
