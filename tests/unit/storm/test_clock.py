"""Lambda time and wall time."""

from __future__ import annotations

import asyncio
import math

import pytest

from benchmarks.storm.clock import Clock
from tests.unit.storm.virtual_time import loop_time, run


@pytest.mark.parametrize("scale", [0, -1, math.nan])
def test_time_must_pass(scale: float) -> None:
    with pytest.raises(ValueError, match="must be more than 0"):
        Clock(scale)


def test_it_starts_at_0_and_passes_as_fast_as_the_scale_says() -> None:
    times = iter([100.0, 102.0, 103.0])
    clock = Clock(35.0, lambda: next(times))
    assert clock.elapsed() == 2.0
    assert clock.now() == 3 * 35


def test_it_begins_once_more_when_all_is_ready() -> None:
    times = iter([100.0, 107.5, 108.0, 108.0])
    clock = Clock(2.0, lambda: next(times))
    clock.begin()
    assert (clock.elapsed(), clock.now()) == (0.5, 1.0)


def test_it_tells_what_a_loop_s_clock_of_milliseconds_cannot() -> None:
    clock = Clock()
    assert any(clock.elapsed() * 1e3 % 1 for _ in range(100))


def test_a_sleep_is_as_long_as_the_scale_makes_it() -> None:
    async def sleep() -> tuple[float, float]:
        clock = Clock(35.0, loop_time)
        await clock.sleep(350.0)
        return clock.now(), clock.elapsed()

    now, elapsed = run(sleep())
    assert now == pytest.approx(350.0)
    assert elapsed == pytest.approx(10.0)


def test_sleeping_until_a_moment_takes_what_is_left_of_it() -> None:
    async def sleep() -> list[float]:
        clock = Clock(10.0, loop_time)
        await clock.sleep(30.0)
        await clock.sleep_until(50.0)
        first = clock.now()
        await clock.sleep_until(49.0)
        return [first, clock.now()]

    assert run(sleep()) == pytest.approx([50.0, 50.0])


def test_a_loop_that_wakes_too_early_is_asked_again() -> None:
    """What has the same moment goes out in one turn of the loop, once the first of it has come."""

    async def sleep() -> tuple[float, int]:
        clock, turns = Clock(10.0, lambda: loop_time() * 0.9), 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        await clock.sleep_until(50.0)
        now = clock.now()
        counting = asyncio.create_task(count())
        for _ in range(20):
            await clock.sleep_until(50.0)
        counting.cancel()
        return now, turns

    now, turns = run(sleep())
    assert now >= 50.0
    assert turns == 0
