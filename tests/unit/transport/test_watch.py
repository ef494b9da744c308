"""The watch: what was served late is told, how late, and once per stall."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from poolproxy.transport.watch import StallWatch
from tests.unit.transport.table import Table

PERIOD = 0.01


@pytest.fixture
def late() -> list[float]:
    """What the watch has told (seconds)."""
    return []


@pytest.fixture
def watch(table: Table, late: list[float]) -> Iterator[StallWatch]:
    watch = StallWatch(table.poller, PERIOD, late.append)
    yield watch
    watch.close()


def expired(watch: StallWatch, seconds: float) -> None:
    """Wait until the timer is due, and then that long without serving it."""
    assert select.select([watch.fd], [], [], 5)[0]
    select.select([], [], [], seconds)


def test_a_stall_of_several_periods_is_told_once_and_whole(
    table: Table, watch: StallWatch, late: list[float]
) -> None:
    watch.start()
    expired(watch, 5 * PERIOD)
    table.settle()
    assert len(late) == 1
    assert late[0] >= 5 * PERIOD
    assert watch.longest == late[0]


def test_after_a_stall_it_keeps_its_beat(table: Table, watch: StallWatch, late: list[float]) -> None:
    watch.start()
    expired(watch, 5 * PERIOD)
    table.settle()
    expired(watch, 0)
    table.settle()
    assert 0 <= late[1] < late[0]
    assert watch.longest == late[0]


def test_closed_it_tells_nothing_more(table: Table, watch: StallWatch, late: list[float]) -> None:
    watch.start()
    watch.close()
    assert watch.fd == -1
    table.settle()
    assert late == []
