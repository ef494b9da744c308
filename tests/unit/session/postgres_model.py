"""How PostgreSQL answers a stream of messages, as far as counting goes (postgres.c, copyfromparse.c).

The state is ignore_till_sync, the copy mode, and whether a batch is open. Answers are single letters, as on
the wire; `own` marks what was asked by us. Where PostgreSQL ends the connection, the model is `dead`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Final

#: What may be sent: Q query, q failing query, C query that copies in, F function call; P B E D K parse, bind,
#: execute, describe, close; p failing parse, e failing execute, c execute that copies in; 1 and 3 our own
#: parse and close; 0 our own query; S sync, H flush; d copy data, x copy data that fails, . copy done,
#: ! copy fail.
QUERIES: Final = "QqCF0"
BATCH: Final = "PBEDKpec13"
COPY: Final = "dx.!"
MESSAGES: Final = QUERIES + BATCH + "SH" + COPY

_ANSWERS: Final = {"P": "1", "B": "2", "D": "T", "E": "C", "K": "3", "1": "1", "3": "3"}


@dataclass
class Postgres:
    """One server, right behind a ReadyForQuery."""

    ignoring: bool = False  #: ignore_till_sync
    copying: str = ""  #: "", "simple" or "extended"
    open: bool = False  #: a batch is open: an implicit transaction, maybe
    dead: bool = False
    answers: list[tuple[str, bool]] = field(default_factory=list)  #: (letter, own), not yet on their way

    def take(self, message: str) -> None:
        """Read one message and answer it."""
        if self.dead:
            return
        if self.copying:
            self._copy(message)
        elif message == "S":
            self.ignoring = self.open = False
            self._say("Z")
        elif self.ignoring or message in COPY + "H":
            return
        elif message in QUERIES:
            self._query(message)
        else:
            self._extended(message)

    def _say(self, letters: str, own: bool = False) -> None:
        self.answers += [(letter, own) for letter in letters]

    def _query(self, message: str) -> None:
        self.open = False
        if message == "C":
            self._say("G")
            self.copying = "simple"
        else:
            self._say("EZ" if message == "q" else "CZ", message == "0")

    def _extended(self, message: str) -> None:
        self.open = True
        if message in "pe":
            self._say("E")
            self.ignoring = True
        elif message == "c":
            self._say("G")
            self.copying = "extended"
        else:
            self._say(_ANSWERS[message], message in "13")

    def _copy(self, message: str) -> None:
        if message == ".":
            self._say("CZ" if self.copying == "simple" else "C")
            self.copying = ""
        elif message in "x!":
            self._say("EZ" if self.copying == "simple" else "E")
            self.ignoring = self.copying == "extended"
            self.copying = ""
        elif message not in "dSH":
            self.dead = True

    def after(self, messages: list[str]) -> Postgres:
        """What this server will be once it has read these, with what it then says in `answers`."""
        later = copy.deepcopy(self)
        for message in messages:
            later.take(message)
        return later

    def owes_nothing(self) -> bool:
        """Nothing to say, and nothing open: it may go to another client."""
        return not (self.answers or self.ignoring or self.copying or self.open)
