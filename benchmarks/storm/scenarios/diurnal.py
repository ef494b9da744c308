"""`diurnal`: a morning of uploads to S3, from one an hour at night to a thousand a minute at noon.

Time passes faster, and of so many uploads one comes: what is left is the shape, environments that come as
people wake up, and go one after the other when it is quiet again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.storm import results
from benchmarks.storm.events import EVENTS
from benchmarks.storm.model.arrivals import NIGHT, NOON, diurnal
from benchmarks.storm.model.function import Function
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Scenario,
    Underway,
    kept,
    ledger_clean,
    servers_at_most,
)

HOUR = 3600.0
FIRST = 6.0  #: o'clock
HOURS = 12.0
THINNED = 4.0  #: one upload of so many: 4.2 a Lambda second at noon


class Diurnal(Scenario):
    """See the module."""

    name = "diurnal"
    about = results.Scenario(
        "A day of uploads to S3",
        "From six in the morning to six in the evening, faster than life, and of several uploads one: as many"
        " a second as the machine can be asked for. Asynchronous invocations, whose failures Lambda tries again.",
    )
    patience = 3 * HOUR

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        self.thinned = THINNED * (10 if quick else 1)

    @property
    def scale(self) -> float:  # type: ignore[override]
        """Twelve hours in 30 s or in 6 min."""
        return HOURS * HOUR / (30.0 if self.quick else 360.0)

    def deployed(self) -> Sequence[Deployed]:
        return [Deployed(Function("upload", memory=512, timeout=300.0), "upload")]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        moments = diurnal(
            HOURS * HOUR,
            chance,
            start=FIRST * HOUR,
            night=NIGHT / self.thinned,
            noon=NOON / self.thinned,
        )
        for number, moment in enumerate(moments):
            yield Arrival("upload", moment, number, "asynchronous", EVENTS["upload"])

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        lost = kept(trial.outcomes, "succeeded")
        return [
            Check("events not processed", str(lost), "0", lost == 0),
            ledger_clean(trial),
            servers_at_most(trial, 20),
        ]
