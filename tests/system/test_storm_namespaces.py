"""Environments that vanish without FIN: a network namespace whose link is taken down. Needs root and `ip`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.storm.clock import Clock
from benchmarks.storm.runtime import namespaces
from benchmarks.storm.runtime.namespaces import Namespace, NamespaceFailed, ip
from benchmarks.storm.runtime.processes import ProcessHost, ProcessRuntime
from benchmarks.storm.runtime.runtime import Request
from poolproxy.demo.postgres import LocalPostgres
from tests.support.alone import alone
from tests.support.cluster import Direct
from tests.support.waiting import eventually, soon

#: The first may have to wait for its turn.
pytestmark = pytest.mark.timeout(300)

Make = Callable[..., Awaitable[ProcessRuntime]]
ROOT = Path(__file__).resolve().parent.parent.parent

#: Given up after 1 + 2 * 1 s without a word, or 3 s after something was said that nobody has acknowledged.
SHORT_PATIENCE = [
    "set tcp_keepalives_idle = 1",
    "set tcp_keepalives_interval = 1",
    "set tcp_keepalives_count = 2",
    "set tcp_user_timeout = 3000",
]
TIMED_OUT = "could not receive data from client: Connection timed out"
#: What the server also says after an error of the kernel's; alone it means FIN.
END = "unexpected EOF on client connection with an open transaction"


@pytest.fixture(scope="module", autouse=True)
def undisturbed() -> Iterator[None]:
    """Whoever opens a namespace takes a number, and removes what is left behind."""
    with alone():
        yield


@pytest.fixture(scope="module")
def namespace(undisturbed: None) -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.fail("a network namespace needs root: sudo make test-system")
    with Namespace() as made:
        yield made


@pytest.fixture(scope="module")
def postgres(namespace: Namespace) -> Iterator[LocalPostgres]:
    """A cluster that listens where the namespace can reach it."""
    server = LocalPostgres()
    server.host = namespace.host_address
    with server:
        yield server


@pytest.fixture
def direct(postgres: LocalPostgres) -> Iterator[Direct]:
    found = Direct(postgres, "postgres")
    found.rows("drop table if exists note; create table note (body text)")
    yield found
    eventually(lambda: not found.sessions(), "no session is left")
    found.close()


@pytest.fixture
async def make(namespace: Namespace, postgres: LocalPostgres, direct: Direct) -> AsyncIterator[Make]:
    """Makes environments in the namespace; their INIT has not run."""
    hosts: list[ProcessHost] = []

    async def environment(**variables: str) -> ProcessRuntime:
        variables = {**os.environ, "DATABASE_URL": postgres.url(), "STORM_CLIENT": "lean", **variables}
        host = ProcessHost(
            "tests.support.functions:sql", Clock(), variables=variables, command=namespace.command
        )
        hosts.append(host)
        runtime = await host.make()
        assert isinstance(runtime, ProcessRuntime)
        return runtime

    yield environment
    namespace.mend()
    for host in hosts:
        await host.close()


async def ran(runtime: ProcessRuntime, note: Path, *sql: str) -> str:
    """What the last statement has returned."""
    event: dict[str, Any] = {"sql": sql, "to": str(note)}
    answer = await runtime.invoke(Request("i-1", 1, event, "f", 512, 1, 60.0))
    assert not answer.failed, answer
    return read(note)


def read(path: Path) -> str:
    return path.read_text("utf-8")


def network(pid: int) -> str:
    """Which network namespace it is in."""
    return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115  no path


def unacknowledged(pid: int) -> int:
    """Bytes that TCP connections of the process's namespace have sent in vain. proc(5), /proc/net/tcp."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text("ascii").splitlines()[1:]
    return sum(int(line.split()[4].partition(":")[0], 16) for line in lines)


async def test_environments_run_in_the_namespace(make: Make, namespace: Namespace, tmp_path: Path) -> None:
    runtime = await make()
    assert not (await runtime.initialise()).failed
    assert await ran(runtime, tmp_path / "note", "select host(inet_client_addr())") == namespace.address
    assert network(runtime.pid) != network(os.getpid())


@pytest.mark.parametrize("cut", [False, True])
async def test_killed(
    make: Make, namespace: Namespace, postgres: LocalPostgres, direct: Direct, tmp_path: Path, cut: bool
) -> None:
    """In a transaction. The kernel says FIN; on a link that is down nobody hears it."""
    logged = len(postgres.log_text())
    runtime = await make()
    await runtime.initialise()
    await ran(
        runtime, tmp_path / "note", *SHORT_PATIENCE, "begin", "insert into note values ('x') returning body"
    )
    assert len(direct.sessions("state = 'idle in transaction'")) == 1
    if cut:
        namespace.cut()
        assert repr(namespace) == f"<Namespace {namespace.name} cut>"
    runtime.kill()
    await soon(lambda: not Path(f"/proc/{runtime.pid}").exists(), "it is dead, and reaped")
    if cut:  # everything that the kernel had to say has been said
        assert len(direct.sessions("state = 'idle in transaction'")) == 1
    await soon(lambda: not direct.sessions(), "the server has noticed")
    said = postgres.log_text()[logged:]
    assert END in said
    assert ("could not receive" in said) == (TIMED_OUT in said) == cut
    assert direct.rows("select * from note") == []


