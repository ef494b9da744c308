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

#: In a text: a string, or what stands behind SET, RESET and SHOW.
_IN_TEXT = re.compile(rb"(?:'|\b(?:set|session|show|reset)\s+)" + _NAME + rb"(?![a-z0-9_$.])", re.IGNORECASE)

#: Among bound values: lengths and other bytes stand around it.
_IN_VALUES = re.compile(_NAME, re.IGNORECASE)


def custom_names(text: bytes) -> tuple[str, ...]:
    """The names in an SQL text that may be of custom settings, in lower case."""
    return tuple(match[1].decode("ascii").lower() for match in _IN_TEXT.finditer(text))


def bound_names(values: bytes) -> tuple[str, ...]:
    """The same among the values of a Bind message."""
    return tuple(match[1].decode("ascii").lower() for match in _IN_VALUES.finditer(values))


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

    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._names)
