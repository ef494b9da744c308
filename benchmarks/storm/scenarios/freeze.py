"""`freeze`: what frozen environments cost, and what becomes of a transaction that freezes with them.

Thousands stand idle between two events: their connections are to cost next to nothing, and to work when they
thaw. Beside them some were careless: they were frozen in a transaction, whose server must come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import merge
from random import Random

from benchmarks.storm import results
from benchmarks.storm.endpoints import Limits
from benchmarks.storm.events import EVENTS
from benchmarks.storm.model.arrivals import ramp
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.results import UNKNOWN, Check, Trial
from benchmarks.storm.runner import Storm
from benchmarks.storm.scenarios.scenario import (
    LOOK_EVERY,
    Arrival,
    Deployed,
    Scenario,
    Underway,
    all_succeeded,
    at_least,
    at_most,
    ledger_clean,
    servers_at_most,
)

PER_FUNCTION = 1_000  #: environments
PER_SECOND = 100  #: of them for one function, Lambda's own rate
CARELESS = "careless"
FROZEN_IN_TRANSACTION = 20  #: of them
IDLE_TRANSACTION = 3.0  #: seconds, idle_transaction_timeout
GRACE = 1.0  #: on top of that
THAW = 8.0  #: seconds after the last has come
THAWED_PER_SECOND = 500  #: all are invoked again
KIB = 1024
READS = "reads"


class Freeze(Scenario):
    """See the module."""

    name = "freeze"
    about = results.Scenario(
        "5,000 environments freeze, 20 of them in a transaction",
        "5,000 clients stand idle, frozen, and are invoked again; 20 others were frozen in a transaction, and"
        " go on with it when they thaw, after idle_transaction_timeout.",
    )
    limits = Limits(idle_transaction=IDLE_TRANSACTION)
    account_limit = 10_000
    most = account_limit - FROZEN_IN_TRANSACTION
    idle_seconds = 3_600.0

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        wanted = environments or (400 if quick else 5_000)
        self.functions = -(-wanted // PER_FUNCTION)
        self.each = -(-wanted // self.functions)
        self.environments = self.functions * self.each
        self.seconds = self.each / PER_SECOND
        self.thaw = self.seconds + THAW
        self.thawing = self.environments / THAWED_PER_SECOND

    def deployed(self) -> Sequence[Deployed]:
        careless = Function(CARELESS, memory=1769, timeout=30.0)
        names = [f"read-{number}" for number in range(self.functions)]
        reads = [Deployed(Function(name, memory=1769, timeout=30.0), "read") for name in names]
        return [*reads, Deployed(careless, CARELESS)]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        streams = [self._reads(f"read-{number}") for number in range(self.functions)]
        careless = [
            Arrival(CARELESS, moment, number, make=EVENTS[CARELESS])
            for moment in (self.seconds, self.thaw + self.thawing)
            for number in range(FROZEN_IN_TRANSACTION)
        ]
        return merge(*streams, careless, key=lambda arrival: arrival.intended)

    def _reads(self, name: str) -> Iterator[Arrival]:
        for number, moment in enumerate(ramp(self.each, self.seconds)):
            yield Arrival(name, moment, number, make=EVENTS["read"])
        for number, moment in enumerate(ramp(self.each, self.thawing), self.each):
            yield Arrival(name, self.thaw + moment, number, make=EVENTS["read"])

    def work(self, invocation: Invocation) -> float:
        """Nobody is done before all have come, in both waves: so all of them are there, and all thaw."""
        if invocation.function.name == CARELESS:
            return 0.0
        end = self.seconds if invocation.intended < self.seconds else self.thaw + self.thawing
        return max(end - invocation.intended, 0.0)

    async def alongside(self, underway: Underway) -> None:
        found, database = underway.found, underway.database
        before = await database.memory()
        await underway.clock.sleep_until(self.seconds + 0.5)
        frozen = self.seconds  # when the careless have begun
        bound = frozen + IDLE_TRANSACTION + GRACE
        found["in transaction"] = await database.servers_in_transaction()
        while underway.clock.now() < bound and await database.servers_in_transaction() > 0:
            await asyncio.sleep(LOOK_EVERY)
        found["in transaction after"] = await database.servers_in_transaction()
        found["seconds"] = underway.clock.now() - frozen
        await underway.clock.sleep_until(self.thaw - 1.0)
        after = await database.memory()
        found["clients"] = self._standing(underway.storm)
        known = UNKNOWN not in (before, after)
        found["KiB"] = (after - before) / self.environments / KIB if known else UNKNOWN

    def _standing(self, storm: Storm) -> int:
        """Connections of those that were not careless."""
        runtimes = storm.runtimes()
        return sum(
            runtimes[environment.id].sessions()
            for environment in storm.environments()
            if environment.function.name != CARELESS and environment.id in runtimes
        )

    def group(self, invocation: Invocation) -> str:
        return CARELESS if invocation.function.name == CARELESS else READS

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        found = underway.found
        memory = at_most("memory per frozen client, KiB", round(found["KiB"], 2), 4)
        if self.tiny:  # a process asks for memory in larger pieces than so few clients need
            memory = replace(memory, bar=results.REPORTED, passed=True)
        return [
            memory,
            at_least("clients that stood", found["clients"], self.environments),
            all_succeeded("reads that failed", underway.ended[READS], 2 * self.environments),
            at_least("frozen in a transaction", found["in transaction"], FROZEN_IN_TRANSACTION),
            at_most("of their servers, not back in time", found["in transaction after"], 0),
            at_least("thawed, told 25P03", trial.errors.get("25P03", 0), FROZEN_IN_TRANSACTION),
            ledger_clean(trial),
            servers_at_most(trial, 20),
        ]
