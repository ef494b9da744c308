"""The synchronous caller: throttles and errors at once, no retry, and a gateway that gives up after 29 s."""

from __future__ import annotations

import math

import pytest

from benchmarks.storm.model.function import Function
from tests.unit.storm.model.account import Account


def test_a_throttle_is_heard_at_once_and_costs_nothing() -> None:
    account = Account(Function("f", reserved=1))
    account.invoke("a", 0.0)
    assert account.invoke("b", 0.1) == ["b throttled"]
    account.initialised(1, 0.5)
    account.answered(1, 1.0)
    assert (account.service.bill["f"].requests, account.service.unsettled) == (1, 0)


def test_an_error_is_heard_and_not_retried() -> None:
    account = Account(Function("f", retries=2))
    account.warm(1)
    account.invoke("a", 1.0)
    assert account.answered(1, 1.5, failed=True) == ["Freeze 1", "a failed"]
    assert [each for _, each in account.ticks_until(1e6)] == ["Shutdown 1 in 0"]


def test_the_gateway_gives_up_after_29_s_and_the_invocation_runs_on() -> None:
    account = Account(Function("f", timeout=60))
    account.invoke("a", 0.0)
    account.initialised(1, 5.0)
    assert account.ticks_until(28.9) == []
    assert account.ticks_until(29.0) == [(29.0, "a gateway timeout")]
    assert account.environments[1].state == "INVOKE"
    # Its end is nobody's any more; what it took is billed.
    assert account.answered(1, 40.0) == ["Freeze 1"]
    assert account.service.bill["f"].duration == 35_000


def test_a_timeout_after_the_gateways_is_nobodys_either() -> None:
    account = Account(Function("f", timeout=60))
    account.warm(1)
    account.invoke("a", 1.0)
    assert account.ticks_until(61.0) == [(30.0, "a gateway timeout"), (61.0, "Reset 1 a")]


def test_an_answered_invocation_has_no_gateway_timeout() -> None:
    account = Account(Function("f", timeout=60))
    account.warm(1)
    account.invoke("a", 1.0)
    account.answered(1, 2.0)
    assert account.ticks_until(100.0) == []


@pytest.mark.parametrize(("patience", "heard"), [(5.0, [(5.0, "a gateway timeout")]), (math.inf, [])])
def test_the_gateways_patience_is_a_parameter(patience: float, heard: list[tuple[float, str]]) -> None:
    account = Account(Function("f", timeout=900), gateway_timeout=patience)
    account.invoke("a", 0.0)
    account.initialised(1, 1.0)
    assert account.ticks_until(900.0) == heard


def test_latency_counts_from_the_intended_time_the_gateway_from_the_real_one() -> None:
    account = Account(Function("f", timeout=60))
    invocation, actions = account.service.invoke("f", "a", "synchronous", 10.0, 7.0)
    account.heard(actions)
    account.initialised(1, 11.0)
    assert (invocation.intended, invocation.accepted) == (7.0, 10.0)
    assert account.ticks_until(60.0) == [(39.0, "a gateway timeout")]
