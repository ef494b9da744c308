"""Environments as processes: true freezes and true kills."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.storm.runtime.processes import EXITED, ProcessRuntime, reason
from benchmarks.storm.runtime.runtime import Answer, Killed
from tests.support.cluster import Direct
from tests.support.environments import Make, Note, environment, gone, request, state
from tests.support.waiting import soon


async def test_each_environment_is_a_process_with_globals_of_its_own(
    hosts: Make, note: Callable[[], Note]
) -> None:
    host = await hosts("identify")
    zygote = psutil.Process(host.pid)
    assert zygote.num_threads() == 1
    one, two = await environment(host), await environment(host)
    found = []
    for runtime in (one, one, two):
        said = note()
        answer = await runtime.invoke(request({"to": str(said.path)}))
        assert answer == Answer(meter=answer.meter)
        pid, made_in, parent, count, backend = map(int, said.words())
        assert (pid, parent) == (made_in, zygote.pid)
        assert pid == runtime.pid
        found.append((pid, count, backend))
    (a, first, backend_a), (b, second, backend_b), (c, third, backend_c) = found
    assert (first, second, third) == (1, 2, 1)
    assert a == b != c
    assert backend_a == backend_b != backend_c


@pytest.mark.parametrize("client", ["asyncpg", "lean"])
async def test_the_meter_of_init_and_of_an_invocation_comes_over(
    hosts: Make, note: Callable[[], Note], client: str
) -> None:
    host = await hosts("sql", STORM_CLIENT=client, STORM_TEST_INIT="connects")
    made = await host.make()
    init = (await made.initialise()).meter
    assert (init.connects, init.statements, init.errors) == (1, 0, Counter())
    assert made.sessions() == 1
    assert 0 < init.connect_seconds < 60
    said = note()
    meter = (await made.invoke(request({"sql": ["select 1", "select 'x'"], "to": str(said.path)}))).meter
    assert said.words() == ["x"]
    assert (meter.connects, meter.statements, len(meter.first_answers)) == (0, 2, 1)
    answer = await made.invoke(request({"sql": ["select 1/0"], "to": str(said.path)}))
    assert (answer.failed, answer.label, answer.message) == (True, "22012", "division by zero")
    assert answer.meter.errors == Counter({"22012": 1})
    assert answer.meter.examples == {"22012": "division by zero"}


async def test_a_plain_function_is_told_what_it_is_and_how_long_it_has(
    hosts: Make, note: Callable[[], Note]
) -> None:
    host = await hosts("remaining", scale=100.0)
    runtime = await environment(host)
    said = note()
    await runtime.invoke(
        request(
            {"to": str(said.path)}, invocation="i-7", attempt=2, memory=256, environment=9, remaining=900.0
        )
    )
    left, *others = said.words()
    assert others == ["i-7", "2", "f", "256", f"[$LATEST]{9:032x}"]
    assert 0 < int(left) <= 900_000  # Lambda's, of which a hundred pass in one of ours


async def test_init_again_forgets_everything(hosts: Make, note: Callable[[], Note]) -> None:
    runtime = await environment(await hosts("identify"))
    pids = []
    for _ in range(2):
        said = note()
        await runtime.invoke(request({"to": str(said.path)}))
        pid, _, _, count, _ = map(int, said.words())
        assert count == 1
        pids.append(pid)
        assert not (await runtime.initialise()).failed
    assert len({*pids, runtime.pid}) == 3
    await soon(lambda: all(map(gone, pids)), "what was initialised before is gone, and reaped")


# Freezing.


async def test_nothing_of_a_frozen_environment_runs(hosts: Make, note: Callable[[], Note]) -> None:
    """No task, no thread, and no process that the handler has left behind. A second one is the clock."""
    host = await hosts("timers")
    frozen, running = await environment(host), await environment(host)
    files: list[list[Path]] = []
    for runtime in (frozen, running):
        said = note()
        await runtime.invoke(request({"to": str(said.path)}))
        files.append([said.path.with_name(said.path.name + kind) for kind in ("task", "thread", "process")])

    def ticks(which: int) -> list[int]:
        return [path.stat().st_size if path.exists() else 0 for path in files[which]]

    async def passes(which: int, more: int) -> None:
        before = ticks(which)
        await soon(
            lambda: all(b >= a + more for a, b in zip(before, ticks(which), strict=True)), f"{more} ticks"
        )

    await passes(0, 5)
    frozen.freeze()
    group = [frozen.pid, *(child.pid for child in psutil.Process(frozen.pid).children())]
    assert len(group) == 2
    await soon(lambda: [state(pid) for pid in group] == ["T", "T"], "both are stopped")
    stopped = ticks(0)
    await passes(1, 30)
    assert ticks(0) == stopped
    frozen.thaw()
    await passes(0, 5)


def unread(pid: int) -> int:
    """Bytes in the receive queues of a process's TCP connections. proc(5), /proc/net/tcp, fields 5 and 10."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:")}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(int(fields[4].partition(":")[2], 16) for fields in lines if fields[9] in inodes)


