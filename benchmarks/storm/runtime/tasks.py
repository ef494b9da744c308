"""Environments as tasks of this process: thousands of them, for numbers.

What an environment opens it opens in a context of its own, so that its freeze stops reading its sockets and
its kill closes them. What cannot be had this way: a task that the handler left running goes on while it is
frozen, and a handler that blocks (a plain `def` runs in a thread) cannot be killed. Processes can do both.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any
from weakref import WeakSet

from benchmarks.storm.clients import HOLDINGS, METER, Holdings, Meter
from benchmarks.storm.clients.errors import gist, label
from benchmarks.storm.clock import Clock
from benchmarks.storm.context import Context
from benchmarks.storm.loading import Handler, HandlerSource
from benchmarks.storm.runtime.runtime import EXITED, Answer, Host, Killed, Request, Runtime


class Exited(Exception):
    """The code has ended its process, or would have."""


class TaskRuntime(Runtime):
    """See the module."""

    __slots__ = ("_clock", "_context", "_handler", "_holdings", "_source", "_task")

    def __init__(self, source: HandlerSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._holdings = Holdings()
        self._context = contextvars.copy_context()
        self._context.run(HOLDINGS.set, self._holdings)
        self._handler: Handler | None = None
        self._task: asyncio.Task[None] | None = None

    async def initialise(self) -> Answer:
        return await self._run(self._load())

    async def invoke(self, request: Request) -> Answer:
        context = Context(
            request.function,
            request.memory,
            request.invocation,
            self._clock.now() + request.remaining,
            self._clock.now,
            attempt=request.attempt,
            environment=request.environment,
        )
        return await self._run(self._call(request.event, context))

    def sessions(self) -> int:
        return len(self._holdings.sessions())

    def freeze(self) -> None:
        self._holdings.freeze()

    def thaw(self) -> None:
        self._holdings.thaw()

    def kill(self) -> None:
        self._holdings.kill()  # ahead of the cancellation: asyncpg would send a CancelRequest
        self._handler = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _load(self) -> None:
        self._handler = self._source.load()
        await self._handler.initialise()

    async def _call(self, event: object, context: Context) -> None:
        assert self._handler is not None, "INIT comes before INVOKE"
        await self._handler.invoke(event, context)

    async def _run(self, code: Coroutine[Any, Any, None]) -> Answer:
        """Run a piece of the environment's code to its end, and meter it."""
        meter = Meter()
        context = self._context.copy()
        context.run(METER.set, meter)
        loop = asyncio.get_running_loop()
        self._task = task = loop.create_task(_contained(code), context=context)
        over = asyncio.Event()  # as asyncio.wait has it, without the sets and timers of that
        task.add_done_callback(lambda _: over.set())
        try:
            await over.wait()
        except asyncio.CancelledError:  # the trial ends
            self.kill()
            raise
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self._task is not task:  # killed; another piece of code may run already
            raise Killed(meter)
        self._task = None
        if error is None:
            return Answer(meter=meter)
        if isinstance(error, Exited):
            self.kill()
            return Answer(True, EXITED, str(error), meter, exited=True)
        return Answer(True, label(error), gist(error), meter)


async def _contained(code: Coroutine[Any, Any, None]) -> None:
    """Code that wants to end its process ends its environment: asyncio would let it end all of them."""
    try:
        await code
    except SystemExit as error:
        raise Exited(f"Runtime exited with error: exit status {error.code}") from error


class TaskHost(Host):
    """Makes them all of the same code."""

    def __init__(self, source: HandlerSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._runtimes: WeakSet[TaskRuntime] = WeakSet()  # a long trial makes many, and lets go of them

    async def start(self) -> None:
        """Nothing need be made ready."""

    async def make(self) -> Runtime:
        runtime = TaskRuntime(self._source, self._clock)
        self._runtimes.add(runtime)
        return runtime

    async def close(self) -> None:
        for runtime in list(self._runtimes):
            runtime.kill()
        self._runtimes.clear()
