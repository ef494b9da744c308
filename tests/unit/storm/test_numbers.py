"""How numbers are written."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from benchmarks.storm import numbers
from benchmarks.storm.numbers import NARROW

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.0, "0"),
        (20, "20"),
        (12345, "12,345"),
        (1.0, "1.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (999.6, "1,000"),
        (1234.5, "1,234"),
        (0.00123456, "0.00123"),
        (-2.5, "-2.50"),
        (NAN, "-"),
        (math.inf, "never"),
    ],
)
def test_three_digits_and_never_a_power_of_ten(value: float, written: str) -> None:
    assert numbers.number(value) == written


@pytest.mark.parametrize(
    ("form", "value", "written"),
    [
        (numbers.milliseconds, 0.0, "0 ms"),
        (numbers.milliseconds, 0.05, "50.0 µs"),
        (numbers.milliseconds, 0.9994, "999 µs"),
        (numbers.milliseconds, 0.9996, "1.00 ms"),
        (numbers.milliseconds, 250.3, "250 ms"),
        (numbers.milliseconds, 999.6, "1.00 s"),
        (numbers.milliseconds, 60_000.0, "60.0 s"),
        (numbers.milliseconds, 3_600_000.0, "60.0 min"),
        (numbers.milliseconds, NAN, "-"),
        (numbers.size, 512, "512 B"),
        (numbers.size, 2048, "2.00 KiB"),
        (numbers.size, 1023 * 1024, "0.999 MiB"),
        (numbers.size, 3 * 2**30, "3.00 GiB"),
        (numbers.size, NAN, "-"),
        (numbers.share, 1.0, "100 %"),
        (numbers.share, 0.9999999, "99.999 %"),
        (numbers.share, 0.9996, "99.960 %"),
        (numbers.share, 0.371, "37.1 %"),
        (numbers.share, 0.00001, "< 0.01 %"),
        (numbers.share, 0.0, "0 %"),
        (numbers.share, NAN, "-"),
        (numbers.times, 1.254, "1.25 \u00d7"),
        (numbers.change, 1.1, "+10.0 %"),
        (numbers.change, 0.5, "-50.0 %"),
        (numbers.change, 3.0, "+200 %"),
        (numbers.change, 1.0001, "0 %"),
        (numbers.change, NAN, "-"),
        (numbers.count, 20.0, "20"),
        (numbers.count, 20.5, "20.5"),
        (numbers.count, NAN, "-"),
        (numbers.seconds, 12.0, "12 s"),
        (numbers.seconds, 12.5, "12.5 s"),
        (numbers.percentile, 0.0, "p0"),
        (numbers.percentile, -math.log10(0.5), "p50"),
        (numbers.percentile, 1.0, "p90"),
        (numbers.percentile, 2.0, "p99"),
        (numbers.percentile, 3.0, "p99.9"),
        (numbers.percentile, 2.5, "p99.68"),
    ],
)
def test_units(form: Callable[[float], str], value: float, written: str) -> None:
    assert form(value).replace(NARROW, " ") == written


def test_round_numbers_lose_their_zeros_beside_an_axis() -> None:
    short = numbers.shortest(numbers.milliseconds)
    assert [short(v).replace(NARROW, " ") for v in (10.0, 100.0, 1500.0, 0.0)] == [
        "10 ms",
        "100 ms",
        "1.5 s",
        "0 ms",
    ]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([], "-"),
        ([NAN], "-"),
        ([5.0], "5.00 ms"),
        ([5.0, 5.001, 5.0], "5.00 ms"),
        ([3.5, 1.5, 2.5, NAN], "2.50 (1.50..3.50) ms"),
        ([900.0, 950.0, 1200.0], "950 ms (900 ms..1.20 s)"),
    ],
)
def test_spread(values: list[float], written: str) -> None:
    assert numbers.spread(values, numbers.milliseconds).replace(NARROW, " ") == written


def test_spread_of_plain_numbers_has_no_unit() -> None:
    assert numbers.spread([1.0, 3.0, 2.0]) == "2.00 (1.00..3.00)"


def test_one_of_a_thing_has_no_s() -> None:
    assert [numbers.counted(n, "server") for n in (0, 1, 1000)] == ["0 servers", "1 server", "1,000 servers"]
