"""Environments as processes: true freezes, true kills, and nothing that outlives the host or its process."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.storm.clock import Clock
from benchmarks.storm.runtime.forks import MOST, HostFailed, Room, TooManyProcesses
from benchmarks.storm.runtime.processes import EXITED, ProcessHost, ProcessRuntime, reason
from benchmarks.storm.runtime.runtime import Answer, Killed, Request
from tests.support.cluster import DATABASE, Direct
from tests.support.stage import Stage
from tests.support.waiting import eventually, soon

Make = Callable[..., Awaitable[ProcessHost]]
ROOT = Path(__file__).resolve().parent.parent.parent
numbers = itertools.count()


def state(pid: int) -> str:
    """As ps has it: R, S, D, T (stopped), Z; "" when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def gone(pid: int) -> bool:
    return state(pid) == ""


def request(event: object, **others: Any) -> Request:
    values = {"invocation": "i-1", "attempt": 1, "function": "f", "memory": 512, "environment": 1}
    return Request(event=event, **{**values, "remaining": 60.0, **others})


async def environment(host: ProcessHost) -> ProcessRuntime:
    """One whose INIT has succeeded."""
    made = await host.make()
    assert isinstance(made, ProcessRuntime)
    assert (await made.initialise()).failed is False
    return made


class Note:
    """A file that a function writes at some time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"note{next(numbers)}"

    def there(self) -> bool:
        return self.path.exists()

    def words(self) -> list[str]:
        return self.path.read_text("utf-8").split()


@pytest.fixture
def note(tmp_path: Path) -> Callable[[], Note]:
    return lambda: Note(tmp_path)


@pytest.fixture
async def hosts(stage: Stage) -> AsyncIterator[Make]:
    """Makes hosts whose functions have the cluster as their database, and sees that they leave nothing."""
    made: list[ProcessHost] = []
    url = stage.postgres.url(DATABASE)

    async def make(
        function: str, scale: float = 1.0, room: Room | None = None, **variables: str
    ) -> ProcessHost:
        variables = {**os.environ, "DATABASE_URL": url, **variables}
        host = ProcessHost(
            f"tests.support.functions:{function}", Clock(scale), variables=variables, room=room
        )
        made.append(host)
        await host.start()
        return host

    yield make
    for host in made:
        family = [] if gone(host.pid) else psutil.Process(host.pid).children(recursive=True)
        await host.close()
        assert gone(host.pid)
        assert [process for process in family if process.is_running()] == []


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
    await soon(lambda: not direct.sessions(), "the kernel has closed its connection")
    await soon(lambda: gone(first), "it is reaped")
    assert not (await runtime.initialise()).failed
    said = note()
    assert not (await runtime.invoke(request({"sql": ["select 7"], "to": str(said.path)}))).failed
    assert said.words() == ["7"]
    assert runtime.pid != first


async def test_killed_in_a_transaction(hosts: Make, direct: Direct, note: Callable[[], Note]) -> None:
    """PostgreSQL rolls back, and the locks are free."""
    direct.rows("truncate note")
    runtime = await environment(await hosts("sql"))
    sql = ["begin", "insert into note values (1, 'killed')", "select pg_advisory_xact_lock(1)"]
    assert not (await runtime.invoke(request({"sql": sql, "to": str(note().path)}))).failed
    assert len(direct.sessions("state = 'idle in transaction'")) == 1
    runtime.kill()
    await soon(lambda: not direct.sessions(), "its session is gone")
    assert direct.rows("select * from note") == []
    assert direct.value("select count(*) from pg_locks where locktype = 'advisory'") == 0


async def test_killed_while_frozen(hosts: Make, direct: Direct, note: Callable[[], Note]) -> None:
    direct.rows("truncate note")
    runtime = await environment(await hosts("sql"))
    sql = ["begin", "insert into note values (1, 'frozen')"]
    await runtime.invoke(request({"sql": sql, "to": str(note().path)}))
    runtime.freeze()
    await soon(lambda: state(runtime.pid) == "T", "it is stopped")
    assert len(direct.sessions("state = 'idle in transaction'")) == 1
    runtime.kill()
    await soon(lambda: gone(runtime.pid), "it is reaped")
    await soon(lambda: not direct.sessions(), "its session is gone")
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


# Hosts.


async def test_fifty_environments(hosts: Make, direct: Direct, note: Callable[[], Note]) -> None:
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
    await soon(lambda: len(direct.sessions()) == 25, "half of them are gone")
    zygote = psutil.Process(host.pid)
    # Its three streams, the control socket, the selector, and one for each child.
    await soon(lambda: zygote.num_fds() == 30, "the zygote has let go of what it had of the others")
    assert len(zygote.children()) == 25


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
    from tests.integration.test_storm_processes import request
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
