"""Hosts of environments that are processes: room, failures, and nothing that outlives them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.storm.clock import Clock
from benchmarks.storm.runtime.forks import MOST, HostFailed, Room, TooManyProcesses
from benchmarks.storm.runtime.processes import ProcessHost, ProcessRuntime
from benchmarks.storm.runtime.runtime import Killed
from tests.support.cluster import DATABASE, Direct
from tests.support.environments import Make, Note, environment, gone, request, state
from tests.support.stage import Stage
from tests.support.waiting import eventually, soon

ROOT = Path(__file__).resolve().parent.parent.parent


async def test_fifty_environments(hosts: Make, direct: Direct, note: Callable[[], Note]) -> None:
    before = direct.pids()
    host = await hosts("identify", STORM_CLIENT="lean")
    runtimes = await asyncio.gather(*(environment(host) for _ in range(50)))

    async def all_answer(count: int) -> list[tuple[int, int]]:
        notes = [note() for _ in runtimes]
        asked = zip(runtimes, notes, strict=True)
        answers = await asyncio.gather(*(r.invoke(request({"to": str(n.path)})) for r, n in asked))
        assert not [answer for answer in answers if answer.failed]
        words = [list(map(int, n.words())) for n in notes]
        assert {word[3] for word in words} == {count}
        return [(word[0], word[4]) for word in words]

    first = await all_answer(1)
    assert [pid for pid, _ in first] == [runtime.pid for runtime in runtimes]
    assert len({backend for _, backend in first}) == 50
    for runtime in runtimes:
        runtime.freeze()
    await soon(lambda: {state(runtime.pid) for runtime in runtimes} == {"T"}, "all are stopped")
    for runtime in runtimes:
        runtime.thaw()
    assert await all_answer(2) == first
    for runtime in runtimes[:25]:
        runtime.kill()
    await soon(lambda: len(direct.pids() - before) == 25, "half of them are gone")
    zygote = psutil.Process(host.pid)
    # Its three streams, the control socket, the selector, and one for each child.
    await soon(lambda: zygote.num_fds() == 30, "the zygote has let go of what it had of the others")
    await soon(lambda: len(zygote.children()) == 25, "and has reaped them")


async def test_a_closed_host_leaves_no_process(stage: Stage, direct: Direct, tmp_path: Path) -> None:
    """Neither of those that are fresh, frozen, in a statement or killed."""
    variables = {**os.environ, "DATABASE_URL": stage.postgres.url(DATABASE)}
    host = ProcessHost("tests.support.functions:sql", Clock(), variables=variables)
    fresh = await host.make()
    frozen, busy, killed = [await environment(host) for _ in range(3)]
    assert isinstance(fresh, ProcessRuntime)
    sql = ["set client_connection_check_interval = 50", "select pg_sleep(600)"]
    statement = asyncio.create_task(busy.invoke(request({"sql": sql, "to": str(tmp_path / "never")})))
    await soon(lambda: direct.sessions("state = 'active' and query like '%600%'"), "the statement runs")
    frozen.freeze()
    killed.kill()
    pids = [host.pid, fresh.pid, frozen.pid, busy.pid, killed.pid]
    await host.close()
    assert [pid for pid in pids if not gone(pid)] == []
    with pytest.raises(Killed):
        await statement
    with pytest.raises(HostFailed, match="the zygote has ended"):
        await host.make()
    await host.close()


async def test_the_event_loop_is_not_blocked_by_forks(hosts: Make) -> None:
    """It comes round many times while the zygote, which is stopped meanwhile, does not answer."""
    host = await hosts("leave")
    os.kill(host.pid, signal.SIGSTOP)
    await soon(lambda: state(host.pid) == "T", "the zygote is stopped")
    making = [asyncio.create_task(host.make()) for _ in range(MOST)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in making)
    for task in making[4:]:
        task.cancel()
    os.kill(host.pid, signal.SIGCONT)
    made = await asyncio.gather(*making[:4])
    await asyncio.gather(*making[4:], return_exceptions=True)
    await soon(lambda: len(psutil.Process(host.pid).children()) == 4, "those nobody wants any more are gone")
    assert not (await made[3].initialise()).failed


async def test_there_is_room_for_so_many(hosts: Make) -> None:
    assert MOST == Room().most == 200
    room = Room(3)
    one, other = await hosts("leave", room=room), await hosts("leave", room=room)
    first, second, third = await environment(one), await environment(other), await environment(one)
    with pytest.raises(TooManyProcesses, match="at most 3 execution environments can be processes"):
        await other.make()
    first.kill()
    await environment(other)
    assert (await second.invoke(request({"how": "exit", "status": 1}))).exited
    await environment(one)
    with pytest.raises(TooManyProcesses):
        await first.initialise()
    third.kill()
    assert not (await first.initialise()).failed
    assert room.taken == 3


async def test_killed_while_it_is_forked_anew(hosts: Make) -> None:
    host = await hosts("leave")
    runtime = await environment(host)
    runtime.kill()
    initialising = asyncio.create_task(runtime.initialise())
    await asyncio.sleep(0)
    runtime.kill()
    with pytest.raises(Killed):
        await initialising
    await soon(lambda: not psutil.Process(host.pid).children(), "both are gone")


async def test_a_handler_that_is_not_there() -> None:
    host = ProcessHost("tests.support.nothing:handler", Clock())
    with pytest.raises(HostFailed, match=r"there is no module tests\.support\.nothing"):
        await host.make()
    with pytest.raises(HostFailed):
        await host.make()
    await host.close()
    assert gone(host.pid)


async def test_a_zygote_that_cannot_be_started() -> None:
    host = ProcessHost("read", Clock(), command=("/no/such/program",))
    with pytest.raises(FileNotFoundError):
        await host.start()
    await host.close()
    host = ProcessHost("read", Clock(), command=("false",))
    with pytest.raises(HostFailed, match="the zygote has ended"):
        await host.start()
    await host.close()


# Deaths.


async def test_the_death_of_the_zygote_is_that_of_its_environments(
    hosts: Make, note: Callable[[], Note]
) -> None:
    host = await hosts("blocking")
    frozen, busy = await environment(host), await environment(host)
    said = note()
    invocation = asyncio.create_task(busy.invoke(request({"to": str(said.path)})))
    await soon(said.there, "it runs")
    frozen.freeze()
    await soon(lambda: state(frozen.pid) == "T", "it is stopped")
    os.kill(host.pid, signal.SIGKILL)
    with pytest.raises(HostFailed, match="the zygote has ended"):
        await invocation
    # Reaped by whoever takes in orphans, at some time.
    await soon(lambda: {state(frozen.pid), state(busy.pid)} <= {"", "Z"}, "both are dead")
    with pytest.raises(HostFailed, match="the zygote has ended"):
        await host.make()


PARENT = """
import asyncio
import sys

from benchmarks.storm.clock import Clock
from benchmarks.storm.runtime.processes import ProcessHost


async def main():
    host = ProcessHost("tests.support.functions:timers", Clock())
    runtimes = [await host.make() for _ in range(4)]
    for runtime in runtimes[:3]:
        await runtime.initialise()
    from tests.support.environments import request
    await runtimes[0].invoke(request({"to": sys.argv[1]}))
    await runtimes[1].invoke(request({"to": sys.argv[1]}))
    for runtime in runtimes:
        runtime.freeze()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
"""


def test_the_death_of_the_parent_leaves_no_process(tmp_path: Path) -> None:
    """Killed, so that it can do nothing about it, and neither can its environments, which are frozen."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "ticks")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) == 7  # the zygote, four environments, two processes that handlers have started
        eventually(lambda: {state(process.pid) for process in family[1:]} == {"T"}, "all are stopped")
        parent.kill()
    zygote = family[0].pid
    eventually(lambda: [process for process in family[1:] if not gone(process.pid)] == [], "all are reaped")
    # The zygote itself is reaped by whoever takes in orphans, at some time.
    eventually(lambda: state(zygote) in ("", "Z"), "the zygote has ended")
