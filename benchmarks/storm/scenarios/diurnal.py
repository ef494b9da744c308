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
    ledger_clean,
    none_failed,
    servers_at_most,
)

HOUR = 3600.0
THINNED = 10.0  #: one upload of so many comes: 200 a second of the machine at noon


class Diurnal(Scenario):
    """See the module."""

    name = "diurnal"
    about = results.Scenario(
        "A morning of uploads to S3",
        "From one upload an hour at night to a thousand a minute at noon, 120 times faster than life; of ten"
        " uploads one comes, as many as one machine can ask for. Asynchronous: Lambda retries what fails.",
    )
    scale = 120.0
    patience = 3 * HOUR

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        # o'clock; 3 s, 30 s or 4 min of the machine
        self.first, self.hours = (11.9, 0.1) if self.tiny else (11.0, 1.0) if quick else (6.0, 8.0)
        self.thinned = THINNED * (4 if self.tiny else 1)

    def deployed(self) -> Sequence[Deployed]:
        return [Deployed(Function("upload", memory=512, timeout=300.0), "upload")]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        moments = diurnal(
            self.hours * HOUR,
            chance,
            start=self.first * HOUR,
            night=NIGHT / self.thinned,
            noon=NOON / self.thinned,
        )
        for number, moment in enumerate(moments):
            yield Arrival("upload", moment, number, "asynchronous", EVENTS["upload"])

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        return [
            none_failed(trial, "events not processed"),
            ledger_clean(trial),
            servers_at_most(trial, 20),
        ]
