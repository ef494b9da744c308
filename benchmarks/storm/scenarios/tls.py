"""`tls`: the ramp over TLS, beside an API that people wait for.

Every environment that starts has a handshake and a SCRAM login made with it. What that costs must not be paid
by those who are connected already: first the API alone, then beside the ramp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from math import isnan
from random import Random

from benchmarks.storm import results
from benchmarks.storm.events import EVENTS
from benchmarks.storm.model.arrivals import poisson
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.numbers import milliseconds
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.scenarios.ramp import REST, Ramp
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Underway,
    all_succeeded,
    at_least,
    ledger_clean,
    none_failed,
    servers_at_most,
)

COLD = 2.0  #: seconds in which the API's environments start
ALONE = 8.0  #: seconds of the API alone behind that
RATE = 50.0  #: requests to the API a second
STEADY = 20  #: environments of the API, which stand before the ramp: none of its own starts meanwhile
LONGEST = 100.0  #: ms, p99 of the API beside the ramp: what people take for at once

STARTING, ALONE_GROUP, BESIDE, RAMP = "api, starting", "api", "api beside the ramp", "ramp"


class Tls(Ramp):
    """See the module."""

    name = "tls"
    about = results.Scenario(
        "Ramp to 1,000 environments over TLS, beside an API",
        "An API with 20 warm environments is asked 50 times a second; then 1,000 environments start in 10 s,"
        " each with a TLS handshake and a SCRAM login, and place an order. Those who are connected already"
        " must not feel it.",
        "connect",
    )
    encrypted = True
    account_limit = 1_200

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        self.alone = ALONE / 8 if self.tiny else ALONE / 2 if quick else ALONE
        self.begin = COLD + self.alone  # of the ramp
        self.end = self.begin + self.seconds + REST

    def deployed(self) -> Sequence[Deployed]:
        return [
            Deployed(Function("api", memory=1769, timeout=29.0, provisioned=STEADY), "read"),
            *super().deployed(),
        ]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        api = (
            Arrival("api", moment, number, make=EVENTS["read"])
            for number, moment in enumerate(poisson(RATE, self.end, chance))
        )
        ramp = (
            Arrival("order", self.begin + moment, number) for number, moment in enumerate(self.coming(chance))
        )
        return merge(api, ramp, key=lambda arrival: arrival.intended)

    def work(self, invocation: Invocation) -> float:
        """No environment of the ramp is done before the last one has come."""
        return max(self.end - invocation.intended, 0.0) if invocation.function.name == "order" else 0.0

    def group(self, invocation: Invocation) -> str:
        if invocation.function.name != "api":
            return RAMP
        if invocation.intended < COLD:
            return STARTING
        return ALONE_GROUP if invocation.intended < self.begin else BESIDE

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        peak = max((sample.environments for sample in trial.samples), default=0)
        alone, beside = (underway.groups[name].percentile(99) for name in (ALONE_GROUP, BESIDE))
        return [
            none_failed(trial),
            all_succeeded("orders that failed", underway.ended[RAMP], self.environments),
            ledger_clean(trial),
            servers_at_most(trial, 20),
            at_least("environments at the peak", peak, self.environments + STEADY),
            Check("p99 of the API, alone", milliseconds(alone), results.REPORTED, not isnan(alone)),
            Check(
                "p99 of the API, beside the ramp",
                milliseconds(beside),
                f"at most {milliseconds(LONGEST)}",
                beside <= LONGEST,
            ),
        ]
