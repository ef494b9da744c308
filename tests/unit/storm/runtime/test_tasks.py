"""Environments as tasks: what their code may do, and what the platform does to them."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.storm.clients import HOLDINGS, METER
from benchmarks.storm.clock import Clock
from benchmarks.storm.context import Context
from benchmarks.storm.loading import HandlerSource
from benchmarks.storm.runtime.runtime import EXITED, Answer, Killed, Request
from benchmarks.storm.runtime.tasks import TaskHost, TaskRuntime

#: The event is what is to be done: a test's own function.
OBEDIENT = """
calls = 0

async def handler(event, context):
    global calls
    calls += 1
    await event(calls, context)
"""

Event = Callable[[int, Context], Awaitable[None]]


class Plug:
    """A session, as far as the platform knows it."""

    def __init__(self) -> None:
        self.closed = False
        self.heard: list[str] = []

    def freeze(self) -> None:
        self.heard.append("freeze")

    def thaw(self) -> None:
        self.heard.append("thaw")

    def abort(self) -> None:
        self.heard.append("abort")
        self.closed = True


class Code:
    """Makes runtimes of a module's text."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def host(self, text: str = OBEDIENT) -> TaskHost:
        self._made += 1
        path = self._folder / f"function_{self._made}.py"
        path.write_text(text, "utf-8")
        return TaskHost(HandlerSource.find(f"{path}:handler"), Clock(10.0))

    async def runtime(self, text: str = OBEDIENT) -> TaskRuntime:
        """One whose code has run, if it can."""
        runtime = await self.host(text).make()
        assert isinstance(runtime, TaskRuntime)
        return runtime


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Code:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Code(tmp_path)


def request(event: object, remaining: float = 3.0) -> Request:
    return Request("id", 2, event, "f", 512, 7, remaining)


async def nothing(calls: int, context: Context) -> None:
    """Return at once."""


async def for_ever(calls: int, context: Context) -> None:
    await asyncio.Event().wait()


def raising(error: BaseException) -> Event:
    async def do(calls: int, context: Context) -> None:
        raise error

    return do


async def under_way(runtime: TaskRuntime, event: Event = for_ever) -> asyncio.Task[Answer]:
    """An invocation that has begun and waits."""
    begun = asyncio.Event()

    async def begin(calls: int, context: Context) -> None:
        begun.set()
        await event(calls, context)

    invoking = asyncio.create_task(runtime.invoke(request(begin)))
    await begun.wait()
    return invoking


async def test_every_environment_has_globals_of_its_own(code: Code) -> None:
    seen: list[int] = []

    async def note(calls: int, context: Context) -> None:
        seen.append(calls)

    host = code.host()
    one, other = await host.make(), await host.make()
    for runtime in (one, other):
        assert not (await runtime.initialise()).failed
    for runtime in (one, one, other):
        assert await runtime.invoke(request(note)) == Answer()
    assert seen == [1, 2, 1]


async def test_the_handler_gets_lambda_s_context(code: Code) -> None:
    found: dict[str, Any] = {}

    async def note(calls: int, context: Context) -> None:
        found.update(
            id=context.aws_request_id,
            attempt=context.attempt,
            name=context.function_name,
            memory=context.memory_limit_in_mb,
            left=context.get_remaining_time_in_millis(),
        )

    runtime = await code.runtime()
    await runtime.initialise()
    await runtime.invoke(request(note, remaining=900.0))
    assert 0 < found.pop("left") <= 900_000
    assert found == {"id": "id", "attempt": 2, "name": "f", "memory": "512"}


@pytest.mark.parametrize(
    ("error", "label", "message"),
    [
        (ValueError("only 0 are left\nof it"), "ValueError", "only 0 are left"),
        (asyncio.CancelledError(), "CancelledError", ""),
    ],
)
async def test_what_the_handler_raises_is_its_answer(
    code: Code, error: BaseException, label: str, message: str
) -> None:
    runtime = await code.runtime()
    await runtime.initialise()
    answer = await runtime.invoke(request(raising(error)))
    assert (answer.failed, answer.label, answer.message, answer.exited) == (True, label, message, False)
    assert not (await runtime.invoke(request(nothing))).failed


async def test_a_handler_that_ends_its_process_ends_its_environment_alone(code: Code) -> None:
    plug = Plug()

    async def leave(calls: int, context: Context) -> None:
        holdings = HOLDINGS.get()
        assert holdings is not None
        holdings.add(plug)
        sys.exit(3)

    runtime = await code.runtime()
    await runtime.initialise()
    answer = await runtime.invoke(request(leave))
    assert (answer.failed, answer.label, answer.exited) == (True, EXITED, True)
    assert answer.message == "Runtime exited with error: exit status 3"
    assert plug.heard == ["abort"]
    assert not (await runtime.initialise()).failed


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("def other(event, context): ...", "HandlerNotFound"),
        ("def handler(event, context): ...\nasync def initialise(): raise KeyError('x')", "KeyError"),
        ("import sys\nsys.exit(1)", EXITED),
    ],
)
async def test_an_init_that_fails_says_why(code: Code, text: str, label: str) -> None:
    runtime = await code.runtime(text)
    answer = await runtime.initialise()
    assert (answer.failed, answer.label) == (True, label)


