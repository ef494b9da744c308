"""What is to happen later: a heap of moments, each with what to do then. There is no clock.

Must not know what the moments are for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

COMPACT_FROM = 1024
"""With fewer cancelled timers than this the heap is not rebuilt. It has to be at times: a run that ends early
leaves its timeout wall behind, up to 900 s away."""


class Timer:
    """One moment to come, `at` in Lambda time, seconds. Whoever set it may cancel it."""

    __slots__ = ("at", "pending")

    def __init__(self, at: float) -> None:
        self.at = at
        self.pending = True


class Timers(Generic[T]):
    """Moments in order; those of the same time in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer, Callable[[float], list[T]]]] = []
        self._order = 0
        self._cancelled = 0

    def set(self, at: float, act: Callable[[float], list[T]]) -> Timer:
        """`act` is called with the time, when that is `at` or later."""
        timer = Timer(at)
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, timer, act))
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Nothing if it is None, is over or has been cancelled."""
        if timer is None or not timer.pending:
            return
        timer.pending = False
        self._cancelled += 1
        if self._cancelled >= COMPACT_FROM and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_time(self) -> float | None:
        """The earliest moment, None when there is none."""
        while self._heap and not self._heap[0][2].pending:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> list[T]:
        """Everything whose time has come, what that sets for now included; what came of it, in order."""
        done: list[T] = []
        while (at := self.next_time()) is not None and at <= now:
            _, _, timer, act = heapq.heappop(self._heap)
            timer.pending = False
            done += act(now)
        return done

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled
