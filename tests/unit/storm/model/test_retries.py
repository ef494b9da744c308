"""Asynchronous events: retried after 1 and 2 minutes, throttled ones for up to 6 hours, then given up."""

from __future__ import annotations

import pytest

from benchmarks.storm.model.function import Function
from benchmarks.storm.model.retries import backoff
from tests.unit.storm.model.account import Account


def fails(account: Account, number: int, now: float) -> list[str]:
    return account.answered(number, now, failed=True)


def test_an_error_is_retried_after_1_and_2_minutes_and_then_dropped() -> None:
    account = Account(Function("f", timeout=900))
    account.warm(1)
    assert account.invoke("a", 10.0, "asynchronous") == ["Run 1 a"]
    assert fails(account, 1, 11.0) == ["Freeze 1"]
    assert account.ticks_until(300.0) == [(71.0, "Run 1 a")]
    assert fails(account, 1, 72.0) == ["Freeze 1"]
    assert account.ticks_until(300.0) == [(192.0, "Run 1 a")]
    assert fails(account, 1, 193.0) == ["Freeze 1", "a dropped"]
    assert account.service.bill["f"].requests == 4


def test_all_attempts_have_one_id_and_count() -> None:
    account = Account(Function("f"))
    account.warm(1)
    invocation, _ = account.service.invoke("f", "a", "asynchronous", 1.0, 1.0)
    attempts = [invocation.attempt]
    fails(account, 1, 2.0)
    account.tick(62.0)
    attempts.append(invocation.attempt)
    fails(account, 1, 63.0)
    account.tick(183.0)
    attempts.append(invocation.attempt)
    assert account.environments[1].invocation is invocation
    assert attempts == [1, 2, 3]


@pytest.mark.parametrize(("destination", "outcome"), [(False, "dropped"), (True, "dead-lettered")])
@pytest.mark.parametrize("retries", [0, 1, 2])
def test_as_many_retries_as_configured(retries: int, destination: bool, outcome: str) -> None:
    account = Account(Function("f", timeout=900, retries=retries, destination=destination))
    account.warm(1)
    account.invoke("a", 1.0, "asynchronous")
    now = 2.0
    for _ in range(retries):
        assert fails(account, 1, now) == ["Freeze 1"]
        ((now, heard),) = account.ticks_until(now + 120.0)
        assert heard == "Run 1 a"
        now += 1.0
    assert fails(account, 1, now) == ["Freeze 1", f"a {outcome}"]


def test_a_timeout_is_an_error_that_is_retried() -> None:
    account = Account(Function("f", timeout=3))
    account.warm(1)
    account.invoke("a", 1.0, "asynchronous")
    assert account.ticks_until(64.0) == [(4.0, "Reset 1 a"), (64.0, "Run 1 a initialise")]
    assert account.answered(1, 65.0) == ["Freeze 1", "a succeeded"]


def test_a_crash_is_an_error_that_is_retried() -> None:
    account = Account(Function("f"))
    account.warm(1)
    account.invoke("a", 1.0, "asynchronous")
    assert account.crashed(1, 2.0) == []
    assert account.ticks_until(64.0) == [(62.0, "Run 1 a initialise")]


def test_throttles_wait_1_s_to_5_minutes() -> None:
    assert [backoff(throttles) for throttles in range(1, 12)] == [
        *(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
        *(300.0, 300.0),
    ]
    assert backoff(10_000) == 300.0


def test_a_throttled_event_waits_longer_and_longer_and_gets_its_turn() -> None:
    account = Account(Function("f", reserved=1, timeout=900))
    account.warm(1)
    account.invoke("busy", 1.0, "asynchronous")
    assert account.invoke("a", 1.0, "asynchronous") == []
    times = []
    while (at := account.service.next_time()) is not None and at < 100.0:
        times.append(at)
        assert account.tick(at) == []
    assert times == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
    account.answered(1, 100.0)
    # Throttles have cost no attempt, and a new one would begin with one second again.
    assert account.ticks_until(200.0) == [(128.0, "Run 1 a")]
    assert account.environments[1].invocation is not None
    assert account.environments[1].invocation.attempt == 1


def test_throttles_are_counted_anew_after_a_run() -> None:
    account = Account(Function("f", reserved=1, timeout=900))
    account.warm(1)
    account.invoke("busy", 1.0, "asynchronous")
    account.invoke("a", 1.0, "asynchronous")
    account.tick(2.0)
    account.answered(1, 3.0)
    assert account.tick(4.0) == ["Run 1 a"]
    fails(account, 1, 5.0)
    account.invoke("busy", 6.0, "asynchronous")
    assert account.tick(65.0) == []
    assert account.tick(66.0) == []
    account.answered(1, 67.0)
    assert account.tick(68.0) == ["Run 1 a"]


@pytest.mark.parametrize(("destination", "outcome"), [(False, "dropped"), (True, "dead-lettered")])
def test_a_throttled_event_is_given_up_after_6_hours(destination: bool, outcome: str) -> None:
    # All of its concurrency is provisioned, and never comes up.
    account = Account(Function("f", reserved=1, provisioned=1, destination=destination))
    assert account.invoke("a", 5.0, "asynchronous") == []
    assert account.ticks_until(30_000.0) == [(5.0 + 21_600.0, f"a {outcome}")]


def test_an_event_is_not_retried_beyond_its_age() -> None:
    account = Account(Function("f", max_event_age=100))
    account.warm(1)
    account.invoke("a", 10.0, "asynchronous")
    fails(account, 1, 11.0)
    assert account.ticks_until(71.0) == [(71.0, "Run 1 a")]
    fails(account, 1, 72.0)
    # The second retry would be at 192; its age is over at 110.
    assert account.ticks_until(600.0) == [(110.0, "a dropped")]


def test_an_event_that_grew_too_old_while_it_ran_is_given_up_at_once() -> None:
    account = Account(Function("f", max_event_age=60, timeout=900))
    account.warm(1)
    account.invoke("a", 0.0, "asynchronous")
    assert fails(account, 1, 61.0) == ["Freeze 1", "a dropped"]


@pytest.mark.parametrize(("destination", "outcome"), [(False, "dropped"), (True, "dead-lettered")])
def test_without_any_concurrency_it_is_given_up_without_a_retry(destination: bool, outcome: str) -> None:
    account = Account(Function("f", reserved=0, destination=destination))
    assert account.invoke("a", 1.0, "asynchronous") == [f"a {outcome}"]
    assert account.service.next_time() is None
