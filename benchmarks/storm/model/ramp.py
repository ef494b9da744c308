"""How many batches a poller may have under way: five at first, and more for as long as messages are waiting.

Numbers: Lambda developer guide, Configuring scaling behavior for SQS event source mappings. Must not know
batches.
"""

from __future__ import annotations

import math

FIRST = 5
PER_SECOND = 300 / 60
MOST = 1000
"""Batches at once; older texts say 1,250."""

ALMOST = 1e-3
"""What the rounding of large times may take from the ramp at the moment that `reaches` has named."""


class Ramp:
    """The concurrency allowed, which grows while it is pressed.

    `maximum_concurrency` is the poller's own cap. AWS says 300 more per minute; that they come one by one,
    and that it starts anew as soon as nothing is under way or waiting, are our assumptions.
    """

    def __init__(self, maximum_concurrency: int | None = None) -> None:
        self._most = float(min(MOST, maximum_concurrency or MOST))
        self._first = min(float(FIRST), self._most)
        self._level = self._first
        self._since: float | None = None

    def limit(self, now: float) -> int:
        """Batches that may be under way now."""
        return math.floor(self._at(now) + ALMOST)

    def press(self, now: float) -> None:
        """Messages are waiting that could not be received."""
        if self._since is None:
            self._since = now

    def ease(self, now: float, idle: bool) -> None:
        """None is; `idle`: nor is any batch under way."""
        self._level = self._first if idle else self._at(now)
        self._since = None

    def reaches(self, count: int) -> float | None:
        """When so many batches may be under way; None: never, or not while it is eased."""
        if self._since is None or count > self._most:
            return None
        return self._since + max(0.0, count - self._level) / PER_SECOND

    def _at(self, now: float) -> float:
        grown = 0.0 if self._since is None else (now - self._since) * PER_SECOND
        return min(self._most, self._level + grown)
