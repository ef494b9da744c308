"""One trial: a scenario let loose on an endpoint, watched, and judged by the ledger afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

import asyncpg

from benchmarks.storm import ledger
from benchmarks.storm.clients import SessionError, address, lean
from benchmarks.storm.clock import Clock
from benchmarks.storm.endpoints import Endpoint, server_user
from benchmarks.storm.garbage import rarely_collected
from benchmarks.storm.live import Display, Progress
from benchmarks.storm.loading import BUILT_IN, HandlerSource
from benchmarks.storm.model.bill import charge
from benchmarks.storm.model.service import Service
from benchmarks.storm.observer import EVERY, Observer
from benchmarks.storm.recorder import Recorder
from benchmarks.storm.results import Sample, Trial
from benchmarks.storm.runner import Storm
from benchmarks.storm.runtime.forks import Room
from benchmarks.storm.runtime.namespaces import Namespace
from benchmarks.storm.runtime.processes import ProcessHost
from benchmarks.storm.runtime.runtime import Host
from benchmarks.storm.runtime.tasks import TaskHost
from benchmarks.storm.scenarios.scenario import NONE_KEPT, NOT_KNOWN, Isolation, Scenario, Unable, Underway

Connection: TypeAlias = "asyncpg.Connection[Any]"

WARM_SESSIONS = 20  #: at once, ahead of a trial: a pooler has its servers open then
WARM_SECONDS = 5.0  #: that they wait for each other
WARM_TIMEOUT = 60.0  #: seconds, for all of it


@dataclass(frozen=True, slots=True)
class Manner:
    """How handlers are run: with which client, whether asyncpg names statements, from which seed. None: as
    the scenario has it."""

    client: str = "lean"
    statement_cache: int = 0
    seed: int = 1
    handler: str | None = None
    isolation: Isolation | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """PostgreSQL itself, past every endpoint. `connect` as somebody who may make a schema; `observe` as
    somebody who may see all servers, None where nobody may; `restart` likewise."""

    connect: Callable[[], Awaitable[Connection]]
    observe: Callable[[], Awaitable[Connection]] | None = None
    restart: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One trial, as it is wanted: the `number`th `of` so many of this scenario on this endpoint. With a
    `namespace` the environments are in it, and the endpoint is at an address that it reaches."""

    scenario: Scenario
    endpoint: Endpoint
    ground: Ground
    manner: Manner
    number: int = 1
    of: int = 1
    namespace: Namespace | None = None


async def run_trial(order: Order, display: Display) -> Trial:
    """The endpoint has been started."""
    url = order.endpoint.url
    with _variables(url, order.manner):
        connection = await order.ground.connect()
        try:
            await ledger.clear(connection)
        finally:
            await connection.close()
        await warm_up(url)
        with rarely_collected():
            trial = await _storm(order, display)
    display.finish(trial)
    return trial


async def _storm(order: Order, display: Display) -> Trial:
    scenario, endpoint, ground, manner = order.scenario, order.endpoint, order.ground, order.manner
    clock = Clock(scenario.scale)
    progress = Progress(scenario.name, endpoint.name, order.number, order.of)
    recorder = Recorder(progress, scenario.scale, scenario.group)
    deployed = scenario.deployed()
    service = Service(
        [each.function for each in deployed],
        seed=manner.seed,
        account_limit=scenario.account_limit,
        gateway_timeout=scenario.gateway,
        idle_seconds=scenario.idle_seconds,
    )
    for poller in scenario.pollers():
        service.attach(poller)
    hosts = _hosts(order, clock)
    async with contextlib.AsyncExitStack() as stack:
        for host in hosts.values():
            stack.push_async_callback(host.close)
            await host.start()
        clock.begin()
        storm = Storm(service, hosts, clock, recorder, scenario.work)
        observer = Observer(endpoint, server_user(endpoint), ground.observe, clock)
        database = Database(endpoint, observer, ground)
        underway = Underway(storm, clock, database, recorder.groups, recorder.ended, order.namespace)
        display.begin(progress)
        async with _watching(observer, storm, progress, display, recorder.trial.samples), storm:
            sending = storm.send(scenario.arrivals(Random(manner.seed)), scenario.patience)
            await together(sending, scenario.alongside(underway))
            if service.unsettled:
                progress.outcomes["unsettled"] = service.unsettled
    trial = recorder.finish(clock.elapsed())
    trial.bill = _bill(service)
    trial.ledger = await _judge(ground, recorder, manner)
    # Of an endpoint into which nobody can look, what is not known is not held against it; nor that somebody's
    # own handler keeps no ledger.
    beside = (NONE_KEPT,) if ground.observe is not None else (NONE_KEPT, NOT_KNOWN)
    trial.checks = [check for check in scenario.checks(trial, underway) if check.found not in beside]
    return trial


