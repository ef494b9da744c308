"""What may follow what in the answers of a PostgreSQL: an automaton that is told of both directions and
raises at the first message that nothing asked for, or that comes out of turn.
"""

from __future__ import annotations

from collections import deque

from tests.support import messages as m
from tests.support.messages import Message

#: What each message of a batch is answered with, ahead of the last one, and the last one.
_ANSWERS = {
    "P": ("", "1"),
    "B": ("", "2"),
    "C": ("", "3"),
    "statement": ("t", "Tn"),
    "portal": ("", "Tn"),
    "E": ("DGHdc", "CIs"),
    "S": ("", "Z"),
    "Q": ("TDCIGHdc", "Z"),
    "F": ("V", "Z"),
}


class Ungrammatical(AssertionError):
    """The message that must not come here, and what was owed."""


class Grammar:
    """One connection after its login."""

    def __init__(self) -> None:
        self.owed: deque[str] = deque()  #: what was sent and is not answered, the oldest first
        self._skipping = False  #: a batch has failed: nothing counts before its Sync
        self._copying = False
        self._status = "I"
        self._answering = False  #: something of the answer that comes has been read
        self._notified = False  #: and a notification behind it
        self._ended = False

    def sent(self, data: bytes) -> None:
        """Whole messages."""
        for letter, body in m.frontend_messages(data):
            if letter == "D":
                letter = "statement" if body[:1] == b"S" else "portal"
            if letter not in "Hd":
                self.owed.append(letter)
        self._skip()

    def _skip(self) -> None:
        """Drop what will not be answered: all up to the Sync of a failed batch; Syncs inside a COPY, and
        late ends of one."""
        if self._copying:
            rest = deque(letter for letter in self.owed)
            head = rest.popleft()
            while rest and rest[0] == "S":
                rest.popleft()
            if rest and rest[0] in "cf":
                rest.popleft()
                self._copying = False
            rest.appendleft(head)
            self.owed = rest
            return
        while self.owed and (self.owed[0] in "cf" or (self._skipping and self.owed[0] != "S")):
            self.owed.popleft()
        if self.owed and self.owed[0] == "S":
            self._skipping = False

    def received(self, message: Message) -> None:
        letter = message.letter
        if self._ended:
            raise Ungrammatical(f"{message} behind a FATAL")
        if letter == "A":
            if self._status != "I" and not self._answering:
                raise Ungrammatical(f"{message} in a transaction")
            self._notified = self._notified or self._answering
        elif letter == "E":
            self._error(message)
        elif letter not in "NS":
            self._answer(message)

    def _error(self, message: Message) -> None:
        if message.fields.get("V") in ("FATAL", "PANIC"):
            self._ended = True
            return
        if not self.owed:
            raise Ungrammatical(f"{message} that nothing caused")
        self._answering = True
        self._copying = False
        if self.owed[0] not in "QFS":
            self._skipping = True
        self._skip()

    def _answer(self, message: Message) -> None:
        letter = message.letter
        if not self.owed:
            raise Ungrammatical(f"{message} that nobody asked for")
        before, last = _ANSWERS[self.owed[0]]
        if letter not in before + last:
            raise Ungrammatical(f"{message} where {list(self.owed)} is owed")
        if self._notified and (letter != "Z" or message.status != "I"):
            raise Ungrammatical(f"{message} behind a notification")
        self._answering = True
        if letter == "G":
            self._copying = True
            self._skip()
        elif letter in last:
            self.owed.popleft()
            self._skip()
        if letter == "Z":
            self._status = message.status
            self._answering = self._notified = False
