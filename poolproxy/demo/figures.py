"""The arithmetic of a storm: what its clients and pg_stat_activity report, added up.

Pure: no clock, no socket, no terminal; times are arguments, in seconds. Must not know how a storm is made or
shown.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

RATE_WINDOW = 2.0
"""Seconds over which the transactions per second on display are averaged: long enough to be steady, short
enough to show a change."""

INTERVAL = 0.5
"""Seconds of one bar of the transaction history."""

TOO_MANY_CLIENTS = "53300"
"""PostgreSQL's SQLSTATE too_many_connections."""


@dataclass(slots=True)
class Report:
    """What one worker process says about its clients, several times a second.

    The first four count clients by what they do now. `served` (clients with at least one committed
    transaction), `transactions` (committed) and `errors` (by SQLSTATE, or by the exception's name where there
    is none) are totals since the storm began, `examples` one message of each kind; `latencies` are the
    seconds of the transactions committed since the report before.
    """

    connecting: int = 0
    waiting: int = 0
    working: int = 0
    resting: int = 0
    served: int = 0
    transactions: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Report:
        return cls(**json.loads(line))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of ascending values (`share` 0.5 is the median); NaN when there are
    none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Figures:
    """One storm so far: the last report of each worker, every latency, and the peaks of pg_stat_activity."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.began = self.now = 0.0
        self.all_served = math.inf
        """Seconds until every client had its first commit."""
        self.servers = self.peak_servers = 0
        self.control = self.peak_control = 0
        self.over = False
        self.recorded: int | None = None
        """Transactions the database itself holds afterwards; None until it was asked."""
        self._reports: dict[int, Report] = {}
        self._latencies: list[float] = []
        self._ordered = True
        self._totals: list[tuple[float, int]] = [(0.0, 0)]

    def __repr__(self) -> str:
        return (
            f"<Figures {self.served}/{self.clients} served, {self.transactions} transactions, "
            f"{sum(self.errors.values())} errors, peak {self.peak_servers} servers>"
        )

    def begin(self, now: float) -> None:
        """The clients are let loose."""
        self.began = self.now = now
        self._totals = [(now, 0)]

    def add_report(self, worker: int, report: Report, now: float) -> None:
        self._reports[worker] = report
        if report.latencies:
            self._latencies += report.latencies
            self._ordered = False
        self.now = now
        self._totals.append((now, self.transactions))
        if self.served == self.clients:
            self.all_served = min(self.all_served, self.elapsed)

    def end(self, recorded: int) -> None:
        """Every client has left, and the database holds `recorded` transactions."""
        self.over, self.recorded = True, recorded

    def add_sample(self, servers: int, control: int) -> None:
        """One look at pg_stat_activity: connections for clients, and the proxy's own beside them."""
        self.servers, self.control = servers, control
        self.peak_servers = max(self.peak_servers, servers)
        self.peak_control = max(self.peak_control, control)

    @property
    def elapsed(self) -> float:
        return self.now - self.began

    @property
    def connecting(self) -> int:
        return sum(report.connecting for report in self._reports.values())

    @property
    def waiting(self) -> int:
        return sum(report.waiting for report in self._reports.values())

    @property
    def working(self) -> int:
        return sum(report.working for report in self._reports.values())

    @property
    def resting(self) -> int:
        return sum(report.resting for report in self._reports.values())

    @property
    def active(self) -> int:
        """Clients now in the storm, whatever they do."""
        return self.connecting + self.waiting + self.working + self.resting

    @property
    def served(self) -> int:
        return sum(report.served for report in self._reports.values())

    @property
    def transactions(self) -> int:
        return sum(report.transactions for report in self._reports.values())

    @property
    def errors(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for report in self._reports.values():
            total.update(report.errors)
        return total

    @property
    def examples(self) -> dict[str, str]:
        """One message of each kind of error."""
        found: dict[str, str] = {}
        for report in self._reports.values():
            found |= report.examples
        return found

    @property
    def failures(self) -> int:
        return sum(self.errors.values())

    @property
    def rate(self) -> float:
        """Transactions per second over the last `RATE_WINDOW` seconds; once over, over the whole storm."""
        if self.over:
            return self.mean_rate
        then, before = self._at(self.now - RATE_WINDOW)
        return (self.transactions - before) / (self.now - then) if self.now > then else 0.0

    @property
    def mean_rate(self) -> float:
        """Transactions per second over the whole storm."""
        return self.transactions / self.elapsed if self.elapsed > 0 else 0.0

    def latency(self, share: float) -> float:
        """Seconds from a client's wish (connect) to its commit, retries and their pauses included."""
        if not self._ordered:
            self._latencies.sort()
            self._ordered = True
        return percentile(self._latencies, share)

    def history(self) -> list[int]:
        """Transactions committed in each whole `INTERVAL` so far."""
        marks = [self.began + INTERVAL * n for n in range(int(self.elapsed / INTERVAL) + 1)]
        totals = [self._at(mark)[1] for mark in marks]
        return [after - before for before, after in itertools.pairwise(totals)]

    def _at(self, moment: float) -> tuple[float, int]:
        """The last known (time, transactions) not after `moment`; the beginning when there is none."""
        found = self._totals[0]
        for entry in reversed(self._totals):
            if entry[0] <= moment:
                found = entry
                break
        return found
