"""INIT, INVOKE, FREEZE, THAW, SHUTDOWN, and the walls between them, as dialogues with an account."""

from __future__ import annotations

import pytest

from benchmarks.storm.model.function import Function
from tests.unit.storm.model.account import Account


def test_a_cold_start_then_warm_ones() -> None:
    account = Account(Function("f"))
    assert account.invoke("a", 0.0) == ["Start 1"]
    assert 0.05 < account.starts[1] < 0.5
    assert account.initialised(1, 0.4) == ["Run 1 a cold"]
    assert account.answered(1, 0.5) == ["Freeze 1", "a succeeded"]
    assert account.invoke("b", 9.0) == ["Run 1 b"]
    assert account.answered(1, 9.1, failed=True) == ["Freeze 1", "b failed"]
    assert account.environments[1].used == 2
    assert repr(account.service) == "<Service 0 unsettled: <Fleet f: 0 INIT, 0 INVOKE, 1 FROZEN>>"


def test_one_event_at_a_time() -> None:
    account = Account(Function("f"))
    account.warm(1)
    assert account.invoke("a", 1.0) == ["Run 1 a"]
    assert account.invoke("b", 1.0) == ["Start 2"]
    # Who starts for b keeps it, even if another is free before.
    assert account.answered(1, 1.1) == ["Freeze 1", "a succeeded"]
    assert account.initialised(2, 1.5) == ["Run 2 b cold"]


def test_the_one_used_last_is_used_next() -> None:
    account = Account(Function("f"))
    for number, event in enumerate("abc", 1):
        account.invoke(event, 0.0)
        account.initialised(number, 1.0)
    for number in (2, 3, 1):
        account.answered(number, 2.0)
    assert [account.invoke(event, 3.0) for event in "xyz"] == [["Run 1 x"], ["Run 3 y"], ["Run 2 z"]]


def test_the_timeout_wall_counts_from_the_run_and_not_from_init() -> None:
    account = Account(Function("f", timeout=3))
    account.invoke("a", 0.0)
    account.initialised(1, 5.0)
    assert account.environments[1].invocation is not None
    assert account.environments[1].invocation.deadline == 8.0
    assert account.service.next_time() == 8.0
    assert account.tick(7.999) == []
    assert account.tick(8.0) == ["Reset 1 a", "a timed out"]
    bill = account.service.bill["f"]
    assert (bill.requests, bill.duration) == (1, 3000)


def test_after_the_wall_the_same_environment_initialises_inside_its_next_run() -> None:
    account = Account(Function("f", timeout=3))
    account.warm(1)
    account.invoke("a", 1.0)
    assert account.tick(4.0) == ["Reset 1 a", "a timed out"]
    assert account.environments[1].state == "FROZEN"
    assert account.invoke("b", 5.0) == ["Run 1 b initialise"]
    # Also that is under the function's timeout.
    assert account.tick(8.0) == ["Reset 1 b", "b timed out"]
    assert account.invoke("c", 9.0) == ["Run 1 c initialise"]
    assert account.answered(1, 9.5) == ["Freeze 1", "c succeeded"]
    assert account.invoke("d", 10.0) == ["Run 1 d"]


def test_an_answer_at_the_wall_is_too_late() -> None:
    account = Account(Function("f", timeout=3))
    account.warm(1)
    account.invoke("a", 1.0)
    assert account.answered(1, 4.0) == ["Reset 1 a", "a timed out"]
    account.invoke("b", 5.0)
    assert account.answered(1, 7.999) == ["Freeze 1", "b succeeded"]


def test_a_late_tick_bills_no_more_than_the_timeout() -> None:
    account = Account(Function("f", timeout=3))
    account.warm(1)
    account.invoke("a", 1.0)
    account.tick(100.0)
    assert account.service.bill["f"].duration == 3000


def test_reports_about_what_is_over_change_nothing() -> None:
    account = Account(Function("f", timeout=3))
    account.warm(1)
    account.invoke("a", 1.0)
    account.tick(4.0)
    assert account.answered(1, 4.1) == []
    assert account.initialised(1, 4.1) == []
    account.deploy(5.0)
    assert account.answered(1, 5.1) == account.crashed(1, 5.1) == account.initialised(1, 5.1) == []
    assert account.service.bill["f"].requests == 2


def test_a_crash_fails_the_run_and_initialises_the_next() -> None:
    account = Account(Function("f"))
    account.warm(1)
    account.invoke("a", 1.0)
    assert account.crashed(1, 1.25) == ["a failed"]
    assert account.service.bill["f"].duration == 250
    assert account.invoke("b", 2.0) == ["Run 1 b initialise"]


