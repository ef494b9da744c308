"""Axes."""

from __future__ import annotations

import math

import pytest

from benchmarks.storm.report import scales


def written(value: float) -> str:
    return f"{value:g}"


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 100], ["0", "50", "100"]),
        ([0, 101], ["0", "50", "100", "150"]),
        ([20], ["0", "5", "10", "15", "20"]),
        ([0.66, math.nan], ["0", "0.2", "0.4", "0.6", "0.8"]),
        ([0, 0], ["0", "0.5", "1"]),
        ([], ["0", "0.5", "1"]),
    ],
)
def test_linear_goes_from_zero_to_a_round_number(values: list[float], ticks: list[str]) -> None:
    scale = scales.linear(values, written)
    assert [text for _, text in scale.ticks] == ticks
    assert scale.low == 0
    assert scale.high >= max((v for v in values if v == v), default=0)
    assert scale.place(scale.high) == 1


def test_places() -> None:
    scale = scales.Scale(0, 10, [])
    assert [scale.place(value) for value in (-1, 0, 2.5, 10, 11)] == [0, 0, 0.25, 1, 1]
    tens = scales.Scale(1, 1000, [], logarithmic=True)
    assert [tens.place(value) for value in (0, 1, 10, 100, 5000)] == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    ("values", "low", "high", "ticks"),
    [
        ([12, 80], 10, 100, ["10", "20", "50", "100"]),
        ([10, 100], 10, 100, ["10", "20", "50", "100"]),
        ([0.3, 700], 0.2, 1000, ["1", "10", "100", "1000"]),
        ([5, 5], 5, 50, ["5", "10", "20", "50"]),
        ([], 1, 10, ["1", "2", "5", "10"]),
        ([0, math.nan, 3], 2, 5, ["2", "5"]),
    ],
)
def test_logarithmic(values: list[float], low: float, high: float, ticks: list[str]) -> None:
    scale = scales.logarithmic(values, written)
    assert (scale.low, scale.high) == (low, high)
    assert [text for _, text in scale.ticks] == ticks


def test_time_is_written_at_round_seconds() -> None:
    assert [text for _, text in scales.span(0, 29.5, written).ticks] == ["0", "10", "20"]
    assert [text for _, text in scales.span(0, 3, written).ticks] == ["0", "1", "2", "3"]
    assert scales.span(0, 29.5, written).place(29.5) == 1
    assert scales.span(0, 0, written).place(0) == 0


def test_each_nine_takes_the_same_room() -> None:
    scale = scales.nines(3.4)
    assert [text for _, text in scale.ticks] == ["p50", "p90", "p99", "p99.9"]
    assert scale.place(2) - scale.place(1) == pytest.approx(scale.place(3) - scale.place(2))
    assert [text for _, text in scales.nines(0).ticks] == ["p50", "p90"]
