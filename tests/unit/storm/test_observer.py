"""The observer while PostgreSQL goes away and comes back."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from benchmarks.storm.clock import Clock
from benchmarks.storm.observer import Observer
from benchmarks.storm.results import UNKNOWN


class Endpoint:
    """Tells nothing."""

    async def waiting(self) -> int:
        return UNKNOWN

    def cpu(self) -> float:
        return UNKNOWN

    def memory(self) -> int:
        return UNKNOWN


class Connection:
    """Answers, or raises what it was given; it never says of itself that it is closed."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self.terminated = False

    def is_closed(self) -> bool:
        return False

    def terminate(self) -> None:
        self.terminated = True

    async def close(self, timeout: float) -> None:
        self.terminated = True

    async def fetchrow(self, sql: str, user: str, timeout: float) -> tuple[int, int]:
        if self._error is not None:
            raise self._error
        return 20, 3


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("it restarts"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("another operation (2) is in progress"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_connection_that_failed_is_not_asked_again(error: Exception) -> None:
    """asyncpg may think of it as open, and busy, for a while."""
    broken, sound = Connection(error), Connection(None)
    coming = iter([broken, sound])

    async def connect() -> Any:
        return next(coming)

    observer = Observer(Endpoint(), "app", connect, Clock())
    assert await observer.servers() == (UNKNOWN, UNKNOWN)
    assert broken.terminated
    assert await observer.servers() == (20, 3)
    await observer.close()
    assert sound.terminated


async def test_where_nobody_may_look_nothing_is_known() -> None:
    assert await Observer(Endpoint(), "app", None, Clock()).servers() == (UNKNOWN, UNKNOWN)
