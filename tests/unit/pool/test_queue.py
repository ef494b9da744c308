"""The queue of waiting clients: order, leaving from any place, and a list as its model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.pool.queue import Member, Queue, Waiter


def queue_of(count: int) -> tuple[Queue, list[Waiter]]:
    queue, waiters = Queue(), [Waiter() for _ in range(count)]
    for waiter in waiters:
        queue.push(waiter)
    return queue, waiters


def agree(queue: Queue, model: list[Waiter]) -> None:
    """The queue holds exactly these, in this order, and every view of it says so."""
    assert list(queue) == model
    assert queue.size() == len(queue) == len(model)
    assert queue.first is (model[0] if model else None)
    assert queue.last is (model[-1] if model else None)


def test_nobody_waits() -> None:
    agree(Queue(), [])


def test_first_come_first_served() -> None:
    queue, waiters = queue_of(3)
    agree(queue, waiters)
    while waiters:
        assert queue.first is waiters[0]
        queue.remove(waiters.pop(0))
        agree(queue, waiters)


@pytest.mark.parametrize("place", range(5))
def test_anyone_may_leave(place: int) -> None:
    queue, waiters = queue_of(5)
    queue.remove(waiters.pop(place))
    agree(queue, waiters)


def test_who_left_may_queue_again_behind_everyone() -> None:
    queue, (first, second, third) = queue_of(3)
    queue.remove(first)
    queue.push(first)
    agree(queue, [second, third, first])


def test_who_left_holds_nobody() -> None:
    """No reference remains: a client that is gone is not kept alive by those it queued with."""
    queue, (first, second, third) = queue_of(3)
    queue.remove(second)
    assert second._ahead is second._behind is None
    agree(queue, [first, third])


def test_the_last_one_leaves_an_empty_queue_that_works() -> None:
    queue, (only,) = queue_of(1)
    queue.remove(only)
    agree(queue, [])
    queue.push(only)
    agree(queue, [only])


def test_a_waiter_must_say_what_it_does_when_its_turn_comes() -> None:
    with pytest.raises(NotImplementedError):
        Waiter().granted(Member())


@given(st.lists(st.integers(0, 7), max_size=60))
def test_it_is_a_list_out_of_which_anyone_may_leave(steps: list[int]) -> None:
    """Each number is a client that queues when it does not, and leaves when it does."""
    clients = [Waiter() for _ in range(8)]
    queue, model = Queue(), list[Waiter]()
    for step in steps:
        client = clients[step]
        if client in model:
            model.remove(client)
            queue.remove(client)
        else:
            model.append(client)
            queue.push(client)
        agree(queue, model)
