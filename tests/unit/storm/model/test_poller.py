"""The poller: batches, its ramp, redelivery after the visibility timeout, dead letters."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.storm.model.function import Function
from benchmarks.storm.model.poller import Message, Poller
from tests.unit.storm.model.account import Account


def polled(poller: Poller | None = None, **settings: Any) -> Account:
    account = Account(Function("f", **({"timeout": 5.0} | settings)))
    account.service.attach(poller or Poller("f", batch_size=2, visibility_timeout=30.0))
    return account


def busy(account: Account, messages: int, now: float = 0.0) -> None:
    """So many single messages, each in an environment of its own."""
    for number in range(1, messages + 1):
        assert account.send(f"m{number}", now) == [f"Start {number}"]
        account.initialised(number, now)


def test_a_message_goes_at_once_and_others_wait_for_a_place_to_fill_a_batch() -> None:
    account = polled()
    busy(account, 5)
    for body in ("x", "y", "z"):
        assert account.send(body, 0.1) == []
    assert account.service.unsettled == 8
    assert account.answered(1, 0.15) == ["Freeze 1", "m1 succeeded", "Run 1 x+y"]
    assert account.answered(2, 0.15) == ["Freeze 2", "m2 succeeded", "Run 2 z"]


def test_a_batch_tells_of_each_message_and_is_as_old_as_the_oldest() -> None:
    account = polled(Poller("f", batch_size=2, visibility_timeout=30.0, batch_window=1.0))
    account.service.send("f", "a", 10.0, 9.0)
    (start,) = account.service.send("f", "b", 10.5, 8.0)
    account.heard([start])
    invocation = account.environments[1].invocation
    assert invocation is not None
    assert invocation.event == (Message("a", 10.0, 9.0), Message("b", 10.5, 8.0))
    assert (invocation.kind, invocation.intended, invocation.queue) == ("poller", 8.0, "f")


def test_a_batch_window_waits_for_a_full_batch_or_its_end() -> None:
    account = polled(Poller("f", batch_size=3, visibility_timeout=30.0, batch_window=2.0))
    assert account.send("a", 0.0) == account.send("b", 1.0) == []
    assert account.service.next_time() == 2.0
    assert account.tick(2.0) == ["Start 1"]
    account.initialised(1, 2.1)
    assert account.send("c", 3.0) == account.send("d", 3.1) == []
    assert account.send("e", 3.2) == ["Start 2"]
    account.initialised(2, 3.3)
    assert account.answered(2, 3.4) == ["Freeze 2", "c+d+e succeeded"]


def test_five_at_once_then_300_more_a_minute() -> None:
    account = polled(Poller("f", batch_size=1, visibility_timeout=900.0), timeout=900.0)
    heard = [account.send(f"m{number}", 0.0) for number in range(400)]
    assert sum(len(each) for each in heard) == 5
    for number in range(1, 6):
        account.initialised(number, 0.0)
    first = account.ticks_until(0.2)
    assert first == [(0.2, "Start 6")]
    account.initialised(6, 0.2)
    starts = 6
    while (at := account.service.next_time()) is not None and at <= 60.0:
        for word in account.tick(at):
            starts += 1
            assert word == f"Start {starts}"
            account.initialised(starts, at)
    assert starts == 305


def test_at_most_its_maximum_concurrency() -> None:
    account = polled(
        Poller("f", batch_size=1, visibility_timeout=900.0, maximum_concurrency=2), timeout=900.0
    )
    assert account.send("a", 0.0) == ["Start 1"]
    assert account.send("b", 0.0) == ["Start 2"]
    account.initialised(1, 0.0)
    account.initialised(2, 0.0)
    assert account.send("c", 0.0) == []
    assert account.ticks_until(800.0) == []
    assert account.answered(1, 800.0) == ["Freeze 1", "a succeeded", "Run 1 c"]


def test_a_failed_batch_comes_back_after_the_visibility_timeout_counted_from_its_receipt() -> None:
    account = polled()
    account.send("a", 10.0)
    account.initialised(1, 11.0)
    assert account.answered(1, 12.0, failed=True) == ["Freeze 1"]
    invocation = account.service.unsettled
    assert invocation == 1
    assert account.ticks_until(40.0) == [(40.0, "Run 1 a")]
    again = account.environments[1].invocation
    assert again is not None
    assert again.attempt == 2
    assert account.answered(1, 41.0) == ["Freeze 1", "a succeeded"]
    assert account.service.unsettled == 0


def test_a_timed_out_batch_comes_back_too() -> None:
    account = polled()
    account.send("a", 0.0)
    account.initialised(1, 1.0)
    assert account.ticks_until(30.0) == [(6.0, "Reset 1 a"), (30.0, "Run 1 a initialise")]


def test_a_failure_frees_its_place_for_others_at_once() -> None:
    account = polled()
    busy(account, 5)
    account.send("x", 0.1)
    assert account.answered(1, 0.15, failed=True) == ["Freeze 1", "Run 1 x"]


def test_what_came_back_goes_before_what_is_new() -> None:
    account = polled(Poller("f", batch_size=1, visibility_timeout=5.0, maximum_concurrency=2))
    account.send("a", 0.0)
    account.send("b", 0.0)
    account.initialised(1, 0.0)
    account.answered(1, 1.0, failed=True)
    account.initialised(2, 3.0)
    assert account.send("c", 3.0) == ["Run 1 c"]
    account.send("d", 3.0)
    # a comes back while both places are taken.
    assert account.tick(5.0) == []
    assert account.answered(2, 5.5) == ["Freeze 2", "b succeeded", "Run 2 a"]
    assert account.answered(1, 5.5) == ["Freeze 1", "c succeeded", "Run 1 d"]


@pytest.mark.parametrize("receives", [1, 3])
def test_after_its_receives_a_batch_goes_to_the_dead_letter_queue(receives: int) -> None:
    account = polled(Poller("f", batch_size=1, visibility_timeout=30.0, max_receives=receives))
    account.send("a", 0.0)
    account.initialised(1, 0.0)
    for number in range(1, receives):
        account.answered(1, 30.0 * number - 29.0, failed=True)
        assert account.ticks_until(30.0 * number) == [(30.0 * number, "Run 1 a")]
    account.answered(1, 30.0 * receives - 29.0, failed=True)
    # Where it would have been received once more.
    assert account.ticks_until(30.0 * receives) == [(30.0 * receives, "a dead-lettered")]
    assert account.service.unsettled == 0


def test_without_a_dead_letter_queue_it_comes_back_until_the_queue_forgets_it() -> None:
    account = polled(Poller("f", batch_size=1, visibility_timeout=30.0, retention=60.0))
    account.send("a", 0.0)
    account.initialised(1, 0.0)
    account.answered(1, 1.0, failed=True)
    assert account.ticks_until(30.0) == [(30.0, "Run 1 a")]
    account.answered(1, 31.0, failed=True)
    assert account.ticks_until(60.0) == [(60.0, "a dropped")]


def test_a_throttled_batch_is_tried_again_until_it_is_visible_again() -> None:
    # All of its concurrency is provisioned, and never comes up.
    account = polled(
        Poller("f", batch_size=1, visibility_timeout=30.0, max_receives=2), reserved=2, provisioned=2
    )
    assert account.send("a", 0.0) == []
    times = []
    while (at := account.service.next_time()) is not None and at < 100.0:
        heard = account.tick(at)
        times.append(at)
    # The second receipt begins at 30 s.
    assert times == [1.0, 3.0, 7.0, 15.0, 30.0, 31.0, 33.0, 37.0, 45.0, 60.0]
    assert heard == ["a dead-lettered"]


def test_a_batch_that_was_throttled_until_it_is_visible_leaves_its_place() -> None:
    account = polled(
        Poller("f", batch_size=1, visibility_timeout=30.0, maximum_concurrency=2, max_receives=4),
        reserved=1,
        provisioned=1,
    )
    for body in "abc":
        account.send(body, 0.0)
    # Two at a time, four receipts of 30 s each, and c takes the place of a.
    assert account.ticks_until(600.0) == [
        (120.0, "a dead-lettered"),
        (120.0, "b dead-lettered"),
        (240.0, "c dead-lettered"),
    ]


def test_a_throttle_is_no_attempt_and_holds_its_place() -> None:
    account = polled(
        Poller("f", batch_size=1, visibility_timeout=30.0, maximum_concurrency=2), reserved=1, timeout=20.0
    )
    assert account.send("a", 0.0) == ["Start 1"]
    account.initialised(1, 0.0)
    assert account.send("b", 0.0) == []
    assert account.send("c", 0.0) == []
    account.answered(1, 0.5)
    # c took the place of a, and the environment; b has it after its next wait.
    assert account.environments[1].invocation is not None
    assert account.answered(1, 0.9) == ["Freeze 1", "c succeeded"]
    assert account.tick(1.0) == ["Run 1 b"]
    assert account.environments[1].invocation.attempt == 1


def test_messages_that_no_batch_has_taken_are_unsettled_too() -> None:
    account = polled()
    busy(account, 5)
    account.send("x", 0.1)
    assert account.service.unsettled == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 1 to 10,000 messages, not 0"),
        ({"batch_size": 11}, "batch_size above 10 needs a batch_window of at least 1 s"),
        ({"visibility_timeout": 43_201}, "visibility_timeout is 0 to 43,200 s, not 43201"),
        ({"batch_window": 301}, "batch_window is 0 to 300 s, not 301"),
        ({"retention": 59}, "retention is 60 to 1,209,600 s, not 59"),
        ({"maximum_concurrency": 1}, "maximum_concurrency is None or 2 to 1,000, not 1"),
        ({"maximum_concurrency": 1001}, "maximum_concurrency is None or 2 to 1,000, not 1001"),
        ({"max_receives": 0}, "max_receives is None or 1 to 1,000, not 0"),
    ],
)
def test_what_is_out_of_range_says_what_is_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Poller("f", **settings)


def test_large_batches_with_a_window_are_allowed() -> None:
    assert Poller("f", batch_size=10_000, batch_window=1.0).queue == "f"


def test_the_visibility_timeout_is_at_least_the_functions_timeout() -> None:
    account = Account(Function("f", timeout=31))
    with pytest.raises(ValueError, match=r"at least the timeout of f \(31 s\), not 30"):
        account.service.attach(Poller("f", visibility_timeout=30.0))


def test_two_queues_may_feed_one_function_but_one_queue_has_one_poller() -> None:
    account = polled(Poller("f", queue="first"))
    account.service.attach(Poller("f", queue="second"))
    with pytest.raises(ValueError, match="the queue first has a poller"):
        account.service.attach(Poller("f", queue="first"))
    assert account.send("a", 0.0, queue="first") == ["Start 1"]
    assert account.send("b", 0.0, queue="second") == ["Start 2"]
    account.initialised(1, 0.5)
    assert account.answered(1, 0.6) == ["Freeze 1", "a succeeded"]


def test_unknown_names() -> None:
    account = polled()
    with pytest.raises(ValueError, match="there is no function g, only f"):
        account.service.attach(Poller("g"))
    with pytest.raises(ValueError, match="there is no poller for the queue g"):
        account.send("a", 0.0, queue="g")
