from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from benchmarks.storm.model.arrivals import DAY, burst, diurnal, diurnal_rate, poisson, ramp, trace


def test_poisson_has_its_rate_and_its_spread() -> None:
    times = list(poisson(100.0, 100.0, Random(1)))
    assert len(times) == pytest.approx(10_000, abs=400)  # four standard deviations
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.01, rel=0.04)
    assert deviation == pytest.approx(mean, rel=0.05)  # of an exponential distribution


def test_a_ramp_is_even() -> None:
    assert list(ramp(4, 10.0)) == [0.0, 2.5, 5.0, 7.5]
    times = list(ramp(1000, 10.0))
    assert (len(times), times[0], times[-1]) == (1000, 0.0, 9.99)


def test_a_burst_is_somewhere_in_its_seconds() -> None:
    times = list(burst(1000, 1.0, Random(1)))
    assert len(times) == 1000
    assert 0 <= times[0] < 0.01 < 0.99 < times[-1] <= 1.0
    assert list(burst(3, 0.0, Random(1))) == [0.0, 0.0, 0.0]


def test_a_trace_has_times_or_times_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("# seconds, invocations\n0.5\n\n1,3\n1\n2.5, 0\n1e1 ,1\n")
    assert list(trace(path)) == [0.5, 1.0, 1.0, 1.0, 1.0, 10.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nnoon\n", ":2: 'noon' is neither a time nor time,count"),
        ("1,2,3\n", ":1: '1,2,3' is neither"),
        ("1,x\n", ":1: '1,x' is neither"),
        ("-1\n", ":1: time and count are at least 0"),
        ("1,-1\n", ":1: time and count are at least 0"),
        ("nan\n", ":1: time and count are at least 0"),
        ("inf\n", ":1: time and count are at least 0"),
        ("2\n1\n", ":2: 1.0 comes after 2.0"),
    ],
)
def test_a_trace_says_which_line_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(trace(path))


def test_one_an_hour_at_night_and_a_thousand_a_minute_at_noon() -> None:
    assert diurnal_rate(0.0) * 3600 == pytest.approx(1.0)
    assert diurnal_rate(DAY / 2) * 60 == pytest.approx(1000.0)
    assert diurnal_rate(DAY) * 3600 == pytest.approx(1.0)
    # Halfway, at six and eighteen o'clock, the geometric mean: fifteen a minute.
    for hour in (6, 18):
        assert diurnal_rate(hour * 3600.0) * 60 == pytest.approx((1000 / 60) ** 0.5 * 60 / 60, rel=1e-3)


def test_a_day_follows_its_curve() -> None:
    times = list(diurnal(DAY, Random(1)))
    counts = [0] * 24
    for at in times:
        counts[int(at // 3600)] += 1
    for hour in range(24):
        steps = 60
        expected = sum(diurnal_rate(hour * 3600 + (step + 0.5) * 60) * 60 for step in range(steps))
        assert abs(counts[hour] - expected) <= 5 * expected**0.5 + 1
    assert counts[0] + counts[23] < 10
    assert counts[12] > 50_000


def test_a_part_of_the_day_counts_from_its_own_start() -> None:
    times = list(diurnal(60.0, Random(1), start=DAY / 2))
    assert len(times) == pytest.approx(1000, abs=130)
    assert 0 <= times[0] < 1
    assert times[-1] < 60


def test_a_day_may_be_short() -> None:
    times = list(diurnal(100.0, Random(1), night=1.0, noon=100.0, day=100.0))
    middle = sum(1 for at in times if 45 <= at < 55)
    assert middle == pytest.approx(1000, abs=150)
    assert sum(1 for at in times if at < 5) < 30


GENERATORS: list[Callable[[Random], Iterator[float]]] = [
    lambda random: poisson(50.0, 10.0, random),
    lambda random: burst(200, 1.0, random),
    lambda random: diurnal(60.0, random, start=DAY / 2),
]


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_same_seed_gives_the_same_times_in_order(generator: Callable[[Random], Iterator[float]]) -> None:
    times = list(generator(Random(7)))
    assert times == list(generator(Random(7))) == sorted(times)
    assert times != list(generator(Random(8)))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: poisson(0.0, 1.0, Random(1)), "rate is more than 0, not 0.0"),
        (lambda: poisson(1.0, -1.0, Random(1)), "seconds is more than 0, not -1.0"),
        (lambda: ramp(0, 1.0), "count is more than 0, not 0"),
        (lambda: burst(0, 1.0, Random(1)), "count is more than 0, not 0"),
        (lambda: diurnal(0.0, Random(1)), "seconds is more than 0"),
        (lambda: diurnal(1.0, Random(1), night=0.0), "night is more than 0"),
        (lambda: diurnal(1.0, Random(1), night=2.0, noon=1.0), r"night \(2.0\) is at most noon \(1.0\)"),
    ],
)
def test_nonsense_is_refused(made: Callable[[], Iterator[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(made())
