"""What runs side by side in a trial."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.storm.scenarios.scenario import Unable
from benchmarks.storm.trials import together


async def test_together_is_over_when_all_are() -> None:
    heard: list[str] = []

    async def first(event: asyncio.Event) -> None:
        await event.wait()
        heard.append("first")

    async def second(event: asyncio.Event) -> None:
        event.set()
        heard.append("second")

    event = asyncio.Event()
    await together(first(event), second(event))
    assert heard == ["second", "first"]


async def test_the_first_error_is_raised_as_it_is_and_ends_the_others() -> None:
    heard: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    async def fails() -> None:
        raise Unable("its database is not ours to restart")

    with pytest.raises(Unable, match="not ours to restart"):
        await together(waits(), fails())
    assert heard == ["cancelled"]
