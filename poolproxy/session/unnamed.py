"""A client's unnamed statement: its Parse, and what is known of it (sessions.md, rule 9).

An object of its own, made when a client first has one: thousands of clients never do. Compiled.
"""

from __future__ import annotations

from poolproxy.session.statements import Finding
from poolproxy.session.words import NO_WORDS, Words


class Unnamed:
    """See the module."""

    __slots__ = (
        "controls", "draws", "finding", "followed", "large", "number", "ordinal", "parse", "turn", "words",
    )  # fmt: skip

    def __init__(self) -> None:
        self.parse: bytes | None = None  #: whole
        self.turn = -1  #: the exchange it was parsed in, on the server attached now (Pipeline.turn)
        self.followed = -1  #: the exchange that its text was looked at for
        self.number = 0  #: its number, also that of having none; 0 = none given
        self.ordinal = 0  #: which of that exchange's Parses it was
        self.draws = False  #: it may draw from a sequence
        self.controls = False  #: it begins or ends a transaction
        self.large = False  #: it is too large to be kept, and was not bound yet
        self.finding: Finding | None = None  #: what is remarkable about it, by these words:
        self.words: Words = NO_WORDS

    def __repr__(self) -> str:
        size = "none" if self.parse is None else f"{len(self.parse)} bytes"
        return f"<Unnamed {self.number} {size} turn {self.turn}>"

    def forget(self) -> None:
        """There is none any more, on any server."""
        self.parse = None
        self.number = 0
