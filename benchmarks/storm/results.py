"""What a run found, as data: the interface between the runner, the display and the report.

Written to JSON and read back (`schema.py`). Must not know how any of it was measured nor how it is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from benchmarks.storm import schema
from benchmarks.storm.histogram import Histogram
from benchmarks.storm.schema import WrongSchema

SCHEMA = 1
UNKNOWN = -1
"""A number of a sample that nobody could know."""
REPORTED = "reported"
"""The bar of a check that only says how much, and passes where that is known."""

FAULTS = ("lost", "duplicated", "half")
"""Which counts of a ledger are faults; the others (in doubt, duplicates by retry) are none."""

__all__ = [
    "FAULTS",
    "SCHEMA",
    "UNKNOWN",
    "Check",
    "Histogram",
    "Run",
    "Sample",
    "Scenario",
    "Slice",
    "TargetInfo",
    "Timeline",
    "Trial",
    "WrongSchema",
]


@dataclass(slots=True)
class Sample:
    """Twice a second, how things stand; `UNKNOWN` for what nobody could know (CPU behind a --dsn, say)."""

    at: float  #: wall seconds since the start of the trial
    clients: int  #: connections of clients that are open
    servers: int  #: server connections at PostgreSQL
    waiting: int  #: clients that wait for a server
    environments: int  #: execution environments that live
    in_flight: int  #: invocations under way
    cpu: float  #: seconds that the target used so far
    memory: int  #: bytes of it


@dataclass(slots=True)
class Slice:
    """One wall second of a trial: invocations that settled in it."""

    at: int  #: wall seconds since the start of the trial, whole
    count: int
    p50: float  #: ms, of the whole invocation; NaN when there were none
    p99: float
    max: float
    failures: int  #: those of `count` that did not succeed


class Timeline:
    """Collects what settles, and makes slices of it."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {}
        self._failures: dict[int, int] = {}

    def record(self, at: float, ms: float, failed: bool) -> None:
        """An invocation settled `at` wall seconds after the start, `ms` after its intended start."""
        second = math.floor(at)
        self._seconds.setdefault(second, []).append(ms)
        self._failures[second] = self._failures.get(second, 0) + failed

    def slices(self) -> list[Slice]:
        """A slice for every second from the first to the last in which something settled."""
        if not self._seconds:
            return []
        return [self._slice(second) for second in range(min(self._seconds), max(self._seconds) + 1)]

    def _slice(self, second: int) -> Slice:
        values = sorted(self._seconds.get(second, []))
        if not values:
            return Slice(second, 0, math.nan, math.nan, math.nan, 0)
        # The nearest rank: a value that occurred, not one between two.
        p50, p99, top = (values[math.ceil(len(values) * p) - 1] for p in (0.5, 0.99, 1.0))
        return Slice(second, len(values), p50, p99, top, self._failures[second])


@dataclass(slots=True)
class Check:
    """One pass or fail, in words: "servers at most", found "20", bar "20"."""

    name: str
    found: str
    bar: str
    passed: bool


@dataclass(slots=True)
class Trial:
    """One scenario against one target, once."""

    scenario: str
    target: str
    number: int  #: 1, 2, ... : trials of the same number ran right after each other
    began: str  #: ISO 8601, UTC
    seconds: float  #: wall time it took
    outcomes: dict[str, int] = field(default_factory=dict)  #: by how invocations settled
    errors: dict[str, int] = field(default_factory=dict)  #: by SQLSTATE or exception name
    examples: dict[str, str] = field(default_factory=dict)  #: one message of each
    latency: Histogram = field(default_factory=Histogram)  #: whole invocation from its intended start, ms
    connect: Histogram = field(default_factory=Histogram)  #: connect and first answer, ms
    timeline: list[Slice] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    lateness: Histogram = field(default_factory=Histogram)  #: how late arrivals were sent, ms
    generator_limited: str = ""  #: a sentence when the generator, not the target, was the limit
    ledger: dict[str, Any] = field(default_factory=dict)  #: counts of attempts, `FAULTS` among them
    bill: dict[str, Any] = field(default_factory=dict)  #: requests, gb_seconds, dollars, waiting_share
    checks: list[Check] = field(default_factory=list)

    def fault(self) -> str:
        """What the ledger has found wrong, in words; empty when it is clean or the trial had no ledger.

        Raises KeyError for a ledger that does not say: no count of faults is no proof that there were none.
        """
        if not self.ledger:
            return ""
        return ", ".join(f"{self.ledger[kind]} {kind}" for kind in FAULTS if self.ledger[kind])


@dataclass(slots=True)
class TargetInfo:
    """What stood between the environments and PostgreSQL."""

    version: str
    configuration: str = ""  #: its text, as it was given to it
    pool_size: int = 0  #: server connections at most; 0 = it has no such limit


@dataclass(slots=True)
class Scenario:
    """What a scenario is, for people."""

    title: str
    story: str = ""  #: what happens in it, a sentence or two
    figure: str = "latency"  #: which histogram tells its winner: "latency" or "connect"


@dataclass(slots=True)
class Run:
    """Everything of one run of `python -m benchmarks.storm`."""

    command: str
    version: str
    machine: list[str]
    began: str  #: ISO 8601, UTC
    targets: dict[str, TargetInfo] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    scenarios: dict[str, Scenario] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)  #: bars that take several trials or targets

    def to_json(self) -> str:
        """The whole run as JSON of schema 1; histograms in HDR's own encoding, NaN as null."""
        return schema.write(self, SCHEMA)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """The run that `to_json` wrote. Raises WrongSchema, with what is wrong and where."""
        return schema.read(cls, text, SCHEMA)