def test_a_crash_while_frozen_shows_at_the_next_run() -> None:
    account = Account(Function("f"))
    account.warm(1)
    assert account.crashed(1, 1.0) == []
    assert account.invoke("a", 2.0) == ["Run 1 a initialise"]


def test_init_that_fails_is_run_again_in_the_first_invoke() -> None:
    account = Account(Function("f", timeout=3))
    account.invoke("a", 0.0)
    assert account.initialised(1, 0.5, failed=True) == ["Run 1 a cold initialise"]
    assert account.tick(3.5) == ["Reset 1 a", "a timed out"]


def test_a_crash_in_init_is_a_failed_init() -> None:
    account = Account(Function("f"))
    account.invoke("a", 0.0)
    assert account.crashed(1, 0.5) == ["Run 1 a cold initialise"]
    assert account.answered(1, 0.75) == ["Freeze 1", "a succeeded"]


def test_init_has_10_s_after_the_download_and_is_then_run_again_under_the_timeout() -> None:
    account = Account(Function("f", timeout=3))
    account.invoke("a", 0.0)
    wall = 10.0 + account.environments[1].cold_start.download
    assert account.service.next_time() == wall
    assert account.tick(wall) == ["Reset 1 a", "Run 1 a cold initialise"]
    assert account.tick(wall + 3.0) == ["Reset 1 a", "a timed out"]
    bill = account.service.bill["f"]
    assert (bill.init, bill.duration, bill.requests) == (10_000, 3000, 1)


def test_init_that_is_reported_at_its_wall_has_overrun() -> None:
    account = Account(Function("f"))
    account.invoke("a", 0.0)
    assert account.initialised(1, 11.0) == ["Reset 1 a", "Run 1 a cold initialise"]
    assert account.service.bill["f"].init == 10_000


def test_init_is_billed_without_the_download() -> None:
    account = Account(Function("f"))
    account.invoke("a", 0.0)
    account.initialised(1, account.environments[1].cold_start.download + 0.25)
    assert account.service.bill["f"].init == 250


def test_a_frozen_environment_is_reaped() -> None:
    account = Account(Function("f"), idle_seconds=600)
    account.warm(1, now=10.0)
    assert account.service.next_time() == 610.0
    assert account.tick(609.9) == []
    assert account.tick(610.0) == ["Shutdown 1 in 0"]
    assert account.invoke("a", 611.0) == ["Start 2"]


def test_use_makes_it_young_again() -> None:
    account = Account(Function("f"), idle_seconds=600)
    account.warm(1, now=10.0)
    account.invoke("a", 609.0)
    account.answered(1, 610.0)
    assert account.tick(1209.0) == []
    assert account.tick(1210.0) == ["Shutdown 1 in 0"]


@pytest.mark.parametrize(("extension", "grace"), [(False, "0"), (True, "2")])
def test_only_an_external_extension_gets_a_goodbye(extension: bool, grace: str) -> None:
    account = Account(Function("f", extension=extension))
    account.warm(1)
    assert account.deploy(1.0) == [f"Shutdown 1 in {grace}"]


def test_environments_are_recycled_though_they_are_used() -> None:
    account = Account(Function("f", timeout=900), idle_seconds=1e6, lifetime=1000)
    account.warm(1)
    account.invoke("a", 700.0, "asynchronous")
    heard = account.ticks_until(1250.0)
    # Between 750 and 1250 s its time has come: nothing at once, but it is not frozen any more.
    assert heard == []
    assert account.environments[1].retired
    assert account.answered(1, 1260.0) == ["Shutdown 1 in 0", "a succeeded"]


def test_lifetimes_are_spread() -> None:
    account = Account(Function("f"), idle_seconds=1e6, lifetime=1000)
    for number in range(1, 101):
        account.invoke(number, 0.0)
        account.initialised(number, 0.2)
    for number in range(1, 101):
        account.answered(number, 0.3)
    ends = [at for at, _ in account.ticks_until(1e5)]
    assert len(ends) == 100
    assert 750 <= ends[0] < 800
    assert 1200 < ends[-1] <= 1250


