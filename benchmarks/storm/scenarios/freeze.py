"""`freeze`: what frozen environments cost, and what becomes of a transaction that freezes with them.

Thousands stand idle between two events: their connections are to cost next to nothing, and to work when they
thaw. Beside them some were careless: they were frozen in a transaction, whose server must come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from heapq import merge
from random import Random

from benchmarks.storm import results
from benchmarks.storm.endpoints import Limits
from benchmarks.storm.events import EVENTS
from benchmarks.storm.model.arrivals import ramp
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.results import UNKNOWN, Check, Trial
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Scenario,
    Underway,
    at_most,
    kept,
    ledger_clean,
    servers_at_most,
)

PER_FUNCTION = 1_000  #: environments
PER_SECOND = 100  #: of them for one function, Lambda's own rate
CARELESS = 20
IDLE_TRANSACTION = 3.0  #: seconds, idle_transaction_timeout
GRACE = 1.0  #: on top of that
LOOK_EVERY = 0.1
THAW = 8.0  #: seconds after the last has come
THAWING = 10.0  #: seconds in which all are invoked again
KIB = 1024


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
    idle_seconds = 3_600.0

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments or (400 if quick else 5_000))
        self.functions = -(-self.environments // PER_FUNCTION)
        self.each = self.environments // self.functions
        self.seconds = self.each / PER_SECOND
        self.thaw = self.seconds + THAW

    def deployed(self) -> Sequence[Deployed]:
        careless = Function("careless", memory=1769, timeout=30.0)
        names = [f"read-{number}" for number in range(self.functions)]
        reads = [Deployed(Function(name, memory=1769, timeout=30.0), "read") for name in names]
        return [*reads, Deployed(careless, "careless")]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        streams = [self._reads(f"read-{number}") for number in range(self.functions)]
        careless = [
            Arrival("careless", moment, number, make=EVENTS["careless"])
            for moment in (self.seconds, self.thaw + THAWING)
            for number in range(CARELESS)
        ]
        return merge(*streams, careless, key=lambda arrival: arrival.intended)

    def _reads(self, name: str) -> Iterator[Arrival]:
        for number, moment in enumerate(ramp(self.each, self.seconds)):
            yield Arrival(name, moment, number, make=EVENTS["read"])
        for number, moment in enumerate(ramp(self.each, THAWING), self.each):
            yield Arrival(name, self.thaw + moment, number, make=EVENTS["read"])

    def work(self, invocation: Invocation) -> float:
        """Nobody is done before all have come, in both waves: so all of them are there, and all thaw."""
        if invocation.function.name == "careless":
            return 0.0
        end = self.seconds if invocation.intended < self.seconds else self.thaw + THAWING
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
        found["clients"] = underway.storm.clients()
        found["bytes"] = (after - before) / self.environments if UNKNOWN not in (before, after) else 0.0

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        found = underway.found
        refused = trial.errors.get("25P03", 0)
        return [
            at_most("memory per frozen client, KiB", round(found["bytes"] / KIB, 2), 4),
            Check(
                "clients that stood",
                f"{found['clients']:g}",
                f"{self.environments}",
                found["clients"] >= self.environments,
            ),
            at_most(
                "invocations that failed, of the thawed", kept(trial.outcomes, "succeeded") - CARELESS, 0
            ),
            Check(
                "frozen in a transaction",
                f"{found['in transaction']:g}",
                f"{CARELESS}",
                found["in transaction"] >= CARELESS,
            ),
            at_most("of their servers, not back in time", found["in transaction after"], 0),
            Check("thawed, told 25P03", f"{refused}", f"{CARELESS}", refused >= CARELESS),
            ledger_clean(trial),
            servers_at_most(trial, 20),
        ]
