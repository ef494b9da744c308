"""`retry`: the database restarts in the storm, and Lambda sends again what has failed.

Asynchronous events are tried again after one and after two minutes, time-scaled here: the failures of the
outage come back as a second storm, and as a third.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.storm import results
from benchmarks.storm.events import EVENTS
from benchmarks.storm.model.arrivals import poisson
from benchmarks.storm.model.function import Function
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Scenario,
    Underway,
    ledger_clean,
    none_failed,
    servers_at_most,
)

SECONDS = 120.0  #: Lambda seconds of uploads; the outage is after a quarter of them


class Retry(Scenario):
    """See the module."""

    name = "retry"
    about = results.Scenario(
        "The database restarts, and retries pile up",
        "Uploads all the time; in the middle PostgreSQL restarts. Lambda tries failed events again after one"
        " and two minutes. What counts: none is lost, none is done by halves.",
    )
    scale = 6.0
    patience = 300.0
    restarts = True

    @property
    def seconds(self) -> float:
        """Of uploads."""
        return SECONDS / 4 if self.tiny else SECONDS

    def deployed(self) -> Sequence[Deployed]:
        return [Deployed(Function("upload", memory=512, timeout=60.0, destination=True), "upload")]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        rate = 10.0 if self.quick else 25.0
        for number, moment in enumerate(poisson(rate, self.seconds, chance)):
            yield Arrival("upload", moment, number, "asynchronous", EVENTS["upload"])

    async def alongside(self, underway: Underway) -> None:
        await underway.clock.sleep_until(self.seconds / 4)
        before = underway.clock.elapsed()
        await underway.database.restart()
        underway.found["outage"] = underway.clock.elapsed() - before

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        outage = underway.found.get("outage", 0.0)
        return [
            none_failed(trial, "events not processed"),
            ledger_clean(trial),
            servers_at_most(trial, 20),
            Check("the database was away, s", f"{outage:.2f}", results.REPORTED, outage > 0),
        ]
