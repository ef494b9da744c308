"""Short computations beside the data plane: how many at once, who first, and what becomes of their
results."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from poolproxy.transport import workers as module
from poolproxy.transport.workers import Workers


class Bench:
    """Workers, and the thread that hears of them: this one, when it is told to."""

    def __init__(self, limit: int) -> None:
        self.posted: deque[Callable[[], None]] = deque()
        self.told = threading.Semaphore(0)
        self.results: list[tuple[Any, BaseException | None]] = []
        self.workers = Workers(limit, self._post)

    def _post(self, call: Callable[[], None]) -> None:
        self.posted.append(call)
        self.told.release()

    def done(self, result: Any, error: BaseException | None) -> None:
        self.results.append((result, error))

    def hear(self, count: int) -> list[tuple[Any, BaseException | None]]:
        """The first so many results."""
        while len(self.results) < count:
            assert self.told.acquire(timeout=20)
            self.posted.popleft()()
        return self.results


@pytest.fixture
def bench() -> Bench:
    return Bench(1)


def test_results_and_errors_are_told_on_this_thread(bench: Bench) -> None:
    problem = ValueError("no")

    def fails() -> None:
        raise problem

    bench.workers.submit(1.0, threading.get_ident, bench.done)
    bench.workers.submit(2.0, fails, bench.done)
    (there, nothing), failed = bench.hear(2)
    assert there != threading.get_ident()
    assert nothing is None
    assert failed == (None, problem)


def test_who_has_waited_longest_is_next(bench: Bench) -> None:
    gate = threading.Event()
    bench.workers.submit(9.0, gate.wait, bench.done)
    for since in (3.0, 1.0, 2.0, 1.0):
        bench.workers.submit(since, lambda since=since: since, bench.done)  # type: ignore[misc]
    assert bench.workers.waiting in (4, 5)
    gate.set()
    assert [result for result, _ in bench.hear(5)] == [True, 1.0, 1.0, 2.0, 3.0]
    assert bench.workers.waiting == 0


@pytest.mark.parametrize("limit", [1, 3])
def test_so_many_at_once_and_no_more(limit: int) -> None:
    bench = Bench(limit)
    lock, gate = threading.Lock(), threading.Barrier(limit)
    inside = most = 0

    def call() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait(20)
        with lock:
            inside -= 1

    for number in range(3 * limit):
        bench.workers.submit(number, call, bench.done)
    assert all(error is None for _, error in bench.hear(3 * limit))
    assert most == limit


def test_threads_end_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.01)
    bench = Bench(2)
    threads: list[threading.Thread] = []
    for _ in range(2):
        bench.workers.submit(0.0, lambda: threads.append(threading.current_thread()), bench.done)
    bench.hear(2)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    bench.workers.submit(0.0, lambda: "again", bench.done)
    assert bench.hear(3)[-1] == ("again", None)


def test_nothing_is_told_once_they_are_closed(bench: Bench) -> None:
    begun, gate = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        gate.wait(20)

    bench.workers.submit(0.0, call, bench.done)
    bench.workers.submit(1.0, call, bench.done)
    assert begun.wait(20)
    bench.workers.close()
    gate.set()
    bench.workers.submit(2.0, call, bench.done)
    assert not bench.told.acquire(timeout=0.1)
    assert bench.results == []


def test_one_that_raises_is_told_and_so_are_the_others(bench: Bench) -> None:
    def broken(result: Any, error: BaseException | None) -> None:
        raise ValueError("its own affair")

    gate = threading.Event()
    bench.workers.submit(0.0, gate.wait, broken)
    bench.workers.submit(1.0, lambda: "second", bench.done)
    bench.workers.submit(2.0, lambda: "third", bench.done)
    gate.set()
    with pytest.raises(ValueError, match="its own affair"):
        bench.hear(2)
    assert bench.hear(2) == [("second", None), ("third", None)]
