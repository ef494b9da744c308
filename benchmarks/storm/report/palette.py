"""Each target's colour, the same wherever it is drawn, in light and in dark.

The first three keep apart for every kind of colour vision; whoever comes later has a pattern of dashes, too.
Each has at least 4.5:1 against its background, as text needs. A unit test computes both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LIGHT, DARK = "#ffffff", "#14171c"
"""Backgrounds."""

LIGHT_ROLES = {
    "bg": LIGHT,
    "card": "#f7f8f9",
    "ink": "#1b2027",
    "soft": "#59636f",
    "line": "#dfe3e8",
    "good": "#157347",
    "bad": "#b3261e",
}
DARK_ROLES = {
    "bg": DARK,
    "card": "#1b1f26",
    "ink": "#e8eaed",
    "soft": "#a2abb7",
    "line": "#323943",
    "good": "#5fd196",
    "bad": "#ff8b80",
}


@dataclass(slots=True, frozen=True)
class Colour:
    light: str
    dark: str
    dashes: str = ""  #: SVG's stroke-dasharray; empty = a solid line


SLOTS = (
    Colour("#1363c6", "#6cb2ff"),
    Colour("#b8500a", "#ff9c4a"),
    Colour("#555b64", "#a3acb9"),
    Colour("#a3195b", "#f48fc3", "7 3"),
    Colour("#0a7558", "#46d3a4", "2 2.5"),
    Colour("#7c6300", "#e3c441", "9 3 2 3"),
)
_OURS = {"poolproxy": 0, "pgbouncer": 1, "direct": 2}


def slots(targets: Iterable[str]) -> dict[str, int]:
    """Which colour each target has: the usual three their own, the others what is left, round and round."""
    found: dict[str, int] = {}
    free = list(range(len(_OURS), len(SLOTS)))
    strangers = 0
    for target in targets:
        if target in _OURS:
            found[target] = _OURS[target]
        else:
            found[target] = free[strangers % len(free)]
            strangers += 1
    return found


def css(selector: str = ":root") -> str:
    """The custom properties of both schemes, and a class `tN` for each slot."""
    light = _properties(LIGHT_ROLES, [colour.light for colour in SLOTS])
    dark = _properties(DARK_ROLES, [colour.dark for colour in SLOTS])
    classes = "".join(f".t{at}{{--c:var(--c{at})}}" for at in range(len(SLOTS)))
    return f"{selector}{{{light}}}@media(prefers-color-scheme:dark){{{selector}{{{dark}}}}}{classes}"


def _properties(roles: dict[str, str], colours: list[str]) -> str:
    named = {**roles, **{f"c{at}": colour for at, colour in enumerate(colours)}}
    return "".join(f"--{name}:{value};" for name, value in named.items())