async def test_a_frozen_environment_does_not_read_what_its_server_says(
    hosts: Make, direct: Direct, note: Callable[[], Note]
) -> None:
    """Stopped in the middle of a statement, too: the answer waits in the kernel for the thaw."""
    runtime = await environment(await hosts("sql"))
    direct.rows("select pg_advisory_lock(4711)")
    said = note()
    lock = ["select pg_advisory_lock(4711)", "select 'done'"]
    invocation = asyncio.create_task(runtime.invoke(request({"sql": lock, "to": str(said.path)})))
    await soon(lambda: direct.sessions("wait_event = 'advisory'"), "it waits for the lock")
    runtime.freeze()
    await soon(lambda: state(runtime.pid) == "T", "it is stopped")
    direct.rows("select pg_advisory_unlock(4711)")
    await soon(lambda: direct.sessions("state = 'idle'"), "its server is done")
    assert await soon(lambda: unread(runtime.pid), "the answer is there")
    assert not invocation.done()
    assert not said.there()
    runtime.thaw()
    assert not (await invocation).failed
    assert said.words() == ["done"]


# Killing.


async def test_killed_in_a_statement(hosts: Make, direct: Direct, note: Callable[[], Note]) -> None:
    before = direct.pids()
    runtime = await environment(await hosts("sql"))
    # So that the server looks whether its client is still there while it sleeps.
    sql = ["set client_connection_check_interval = 50", "select pg_sleep(600)"]
    invocation = asyncio.create_task(runtime.invoke(request({"sql": sql, "to": str(note().path)})))
    await soon(lambda: direct.sessions("state = 'active' and query like '%600%'"), "the statement runs")
    first = runtime.pid
    runtime.kill()
    assert runtime.sessions() == 0
    with pytest.raises(Killed):
        await invocation
    await soon(lambda: direct.pids() <= before, "the kernel has closed its connection")
    await soon(lambda: gone(first), "it is reaped")
    assert not (await runtime.initialise()).failed
    said = note()
    assert not (await runtime.invoke(request({"sql": ["select 7"], "to": str(said.path)}))).failed
    assert said.words() == ["7"]
    assert runtime.pid != first


async def test_killed_in_a_transaction(hosts: Make, direct: Direct, note: Callable[[], Note]) -> None:
    """PostgreSQL rolls back, and the locks are free."""
    before = direct.pids()
    direct.rows("truncate note")
    runtime = await environment(await hosts("sql"))
    sql = ["begin", "insert into note values (1, 'killed')", "select pg_advisory_xact_lock(1)"]
    assert not (await runtime.invoke(request({"sql": sql, "to": str(note().path)}))).failed
    assert len(direct.sessions("state = 'idle in transaction'")) == 1
    runtime.kill()
    await soon(lambda: direct.pids() <= before, "its session is gone")
    assert direct.rows("select * from note") == []
    assert direct.value("select count(*) from pg_locks where locktype = 'advisory'") == 0


