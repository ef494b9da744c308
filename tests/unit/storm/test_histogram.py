"""Latencies, counted."""

from __future__ import annotations

import math
import random

import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from benchmarks.storm.histogram import BrokenHistogram, Histogram


def of(*ms: float) -> Histogram:
    histogram = Histogram()
    for value in ms:
        histogram.record(value)
    return histogram


def test_percentiles_are_right_to_three_digits() -> None:
    dice = random.Random(3)
    values = sorted(dice.lognormvariate(3, 1) for _ in range(10_000))
    histogram = of(*values)
    assert len(histogram) == 10_000
    for p in (1, 50, 90, 99, 99.9):
        exact = values[math.ceil(len(values) * p / 100) - 1]
        assert histogram.percentile(p) == pytest.approx(exact, rel=1e-3)
    assert histogram.max == pytest.approx(values[-1], rel=1e-3)
    assert histogram.percentiles((99, 50)) == [histogram.percentile(99), histogram.percentile(50)]


def test_whole_microseconds_are_exact() -> None:
    assert of(0.001).percentile(50) == 0.001
    assert of(1.234).percentile(50) == 1.234


def test_nothing_recorded_is_not_zero() -> None:
    empty = Histogram()
    assert len(empty) == 0
    assert math.isnan(empty.percentile(50))
    assert math.isnan(empty.max)
    assert empty.curve() == []
    assert repr(empty) == "<Histogram: empty>"


def test_what_lies_outside_is_counted_at_the_ends() -> None:
    assert of(-0.2).percentile(100) == 0
    late = of(7_200_000.0)
    assert len(late) == 1
    assert late.percentile(100) == pytest.approx(3_600_000, rel=1e-3)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not NaN"):
        of(math.nan)


def test_a_percentile_beyond_100_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.100"):
        of(1.0).percentile(101)


def test_a_percentile_that_was_asked_for_changes_with_the_values() -> None:
    histogram = of(1.0)
    assert histogram.percentile(100) == 1.0
    histogram.record(2.0)
    assert histogram.percentile(100) == 2.0
    histogram.merge(of(2.04))
    assert histogram.percentile(100) == 2.04


def test_merging_adds_counts() -> None:
    left, right = of(1, 2), of(3, 4, 5)
    left.merge(right)
    left.merge(Histogram())
    assert left == of(1, 2, 3, 4, 5)
    assert right == of(3, 4, 5)
    empty = Histogram()
    empty.merge(right)
    assert empty == right


def test_equal_means_equal_counts() -> None:
    assert of(1, 2) == of(2, 1)
    assert of(1, 2) != of(1)
    assert of(1) != "something else"


@pytest.mark.parametrize("histogram", [of(), of(1.5), of(*range(1, 2000)), of(3_600_000.0)])
def test_encoding_and_decoding(histogram: Histogram) -> None:
    text = histogram.encode()
    again = Histogram.decode(text)
    assert again == histogram
    assert again.encode() == text
    if len(histogram):
        assert again.percentile(99) == histogram.percentile(99)
        again.record(2.0)
        assert len(again) == len(histogram) + 1


def test_the_encoding_is_hdrs_own() -> None:
    read = HdrHistogram.decode(of(1, 2, 300).encode())
    assert read.get_total_count() == 3
    assert read.get_value_at_percentile(100) == pytest.approx(300_000, rel=1e-3)


@pytest.mark.parametrize("text", ["", "no base64 at all", "aGVsbG8=", of(1.0).encode()[:-8], "ü"])
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(BrokenHistogram, match="not an HDR histogram"):
        Histogram.decode(text)


def test_another_precision_is_refused() -> None:
    other = HdrHistogram(1, 1_000_000, 2)
    other.record_value(5)
    with pytest.raises(BrokenHistogram, match=r"1..1000000 us with 2 digits; ours"):
        Histogram.decode(other.encode().decode("ascii"))


def test_a_curve_ends_where_the_values_do() -> None:
    curve = of(*range(1, 1001)).curve()
    assert curve[0] == (0.0, 1.0)
    assert curve[-1][0] == 3.0  # 99.9 %: a thousand values know no more
    assert curve[-1][1] == pytest.approx(999, rel=1e-3)
    at = dict(curve)
    assert at[1.0] == pytest.approx(900, rel=1e-3)
    assert at[2.0] == pytest.approx(990, rel=1e-3)
    assert [ms for _, ms in curve] == sorted(ms for _, ms in curve)
    ((nines, ms),) = of(7.0).curve()
    assert nines == 0.0
    assert ms == pytest.approx(7.0, rel=1e-3)


def test_it_says_what_it_is() -> None:
    assert repr(of(1, 2, 3)) == "<Histogram: 3 values, p50 2 ms, p99 3.001 ms, max 3.001 ms>"
