"""What Lambda charges (US East, x86; aws.amazon.com/lambda/pricing), and how much of it was spent waiting.

Must not know environments or invocations: seconds come in, milliseconds and dollars come out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

PER_MILLION_REQUESTS = 0.20
PER_GB_SECOND = 0.0000166667
PER_GB_SECOND_RUNNING_PROVISIONED = 0.0000097222
"""Of what runs on provisioned concurrency; having it is charged besides, used or not:"""
PER_GB_SECOND_HAVING_PROVISIONED = 0.0000041667
"""Neither is confirmed at its source: look there before a bill with provisioned concurrency is published."""
PROVISIONED_STEP = 300
"""Seconds up to which the time of provisioned concurrency is rounded."""

FREE_REQUESTS = 1_000_000
FREE_GB_SECONDS = 400_000
"""A month and account; not for functions with provisioned concurrency."""

MB_PER_GB = 1024


def milliseconds(seconds: float) -> int:
    """Rounded up to the 1 ms step. A billionth of a second is left to the rounding of differences of
    times."""
    return math.ceil(round(seconds * 1000, 6))


@dataclass(slots=True)
class Bill:
    """One function's. `duration` is milliseconds of handlers, `init` of INIT, each run rounded up by itself,
    both on demand; `provisioned_*` the same on provisioned environments. `waiting` is seconds, of the
    durations, that handlers spent waiting for a connection. `memory` in MB."""

    memory: int
    provisioned: int = 0
    requests: int = 0
    duration: int = 0
    init: int = 0
    provisioned_duration: int = 0
    provisioned_init: int = 0
    waiting: float = 0.0

    def ran(self, seconds: float, provisioned: bool = False) -> None:
        """One invocation that ran, failed and timed-out ones alike; throttled ones are free."""
        self.requests += 1
        if provisioned:
            self.provisioned_duration += milliseconds(seconds)
        else:
            self.duration += milliseconds(seconds)

    def initialised(self, seconds: float, provisioned: bool = False) -> None:
        """One INIT: the runtime's start and the module's code, not the download."""
        if provisioned:
            self.provisioned_init += milliseconds(seconds)
        else:
            self.init += milliseconds(seconds)

    @property
    def gb_seconds(self) -> float:
        """On demand: durations and INIT."""
        return self._gb_seconds(self.duration + self.init)

    @property
    def provisioned_gb_seconds(self) -> float:
        """On provisioned environments: durations and INIT."""
        return self._gb_seconds(self.provisioned_duration + self.provisioned_init)

    @property
    def waiting_share(self) -> float:
        """How much of the durations was waiting for a connection, 0 to 1."""
        total = self.duration + self.provisioned_duration
        return min(1.0, self.waiting * 1000 / total) if total else 0.0

    def provisioned_dollars(self, seconds: float) -> float:
        """What it costs to have the function's provisioned concurrency for so long."""
        steps = math.ceil(round(seconds / PROVISIONED_STEP, 9))
        held = self._gb_seconds(self.provisioned * steps * PROVISIONED_STEP * 1000)
        return held * PER_GB_SECOND_HAVING_PROVISIONED

    def _gb_seconds(self, milliseconds: int) -> float:
        return milliseconds / 1000 * self.memory / MB_PER_GB


@dataclass(frozen=True, slots=True)
class Charge:
    """What an account pays: dollars for requests and for durations."""

    requests: float
    durations: float

    @property
    def dollars(self) -> float:
        return self.requests + self.durations


def charge(bills: Iterable[Bill], free_tier: bool = False) -> Charge:
    """The charge for these functions together; with `free_tier` the month's free million and 400,000 GB-s are
    taken off. Without what `provisioned_dollars` says."""
    bills = list(bills)
    eligible = [bill for bill in bills if not bill.provisioned] if free_tier else []
    free_requests = min(FREE_REQUESTS, sum(bill.requests for bill in eligible))
    free_gb_seconds = min(FREE_GB_SECONDS, sum(bill.gb_seconds for bill in eligible))
    requests = sum(bill.requests for bill in bills) - free_requests
    on_demand = sum(bill.gb_seconds for bill in bills) - free_gb_seconds
    provisioned = sum(bill.provisioned_gb_seconds for bill in bills)
    return Charge(
        requests * PER_MILLION_REQUESTS / 1_000_000,
        on_demand * PER_GB_SECOND + provisioned * PER_GB_SECOND_RUNNING_PROVISIONED,
    )
