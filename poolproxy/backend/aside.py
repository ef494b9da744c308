"""Calls that would hold the event loop, each in a thread that ends with it.

Not in the loop's own pools: their threads stay for ever, and in a process of several threads the kernel
counts references to each descriptor that a system call names: every message would pay for them
(benchmarks/PROFILES.md). For what is rare: names that are looked up, passwords that are stretched.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def aside(call: Callable[[], T]) -> asyncio.Future[T]:
    """What `call` returns or raises. A future that was cancelled is not told; its call runs to its end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T) -> None:
        if not future.done():
            future.set_result(result)

    def fail(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    def body() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            try:
                result = call()
            except BaseException as error:
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(deliver, result)

    threading.Thread(target=body, name="aside", daemon=True).start()
    return future
