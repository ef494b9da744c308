"""The ticker: a call in every period, one for all that it was late for, and what fails stops nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from poolproxy.transport.ticker import Ticker
from tests.unit.transport.table import Table

PERIOD = 0.01


@pytest.fixture
def moments() -> list[float]:
    """What it was called with."""
    return []


@pytest.fixture
def ticker(table: Table, moments: list[float]) -> Iterator[Ticker]:
    ticker = Ticker(table.poller, PERIOD, moments.append)
    yield ticker
    ticker.close()


def test_before_it_is_started_it_is_silent(table: Table, ticker: Ticker, moments: list[float]) -> None:
    table.poller.wait(3 * PERIOD)
    assert moments == []


def test_it_tells_the_time_in_every_period(table: Table, ticker: Ticker, moments: list[float]) -> None:
    began = time.monotonic()
    ticker.start()
    while len(moments) < 4:
        table.poller.wait(PERIOD)
    for number, moment in enumerate(moments, 1):
        assert began + number * PERIOD <= moment <= time.monotonic()


def test_what_it_was_late_for_is_one_call(table: Table, ticker: Ticker, moments: list[float]) -> None:
    ticker.start()
    time.sleep(5.5 * PERIOD)
    table.poller.wait(0.0)
    assert len(moments) == 1


def test_a_call_that_fails_is_told_and_the_next_one_made(table: Table) -> None:
    ticker = Ticker(table.poller, PERIOD, [].index)
    ticker.start()
    while len(table.errors) < 2:
        table.poller.wait(PERIOD)
    ticker.close()
    assert [(pollable, type(error)) for pollable, error in table.errors[:2]] == [(ticker, ValueError)] * 2


def test_closed_it_calls_no_more(table: Table, ticker: Ticker, moments: list[float]) -> None:
    ticker.start()
    ticker.close()
    table.poller.wait(3 * PERIOD)
    assert moments == []
