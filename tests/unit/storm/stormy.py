"""A storm without a network: the real model and runner, and environments that do what a test says.

Time is virtual (`virtual_time`). What the platform does to a runtime, and what its code
does, is kept as words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.storm.clients import Meter
from benchmarks.storm.clock import Clock
from benchmarks.storm.live import Progress
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation, Kind
from benchmarks.storm.model.service import Service
from benchmarks.storm.recorder import Recorder
from benchmarks.storm.runner import Storm
from benchmarks.storm.runtime.runtime import Answer, Host, Killed, Request, Runtime
from tests.unit.storm.virtual_time import loop_time

INIT, INVOKE = "INIT", "INVOKE"
NEVER = float("inf")


@dataclass
class Piece:
    """What a piece of code does: takes so many Lambda seconds, and gives this answer."""

    seconds: float = 0.0
    answer: Answer | None = None


class FakeRuntime(Runtime):
    """Its code runs until it is time, until `finish`, or until it is killed."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.heard: list[str] = []
        self.requests: list[Request] = []
        self.open = 1  #: sessions
        self._over: asyncio.Future[Answer] | None = None

    async def initialise(self) -> Answer:
        return await self._run(INIT, INIT)

    async def invoke(self, request: Request) -> Answer:
        self.requests.append(request)
        return await self._run(INVOKE, f"{INVOKE} {request.event}")

    def finish(self, answer: Answer | None = None) -> None:
        """Its code is done, now."""
        assert self._over is not None
        self._over.set_result(answer or Answer())

    def sessions(self) -> int:
        return self.open

    def freeze(self) -> None:
        self.heard.append("freeze")

    def thaw(self) -> None:
        self.heard.append("thaw")

    def kill(self) -> None:
        self.heard.append("kill")
        self.open = 0
        if self._over is not None and not self._over.done():
            self._over.set_exception(Killed(self.host.cut_off))

    async def _run(self, kind: str, words: str) -> Answer:
        self.heard.append(words)
        piece = self.host.next(kind)
        over: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._over = over
        timeout = None if piece.seconds == NEVER else piece.seconds / self.host.scale
        done, _ = await asyncio.wait([over], timeout=timeout)
        if done:
            return over.result()
        return piece.answer or Answer()


class FakeHost(Host):
    """`script` has what the next pieces of code do, by their kind; after that they take no time."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.script: dict[str, list[Piece]] = {INIT: [], INVOKE: []}
        self.made: list[FakeRuntime] = []
        self.refuses: Exception | None = None
        self.cut_off = Meter()  #: of code that is killed
        self.closed = 0

    def next(self, kind: str) -> Piece:
        return self.script[kind].pop(0) if self.script[kind] else Piece()

    def does(self, kind: str, *seconds: float, answer: Answer | None = None) -> None:
        """The next pieces of this kind take so long."""
        self.script[kind] += [Piece(each, answer) for each in seconds]

    async def start(self) -> None:
        """It is ready."""

    async def make(self) -> Runtime:
        if self.refuses is not None:
            raise self.refuses
        runtime = FakeRuntime(self)
        self.made.append(runtime)
        return runtime

    async def close(self) -> None:
        self.closed += 1


@dataclass(frozen=True)
class Sent:
    """An arrival."""

    intended: float
    name: str = "a"
    kind: Kind = "synchronous"
    function: str = "f"

    def event(self) -> object:
        return self.name


class Weather:
    """A storm of one function, and all that is about it. To be made within a loop of virtual time."""

    def __init__(
        self,
        scale: float = 1.0,
        work: Callable[[Invocation], float] = lambda _: 0.0,
        service: Callable[..., Service] = Service,
        name: str = "f",
        **settings: Any,
    ) -> None:
        self.name = name
        self.clock = Clock(scale, loop_time)
        self.host = FakeHost(scale)
        self.progress = Progress("test", "nobody", 1, 1)
        self.recorder = Recorder(self.progress, scale, lambda invocation: invocation.function.name)
        self.service = service([Function(name, **{"timeout": 30.0, "memory": 1769, **settings})])
        self.storm = Storm(self.service, {name: self.host}, self.clock, self.recorder, work)

    @property
    def outcomes(self) -> dict[str, int]:
        return self.progress.outcomes

    @property
    def heard(self) -> list[list[str]]:
        """Of every runtime, in the order in which they were made."""
        return [runtime.heard for runtime in self.host.made]

    async def send(self, *arrivals: Sent, patience: float = 1000.0) -> None:
        await self.storm.send(arrivals, patience)

    def invoke(self, name: str) -> None:
        """Here and now, and nobody waits for the end."""
        now = self.clock.now()
        self.storm.perform(self.service.invoke(self.name, name, "synchronous", now, now)[1])

    async def warm(self, names: Iterable[str] = "w") -> None:
        """Environments that stand frozen, whose words so far are forgotten."""
        names = list(names)
        self.host.does(INVOKE, *(1.0 for _ in names))
        await self.send(*(Sent(self.clock.now(), name) for name in names))
        for runtime in self.host.made:
            runtime.heard.clear()
