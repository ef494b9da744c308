from __future__ import annotations

import statistics
from random import Random

import pytest

from benchmarks.storm.model.coldstart import RUNTIMES, ColdStart, draw, median


def parts(cold_start: ColdStart) -> tuple[float, float]:
    return cold_start.download, cold_start.runtime


def test_package_and_memory_make_it_longer() -> None:
    assert parts(median("python3.13", 10.0, 1769)) == pytest.approx((0.065, 0.076))
    # 250 MB: 375 ms of download; 512 MB of memory: 2.455 times too little CPU, for 5 % of the time.
    assert parts(median("python3.13", 250.0, 512)) == pytest.approx((0.425, 0.076 * 1.12275), rel=1e-4)
    assert parts(median("java21", 10.0, 512)) == pytest.approx((0.065, 0.368 * 1.61377), rel=1e-4)


def test_more_memory_than_a_whole_cpu_does_not_help() -> None:
    assert median("java21", 10.0, 10_240) == median("java21", 10.0, 1769)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_draws_around_its_median(runtime: str) -> None:
    random = Random(1)
    middle = median(runtime, 50.0, 1024)
    drawn = sorted(draw(runtime, 50.0, 1024, random).seconds for _ in range(2001))
    assert statistics.median(drawn) == pytest.approx(middle.seconds, rel=0.03)
    assert 0 < drawn[0] < drawn[-1] < 4 * middle.seconds


def test_p99_of_a_part_is_1_8_times_its_median() -> None:
    random = Random(2)
    drawn = sorted(draw("python3.13", 10.0, 1769, random).runtime for _ in range(10_000))
    assert drawn[9900] / drawn[5000] == pytest.approx(1.79, rel=0.05)


def test_the_same_dice_give_the_same_cold_starts() -> None:
    draws = [[draw("java21", 10.0, 512, random) for _ in range(5)] for random in (Random(3), Random(3))]
    assert draws[0] == draws[1]
