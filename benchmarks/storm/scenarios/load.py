"""`load`: your own function, your own arrivals. A steady rate, or a trace of what really came.

python -m benchmarks.storm load --dsn mine=postgres://... --handler app.py:handler --rate 100
python -m benchmarks.storm load --dsn mine=postgres://... --trace arrivals.csv
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from benchmarks.storm import results
from benchmarks.storm.events import EVENTS, Event
from benchmarks.storm.model.arrivals import poisson, trace
from benchmarks.storm.model.function import Function
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Scenario,
    Underway,
    ledger_clean,
    none_failed,
)

RATE = 50.0  #: invocations a second
SECONDS = 30.0


class Load(Scenario):
    """See the module. `--handler` replaces the order that is placed otherwise."""

    name = "load"
    about = results.Scenario(
        "A steady load",
        "Synchronous invocations at a rate, or as a trace file has them, each at its time whatever becomes of"
        " those before.",
    )
    most = 900  #: an account keeps 100 of its 1,000 unreserved
    rate: float = RATE
    seconds: float = SECONDS
    trace: Path | None = None
    event: Callable[[int, float], Event] = staticmethod(EVENTS["order"])

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        self.environments = min(self.environments, self.most) if environments is None else environments

    def deployed(self) -> Sequence[Deployed]:
        return [Deployed(Function("load", memory=1769, timeout=30.0, reserved=self.reserved))]

    @property
    def reserved(self) -> int | None:
        """As many environments as were asked for, if so."""
        return self.environments if self.asked else None

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        seconds = min(self.seconds, 10.0) if self.quick else self.seconds
        moments = trace(self.trace) if self.trace else poisson(self.rate, seconds, chance)
        for number, moment in enumerate(moments):
            yield Arrival("load", moment, number, make=self.event)

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        return [none_failed(trial), ledger_clean(trial)]
