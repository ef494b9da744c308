"""Asynchronous invocations: Lambda's queue of events, which retries them until they succeed or are given up.

Numbers: Lambda developer guide, How Lambda handles errors and retries with asynchronous invocation. Must not
know environments.
"""

from __future__ import annotations

from benchmarks.storm.model.actions import Action
from benchmarks.storm.model.callers import Attempt
from benchmarks.storm.model.invocation import DEAD_LETTERED, DROPPED, SUCCEEDED, Invocation
from benchmarks.storm.model.register import Register
from benchmarks.storm.model.timers import Timers

ERROR_WAITS = (60.0, 120.0)
"""Seconds after a first and a second attempt that failed or timed out."""

FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 300.0
"""Seconds after a first throttle, and at most; in between they double (AWS says "exponentially")."""


def backoff(throttles: int) -> float:
    """Seconds to wait after so many throttles in a row, 1 or more."""
    # The exponent has an end, too: an event is throttled for six hours.
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(throttles - 1, 16))


class EventQueue:
    """All asynchronous events under way. An event is dispatched as soon as it is there: that Lambda slows
    down when the queue is long is not modelled."""

    def __init__(self, register: Register, timers: Timers[Action], attempt: Attempt) -> None:
        self._register = register
        self._timers = timers
        self._attempt = attempt

    def send(self, invocation: Invocation, now: float) -> list[Action]:
        # "Without any retries" (Lambda developer guide, Asynchronous invocation).
        if invocation.function.reserved == 0:
            return self._give_up(invocation)
        return self._attempt(invocation, now)

    def throttled(self, invocation: Invocation, now: float) -> list[Action]:
        invocation.throttles += 1
        return self._wait(invocation, now, backoff(invocation.throttles))

    def ended(self, invocation: Invocation, outcome: str, now: float) -> list[Action]:
        invocation.throttles = 0
        if outcome == SUCCEEDED:
            return [self._register.settle(invocation, SUCCEEDED)]
        if invocation.attempt > invocation.function.retries:
            return self._give_up(invocation)
        wait = ERROR_WAITS[invocation.attempt - 1]
        invocation.attempt += 1
        return self._wait(invocation, now, wait)

    def _wait(self, invocation: Invocation, now: float, seconds: float) -> list[Action]:
        """For the next attempt, or the end of its age, whatever is first."""
        expires = invocation.accepted + invocation.function.max_event_age

        def go_on(now: float) -> list[Action]:
            return self._give_up(invocation) if now >= expires else self._attempt(invocation, now)

        if now >= expires:
            return self._give_up(invocation)
        self._timers.set(min(now + seconds, expires), go_on)
        return []

    def _give_up(self, invocation: Invocation) -> list[Action]:
        outcome = DEAD_LETTERED if invocation.function.destination else DROPPED
        return [self._register.settle(invocation, outcome)]
