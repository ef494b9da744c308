"""Secrets that PostgreSQL is asked for: what its answer means, and for how long it is believed.

A name that is found and one that is not are kept alike, or the time of an answer would tell which is which:
for the same time, and both only for a moment longer where somebody has failed to log in by it. No I/O, and
time is an argument: `now` is a monotonic clock, `wall` the time of day, which VALID UNTIL is about.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from poolproxy.auth.credentials import Credentials, UserSecret
from poolproxy.protocol.scram import DEFAULT_ITERATIONS, ScramSecret

#: Names kept: those that were found, and those that were not, of which strangers may send any number.
MOST_FOUND: Final = 10_000
MOST_UNKNOWN: Final = 1_000

#: Seconds for which an answer is kept that somebody has failed to log in by: the name may be new, the
#: password another one, and guessing must not cost PostgreSQL a question each.
DOUBT: Final = 5.0

Outcome = Literal["found", "unknown", "expired"]

#: A row of auth_query: name, password, and valid_until where there is a third column.
Row = Sequence[object]


class OddAnswer(Exception):
    """The row is not one of a user. Says how, and nothing of what is in it."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What PostgreSQL said of one name. `secret` is a mock where it knows none."""

    secret: UserSecret
    found: bool
    valid_until: float = math.inf  #: wall clock

    def outcome(self, wall: float) -> Outcome:
        """What it comes to at this time of day."""
        if not self.found:
            return "unknown"
        return "expired" if self.valid_until < wall else "found"

    def secret_at(self, wall: float) -> UserSecret:
        """What has to be proved at this time of day. Once expired the same keys, which are of no use any
        more: another salt would tell that something has changed."""
        if self.outcome(wall) != "expired":
            return self.secret
        secret = self.secret
        return UserSecret(secret.scram, secret.md5, known=False, scram_only=secret.scram_only)


class Mocks:
    """Secrets for names that are not found, like those that PostgreSQL itself makes up: of the kind and with
    the iterations that it stores new passwords with."""

    def __init__(self, process_key: bytes) -> None:
        self._nobody = Credentials({}, process_key)
        self._scram_only = True
        self._iterations = DEFAULT_ITERATIONS
        self._keys = os.urandom(32), os.urandom(32)

    def learn(self, password_encryption: str, iterations: int) -> None:
        """What the settings of PostgreSQL say."""
        self._scram_only = password_encryption == "scram-sha-256"
        self._iterations = iterations

    def answer(self, user: str) -> Answer:
        """The salt of a name is always the same."""
        mock = self._nobody.lookup(user)
        scram = mock.scram
        if self._iterations != DEFAULT_ITERATIONS:
            scram = ScramSecret(self._iterations, scram.salt, *self._keys)
        return Answer(UserSecret(scram, mock.md5, known=False, scram_only=self._scram_only), found=False)


def password_of(user: str, rows: Sequence[Row]) -> str | None:
    """The password, or what is stored of it; None where there is none. Raises OddAnswer."""
    if not rows or (len(rows) == 1 and rows[0][0] is None):
        return None
    if len(rows) > 1:
        raise OddAnswer("more than one row")
    name, password = rows[0][0], rows[0][1]
    # What md5 stores is of one name; and a query that finds whom nobody has asked for is a mistake.
    if name != user:
        raise OddAnswer("the first column is not the name that was asked for")
    if password is not None and not isinstance(password, str):
        raise OddAnswer("the second column is not text")
    return password or None


def time_of(valid_until: object) -> float:
    """The end of a password's validity, by the wall clock; inf where there is none."""
    if valid_until is None:
        return math.inf
    if not isinstance(valid_until, datetime) or valid_until.tzinfo is None:
        raise OddAnswer("the third column is not a timestamp with time zone")
    return valid_until.timestamp()


@dataclass(slots=True, repr=False)
class _Kept:
    answer: Answer
    asked: float
    until: float


class Lookups:
    """What has been answered in the last `ttl` seconds."""

    def __init__(self, ttl: float, most_found: int = MOST_FOUND, most_unknown: int = MOST_UNKNOWN) -> None:
        self._ttl = ttl
        self._most = {True: most_found, False: most_unknown}
        #: By whether the name was found; the one that was asked for first comes first.
        self._kept: dict[bool, OrderedDict[str, _Kept]] = {True: OrderedDict(), False: OrderedDict()}

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def get(self, user: str, now: float) -> Answer | None:
        """What is believed of this name; None where PostgreSQL has to be asked."""
        kept = self._find(user)
        if kept is None:
            return None
        if now >= kept.until:
            self._forget(user)
            return None
        return kept.answer

    def put(self, user: str, answer: Answer, asked: float) -> None:
        """Believe this from the time on at which it was asked for."""
        self._forget(user)
        if self._ttl > 0:
            those = self._kept[answer.found]
            those[user] = _Kept(answer, asked, asked + self._ttl)
            if len(those) > self._most[answer.found]:
                those.popitem(last=False)

    def doubt(self, user: str) -> None:
        """Somebody has failed to log in as this one."""
        kept = self._find(user)
        if kept is not None:
            kept.until = min(kept.until, kept.asked + DOUBT)

    def purge(self, now: float) -> None:
        """Forget what is too old: nobody may ask for it again, and secrets need not lie about."""
        for those in self._kept.values():
            while those and now >= next(iter(those.values())).asked + self._ttl:
                those.popitem(last=False)

    def _find(self, user: str) -> _Kept | None:
        return self._kept[True].get(user) or self._kept[False].get(user)

    def _forget(self, user: str) -> None:
        for those in self._kept.values():
            those.pop(user, None)
