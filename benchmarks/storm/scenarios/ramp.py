"""`ramp`: 1,000 environments in 10 s, as fast as Lambda starts them; `spike`: all of them in one second.

The picture that brings people here: as many connections as environments. Whoever stands between must take
all of them in, on 20 servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.storm import results
from benchmarks.storm.model.arrivals import burst, poisson, ramp
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Scenario,
    Underway,
    at_least,
    ledger_clean,
    none_failed,
    servers_at_most,
)

PER_SECOND = 100  #: environments, Lambda's own rate for one function: +1,000 per 10 s
STEADY_RATE = 200.0  #: invocations a second on the warm environments
STEADY_SECONDS = 5.0
REST = 2.0  #: seconds between the two


class Ramp(Scenario):
    """See the module."""

    name = "ramp"
    about = results.Scenario(
        "Ramp to 1,000 environments in 10 s",
        "Every environment connects, places an order (a transaction of five statements), and stays busy with"
        " other work until all have come; then they are invoked again, warm.",
        "connect",
    )

    @property
    def seconds(self) -> float:
        """How long the ramp takes."""
        return self.environments / PER_SECOND

    def coming(self, chance: Random) -> Iterator[float]:
        """When each environment is wanted first."""
        return ramp(self.environments, self.seconds)

    def deployed(self) -> Sequence[Deployed]:
        return [Deployed(Function("order", memory=1769, timeout=60.0))]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        for number, moment in enumerate(self.coming(chance)):
            yield Arrival("order", moment, number)
        begin = self.seconds + REST + 1.0
        rate = min(STEADY_RATE, self.environments)
        seconds = 1.0 if self.tiny else STEADY_SECONDS
        for number, moment in enumerate(poisson(rate, seconds, chance), self.environments):
            yield Arrival("order", begin + moment, number)

    def work(self, invocation: Invocation) -> float:
        """Nobody is done before the last environment has come."""
        return max(self.seconds + REST - invocation.intended, 0.0)

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        peak = max((sample.environments for sample in trial.samples), default=0)
        return [
            none_failed(trial),
            ledger_clean(trial),
            servers_at_most(trial, 20),
            at_least("environments at the peak", peak, self.environments),
        ]


class Spike(Ramp):
    """All at once: what a queue that was held back, or a broadcast, does to an API."""

    name = "spike"
    about = results.Scenario(
        "1,000 environments at once",
        "As `ramp`, but all arrivals within one second.",
        "connect",
    )

    @property
    def seconds(self) -> float:
        return 1.0

    def coming(self, chance: Random) -> Iterator[float]:
        return burst(self.environments, self.seconds, chance)
