"""An execution environment: a microVM that serves one invocation at a time, and stands frozen in between.

A state, and the table of where one may go from there. Must not know limits, clocks or the other environments.
"""

from __future__ import annotations

from typing import Final

from benchmarks.storm.model.coldstart import ColdStart
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.model.timers import Timer

INIT: Final = "INIT"
INVOKE: Final = "INVOKE"
FROZEN: Final = "FROZEN"
DEAD: Final = "DEAD"

MOVES: dict[str, frozenset[str]] = {
    INIT: frozenset({INVOKE, FROZEN, DEAD}),  # for an invocation; provisioned; replaced by a deployment
    INVOKE: frozenset({FROZEN, DEAD}),
    FROZEN: frozenset({INVOKE, DEAD}),
    DEAD: frozenset(),
}

BUSY = frozenset({INIT, INVOKE})
"""What counts as concurrency (Lambda developer guide, Understanding Lambda function scaling)."""


class IllegalMove(Exception):
    """An environment was to go where MOVES does not lead: a fault of the model."""


class Environment:
    """One execution environment. `born` and `since`, when it came into its state, are Lambda time in
    seconds.

    `used` counts the invocations it has served. With `initialise` its runtime is gone or has never come up,
    and the module's code must be run inside its next invoke ("suppressed init": Lambda developer guide,
    Understanding the Lambda execution environment lifecycle). With `retired` it is shut down instead of
    frozen. `invocation` is the one it serves, or starts for.
    """

    __slots__ = (
        "born",
        "cold_start",
        "function",
        "id",
        "initialise",
        "invocation",
        "lifetime_timer",
        "provisioned",
        "retired",
        "since",
        "state",
        "state_timer",
        "used",
    )

    def __init__(
        self,
        number: int,
        function: Function,
        born: float,
        *,
        cold_start: ColdStart,
        provisioned: bool = False,
        invocation: Invocation | None = None,
    ) -> None:
        self.id = number
        self.function = function
        self.state: str = INIT
        self.born = born
        self.since = born
        self.used = 0
        self.cold_start = cold_start
        self.provisioned = provisioned
        self.invocation = invocation
        self.initialise = False
        self.retired = False
        #: What happens to it when it stays in its state too long, and when it has lived long enough.
        self.state_timer: Timer | None = None
        self.lifetime_timer: Timer | None = None

    def move(self, state: str, now: float) -> None:
        """Into another state; called by its fleet alone. Raises IllegalMove."""
        if state not in MOVES[self.state]:
            raise IllegalMove(f"{self!r} cannot go to {state}")
        self.state = state
        self.since = now

    def __repr__(self) -> str:
        words = [f"Environment {self.id} {self.function.name} {self.state}"]
        if self.provisioned:
            words.append("provisioned")
        if self.invocation is not None:
            words.append(f"for {self.invocation.id[:8]}")
        words.append(f"used {self.used}")
        words += [name for name in ("initialise", "retired") if getattr(self, name)]
        return f"<{', '.join(words)}>"
