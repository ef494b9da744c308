"""How much may run at once, and how fast it may become more: buckets, and an account's concurrency.

Must not know environments: it counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.storm.model.function import Function

ACCOUNT_LIMIT = 1000
"""Concurrent executions of an account in one Region, all functions together; a quota that can be raised
(Lambda developer guide, Lambda quotas)."""

UNRESERVABLE = 100
"""Of these so many cannot be reserved (Lambda developer guide, Configuring reserved concurrency)."""

SCALING_BURST, SCALING_RATE = 1000, 100.0
"""New environments of a function: at most 1,000 at a time, refilled continuously by 1,000 per 10 s; what is
not used does not accrue (Lambda developer guide, Lambda scaling behavior)."""

REQUESTS_PER_CONCURRENCY = 10
"""Requests per second are at most so many times the concurrency: synchronous ones from everywhere, pollers
included; asynchronous ones from AWS services are not limited (Lambda developer guide, Lambda quotas). That
what is reserved has its own share of them, and that a whole second's may come at once, are our
assumptions."""

ALMOST = 1e-3
"""Of a token. Whoever has waited for one until `next_time` must not miss it for the rounding of large times;
the bucket goes below zero instead, so that no token is ever there twice."""


class Bucket:
    """Tokens: at most `capacity`, refilled by `rate` per second, full at first."""

    __slots__ = ("_level", "_since", "capacity", "rate")

    def __init__(self, capacity: float, rate: float) -> None:
        self.capacity = capacity
        self.rate = rate
        self._level = capacity
        self._since: float | None = None

    def level(self, now: float) -> float:
        """Tokens that are there; time never runs backwards."""
        if self._since is not None and now > self._since:
            self._level = min(self.capacity, self._level + (now - self._since) * self.rate)
        if self._since is None or now > self._since:
            self._since = now
        return self._level

    def has_one(self, now: float) -> bool:
        return self.level(now) >= 1.0 - ALMOST

    def take(self, now: float) -> bool:
        """One token, False when there is none."""
        if not self.has_one(now):
            return False
        self._level -= 1.0
        return True

    def next_time(self, now: float) -> float:
        """When there is a token again."""
        return now + max(0.0, 1.0 - self.level(now)) / self.rate


class Pool:
    """Concurrency that one function has for itself, or that all without reservations share.

    `limit` is what may run on demand at once: provisioned concurrency is set aside from it, used or not.
    """

    __slots__ = ("in_flight", "limit", "requests")

    def __init__(self, concurrency: int, provisioned: int) -> None:
        self.limit = concurrency - provisioned
        self.in_flight = 0
        rate = REQUESTS_PER_CONCURRENCY * concurrency
        self.requests = Bucket(rate, rate)

    @property
    def full(self) -> bool:
        return self.in_flight >= self.limit

    def __repr__(self) -> str:
        return f"<Pool {self.in_flight} of {self.limit}>"


def pools(functions: Iterable[Function], account_limit: int = ACCOUNT_LIMIT) -> dict[str, Pool]:
    """Each function's pool, by its name. Raises ValueError where more is set aside than an account may."""
    functions = list(functions)
    reserved = sum(function.reserved or 0 for function in functions)
    provisioned = sum(function.provisioned for function in functions if function.reserved is None)
    most = max(0, account_limit - UNRESERVABLE)
    if reserved + provisioned > most:
        raise ValueError(
            f"reserved and provisioned concurrency are together at most {most} of {account_limit}"
            f" ({UNRESERVABLE} stay unreserved), not {reserved + provisioned}"
        )
    shared = Pool(account_limit - reserved, provisioned)
    return {
        function.name: shared if function.reserved is None else Pool(function.reserved, function.provisioned)
        for function in functions
    }
