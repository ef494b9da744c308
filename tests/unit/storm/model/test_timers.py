from __future__ import annotations

from collections.abc import Callable

from benchmarks.storm.model.timers import COMPACT_FROM, Timers


def says(text: str) -> Callable[[float], list[str]]:
    return lambda now: [f"{text} at {now}"]


def test_in_order_of_time_and_of_setting() -> None:
    timers: Timers[str] = Timers()
    for at, text in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (3.0, "d")):
        timers.set(at, says(text))
    assert timers.next_time() == 1.0
    assert timers.run(2.5) == ["a at 2.5", "b at 2.5", "c at 2.5"]
    assert (timers.next_time(), len(timers)) == (3.0, 1)


def test_a_moment_before_is_too_early() -> None:
    timers: Timers[str] = Timers()
    timers.set(1.0, says("a"))
    assert timers.run(0.999) == []
    assert timers.run(1.0) == ["a at 1.0"]


def test_what_is_cancelled_does_not_happen_nor_wake_anybody() -> None:
    timers: Timers[str] = Timers()
    first, second = timers.set(1.0, says("a")), timers.set(2.0, says("b"))
    timers.cancel(first)
    timers.cancel(first)
    timers.cancel(None)
    assert (timers.next_time(), len(timers)) == (2.0, 1)
    assert timers.run(5.0) == ["b at 5.0"]
    timers.cancel(second)
    assert (timers.next_time(), len(timers)) == (None, 0)


def test_what_is_set_for_now_while_running_is_run() -> None:
    timers: Timers[str] = Timers()

    def again(now: float) -> list[str]:
        timers.set(now, says("second"))
        return ["first"]

    timers.set(1.0, again)
    assert timers.run(1.0) == ["first", "second at 1.0"]


def test_the_heap_does_not_keep_what_was_cancelled() -> None:
    timers: Timers[str] = Timers()
    timers.set(0.5, says("kept"))
    for number in range(10 * COMPACT_FROM):
        timers.cancel(timers.set(900.0 + number, says("never")))
    assert len(timers._heap) <= COMPACT_FROM + 1
    assert len(timers) == 1
    assert timers.run(1e9) == ["kept at 1000000000.0"]