async def together(*doing: Coroutine[Any, Any, None]) -> None:
    """Until all are done. Raises the first error, as it is, once the others have been cancelled."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in doing:
                group.create_task(each)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _hosts(order: Order, clock: Clock) -> dict[str, Host]:
    """Of each function, by its name. Raises HandlerNotFound."""
    room, manner = Room(), order.manner
    command = order.namespace.command if order.namespace else ()

    def host(handler: str) -> Host:
        if (manner.isolation or order.scenario.isolation) == "task":
            return TaskHost(HandlerSource.find(handler), clock)
        return ProcessHost(handler, clock, room=room, command=command)

    return {each.function.name: host(manner.handler or each.handler) for each in order.scenario.deployed()}


class Database:
    """What a scenario may do to the database, and ask."""

    def __init__(self, endpoint: Endpoint, observer: Observer, ground: Ground) -> None:
        self._endpoint = endpoint
        self._observer = observer
        self._ground = ground

    async def restart(self) -> None:
        if self._ground.restart is None:
            raise Unable(f"{self._endpoint.name}: its database is not ours to restart")
        await self._ground.restart()

    async def servers_in_transaction(self) -> int:
        return (await self._observer.servers())[1]

    async def clients(self) -> int:
        return await self._endpoint.clients()

    async def waiting(self) -> int:
        return await self._endpoint.waiting()

    async def memory(self) -> int:
        return await asyncio.to_thread(self._endpoint.memory)


@contextlib.contextmanager
def _variables(url: str, manner: Manner) -> Any:
    """What handlers find in their environment variables."""
    variables = {
        "DATABASE_URL": url,
        "STORM_CLIENT": manner.client,
        "STORM_STATEMENT_CACHE": str(manner.statement_cache),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


async def warm_up(url: str, patience: float = WARM_SECONDS) -> None:
    """Sessions that each hold a server at the same time, so that a pooler has opened what it may open. With
    fewer servers than sessions the last ones get theirs after `patience`, when the first ones let go.

    Raises SessionError when the endpoint does not let all of them in and answer.
    """
    place = address.parse(url)
    sessions: list[lean.LeanSession] = []
    enough = asyncio.Event()
    try:
        async with asyncio.timeout(WARM_TIMEOUT):
            for _ in range(WARM_SESSIONS):
                sessions.append(await lean.open_session(place))
            begun = [asyncio.Event() for _ in sessions]
            holding = (_hold(*each, enough) for each in zip(sessions, begun, strict=True))
            await together(*holding, _until_all(begun, enough, patience))
    except (SessionError, TimeoutError) as error:
        said = str(error) or f"no answer within {WARM_TIMEOUT:g} s"
        raise SessionError(f"the endpoint does not answer before the storm: {said}") from error
    finally:
        for session in sessions:
            await session.close()


async def _hold(session: lean.LeanSession, begun: asyncio.Event, enough: asyncio.Event) -> None:
    """Hold a server until it is enough."""
    await session.execute("BEGIN")
    begun.set()
    await enough.wait()
    await session.execute("ROLLBACK")


async def _until_all(begun: Sequence[asyncio.Event], enough: asyncio.Event, patience: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            for each in begun:
                await each.wait()
    enough.set()


@contextlib.asynccontextmanager
async def _watching(
    observer: Observer, storm: Storm, progress: Progress, display: Display, samples: list[Sample]
) -> AsyncIterator[None]:
    """Samples twice a second for the length of a block."""

    async def watch() -> None:
        while True:
            before = storm.clock.elapsed()
            service = storm.service
            sample = await observer.sample(storm.clients(), service.environments, service.in_flight)
            samples.append(sample)
            progress.counted(
                sample.at,
                sample.clients,
                sample.servers,
                sample.waiting,
                sample.environments,
                sample.in_flight,
            )
            display.tick(sample.at)
            await asyncio.sleep(max(0.0, EVERY - (storm.clock.elapsed() - before)))

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await observer.close()
    if not watching.cancelled():
        watching.result()


def _bill(service: Service) -> dict[str, Any]:
    bills = list(service.bill.values())
    duration = sum(bill.duration + bill.provisioned_duration for bill in bills) / 1000
    return {
        "requests": sum(bill.requests for bill in bills),
        "gb_seconds": sum(bill.gb_seconds + bill.provisioned_gb_seconds for bill in bills),
        "dollars": charge(bills).dollars,
        "waiting_share": sum(bill.waiting for bill in bills) / duration if duration else 0.0,
    }


async def _judge(ground: Ground, recorder: Recorder, manner: Manner) -> dict[str, Any]:
    """What was acknowledged against what is there, once no transaction of the trial is left. Nothing where
    the handler is somebody's own that has written no ledger."""
    connection = await ground.connect()
    try:
        await ledger.acknowledge(connection, recorder.acknowledged)
        found = await ledger.verdict(connection)
    finally:
        await connection.close()
    if not found.rows and manner.handler is not None and manner.handler not in BUILT_IN:
        return {}
    return found.to_dict()