async def test_a_plain_handler_runs_in_a_thread(code: Code) -> None:
    runtime = await code.runtime("def handler(event, context): event(context)")
    await runtime.initialise()
    found: list[str] = []
    assert await runtime.invoke(request(lambda context: found.append(context.function_name))) == Answer()
    assert found == ["f"]


async def test_what_an_invocation_spends_is_its_own(code: Code) -> None:
    async def spend(calls: int, context: Context) -> None:
        meter = METER.get()
        assert meter is not None
        meter.commits += calls

    runtime = await code.runtime()
    await runtime.initialise()
    answers = [await runtime.invoke(request(spend)) for _ in range(2)]
    assert [answer.meter.commits for answer in answers] == [1, 2]
    assert METER.get() is None


async def test_freeze_thaw_and_kill_reach_what_is_open(code: Code) -> None:
    plug = Plug()

    async def connect(calls: int, context: Context) -> None:
        holdings = HOLDINGS.get()
        assert holdings is not None
        holdings.add(plug)

    host = code.host()
    runtime, other = await host.make(), await host.make()
    await runtime.initialise()
    await runtime.invoke(request(connect))
    assert (runtime.sessions(), other.sessions()) == (1, 0)
    other.freeze()
    other.kill()
    runtime.freeze()
    runtime.thaw()
    runtime.kill()
    assert plug.heard == ["freeze", "thaw", "abort"]
    assert runtime.sessions() == 0


async def test_a_kill_ends_what_runs_in_mid_statement(code: Code) -> None:
    """The sockets first: a driver whose task is cancelled would say goodbye on them."""
    plug = Plug()

    async def ask(calls: int, context: Context) -> None:
        holdings, meter = HOLDINGS.get(), METER.get()
        assert holdings is not None
        assert meter is not None
        holdings.add(plug)
        try:
            await asyncio.Event().wait()
        finally:
            plug.heard.append("cancelled")
            meter.connect_seconds = 4.0

    runtime = await code.runtime()
    await runtime.initialise()
    invoking = await under_way(runtime, ask)
    runtime.kill()
    with pytest.raises(Killed) as killed:
        await invoking
    assert plug.heard == ["abort", "cancelled"]
    assert killed.value.meter.waited() == 4.0


async def test_a_handler_that_clings_to_life_has_no_say_any_more(code: Code) -> None:
    async def cling(calls: int, context: Context) -> None:
        try:
            await asyncio.Event().wait()
        except BaseException:
            raise ValueError("not me") from None

    runtime = await code.runtime()
    await runtime.initialise()
    invoking = await under_way(runtime, cling)
    runtime.kill()
    with pytest.raises(Killed):
        await invoking


async def test_what_runs_next_in_the_same_moment_can_be_killed_as_well(code: Code) -> None:
    """As after an INIT overrun: it is killed, and run again in the invocation at once."""
    text = "import asyncio\nasync def handler(event, context): ...\n"
    runtime = await code.runtime(text + "async def initialise(): await asyncio.Event().wait()")
    first = asyncio.create_task(runtime.initialise())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    runtime.kill()
    second = asyncio.create_task(runtime.initialise())
    with pytest.raises(Killed):
        await first
    runtime.kill()
    with pytest.raises(Killed):
        await second


async def test_after_a_kill_the_code_must_run_anew(code: Code) -> None:
    runtime = await code.runtime()
    await runtime.initialise()
    runtime.kill()
    answer = await runtime.invoke(request(nothing))
    assert (answer.label, answer.message) == ("AssertionError", "INIT comes before INVOKE")
    await runtime.initialise()
    assert await runtime.invoke(request(nothing)) == Answer()


async def test_the_end_of_a_trial_kills_what_runs(code: Code) -> None:
    over = asyncio.Event()

    async def run(calls: int, context: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    runtime = await code.runtime()
    await runtime.initialise()
    invoking = await under_way(runtime, run)
    invoking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await invoking
    await over.wait()


async def test_a_host_that_closes_kills_all_that_it_has_made(code: Code) -> None:
    host = code.host()
    runtimes = [await host.make() for _ in range(2)]
    invocations = []
    for runtime in runtimes:
        assert isinstance(runtime, TaskRuntime)
        await runtime.initialise()
        invocations.append(await under_way(runtime))
    await host.close()
    for invoking in invocations:
        with pytest.raises(Killed):
            await invoking


async def test_a_host_does_not_keep_those_that_are_gone(code: Code) -> None:
    host = code.host()
    runtime = await host.make()
    await runtime.initialise()
    assert await runtime.invoke(request(nothing)) == Answer()
    runtime.kill()
    gone = weakref.ref(runtime)
    del runtime
    gc.collect()
    assert gone() is None
