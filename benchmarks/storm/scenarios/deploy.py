"""`deploy`: a new version of the code, and all environments are replaced at once, under load.

The old ones are gone without a goodbye, frozen or not, and the new ones connect in the same second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.storm import results
from benchmarks.storm.model.arrivals import burst, poisson
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Scenario,
    Underway,
    at_least,
    at_most,
    ledger_clean,
    none_failed,
    servers_at_most,
)

WARM = 4.0  #: seconds until all environments stand
SECONDS = 12.0  #: of load, and a deployment in the middle of it
RATE = 0.2  #: invocations a second for each environment
WORK = 1.0  #: seconds of other work of each


class Deploy(Scenario):
    """See the module."""

    name = "deploy"
    about = results.Scenario(
        "A deployment replaces all environments",
        "Under a steady load all environments are replaced at once: the old ones vanish without a goodbye,"
        " new ones connect in their place.",
        "connect",
    )

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        self.environments = environments or (100 if quick else 500)
        self.seconds = 3.0 if self.tiny else SECONDS

    def deployed(self) -> Sequence[Deployed]:
        return [Deployed(Function("order", memory=1769, timeout=30.0))]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        for number, moment in enumerate(burst(self.environments, 1.0, chance)):
            yield Arrival("order", moment, number)
        rate = self.environments * RATE
        for number, moment in enumerate(poisson(rate, self.seconds, chance), self.environments):
            yield Arrival("order", WARM + moment, number)

    def work(self, invocation: Invocation) -> float:
        """The first ones last until all have come; the others keep their environments busy for a while."""
        return max(WARM - 1.0 - invocation.intended, WORK)

    async def alongside(self, underway: Underway) -> None:
        clock, storm = underway.clock, underway.storm
        await clock.sleep_until(WARM + self.seconds / 2)
        old = {environment.id for environment in storm.environments()}
        storm.perform(storm.service.deploy("order", clock.now()))
        await clock.sleep_until(WARM + self.seconds + WORK)
        left = {environment.id for environment in storm.environments()} & old
        underway.found["replaced"] = len(old - left)
        underway.found["left"] = len(left)

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        return [
            none_failed(trial),
            ledger_clean(trial),
            servers_at_most(trial, 20),
            at_least("environments replaced", underway.found["replaced"], self.environments),
            at_most("old environments left", underway.found["left"], 0),
        ]
