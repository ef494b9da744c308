from __future__ import annotations

import pytest

from benchmarks.storm.model.ramp import Ramp


def test_five_at_first_and_300_more_a_minute() -> None:
    ramp = Ramp()
    assert ramp.limit(0.0) == 5
    ramp.press(10.0)
    assert [ramp.limit(10.0 + after) for after in (0.0, 0.19, 0.2, 1.0, 60.0)] == [5, 5, 6, 10, 305]


def test_at_most_1000() -> None:
    ramp = Ramp()
    ramp.press(0.0)
    assert ramp.reaches(1000) == 199.0
    assert [ramp.limit(now) for now in (198.9, 199.0, 1e6)] == [999, 1000, 1000]
    assert ramp.reaches(1001) is None


@pytest.mark.parametrize(("cap", "limits"), [(2, [2, 2]), (7, [5, 7]), (1000, [5, 305])])
def test_the_pollers_own_cap(cap: int, limits: list[int]) -> None:
    ramp = Ramp(cap)
    ramp.press(0.0)
    assert [ramp.limit(0.0), ramp.limit(60.0)] == limits
    assert ramp.reaches(cap + 1) is None


def test_it_grows_only_while_pressed_and_pressing_again_changes_nothing() -> None:
    ramp = Ramp()
    assert ramp.limit(100.0) == 5
    ramp.press(100.0)
    ramp.press(101.0)
    assert ramp.limit(102.0) == 15
    ramp.ease(102.0, idle=False)
    assert ramp.reaches(16) is None
    assert ramp.limit(200.0) == 15
    ramp.press(200.0)
    assert ramp.limit(201.0) == 20


def test_it_starts_anew_when_there_is_nothing_to_do() -> None:
    ramp = Ramp()
    ramp.press(0.0)
    assert ramp.limit(60.0) == 305
    ramp.ease(60.0, idle=True)
    assert ramp.limit(60.0) == 5


@pytest.mark.parametrize("epoch", [0.0, 1e6, 1.8e9])
def test_at_the_time_it_names_it_is_there(epoch: float) -> None:
    ramp = Ramp()
    ramp.press(epoch + 0.1)
    for count in range(6, 1001):
        at = ramp.reaches(count)
        assert at is not None
        assert ramp.limit(at) == count
