"""A PostgreSQL for dialogues that nobody writes by hand: it answers whatever comes as PostgreSQL counts.

What it says repeats the words of the text it was said about, so that a test can tell whose answer it is.
"""

from __future__ import annotations

import re

from tests.dialogues import words
from tests.dialogues.stage import ServerPeer
from tests.support.messages import Message
from tests.unit.session.postgres_model import Postgres

#: Texts say whose they are, and what they do: a letter of the model's.
_SIGNED = re.compile(rb"/\* (client \d+) (\w) \*/")

_KINDS = {"Q": "Q", "q": "q", "C": "C", "B": "Q", "R": "Q"}


def signed(name: str, kind: str, sql: str = "select 1") -> str:
    """A text of `name`'s: Q succeeds, q fails, C copies in, B begins and R ends a transaction."""
    return f"{sql} /* {name} {kind} */"


class FakePostgres:
    """What is behind one server. `answer` lets it read one message of what it has heard."""

    def __init__(self, peer: ServerPeer) -> None:
        self.peer = peer
        self.model = Postgres()
        self.status = "I"
        self.unnamed: tuple[str, str] | None = None  # (whose, kind)
        self.portal: tuple[str, str] | None = None

    def gone(self) -> bool:
        """Whether one of the two sides has closed."""
        return self.peer.ended or self.model.dead

    def answer(self) -> bool:
        """False when there was nothing to read."""
        if self.gone() or not self.peer.whole():
            return False
        said = self.peer.take()
        if said.letter == "X":
            return False
        whose, letter = self._understand(said)
        self.model.take(letter)
        if not self.model.open and self.status == "I":
            self.portal = None  # it does not outlive its transaction
        if self.gone():
            self.peer >> words.fatal("08P01")
            self.peer.leave()
            return True
        answers, self.model.answers = self.model.answers, []
        self.peer >> b"".join(self._say(answer, whose, letter) for answer, _ in answers)
        return True

    def _understand(self, said: Message) -> tuple[str, str]:
        """(whose text it is about, the letter of the model's for it)."""
        ignored = self.model.ignoring or bool(self.model.copying)
        found = _SIGNED.search(said.body)
        whose, kind = (found[1].decode(), found[2].decode()) if found else ("", "Q")
        if said.letter == "Q":
            if not ignored:
                self.unnamed = self.portal = None
                self._transaction(said.body.lower(), kind)
            return whose, _KINDS[kind]
        if said.letter == "P":
            if not ignored:
                self.unnamed = None if kind == "q" else (whose, kind)
            return whose, "p" if kind == "q" else "P"
        if said.letter in "BD" and not ignored:
            self.portal = self.unnamed
            return ("", "p") if self.unnamed is None else (self.unnamed[0], said.letter)
        if said.letter == "E" and not ignored:
            whose, kind = self.portal or ("", "q")
            return whose, {"Q": "E", "q": "e", "C": "c"}.get(kind, "E")
        return whose, {"C": "K", "c": ".", "f": "!"}.get(said.letter, said.letter)

    def _transaction(self, sql: bytes, kind: str) -> None:
        if kind == "B":
            self.status = "T"
        elif kind == "R" or sql.startswith((b"rollback", b"discard")):
            self.status = "I"

    def _say(self, answer: str, whose: str, letter: str) -> bytes:
        if answer == "E" and self.status == "T":
            self.status = "E"
        return {
            "1": words.PARSED,
            "2": words.BOUND,
            "3": words.CLOSED,
            "T": words.NO_DATA,
            "G": words.COPY_IN,
            "E": words.error("22012", whose),
            "C": words.tag("DONE " + whose),
            "Z": words.ready(self.status),
        }[answer]
