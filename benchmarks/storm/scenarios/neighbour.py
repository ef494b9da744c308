"""`neighbour`: a queue is worked off beside an API that people wait for.

The poller invokes as fast as Lambda lets it, on the same database: how much of that do those feel who ask
once? First the API alone, then both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from math import isnan
from random import Random

from benchmarks.storm import results
from benchmarks.storm.events import EVENTS, Event
from benchmarks.storm.model.arrivals import poisson
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.model.poller import Poller
from benchmarks.storm.numbers import milliseconds
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Scenario,
    Underway,
    all_succeeded,
    ledger_clean,
    none_failed,
    servers_at_most,
)

COLD = 2.0  #: seconds in which the API's environments start: how long that takes is not the question here
ALONE = 8.0  #: seconds of the API alone behind that, then as many of both
RATE = 50.0  #: requests to the API a second
FLOOD = 300  #: messages a second, for as long


STARTING, API, BESIDE, WORKER = "api, starting", "api", "api beside the flood", "worker"


def upload_message(number: int, when: float) -> Event:
    """S3's event as it lies in a queue."""
    return EVENTS["upload"](number, when)


class Neighbour(Scenario):
    """See the module."""

    name = "neighbour"
    about = results.Scenario(
        "A queue is worked off beside an API",
        "An API is asked 50 times a second; then a queue of uploads is worked off beside it, by as many"
        " environments as Lambda's poller starts. How slow does the API become?",
    )

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        self.alone = ALONE / 4 if self.tiny else ALONE if quick else 2 * ALONE
        self.flood = COLD + self.alone  # when it begins

    def deployed(self) -> Sequence[Deployed]:
        return [
            Deployed(Function("api", memory=1769, timeout=29.0), "read"),
            Deployed(Function("worker", memory=512, timeout=60.0), "upload"),
        ]

    def pollers(self) -> Sequence[Poller]:
        return [Poller("worker", batch_size=10, visibility_timeout=360.0)]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        api = (
            Arrival("api", moment, number, make=EVENTS["read"])
            for number, moment in enumerate(poisson(RATE, self.flood + self.alone, chance))
        )
        flood = (
            Arrival("worker", self.flood + number / FLOOD, number, "poller", upload_message)
            for number in range(round(FLOOD * self.alone))
        )
        return merge(api, flood, key=lambda arrival: arrival.intended)

    def group(self, invocation: Invocation) -> str:
        if invocation.function.name != "api":
            return WORKER
        if invocation.intended < COLD:
            return STARTING
        return API if invocation.intended < self.flood else BESIDE

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        alone, beside = (underway.groups[name].percentile(99) for name in (API, BESIDE))
        return [
            none_failed(trial),
            all_succeeded("batches that failed", underway.ended[WORKER]),
            ledger_clean(trial),
            servers_at_most(trial, 20),
            Check("p99 of the API, alone", milliseconds(alone), results.REPORTED, not isnan(alone)),
            Check(
                "p99 of the API, beside the flood", milliseconds(beside), results.REPORTED, not isnan(beside)
            ),
        ]
