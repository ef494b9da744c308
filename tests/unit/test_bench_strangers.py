"""The statistic that tells whether time tells who exists."""

from __future__ import annotations

import random

import pytest

from benchmarks.strangers import mann_whitney


def test_two_samples_of_one_thing() -> None:
    lots = random.Random(7)
    assert abs(mann_whitney([lots.random() for _ in range(2000)], [lots.random() for _ in range(2000)])) < 3


@pytest.mark.parametrize(("shift", "sign"), [(0.1, 1), (-0.1, -1)])
def test_a_tenth_of_the_spread_is_seen(shift: float, sign: int) -> None:
    lots = random.Random(7)
    one = [lots.random() + shift for _ in range(2000)]
    assert sign * mann_whitney(one, [lots.random() for _ in range(2000)]) > 5


def test_by_hand() -> None:
    """Ranks 1, 2, 3 of 6: the sum is 6, its mean 10.5, its variance 5.25."""
    assert mann_whitney([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx((6 - 10.5) / 5.25**0.5)
