"""One spelling for equal values of a setting: PostgreSQL's own, as pg_settings has it.

`'9MB'`, `9216` and `'9216kB'` are one work_mem. Clients that spell it otherwise, or whose value an audit has
found, are to share servers and statements all the same. What kind of value a setting has is learnt from the
server; until then, and wherever the outcome is not certain, a spelling stays as it is. Must not know
connections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from poolproxy.session.assignments import LIST_QUOTE, literal
from poolproxy.session.parameters import LARGE, ParameterSet, parameter_set

#: What is remembered: sets and values of a stranger's choice.
_REMEMBERED: Final = 1000

#: Units by how many of the smallest of their sort they are (guc.c: memory_unit_conversion_table).
_UNITS: Final = {
    "B": ("memory", 1), "kB": ("memory", 1024), "8kB": ("memory", 8192), "MB": ("memory", 1024**2),
    "GB": ("memory", 1024**3), "TB": ("memory", 1024**4),
    "us": ("time", 1), "ms": ("time", 1000), "s": ("time", 10**6), "min": ("time", 60 * 10**6),
    "h": ("time", 3600 * 10**6), "d": ("time", 86400 * 10**6),
}  # fmt: skip

_TOKEN = re.compile(
    r"""\s*(?:'((?:[^']|'')*)'|"((?:[^"]|"")+)"|([A-Za-z_][\w$]*)|([+-]?[0-9.]+))\s*(?:,|\Z)"""
)
_NUMBER = re.compile(r"\s*([+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_PLAIN_NUMBER = re.compile(r"0|[1-9][0-9]*(?:\.[0-9]+)?")

#: The kind of a setting: its type and its unit ("" = none), as pg_settings has them.
Kind = tuple[str, str]


class Spellings:
    """See the module; those of one database."""

    def __init__(self) -> None:
        self._kinds: Mapping[str, Kind] = {}
        self._fragments: dict[tuple[str, str], str] = {}
        self._sets: dict[ParameterSet, ParameterSet] = {}

    def learn(self, kinds: Mapping[str, Kind]) -> None:
        """What kind of value each setting has, by its name in lower case."""
        if kinds is not self._kinds:
            self._kinds = kinds
            self._fragments.clear()
            self._sets.clear()

    def spelled(self, wanted: ParameterSet) -> ParameterSet:
        """The same settings, in PostgreSQL's spelling."""
        if not self._kinds:
            return wanted
        found = self._sets.get(wanted)
        if found is None:
            found = parameter_set(
                {name: self.fragment(name, fragment) for name, fragment in wanted.values.items()}
            )
            if not wanted.large:
                if len(self._sets) >= _REMEMBERED:
                    self._sets.clear()
                self._sets[wanted] = found
        return found

    def fragment(self, name: str, fragment: str) -> str:
        """The SQL that gives the setting `name` (in lower case) the same value."""
        if not self._kinds:
            return fragment
        key = (name, fragment)
        found = self._fragments.get(key)
        if found is None:
            found = _spelled(fragment, name, self._kinds.get(name))
            if len(fragment) <= LARGE:
                if len(self._fragments) >= _REMEMBERED:
                    self._fragments.clear()
                self._fragments[key] = found
        return found


def _spelled(fragment: str, name: str, kind: Kind | None) -> str:
    values = _values(fragment)
    if not values:
        return fragment
    if name in LIST_QUOTE:
        return ", ".join(literal(value, escape=True) for value in values)
    if len(values) > 1 or (kind is None and "." not in name):
        return fragment
    value = _value(values[0], kind or ("string", ""))
    return fragment if value is None else literal(value, escape=True)


def _values(fragment: str) -> list[str]:
    """The values between the commas of a fragment; empty where one of them is not plain."""
    values: list[str] = []
    position = 0
    while position < len(fragment):
        match = _TOKEN.match(fragment, position)
        if match is None:
            return []
        string, quoted, word, number = match.groups()
        if string is not None:
            values.append(string.replace("''", "'"))
        elif quoted is not None:
            values.append(quoted.replace('""', '"'))
        elif word is not None:
            values.append(word.lower())
        elif _PLAIN_NUMBER.fullmatch(number.lstrip("-")):
            values.append(number)
        else:
            return []
        position = match.end()
    return values


def _value(value: str, kind: Kind) -> str | None:
    """A value as pg_settings would show it; None where that is not certain."""
    vartype, unit = kind
    if vartype == "bool":
        return _boolean(value.strip().lower())
    if vartype == "enum":
        return value.lower()
    if vartype == "string":
        return value
    match = _NUMBER.fullmatch(value)
    if match is None:
        return None
    number = Fraction(match[1])
    if match[2]:
        sort, size = _UNITS.get(match[2], ("", 1))
        own_sort, own_size = _UNITS.get(unit, ("none", 1))
        if sort != own_sort:
            return None
        number = number * size / own_size
    if vartype == "integer":
        return str(number.numerator) if number.denominator == 1 else None
    shown = format(float(number), "g")
    return shown if Fraction(shown) == number else None


def _boolean(value: str) -> str | None:
    """As parse_bool reads it: any beginning that can be only one of the words."""
    if not value:
        return None
    if value in ("on", "1") or "true".startswith(value) or "yes".startswith(value):
        return "on"
    if value in ("of", "off", "0") or "false".startswith(value) or "no".startswith(value):
        return "off"
    return None
