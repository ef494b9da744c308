"""Who sends invocations and hears of them: what every kind of caller answers, and the synchronous kind.

Must not know environments: an attempt was throttled, or it has ended, and what now?
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from benchmarks.storm.model.actions import Action
from benchmarks.storm.model.invocation import GATEWAY_TIMEOUT, THROTTLED, Invocation
from benchmarks.storm.model.register import Register
from benchmarks.storm.model.timers import Timer, Timers

GATEWAY_SECONDS = 29.0
"""After these API Gateway's REST APIs answer 504 (API Gateway developer guide, quotas; HTTP APIs: 30)."""

Attempt = Callable[[Invocation, float], list[Action]]
"""Runs an invocation now; what comes of it is told its caller: `throttled`, or `ended` later."""


class Caller(Protocol):
    """One way of invoking functions."""

    def throttled(self, invocation: Invocation, now: float) -> list[Action]:
        """There was no room to run it."""

    def ended(self, invocation: Invocation, outcome: str, now: float) -> list[Action]:
        """An attempt is over: succeeded, failed or timed out."""


class Gateway:
    """Synchronous: the client waits behind an API gateway, hears of throttles and errors at once, and Lambda
    retries nothing (Lambda developer guide, Understanding retry behavior in Lambda). When the gateway gives
    up, the invocation runs on, for nobody."""

    def __init__(self, register: Register, timers: Timers[Action], attempt: Attempt, seconds: float) -> None:
        self._register = register
        self._timers = timers
        self._attempt = attempt
        self._seconds = seconds
        self._waiting: dict[Invocation, Timer | None] = {}

    def send(self, invocation: Invocation, now: float) -> list[Action]:
        def give_up(_: float) -> list[Action]:
            return self._answer(invocation, GATEWAY_TIMEOUT)

        patient = math.isinf(self._seconds)
        self._waiting[invocation] = None if patient else self._timers.set(now + self._seconds, give_up)
        return self._attempt(invocation, now)

    def throttled(self, invocation: Invocation, now: float) -> list[Action]:
        return self._answer(invocation, THROTTLED)

    def ended(self, invocation: Invocation, outcome: str, now: float) -> list[Action]:
        return self._answer(invocation, outcome) if invocation in self._waiting else []

    def _answer(self, invocation: Invocation, outcome: str) -> list[Action]:
        self._timers.cancel(self._waiting.pop(invocation))
        return [self._register.settle(invocation, outcome)]
