"""Lines with their spread."""

from __future__ import annotations

import math

import pytest

from benchmarks.storm.report.series import MOST_POINTS, curve, sampled, sliced, used
from benchmarks.storm.results import UNKNOWN, Sample, Slice, Trial


def trial(number: int, seconds: float = 2.0) -> Trial:
    return Trial("ramp", "a", number, "", seconds)


def sample(at: float, servers: int, cpu: float = 0.0) -> Sample:
    return Sample(at, 0, servers, 0, 0, 0, cpu, 0)


def test_a_point_is_the_median_between_lowest_and_highest() -> None:
    trials = [trial(n) for n in range(3)]
    for each, servers in zip(trials, ([1, 20], [2, 10], [9, 15]), strict=True):
        each.samples = [sample(0.51 * at, value) for at, value in enumerate(servers)]
    line = sampled("a", trials, lambda s: s.servers)
    assert line.points == [(0.0, 1, 2, 9), (0.5, 10, 15, 20)]
    assert sorted(line.values()) == [1, 2, 9, 10, 15, 20]


def test_what_is_unknown_is_a_gap() -> None:
    one = trial(1)
    one.samples = [sample(0.0, 1), sample(0.5, UNKNOWN), sample(1.0, 3)]
    line = sampled("a", [one], lambda s: s.servers)
    assert [at for at, *_ in line.points] == [0.0, 0.5, 1.0]
    assert math.isnan(line.points[1][2])
    assert line.values() == [1, 1, 1, 3, 3, 3]
    one.samples = [sample(0.0, UNKNOWN)]
    assert sampled("a", [one], lambda s: s.servers).points == []


def test_a_long_trial_keeps_its_peaks_in_fewer_points() -> None:
    long = trial(1, seconds=3600)
    long.samples = [sample(at / 2, 999 if at == 4321 else 5) for at in range(7200)]
    line = sampled("a", [long], lambda s: s.servers)
    assert len(line.points) <= MOST_POINTS
    assert max(line.values()) == 999


def test_cpu_is_what_was_used_between_two_samples() -> None:
    one = trial(1)
    one.samples = [sample(0, 0, 1.0), sample(1, 0, 1.5), sample(2, 0, 3.5)]
    assert [(at, middle) for at, _, middle, _ in used("a", [one]).points] == [(1.0, 0.5), (2.0, 2.0)]
    one.samples = [sample(0, 0, UNKNOWN), sample(1, 0, UNKNOWN)]
    assert used("a", [one]).points == []


def test_a_second_without_invocations_has_no_percentile_but_no_failures_either() -> None:
    one = trial(1)
    nan = math.nan
    one.timeline = [
        Slice(0, 5, 1.0, 2.0, 3.0, 1),
        Slice(1, 0, nan, nan, nan, 0),
        Slice(2, 1, 4.0, 4.0, 4.0, 0),
    ]
    p99 = sliced("a", [one], lambda s: s.p99)
    assert [str(middle) for _, _, middle, _ in p99.points] == ["2.0", "nan", "4.0"]
    failures = sliced("a", [one], lambda s: float(s.failures))
    assert [middle for _, _, middle, _ in failures.points] == [1, 0, 0]


def test_a_curve_goes_as_far_as_all_trials_do() -> None:
    few, many = trial(1), trial(2)
    for _ in range(10):
        few.latency.record(10.0)
    for _ in range(1000):
        many.latency.record(30.0)
    line = curve("a", [few, many], "latency")
    assert line.points[-1][0] == 1.0
    assert line.points[0][1:] == pytest.approx((10, 20, 30), rel=1e-3)
    assert curve("a", [few, many], "connect").points == []
