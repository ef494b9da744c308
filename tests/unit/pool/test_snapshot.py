"""What metrics see of a pool: its state now, under names, and nothing that lives on."""

from __future__ import annotations

import dataclasses

import pytest

from poolproxy.pool.snapshot import DatabaseSnapshot, PoolSnapshot, ProcessSnapshot
from poolproxy.session.lifecycle import SERVER_RESETTING
from tests.unit.pool.parties import arrived, connected, pool_of, served


def test_an_unused_pool() -> None:
    pool = pool_of(pool_size=7)
    assert pool.snapshot(5.0) == PoolSnapshot(
        database="shop",
        user="app",
        clients={"idle": 0, "waiting": 0, "active": 0},
        servers={"connecting": 0, "idle": 0, "active": 0, "resetting": 0},
        pinned={},
        longest_wait=0.0,
        listeners=0,
        pool_size=7,
        up=True,
        counters=pool.counters,
    )


def test_everyone_is_seen_where_they_are() -> None:
    pool = pool_of(pool_size=4)
    for _ in range(3):
        connected(pool)
    _, pinned = served(pool)
    pool.pinned(pinned, "listen", 1.0)
    _, left = served(pool)
    pool.move_server(left, SERVER_RESETTING)
    pool.connecting = 1
    arrived(pool)
    seen = pool.snapshot(2.0)
    assert seen.servers == {"connecting": 1, "idle": 1, "active": 1, "resetting": 1}
    assert seen.clients == {"idle": 1, "waiting": 0, "active": 2}
    assert seen.pinned == {"listen": 1}


def test_pins_that_have_ended_are_not_seen() -> None:
    pool = pool_of()
    connected(pool)
    _, server = served(pool)
    pool.pinned(server, "listen", 1.0)
    pool.unpinned(server, 2.0)
    assert pool.snapshot(3.0).pinned == {}


def test_the_first_in_the_queue_has_waited_longest() -> None:
    pool = pool_of()
    pool.borrow(arrived(pool), 10.0)
    pool.borrow(arrived(pool), 12.0)
    assert pool.snapshot(15.0).longest_wait == 5.0


def test_a_pool_whose_last_attempt_failed_is_down() -> None:
    pool = pool_of()
    pool.up = False
    assert not pool.snapshot(0.0).up


def test_what_happens_later_is_not_in_it() -> None:
    pool = pool_of()
    before = pool.snapshot(0.0)
    connected(pool)
    arrived(pool)
    pool.pins["listen"] = 1
    assert before.servers["idle"] == before.clients["idle"] == 0
    assert before.pinned == {}


@pytest.mark.parametrize("kind", [PoolSnapshot, DatabaseSnapshot, ProcessSnapshot])
def test_nobody_can_write_to_them(kind: type) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
