from __future__ import annotations

import gc

from benchmarks.storm.clients.holdings import HOLDINGS, Holdings
from tests.unit.storm.clients.fakes import FakeSession


def test_freeze_thaw_and_kill_reach_every_open_session() -> None:
    holdings = Holdings()
    first, second = FakeSession(), FakeSession()
    holdings.add(first)
    holdings.add(second)
    holdings.freeze()
    holdings.thaw()
    holdings.kill()
    assert first.log == second.log == ["freeze", "thaw", "abort"]
    assert holdings.sessions() == []


def test_what_is_over_is_left_alone_and_forgotten() -> None:
    holdings = Holdings()
    first, second = FakeSession(), FakeSession()
    holdings.add(first)
    first.over = True
    holdings.add(second)
    assert holdings.sessions() == [second]
    assert repr(holdings) == "<Holdings of 1>"
    holdings.kill()
    assert first.log == []


def test_a_session_that_nobody_holds_is_not_held_either() -> None:
    holdings = Holdings()
    holdings.add(FakeSession())
    gc.collect()
    assert holdings.sessions() == []


def test_nothing_is_noted_unless_somebody_asks() -> None:
    assert HOLDINGS.get() is None