def test_a_deployment_replaces_idle_ones_at_once_and_busy_ones_when_they_are_done() -> None:
    account = Account(Function("f"))
    for number, event in enumerate("abc", 1):
        account.invoke(event, 0.0)
        if number < 3:
            account.initialised(number, 0.5)
    account.answered(1, 1.0)
    assert account.deploy(2.0) == ["Shutdown 1 in 0"]
    assert account.invoke("d", 2.1) == ["Start 4"]
    assert account.answered(2, 2.2) == ["Shutdown 2 in 0", "b succeeded"]
    assert account.initialised(3, 2.3) == ["Run 3 c cold"]
    assert account.answered(3, 2.4) == ["Shutdown 3 in 0", "c succeeded"]
    # The new code stays.
    account.initialised(4, 2.5)
    assert account.answered(4, 2.6) == ["Freeze 4", "d succeeded"]


def test_a_retired_environment_at_its_wall_is_reset_and_shut_down() -> None:
    account = Account(Function("f", timeout=3))
    account.warm(1)
    account.invoke("a", 1.0)
    account.deploy(2.0)
    assert account.tick(4.0) == ["Reset 1 a", "Shutdown 1 in 0", "a timed out"]


def test_provisioned_environments_are_started_before_anybody_comes() -> None:
    account = Account(Function("f", provisioned=2))
    assert account.begin(0.0) == ["Start 1 provisioned", "Start 2 provisioned"]
    assert account.initialised(1, 0.5) == ["Freeze 1"]
    # One is still in INIT, and serves nobody: the next goes to the one that is ready, then spills over.
    assert account.invoke("a", 1.0) == ["Run 1 a"]
    assert account.invoke("b", 1.0) == ["Start 3"]
    assert account.service.in_flight == 2
    assert account.initialised(2, 1.1) == ["Freeze 2"]
    assert account.invoke("c", 1.2) == ["Run 2 c"]


def test_provisioned_ones_are_used_before_warm_ones_on_demand() -> None:
    account = Account(Function("f", provisioned=1))
    account.begin(0.0)
    account.initialised(1, 0.5)
    account.invoke("a", 1.0)
    account.invoke("b", 1.0)
    account.initialised(2, 1.5)
    account.answered(1, 2.0)
    account.answered(2, 3.0)
    assert account.invoke("c", 4.0) == ["Run 1 c"]
    assert account.invoke("d", 4.0) == ["Run 2 d"]


def test_provisioned_ones_are_not_reaped_but_recycled_and_replaced() -> None:
    account = Account(Function("f", provisioned=1), idle_seconds=10, lifetime=1000)
    account.begin(0.0)
    account.initialised(1, 0.5)
    ((at, first), (_, second)) = account.ticks_until(1250.0)[:2]
    assert 750 <= at <= 1250
    assert [first, second] == ["Shutdown 1 in 0", "Start 2 provisioned"]


def test_a_deployment_replaces_provisioned_ones() -> None:
    account = Account(Function("f", provisioned=2))
    account.begin(0.0)
    account.initialised(1, 0.5)
    account.initialised(2, 0.5)
    account.invoke("a", 1.0)
    assert account.deploy(2.0) == ["Shutdown 1 in 0", "Start 3 provisioned"]
    assert account.answered(2, 3.0) == ["Shutdown 2 in 0", "Start 4 provisioned", "a succeeded"]


def test_provisioned_init_may_take_130_s_or_the_timeout() -> None:
    account = Account(Function("f", provisioned=1, timeout=30), Function("g", provisioned=1, timeout=200))
    account.begin(0.0)
    walls = [
        limit + account.environments[number].cold_start.download for number, limit in ((1, 130), (2, 200))
    ]
    assert account.tick(min(walls) - 0.001) == []
    assert account.tick(walls[0]) == ["Reset 1 nobody"]
    assert account.tick(walls[1]) == ["Reset 2 nobody"]
    assert account.invoke("a", walls[1]) == ["Run 1 a initialise"]
    bill = account.service.bill
    assert [bill[name].provisioned_init for name in "fg"] == [130_000, 200_000]


def test_more_provisioned_than_1000_come_at_the_scaling_rate() -> None:
    account = Account(Function("f", provisioned=1250), account_limit=2000)
    assert len(account.begin(0.0)) == 1000
    heard = account.ticks_until(2.5)
    assert len(heard) == 250
    assert heard[0][0] == pytest.approx(0.01)
    assert heard[-1][0] == pytest.approx(2.5)
    assert heard[-1][1] == "Start 1250 provisioned"


def test_what_runs_on_provisioned_concurrency_is_billed_as_such() -> None:
    account = Account(Function("f", provisioned=1))
    account.begin(0.0)
    account.initialised(1, account.environments[1].cold_start.download + 0.1)
    account.invoke("a", 1.0)
    account.answered(1, 1.5)
    bill = account.service.bill["f"]
    assert (bill.provisioned_init, bill.provisioned_duration, bill.duration) == (100, 500, 0)
