"""Which user a name in a certificate, or of the operating system, may be: maps in the syntax of pg_ident.conf
(manual 20.2). No I/O.

A line is `MAP SYSTEM-NAME USER`. A system name that begins with a slash is a regular expression, and
`\\1` in the user is what its first group has found; a user may be `all`, or a regular expression himself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from poolproxy.auth.rule_files import (
    InvalidRules,
    Listing,
    Problem,
    Read,
    Reader,
    Token,
    no_directories,
    one,
    pattern_of,
)


@dataclass(frozen=True, slots=True)
class _Line:
    map: str
    system: str | re.Pattern[str]
    user: str | re.Pattern[str]
    anybody: bool

    def lets(self, name: str, user: str) -> bool:
        """Whether who is called so may be this user."""
        if isinstance(self.system, str):
            return self.system == name and self._is(user, self.user)
        found = self.system.search(name)
        if found is None:
            return False
        if isinstance(self.user, str) and "\\1" in self.user:
            return bool(found.re.groups) and self._is(user, self.user.replace("\\1", found.group(1) or "", 1))
        return self._is(user, self.user)

    def _is(self, user: str, meant: str | re.Pattern[str]) -> bool:
        if self.anybody:
            return True
        return meant == user if isinstance(meant, str) else meant.search(user) is not None


class Maps:
    """All of them."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Sequence[_Line] = ()) -> None:
        self._lines = tuple(lines)

    def __repr__(self) -> str:
        return f"<Maps {len(self._lines)} lines>"

    def __contains__(self, name: str) -> bool:
        return any(line.map == name for line in self._lines)

    def lets(self, map_name: str, name: str, user: str) -> bool:
        """Whether somebody of this name may log in as this user; without a map if they are the same."""
        if not map_name:
            return name == user
        return any(line.map == map_name and line.lets(name, user) for line in self._lines)


NO_MAPS: Final = Maps()


def parse(file: str, text: str, read: Read, listing: Listing = no_directories) -> Maps:
    """The maps of a file. Raises InvalidRules with all that is wrong in it."""
    lines: list[_Line] = []
    reader = Reader(read, lambda where, fields: lines.append(_line(fields)), listing)
    reader.take_file(file, text, 0)
    if reader.problems:
        raise InvalidRules(*reader.problems)
    return Maps(lines)


def _line(fields: list[list[Token]]) -> _Line:
    rest = iter(fields)
    map_name = one(rest, "the name of the map").text
    system = one(rest, "the name that is mapped").text
    user = one(rest, "the user")
    for field in rest:
        raise Problem(f"{field[0].text!r} is too much: a line is a map, a name and a user")
    pattern = pattern_of(system[1:]) if system.startswith("/") else None
    if user.text.startswith("+") and not user.quoted:
        raise Problem(f"{user.text} is not supported: who is a member of a role only PostgreSQL knows")
    if "\\1" in user.text and (pattern is None or not pattern.groups):
        raise Problem("\\1 stands for a group of a regular expression, and there is none")
    return _Line(
        map_name,
        pattern if pattern is not None else system,
        pattern_of(user.text[1:]) if user.text.startswith("/") and not user.quoted else user.text,
        user.means("all"),
    )
