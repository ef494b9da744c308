"""`kill`: the timeout wall, memory that is full, a node that dies: environments end in mid-transaction.

200 of them on 20 servers: 20 hold a transaction and wait for somebody else in it, the others wait for a
server. All are killed at once. `vanish` is the same where nobody hears of it: the flows are lost, without a
FIN, and only silence tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar

from benchmarks.storm import results
from benchmarks.storm.endpoints import Limits
from benchmarks.storm.events import slow_order
from benchmarks.storm.model.arrivals import burst
from benchmarks.storm.model.environment import INVOKE
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.runtime.forks import MOST
from benchmarks.storm.scenarios.scenario import (
    Arrival,
    Deployed,
    Isolation,
    Scenario,
    Underway,
    all_succeeded,
    at_least,
    at_most,
    ledger_clean,
    none_left,
    servers_at_most,
    until_none,
)

CLIENTS = 200
PAUSE = 60.0  #: seconds that a transaction waits for somebody else: longer than the trial takes
KILLED_AT = 5.0
AFTERWARDS = 3.0  #: seconds until new ones come
FRESH = 100  #: invocations then
FRESH_RATE = 50.0  #: per second
SERVERS = 20
BEFORE, AFTER = "killed", "afterwards"


class Kill(Scenario):
    """See the module."""

    name = "kill"
    about = results.Scenario(
        "All clients are killed in mid-transaction",
        "200 environments on 20 servers, 20 in a transaction and the others waiting; all are killed at once"
        " (SIGKILL). A second later nothing may be left of them, and new ones are served.",
        "connect",
    )
    most = MOST
    isolation: ClassVar[Isolation] = "process"
    bound: ClassVar[float] = 1.0  #: seconds until nothing may be left
    patience = 20.0

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        self.environments = environments or (60 if quick else CLIENTS)
        self.fresh = 20 if self.tiny else FRESH
        self.busy = min(self.environments, SERVERS)

    def deployed(self) -> Sequence[Deployed]:
        return [Deployed(Function("order", memory=1769, timeout=900.0))]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        for number, moment in enumerate(burst(self.environments, 1.0, chance)):
            yield Arrival("order", moment, number, make=slow_order(PAUSE))
        begin = KILLED_AT + self.bound + (1.0 if self.tiny else AFTERWARDS)
        for number, moment in enumerate(
            burst(self.fresh, self.fresh / FRESH_RATE, chance), self.environments
        ):
            yield Arrival("order", begin + moment, number)

    def group(self, invocation: Invocation) -> str:
        return BEFORE if invocation.intended < KILLED_AT else AFTER

    async def alongside(self, underway: Underway) -> None:
        await underway.clock.sleep_until(KILLED_AT)
        found, database = underway.found, underway.database
        found["in transaction before"] = await database.servers_in_transaction()
        found["waiting before"] = await database.waiting()
        killed = underway.clock.elapsed()
        await self.end(underway)
        counts = {"in transaction after": database.servers_in_transaction, "waiting after": database.waiting}
        await until_none(underway, counts, killed, self.bound)

    async def end(self, underway: Underway) -> None:
        """Of all environments that are there."""
        environments = underway.storm.environments()
        underway.found["killed"] = sum(environment.state == INVOKE for environment in environments)
        for environment in environments:
            underway.storm.crash(environment)

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        found = underway.found
        return [
            at_least("environments killed while they served", found["killed"], self.environments),
            at_least("servers in a transaction before", found["in transaction before"], self.busy),
            at_most("servers in a transaction after", found["in transaction after"], 0),
            at_most("clients waiting after", found["waiting after"], 0),
            none_left("gone after", underway, ("in transaction after", "waiting after"), self.bound),
            all_succeeded("invocations that failed afterwards", underway.ended[AFTER], self.fresh),
            ledger_clean(trial),
            servers_at_most(trial, 20),
        ]


class Vanish(Kill):
    """See the module."""

    name = "vanish"
    about = results.Scenario(
        "All clients vanish without a word",
        "As `kill`, but the link is cut first: no FIN arrives, and what is sent to them is lost. After the"
        " time of keepalive and TCP user timeout nothing may be left of them.",
        "connect",
    )
    apart = True
    limits = Limits(keepalive_idle=2, keepalive_interval=1, keepalive_count=2, user_timeout=4)
    #: Keepalive finds them; whoever waited and was given a server meanwhile, only the user timeout. And the
    #: second that `kill` has.
    bound = (2 + 1 * 2) + 4 + 1.0

    async def end(self, underway: Underway) -> None:
        assert underway.link is not None
        await asyncio.to_thread(underway.link.cut)
        await super().end(underway)
        underway.found["cut"] = 1.0

    async def alongside(self, underway: Underway) -> None:
        await super().alongside(underway)
        assert underway.link is not None
        await asyncio.to_thread(underway.link.mend)
