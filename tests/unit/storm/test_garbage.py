"""When the generator collects its garbage."""

from __future__ import annotations

import gc

import pytest

from benchmarks.storm.garbage import COLLECT_EVERY, rarely_collected


def test_what_was_there_is_left_alone_and_what_comes_is_collected_rarely() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with rarely_collected():
        assert gc.get_freeze_count() > frozen
        assert gc.get_threshold() == (COLLECT_EVERY, *before[1:])
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_also_where_the_trial_fails() -> None:
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), rarely_collected():
        raise ZeroDivisionError
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
