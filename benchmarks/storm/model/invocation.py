"""An invocation: one event for one function, over all its attempts, until its caller has heard the end of it.

Must not know environments, nor who retries it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from benchmarks.storm.model.function import Function

Kind = Literal["synchronous", "asynchronous", "poller"]

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
TIMED_OUT: Final = "timed out"
THROTTLED: Final = "throttled"
GATEWAY_TIMEOUT: Final = "gateway timeout"
DEAD_LETTERED: Final = "dead-lettered"
DROPPED: Final = "dropped"

OUTCOMES: dict[Kind, tuple[str, ...]] = {
    "synchronous": (SUCCEEDED, FAILED, TIMED_OUT, THROTTLED, GATEWAY_TIMEOUT),
    "asynchronous": (SUCCEEDED, DEAD_LETTERED, DROPPED),
    "poller": (SUCCEEDED, DEAD_LETTERED, DROPPED),
}
"""How an invocation of each kind can end. Failed and timed-out attempts of the latter two come again."""


@dataclass(slots=True, eq=False)
class Invocation:
    """One event under way. All times are Lambda time, in seconds.

    `id` is the same for all attempts (Lambda's request id); `attempt` counts them from 1. `intended` is when
    the client meant to send it, `accepted` when Lambda took it. `deadline` is the timeout wall of the
    attempt that runs, 0 before the first. `outcome` is one of OUTCOMES, "" while under way. `queue` is where
    a poller found it. `throttles` counts those since it last ran.
    """

    id: str
    function: Function
    event: object
    kind: Kind
    intended: float
    accepted: float
    attempt: int = 1
    deadline: float = 0.0
    outcome: str = ""
    queue: str = ""
    throttles: int = field(default=0, repr=False)

    def __repr__(self) -> str:
        state = self.outcome or f"attempt {self.attempt}"
        return f"<Invocation {self.id[:8]} {self.kind} {self.function.name}: {state}>"
