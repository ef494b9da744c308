"""A password towards servers that may change: which one a login tries, and when its source is asked again.

Where it comes from is a `Source`, asked in a thread of its own, by all who wait at once. What was found is
used for as long as servers take it. A refusal has the source asked again, and the next password tried: while
a secret is rotated one of the two is right, and the one taken last may be so still. When all are refused,
nothing is tried for a while: neither the server nor the source is hammered. Must not know connections.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from poolproxy.auth.server_login import ServerRefusedLogin
from poolproxy.backend.aside import aside
from poolproxy.log import get_logger, repeated

_log = get_logger()

#: Seconds after which passwords that were all refused are tried again, and a source that failed is asked
#: again: each time in a row doubles them, up to the longest.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0

#: Connections that one login may take.
MOST_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What a source knows: passwords in the order in which to try them, one at least."""

    passwords: tuple[str, ...] = field(repr=False)
    fresh_for: float = math.inf  #: seconds; then the source is asked again, and nobody waits for that
    valid_for: float = math.inf  #: seconds; then they are worth nothing


class NoPassword(ServerRefusedLogin):
    """The source has no password: no server was asked. `message` may be told to clients; `detail` is for the
    log. Neither has anything secret."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__("28000", message)
        self.detail = detail


class Source(Protocol):
    """Where passwords come from. Its repr is for the log."""

    free: bool  #: it costs next to nothing, and is asked for each login
    refusals: frozenset[str]  #: SQLSTATEs by which a server says that a password is wrong

    def fetch(self, thorough: bool) -> Found:
        """What it knows; in a thread that may wait. `thorough`: servers refuse what it has said before.
        Raises NoPassword."""


@dataclass(slots=True)
class _Pause:
    """Of a password that was refused."""

    until: float = -math.inf
    seconds: float = FIRST_PAUSE  #: of the next one

    def begin(self, now: float) -> None:
        self.until = now + self.seconds
        self.seconds = min(2 * self.seconds, LONGEST_PAUSE)


class Trial:
    """The passwords of one login (route.PasswordTrial)."""

    __slots__ = ("_began", "_passwords", "_tried", "password")

    def __init__(self, passwords: Passwords, password: str, began: float) -> None:
        self.password = password
        self._passwords = passwords
        self._began = began
        self._tried: set[str] = set()

    async def another(self, sqlstate: str, message: str) -> bool:
        if sqlstate not in self._passwords.source.refusals:
            return False
        self._passwords.refused(sqlstate, message)
        self._tried.add(self.password)
        following = await self._passwords.after(self._tried, self.password, self._began)
        if following is None or len(self._tried) == MOST_TRIES:
            return False
        self.password = following
        return True

    def accepted(self) -> None:
        self._passwords.accepted(self.password)


class Passwords:
    """See the module: a route.PasswordProvider."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self.source = source
        self._clock = clock
        self._found: Found | None = None
        self._found_at = -math.inf  #: when the source was asked for it
        self._thorough = False  #: likewise
        self._taken: str | None = None  #: by a server, last
        self._refused: dict[str, _Pause] = {}  #: since they were last taken
        self._refusal = ("28P01", "the password is refused")  #: the last one
        self._asking: asyncio.Future[Found] | None = None
        self._asking_thoroughly = False
        self._problem = NoPassword("not asked for yet")
        self._problems = 0  #: in a row
        self._ask_after = 0.0

    def __repr__(self) -> str:
        state = "asking" if self._asking else f"{self._problems} problems" if self._problems else "known"
        return f"<Passwords of {self.source!r}: {state if self._found or self._problems else 'unknown'}>"

    def learn(self, proof: object) -> None:
        """The source knows better."""

    async def trial(self) -> Trial:
        """See route.PasswordProvider. Raises NoPassword; ServerRefusedLogin, where all that is known has just
        been refused."""
        began = self._clock()
        if self.source.free or not self._valid():
            await self._ask(thorough=False)
            if not self._valid():
                raise NoPassword(self._problem.message)
        elif self._hopeless():
            # Not before it is time for another try, unless somebody who was refused is asking already.
            if self._asking is not None or self._first() is not None:
                await self._ask(thorough=True)
        elif began >= self._found_at + self._latest().fresh_for and self._asking is None:
            self._begin(thorough=False)
        password = self._first()
        if password is None:
            sqlstate, message = self._refusal
            raise ServerRefusedLogin(sqlstate, f"{message}; not tried again yet")
        return Trial(self, password, began)

    async def after(self, tried: set[str], last: str, began: float) -> str | None:
        """The next password of a login that began then and was refused with these, with `last` just now;
        None: there is none that helps."""
        now = self._clock()
        pause = self._refused.setdefault(last, _Pause())
        if now >= pause.until:  # else by another login, at the same time
            pause.begin(now)
            if last == self._taken:
                # The server has another one than before: what it refused then may be it.
                self._refused = {last: pause}
        if not (self._thorough and self._found_at >= began):
            await self._ask(thorough=True)
        # Also one that was refused earlier: whoever had another one taken since has found a change.
        return next((each for each in self._known() if each not in tried), None)

    def refused(self, sqlstate: str, message: str) -> None:
        """What a server says of a password."""
        self._refusal = sqlstate, message

    def accepted(self, password: str) -> None:
        """A server has taken it."""
        if self._taken not in (None, password) and self._keeps():
            _log.info("servers take another password", source=repr(self.source))
        self._taken = password
        self._refused.pop(password, None)

    def _known(self) -> tuple[str, ...]:
        """Best first. That which was taken last comes first while its source names it, and else last: a file
        may be ahead of the server."""
        known, taken = self._latest().passwords, self._taken
        if taken in known:
            known = (taken, *known)
        elif taken is not None and self._keeps():
            known = (*known, taken)
        return tuple(dict.fromkeys(known))

    def _first(self) -> str | None:
        """The best that may be tried now."""
        now = self._clock()
        for password in self._known():
            pause = self._refused.get(password)
            if pause is None or now >= pause.until:
                return password
        return None

    def _hopeless(self) -> bool:
        """Whether all that is known was refused."""
        return all(password in self._refused for password in self._known())

    # The source.

    def _latest(self) -> Found:
        assert self._found is not None, "nothing was found yet"
        return self._found

    def _valid(self) -> bool:
        """Whether something is known that is worth trying."""
        return self._found is not None and self._clock() < self._found_at + self._found.valid_for

    def _keeps(self) -> bool:
        """Whether what was known earlier may still be right."""
        return math.isinf(self._latest().valid_for)

    async def _ask(self, thorough: bool) -> None:
        """Ask the source, or wait with those who do; not if it has failed just now."""
        while True:
            if self._asking is None:
                if self._clock() < self._ask_after:
                    return
                self._begin(thorough)
            asking, enough = self._asking, self._asking_thoroughly or not thorough
            assert asking is not None
            await asyncio.wait([asking])  # whoever is tired of waiting does not end it for others
            if enough:
                return

    def _begin(self, thorough: bool) -> None:
        if self._clock() < self._ask_after:
            return
        self._asking_thoroughly = thorough
        self._asking = aside(partial(self.source.fetch, thorough))
        self._asking.add_done_callback(partial(self._answered, self._clock()))

    def _answered(self, asked_at: float, answer: asyncio.Future[Found]) -> None:
        self._asking = None
        problem = answer.exception() if not answer.cancelled() else asyncio.CancelledError()
        if problem is not None:
            self._failed(problem)
            return
        self._found, self._found_at = answer.result(), asked_at
        self._thorough = self._asking_thoroughly
        self._problems, self._ask_after = 0, 0.0
        known = {*self._found.passwords, self._taken}
        self._refused = {each: pause for each, pause in self._refused.items() if each in known}

    def _failed(self, problem: BaseException) -> None:
        if not isinstance(problem, NoPassword):
            # Of a library, or a mistake of ours: its text may hold anything.
            problem = NoPassword(f"it could not be had ({type(problem).__name__})")
        self._problem = problem
        if not self.source.free:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._problems, 10))
            self._ask_after = self._clock() + pause
        self._problems += 1
        effect = "what was known before is used" if self._valid() else "no new servers"
        repeated(
            _log, ("password", self), "password not obtained", source=repr(self.source),
            reason=problem.message, detail=problem.detail, effect=effect,
        )  # fmt: skip
