"""How a trial begins, and what runs side by side in it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from benchmarks.storm import trials
from benchmarks.storm.clock import Clock
from benchmarks.storm.endpoints import External
from benchmarks.storm.runtime.forks import HostFailed
from benchmarks.storm.scenarios import SCENARIOS
from benchmarks.storm.scenarios.scenario import Unable
from benchmarks.storm.trials import Ground, Manner, Order, together
from tests.unit.storm.stormy import FakeHost


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


class Begun(Exception):
    """The time of the trial has begun: that is all that is to be seen."""


async def begin(monkeypatch: pytest.MonkeyPatch, hosts: dict[str, FakeHost], heard: list[str]) -> None:
    """A trial up to its first moment."""

    class Watched(Clock):
        def begin(self) -> None:
            heard.append("begin")
            raise Begun

    nobody = cast("Any", None)
    monkeypatch.setattr(trials, "Clock", Watched)
    monkeypatch.setattr(trials, "_hosts", lambda *_: hosts)
    ramp = SCENARIOS["ramp"](True, 20)
    endpoint = External("mine", "postgres://me@db.example/shop")
    ground = Ground(cast("Any", None))
    await trials._storm(Order(ramp, endpoint, ground, Manner()), nobody)


class Slow(FakeHost):
    """Tells when it is ready; one without a name never is."""

    def __init__(self, name: str, heard: list[str]) -> None:
        super().__init__(1.0)
        self._name = name
        self._heard = heard

    async def start(self) -> None:
        if not self._name:
            raise HostFailed("no zygote")
        await asyncio.sleep(0)
        self._heard.append(self._name)

    async def close(self) -> None:
        self._heard.append(f"close {self._name}".strip())


async def test_the_clock_begins_when_all_hosts_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    with pytest.raises(Begun):
        await begin(monkeypatch, {name: Slow(name, heard) for name in "ab"}, heard)
    assert heard == ["a", "b", "begin", "close b", "close a"]


async def test_a_host_that_does_not_start_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    with pytest.raises(HostFailed, match="no zygote"):
        await begin(monkeypatch, {"a": Slow("a", heard), "b": Slow("", heard)}, heard)
    assert heard == ["a", "close", "close a"]