async def test_mended_before_anybody_has_given_up(
    make: Make, namespace: Namespace, direct: Direct, tmp_path: Path
) -> None:
    """What was said meanwhile arrives, for it is said again and again."""
    runtime = await make()
    await runtime.initialise()
    first = await ran(runtime, tmp_path / "first", "select pg_backend_pid()")
    namespace.cut()
    statement = asyncio.create_task(ran(runtime, tmp_path / "second", "select pg_backend_pid() /* again */"))
    await soon(lambda: unacknowledged(runtime.pid), "it was said in vain")
    assert not direct.sessions("query like '%again%'")
    assert not statement.done()
    namespace.mend()
    assert repr(namespace) == f"<Namespace {namespace.name} open>"
    assert await statement == first


async def test_mended_while_somebody_knocks(make: Make, namespace: Namespace, direct: Direct) -> None:
    """Nobody tells him either that there is no way: no error, but an answer after the mending."""
    runtime = await make(STORM_TEST_INIT="connects")
    namespace.cut()
    initialising = asyncio.create_task(runtime.initialise())
    syn_sent = " 02 "  # the state of a connection, proc(5)
    tcp = Path(f"/proc/{runtime.pid}/net/tcp")
    await soon(lambda: syn_sent in tcp.read_text("ascii"), "it knocks")
    assert not direct.sessions()
    assert not initialising.done()
    namespace.mend()
    answer = await initialising
    assert not answer.failed, answer
    assert answer.meter.connects == 1
    assert answer.meter.errors == {}


# Coming and going.


def there(name: str) -> bool:
    return name in [line.split()[0] for line in ip("netns", "list").splitlines()]


def ours() -> int:
    """How many there are of this process."""
    return ip("netns", "list").count(f"storm-{os.getpid()}-")


def link_is_there(number: int) -> bool:
    return Path(f"/sys/class/net/{namespaces.link(number)}").exists()


def test_several_at_a_time(namespace: Namespace) -> None:
    with Namespace() as one, Namespace() as other:
        found = [namespace, one, other]
        assert len({made.name for made in found}) == ours() == 3
        assert len({made.host_address for made in found}) == 3
        for made in found:
            assert there(made.name)
            assert link_is_there(made.number)
            routes = subprocess.check_output([*made.command, "ip", "route"], text=True)
            assert f"dev database proto kernel scope link src {made.address}" in routes
        numbers = one.number, other.number
    assert repr(one) == repr(other) == "<Namespace closed>"
    assert ours() == 1
    assert not any(map(link_is_there, numbers))


def test_removed_after_an_error(namespace: Namespace) -> None:
    made = Namespace()
    numbers: list[int] = []

    def fail_in_it() -> None:
        with made:
            numbers.append(made.number)
            assert link_is_there(made.number)
            raise LookupError

    with pytest.raises(LookupError):
        fail_in_it()
    assert ours() == 1
    assert not any(map(link_is_there, numbers))


def test_half_made_and_removed(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []

    def nonsense(number: int) -> tuple[str, str]:
        numbers.append(number)
        assert link_is_there(number)
        return "198.18.0.1", "nonsense"

    monkeypatch.setattr(namespaces, "addresses", nonsense)
    with pytest.raises(NamespaceFailed, match=r"ip .* address add nonsense/30 .*: "):
        Namespace().open()
    assert ours() == 1
    assert [link_is_there(number) for number in numbers] == [False]


def test_there_is_room_for_so_many(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another's is in the way, or one of our own."""
    monkeypatch.setattr(namespaces, "MOST", namespace.number + 1)
    for name in (namespaces.name_of, lambda number: f"storm-{os.getpid()}-other-{number}"):
        monkeypatch.setattr(namespaces, "name_of", name)
        with pytest.raises(NamespaceFailed, match="network namespaces of storms already, storm0 and so on"):
            Namespace().open()
        assert ours() == 1


ABANDON = """
from benchmarks.storm.runtime.namespaces import Namespace
namespace = Namespace()
namespace.open()
print(namespace.name, flush=True)
input()
"""


def test_one_that_was_left_behind_is_removed_by_the_next() -> None:
    command = [sys.executable, "-c", ABANDON]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        with Namespace():
            assert there(name)
        owner.send_signal(signal.SIGKILL)
    assert there(name)
    with Namespace():
        assert not there(name)


def test_one_left_open_is_removed_at_the_end_of_its_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABANDON], input="\n", capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.startswith("storm-")
    assert not there(done.stdout.strip())
