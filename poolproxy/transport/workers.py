"""Computations that must not hold the data plane, in a few threads, the oldest asker first.

The threads end when there is nothing to do: in a process of several threads the kernel counts references to
each descriptor that a system call names, and every message would pay for that. Must not know what it runs.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

#: Seconds that a thread without work waits for more: a storm starts it once.
LINGER = 1.0

Call = Callable[[], Any]
#: What is told of a call: what it returned, or what it raised.
Done = Callable[[Any, BaseException | None], None]


class Workers:
    """Runs at most `limit` calls at once; `submit` is for the data plane's thread alone, which hears of
    results."""

    def __init__(self, limit: int, post: Callable[[Callable[[], None]], object]) -> None:
        """`post`: has the data plane's thread call something soon; any thread may use it. RuntimeError
        where that has ended."""
        self._limit = limit
        self._post = post
        self._turn = count()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._waiting: list[tuple[float, int, Call, Done]] = []
        self._over: deque[tuple[Done, Any, BaseException | None]] = deque()
        self._threads = 0
        self._resting = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Calls that no thread has begun."""
        return len(self._waiting)

    def submit(self, since: float, call: Call, done: Done) -> None:
        """Run `call` in its turn - who has waited since earlier goes first - and tell `done` on this
        thread."""
        with self._lock:
            if self._closed:
                return
            heapq.heappush(self._waiting, (since, next(self._turn), call, done))
            if self._resting:
                self._work.notify()
                return
            if self._threads >= self._limit:
                return
            self._threads += 1
        threading.Thread(target=self._run, name="worker", daemon=True).start()

    def close(self) -> None:
        """Begin nothing more, and tell nobody."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._over.clear()
            self._work.notify_all()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            call, done = taken
            try:
                outcome: tuple[Done, Any, BaseException | None] = (done, call(), None)
            except Exception as error:
                outcome = (done, None, error)
            self._deliver(outcome)

    def _take(self) -> tuple[Call, Done] | None:
        """The next call; None: nothing has come for a while, and this thread is counted no more."""
        with self._lock:
            while not self._waiting:
                self._resting += 1
                came = self._work.wait(LINGER)
                self._resting -= 1
                if self._closed or not (came or self._waiting):
                    self._threads -= 1
                    return None
            _, _, call, done = heapq.heappop(self._waiting)
            return call, done

    def _deliver(self, outcome: tuple[Done, Any, BaseException | None]) -> None:
        with self._lock:
            if self._closed:
                return
            first = not self._over  # one wake-up for all that ends before it is heard
            self._over.append(outcome)
        if first:
            try:
                self._post(self._tell)
            except RuntimeError:
                self.close()  # the loop has ended meanwhile

    def _tell(self) -> None:
        try:
            while self._over:
                done, result, error = self._over.popleft()
                done(result, error)
        finally:
            # One raised, which is its own affair: the others are told in a turn of their own.
            if self._over:
                self._post(self._tell)
