"""Waiting for a condition, with a deadline: the only place where tests sleep, and never for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], what: str, timeout: float = 10.0) -> T:
    """The first true value of `probe`, asked again and again; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.001  # most of what is waited for is there in a moment
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last: {value!r})")
        time.sleep(pause)
        pause = min(2 * pause, 0.01)


async def soon(probe: Callable[[], T], what: str, timeout: float = 10.0) -> T:
    """`eventually`, in a thread: the event loop goes on meanwhile."""
    return await asyncio.to_thread(eventually, probe, what, timeout)
