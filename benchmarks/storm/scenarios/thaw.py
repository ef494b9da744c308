"""`thaw`: environments stand frozen for so long that the network forgets their flows, and are invoked again.

NAT gateways, load balancers and VPC paths forget a flow after 350 s of silence, and a frozen environment is
silent: no timer runs in it. Here the link is cut for so long, and neither side is told. Some environments
froze in a transaction, and hold every server that there is. Then the link is mended and all are thawed at
once: what they send comes to a host that has forgotten their connections, whose kernel answers by RST.

What must bring the servers back is keepalive, and it alone: idle_transaction_timeout, which `freeze` is
about, is off. A client is given up 4 s after the endpoint has last heard of it (probes after 2 and 3 s, given
up with the third; tcp_user_timeout is 4 s as well), and a second later nothing may be left of any.

Three kinds of function show what becomes of people's own: `order` sends what it wants to send, is told that
its connection is lost, raises, and connects anew when it is next invoked; `careful` connects anew where BEGIN
finds its connection lost, and succeeds; `careless` froze in its transaction, and its COMMIT must fail.

Two clocks: arrivals, timeouts and the 350 s are Lambda's, 35 of which pass in a second of the machine; what
the endpoint is told and how long it takes are the machine's. No gateway stands before the functions: its 29 s
would be less than one of the machine's.

PostgreSQL by itself asks for a sign of life after two hours: it has noticed nothing, and its sessions go on
when the link is there again, which no NAT gateway would let them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar

from benchmarks.storm import results
from benchmarks.storm.endpoints import Limits
from benchmarks.storm.events import EVENTS
from benchmarks.storm.model.arrivals import burst
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import FAILED, TIMED_OUT, Invocation
from benchmarks.storm.results import UNKNOWN, Check, Trial
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

ORDER, CAREFUL, CARELESS = "order", "careful", "careless"
FROZEN_IN_TRANSACTION = 20  #: of the environments: as many as there are servers
FLOW = 350.0  #: Lambda seconds of silence until a flow is forgotten
AT_ONCE = 1.0  #: second that nobody may have waited longer for an error: the timeout wall is after 10
SLACK = 0.5  #: seconds
LEFT = ("in transaction after", "clients after")
FROZEN, AGAIN = "frozen", "again"
THAWED = {name: f"{name}, thawed" for name in (ORDER, CAREFUL, CARELESS)}


class Thaw(Scenario):
    """See the module. Its moments are Lambda time."""

    name = "thaw"
    about = results.Scenario(
        "All flows are forgotten while the environments are frozen",
        "200 environments freeze, 20 of them in a transaction on all 20 servers; the link is cut for 350 s"
        " (10 s of the machine). Then all thaw at once, and send on connections that nobody knows any more."
        " Each must hear so at once, the servers must have come back, and the next invocation must succeed.",
        "connect",
    )
    scale = 35.0
    limits = Limits(keepalive_idle=2, keepalive_interval=1, keepalive_count=2, user_timeout=4)
    bound: ClassVar[float] = (2 + 1 * 2) + 1.0  #: seconds of the machine until nothing may be left
    isolation: ClassVar[Isolation] = "process"
    apart = True
    most = MOST
    patience = 2 * FLOW
    gateway = math.inf
    idle_seconds = 3_600.0

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        super().__init__(quick, environments)
        self.environments = environments or (60 if quick else MOST)
        careless = min(FROZEN_IN_TRANSACTION, self.environments // 3)
        careful = (self.environments - careless) // 2
        order = self.environments - careless - careful
        self.counts = {ORDER: order, CAREFUL: careful, CARELESS: careless}
        coming, rest = (0.5, 1.0) if self.tiny else (1.0, 2.0) if quick else (2.0, 3.0)  # of the machine
        self.coming, self.rest = coming * self.scale, rest * self.scale
        self.cut = self.coming + 2 * self.rest  # a rest after those who are careless have begun
        self.thaw = self.cut + FLOW + SLACK * self.scale
        self.again = self.thaw + self.rest

    def deployed(self) -> Sequence[Deployed]:
        return [Deployed(Function(name, memory=1769, timeout=FLOW), name) for name in self.counts]

    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        """Careless ones keep a server each from their first invocation on: they come when the others are
        done. But for the very first, all come at the same moment, so that each of them is another
        environment's, whatever becomes of it."""
        whole = [name for name in (ORDER, CAREFUL) for _ in range(self.counts[name])]
        for (number, name), moment in zip(
            enumerate(whole), burst(len(whole), self.coming, chance), strict=True
        ):
            yield Arrival(name, moment, number, make=EVENTS[name])
        careless = [CARELESS] * self.counts[CARELESS]
        yield from self._together(careless, self.coming + self.rest, 1)
        yield from self._together([*whole, *careless], self.thaw, 2)
        yield from self._together(whole, self.again, 3)
        yield from self._together(careless, self.again + self.rest, 4)

    def _together(self, names: Sequence[str], moment: float, turn: int) -> Iterator[Arrival]:
        for number, name in enumerate(names, turn * MOST):
            yield Arrival(name, moment, number, make=EVENTS[name])

    def work(self, invocation: Invocation) -> float:
        """None of the first is done before all have come."""
        if invocation.intended > self.coming:
            return 0.0
        return self.coming + SLACK * self.scale - invocation.intended

    def group(self, invocation: Invocation) -> str:
        if invocation.intended < self.thaw:
            return FROZEN
        return THAWED[invocation.function.name] if invocation.intended < self.again else AGAIN

    async def alongside(self, underway: Underway) -> None:
        clock, database, found = underway.clock, underway.database, underway.found
        assert underway.link is not None
        await clock.sleep_until(self.cut)
        found["in transaction before"] = await database.servers_in_transaction()
        found["clients before"] = await database.clients()
        await asyncio.to_thread(underway.link.cut)
        cut = clock.elapsed()
        counts = dict(zip(LEFT, (database.servers_in_transaction, database.clients), strict=True))
        await until_none(underway, counts, cut, self.bound)
        await clock.sleep_until(cut * self.scale + FLOW)
        await asyncio.to_thread(underway.link.mend)
        found["without a link"] = clock.elapsed() - cut

    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        return [
            *self._of_the_frozen(underway),
            *self._of_the_thawed(trial, underway),
            all_succeeded("invoked again, failed", underway.ended[AGAIN], self.environments),
            at_least("connections made", len(trial.connect), 2 * self.environments),
            ledger_clean(trial),
            servers_at_most(trial, 20),
        ]

    def _of_the_frozen(self, underway: Underway) -> Iterator[Check]:
        """By the endpoint, while they hear nothing."""
        found, careless = underway.found, self.counts[CARELESS]
        yield at_least("clients that stood frozen", found["clients before"], self.environments)
        yield at_least("of them in a transaction", found["in transaction before"], careless)
        yield at_most("clients not given up in time", found["clients after"], 0)
        yield at_most("their servers, not back in time", found["in transaction after"], 0)
        yield none_left("given up after", underway, LEFT, self.bound)
        yield at_least("seconds without a link", round(found["without a link"], 2), FLOW / self.scale)

    def _of_the_thawed(self, trial: Trial, underway: Underway) -> Iterator[Check]:
        """By what became of the first thing that they sent."""
        ended = {name: underway.ended[group] for name, group in THAWED.items()}
        waited = [underway.groups[THAWED[name]].max / 1e3 for name in (ORDER, CARELESS) if self.counts[name]]
        silent = sum(outcomes[TIMED_OUT] for outcomes in ended.values())
        careful, careless = self.counts[CAREFUL], self.counts[CARELESS]
        yield at_least("thawed, told that the connection is lost", ended[ORDER][FAILED], self.counts[ORDER])
        yield all_succeeded("thawed, failed though they connect again", ended[CAREFUL], careful)
        yield at_least("thawed in a transaction, could not commit", ended[CARELESS][FAILED], careless)
        yield at_most("commits in doubt", trial.ledger.get("in_doubt", UNKNOWN), 0)
        yield at_most("thawed, heard nothing until the timeout wall", silent, 0)
        longest = max(waited, key=lambda seconds: math.inf if math.isnan(seconds) else seconds)
        yield at_most("the longest waited for an error, s", round(longest, 3), AT_ONCE)
