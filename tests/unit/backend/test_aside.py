"""Calls in a thread of their own: what they return, what they raise, and that no thread stays."""

from __future__ import annotations

import asyncio
import threading

import pytest

from poolproxy.backend.aside import aside


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aside"]


async def test_what_the_call_returns_comes_from_another_thread() -> None:
    assert await aside(threading.get_ident) != threading.get_ident()


async def test_what_the_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0)


async def test_no_thread_stays() -> None:
    await asyncio.gather(*(aside(int) for _ in range(5)))
    for thread in helpers():
        thread.join(5)
    assert helpers() == []


@pytest.mark.parametrize("call", [int, lambda: 1 // 0], ids=["returns", "raises"])
async def test_who_no_longer_waits_is_not_told(call: object) -> None:
    go = threading.Event()

    def patiently() -> object:
        go.wait(5)
        assert callable(call)
        return call()

    future = aside(patiently)
    future.cancel()
    (thread,) = helpers()
    go.set()
    thread.join(5)
    await asyncio.sleep(0)  # what the thread left for the loop runs, and finds the future done
    assert future.cancelled()


def test_a_loop_that_has_closed_is_left_alone(recwarn: pytest.WarningsRecorder) -> None:
    go = threading.Event()

    async def leave() -> None:
        aside(lambda: go.wait(5))

    asyncio.run(leave())
    (thread,) = helpers()
    go.set()
    thread.join(5)
    assert not list(recwarn)