async def test_killed_while_frozen(hosts: Make, direct: Direct, note: Callable[[], Note]) -> None:
    before = direct.pids()
    direct.rows("truncate note")
    runtime = await environment(await hosts("sql"))
    sql = ["begin", "insert into note values (1, 'frozen')"]
    await runtime.invoke(request({"sql": sql, "to": str(note().path)}))
    runtime.freeze()
    await soon(lambda: state(runtime.pid) == "T", "it is stopped")
    assert len(direct.sessions("state = 'idle in transaction'")) == 1
    runtime.kill()
    await soon(lambda: gone(runtime.pid), "it is reaped")
    await soon(lambda: direct.pids() <= before, "its session is gone")
    assert direct.rows("select * from note") == []


async def test_a_function_that_blocks_is_killed(hosts: Make, note: Callable[[], Note]) -> None:
    runtime = await environment(await hosts("blocking"))
    said = note()
    invocation = asyncio.create_task(runtime.invoke(request({"to": str(said.path)})))
    await soon(said.there, "it runs")
    assert said.words() == ["True"]  # it has the main thread, as in Lambda
    runtime.kill()
    with pytest.raises(Killed):
        await invocation


@pytest.mark.parametrize("end", ["killed", "by itself"])
async def test_what_a_handler_has_started_dies_with_it(
    hosts: Make, note: Callable[[], Note], end: str
) -> None:
    runtime = await environment(await hosts("timers"))
    await runtime.invoke(request({"to": str(note().path)}))
    (child,) = psutil.Process(runtime.pid).children()
    if end == "killed":
        runtime.kill()
    else:  # alone, as when memory is short
        os.kill(runtime.pid, signal.SIGKILL)
    await soon(lambda: gone(runtime.pid) and gone(child.pid), "both are dead, and reaped")


async def test_what_has_left_its_group_dies_with_the_host(hosts: Make, note: Callable[[], Note]) -> None:
    """A daemon outlives its environment, not the storm."""
    host = await hosts("timers")
    runtime = await environment(host)
    await runtime.invoke(request({"to": str(note().path), "escapes": True}))
    (daemon,) = psutil.Process(runtime.pid).children()
    runtime.kill()
    await soon(lambda: gone(runtime.pid), "its parent is dead, and reaped")
    assert daemon.ppid() == host.pid
    await host.close()
    assert gone(daemon.pid)


# Ending by itself.


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"how": "exit", "status": 3}, "Runtime exited with error: exit status 3"),
        ({"how": "exit", "status": None}, "Runtime exited without providing a reason"),
        ({"how": "exit", "status": "farewell"}, "Runtime exited with error: exit status 1"),
        (
            {"how": "signal", "number": signal.SIGSEGV},
            "Runtime exited with error: signal: segmentation fault",
        ),
        ({"how": "signal", "number": signal.SIGKILL}, "Runtime exited with error: signal: killed"),
    ],
)
async def test_a_runtime_that_ends_by_itself(hosts: Make, event: dict[str, Any], message: str) -> None:
    runtime = await environment(await hosts("leave"))
    for _ in range(2):  # the second time it has ended before it is asked
        answer = await runtime.invoke(request(event))
        assert answer == Answer(True, EXITED, message, exited=True)
    assert not (await runtime.initialise()).failed
    answer = await runtime.invoke(request({"how": "raise"}))
    assert (answer.label, answer.message, answer.exited) == ("LookupError", "no such thing", False)


def test_reasons() -> None:
    assert reason(0) == "without providing a reason"
    assert reason(1) == "with error: exit status 1"
    assert reason(-9) == "with error: signal: killed"


async def test_init_that_fails_ends_the_runtime(hosts: Make, direct: Direct, tmp_path: Path) -> None:
    """As in Lambda; the next INIT is that of another process."""
    host = await hosts("sql", STORM_TEST_INIT="connects", DATABASE_URL="")
    made = await host.make()
    assert isinstance(made, ProcessRuntime)
    first = made.pid
    answer = await made.initialise()
    assert (answer.failed, answer.label, answer.message) == (True, "ValueError", "DATABASE_URL is not set")
    await soon(lambda: gone(first), "it has ended, and is reaped")
    assert (await made.initialise()).label == "ValueError"
    assert made.pid != first
