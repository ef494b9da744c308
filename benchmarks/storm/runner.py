"""A storm under way: arrivals go into the model, and what the model decides is done to real environments.

The only place where model and machine meet. One event loop: every action is a task that ends by telling the
model, and what the model then decides is done in turn. Must not know targets, scenarios or reports.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast
from uuid import UUID

from benchmarks.storm.clients import Meter
from benchmarks.storm.clock import Clock
from benchmarks.storm.events import sqs_batch, sqs_message
from benchmarks.storm.model import actions
from benchmarks.storm.model.environment import INIT, Environment
from benchmarks.storm.model.invocation import Invocation, Kind
from benchmarks.storm.model.poller import Message
from benchmarks.storm.model.service import Service
from benchmarks.storm.recorder import Recorder
from benchmarks.storm.runtime.runtime import Host, Killed, Request, Runtime

NEVER: Final = float("inf")


class Arrival(Protocol):
    """One event that somebody sends: what is invoked, or the queue it is put into, when, and how."""

    @property
    def function(self) -> str: ...
    @property
    def intended(self) -> float: ...
    @property
    def kind(self) -> Kind: ...
    def event(self) -> object: ...


class Storm:
    """One trial. `hosts` make the runtimes of each function, by its name. `work` tells how many Lambda
    seconds of other work than with the database an attempt has left when its handler is done (a picture is
    scaled, another service asked)."""

    def __init__(
        self,
        service: Service,
        hosts: dict[str, Host],
        clock: Clock,
        recorder: Recorder,
        work: Callable[[Invocation], float] = lambda _: 0.0,
    ) -> None:
        self.service = service
        self.clock = clock
        self.recorder = recorder
        self._runtimes: dict[int, asyncio.Future[Runtime]] = {}  # of those that live, by their number
        self._hosts = hosts
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        self.perform(self.service.begin(self.clock.now()))
        self._spawn(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill every environment. Nothing is told to the model any more. Raises what went wrong in here, if
        nothing else has."""
        doing = list(self._tasks)
        for task in doing:
            task.cancel()
        if doing:
            await asyncio.wait(doing)
        for host in self._hosts.values():
            await host.close()
        self._runtimes.clear()
        if error is None:
            self._check()

    async def send(self, arrivals: Iterable[Arrival], patience: float) -> None:
        """Send all of them, each at its time, and wait until every invocation has settled, at most so many
        Lambda seconds after the last. Raises what went wrong in here, never what a handler raised."""
        for arrival in arrivals:
            await self.clock.sleep_until(arrival.intended)
            self._send(arrival)
            self._check()
        deadline = self.clock.now() + patience
        while self.service.unsettled and self.clock.now() < deadline:
            await self._wait(min(deadline, self.clock.now() + self.clock.scale))
            self._check()

    def perform(self, decided: Iterable[actions.Action]) -> None:
        """Do what the model wants done."""
        for action in decided:
            match action:
                case actions.Start():
                    environment = action.environment
                    making = self._hosts[environment.function.name].make()
                    self._runtimes[environment.id] = asyncio.ensure_future(making)
                    self._spawn(self._start(action))
                case actions.Run():
                    self._spawn(self._invoke(action))
                case actions.Freeze():
                    self._with_runtime(action.environment, lambda runtime: runtime.freeze())
                case actions.Reset():
                    self._with_runtime(action.environment, lambda runtime: runtime.kill())
                case actions.Shutdown():
                    self._spawn(self._shut_down(action))
                case actions.Settled():
                    self.recorder.settled(action.invocation, action.outcome, self.clock.now())
        self._changed.set()

    def clients(self) -> int:
        """Connections that environments hold open."""
        return sum(runtime.sessions() for runtime in self.runtimes().values())

    def runtimes(self) -> dict[int, Runtime]:
        """Those of the environments that live, by their number."""
        return {number: made.result() for number, made in self._runtimes.items() if _is_there(made)}

    def environments(self) -> list[Environment]:
        """Those that live."""
        return [each for fleet in self.service.fleets.values() for each in fleet]

    def crash(self, environment: Environment) -> None:
        """Kill its runtime, as the kernel does when its memory is full: the model hears of it afterwards."""
        self._with_runtime(environment, lambda runtime: runtime.kill())
        self.perform(self.service.crashed(environment, self.clock.now()))

    def _send(self, arrival: Arrival) -> None:
        now, event = self.clock.now(), arrival.event()
        self.recorder.sent((now - arrival.intended) / self.clock.scale)
        if arrival.kind == "poller":
            self.perform(self.service.send(arrival.function, event, now, arrival.intended))
        else:
            _, decided = self.service.invoke(arrival.function, event, arrival.kind, now, arrival.intended)
            self.perform(decided)

    async def _start(self, action: actions.Start) -> None:
        environment = action.environment
        runtime = await self._runtimes[environment.id]
        await self.clock.sleep(action.seconds)
        if environment.state != INIT or environment.initialise:
            return  # it is gone, or INIT has taken too long: the model knows
        try:
            answer = await runtime.initialise()
        except Killed:
            return  # INIT took too long: the model knows, it has said so
        self.recorder.met(answer)
        self.perform(self.service.initialised(environment, self.clock.now(), answer.failed))

    async def _invoke(self, action: actions.Run) -> None:
        environment, invocation = action.environment, action.invocation
        attempt = invocation.attempt
        runtime = await self._runtimes[environment.id]
        if not self._serves(environment, invocation, attempt):
            return  # it was killed before its code ran
        runtime.thaw()
        try:
            if action.initialise and not await self._initialised_again(action, runtime, attempt):
                return
            answer = await runtime.invoke(self._request(environment, invocation))
        except Killed as killed:  # the timeout wall: the model knows, it has said so
            self._waited(environment, killed.meter)
            return
        self.recorder.answered(invocation, attempt, answer)
        self._waited(environment, answer.meter)
        if not answer.failed and (work := self._work(invocation)) > 0:
            await self.clock.sleep(work)
        if self._serves(environment, invocation, attempt):
            now = self.clock.now()
            if answer.exited:
                self.perform(self.service.crashed(environment, now))
            else:
                self.perform(self.service.answered(environment, now, answer.failed))

    async def _initialised_again(self, action: actions.Run, runtime: Runtime, attempt: int) -> bool:
        """Run the module's code inside an invocation; tells whether the handler is to be called."""
        environment = action.environment
        answer = await runtime.initialise()
        self.recorder.met(answer)
        self._waited(environment, answer.meter)
        serves = self._serves(environment, action.invocation, attempt)
        if serves and answer.failed:
            self.perform(self.service.crashed(environment, self.clock.now()))
        return serves and not answer.failed

    def _waited(self, environment: Environment, meter: Meter) -> None:
        """Its bill says how much of an invocation was waiting for a connection, however it has ended."""
        self.service.waited(environment, meter.waited() * self.clock.scale)

    def _serves(self, environment: Environment, invocation: Invocation, attempt: int) -> bool:
        """Whether it still does, as the model sees it: the timeout wall may have come first, in the same turn
        of the loop or during other work."""
        return environment.invocation is invocation and invocation.attempt == attempt

    def _request(self, environment: Environment, invocation: Invocation) -> Request:
        return Request(
            invocation.id,
            invocation.attempt,
            event_of(invocation),
            environment.function.name,
            environment.function.memory,
            environment.id,
            invocation.deadline - self.clock.now(),
        )

    async def _shut_down(self, action: actions.Shutdown) -> None:
        """Without a goodbye: what is left after the grace is killed."""
        if action.grace > 0:
            await self.clock.sleep(action.grace)
        made = self._runtimes.pop(action.environment.id, None)
        if made is not None:
            (await made).kill()

    def _with_runtime(self, environment: Environment, do: Callable[[Runtime], None]) -> None:
        made = self._runtimes.get(environment.id)
        if made is not None and _is_there(made):
            do(made.result())

    async def _tick(self) -> None:
        """Tell the model the time whenever it wants to know."""
        while True:
            wanted = self.service.next_time()
            if wanted is not None and wanted <= self.clock.now():
                self.perform(self.service.tick(self.clock.now()))
                continue
            await self._wait(NEVER if wanted is None else wanted)

    async def _wait(self, moment: float) -> None:
        """Until this Lambda time, or until something has changed."""
        self._changed.clear()
        left = (moment - self.clock.now()) / self.clock.scale
        try:
            async with asyncio.timeout(None if left == NEVER else max(left, 0.0)):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._changed.set()

    def _check(self) -> None:
        """Raise what has gone wrong, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def _is_there(made: asyncio.Future[Runtime]) -> bool:
    """It has been made, and it could be."""
    return made.done() and not made.cancelled() and made.exception() is None


def event_of(invocation: Invocation) -> object:
    """What the handler gets: a poller's batch in the shape of its messages' queue."""
    if invocation.kind != "poller":
        return invocation.event
    messages = cast("tuple[Message, ...]", invocation.event)
    first = UUID(invocation.id).int  # a batch stays together: its messages keep their ids when they come back
    return sqs_batch(
        [
            sqs_message(invocation.queue, json.dumps(message.body), number, message.sent, invocation.attempt)
            for number, message in enumerate(messages, first)
        ]
    )
