"""`deploy/lambda`: its handler run as Lambda runs it, through poolproxy; and its page against the product."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from benchmarks.storm import events
from benchmarks.storm.clock import Clock
from benchmarks.storm.context import Context
from benchmarks.storm.loading import Handler, HandlerSource
from benchmarks.storm.runtime.processes import ProcessHost
from benchmarks.storm.runtime.runtime import Request, Runtime
from poolproxy.backend.control import APPLICATION_NAME
from poolproxy.demo.postgres import free_port
from tests.support.cluster import DATABASE, Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "lambda"
HANDLER = f"{FOLDER / 'handler.py'}:handler"
EVENT: dict[str, Any] = json.loads((FOLDER / "event.json").read_text("utf-8"))
TIMEOUT = 30.0  #: seconds, the function's

Environments = Callable[[ProxyProcess], "Environment"]


class Environment:
    """One execution environment, in this process: INIT when made, then one invocation at a time."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", url)
        self._handler: Handler = HandlerSource.find(HANDLER).load()
        self.globals: dict[str, Any] = self._handler._function.__globals__

    def invoke(self, event: dict[str, Any], timeout: float = TIMEOUT) -> dict[str, int]:
        context = Context("store", 512, "request", time.monotonic() + timeout, time.monotonic)
        answer: dict[str, int] = self._handler.call(event, context)
        return answer

    @property
    def connection(self) -> Any:
        return self.globals["connection"]

    def close(self) -> None:
        """What SHUTDOWN without an extension does, and no more: the socket ends with its process."""
        self.connection.terminate()
        loop = self.globals["loop"]
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@pytest.fixture(autouse=True)
def table(stage: Stage) -> Iterator[None]:
    stage.direct.rows((FOLDER / "schema.sql").read_text("utf-8"))
    stage.direct.rows("grant all on upload to public")
    yield
    stage.direct.rows("drop table upload")


@pytest.fixture
def environments(stage: Stage, monkeypatch: pytest.MonkeyPatch, table: None) -> Iterator[Environments]:
    """INITs environments of a proxy."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    made: list[Environment] = []

    def make(proxy: ProxyProcess) -> Environment:
        made.append(Environment(proxy.url(), monkeypatch))
        return made[-1]

    yield make
    for environment in made:
        environment.close()
    sys.modules.pop("handler", None)


def put(number: int) -> dict[str, Any]:
    """S3 tells of an upload."""
    return events.upload(number, 1_772_000_000.0)


def stored(direct: Direct) -> list[tuple[str, str]]:
    return [(bucket, key) for bucket, key in direct.rows("select bucket, key from upload order by key")]


def sessions(direct: Direct) -> list[str]:
    """States of the servers that are not idle; the proxy's own questions are not meant."""
    ours = f"application_name = '{APPLICATION_NAME}'"
    return [state for _, state, _ in direct.sessions(f"state <> 'idle' and usename = 'app' and not {ours}")]


def test_the_event_of_the_folder_is_stored_once(
    environments: Environments, proxy: ProxyProcess, direct: Direct
) -> None:
    """S3 and Lambda deliver at least once; it does no harm, in the same environment or in another one."""
    environment = environments(proxy)
    assert environment.invoke(EVENT) == {"stored": 1, "known": 0}
    assert environment.invoke(EVENT) == {"stored": 0, "known": 1}
    assert environments(proxy).invoke(EVENT) == {"stored": 0, "known": 1}
    (found,) = direct.rows(
        "select bucket, key, sequencer, version, etag, size, extract(epoch from uploaded)::float from upload"
    )
    object_ = EVENT["Records"][0]["s3"]["object"]
    assert found == (
        "uploads",
        "2026/red flower.jpg",
        object_["sequencer"],
        None,
        object_["eTag"],
        object_["size"],
        1772712000.123,
    )


def test_its_event_has_the_shape_of_the_bench(environments: Environments, proxy: ProxyProcess) -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(inner) for name, inner in value.items()}
        return [shape(inner) for inner in value] if isinstance(value, list) else type(value)

    assert shape(EVENT) == shape(put(1))


def test_two_uploads_of_a_key_are_two_rows(
    environments: Environments, proxy: ProxyProcess, direct: Direct
) -> None:
    again = copy.deepcopy(EVENT)
    again["Records"][0]["s3"]["object"] |= {"sequencer": "0065E7083F1A2B3C4E", "versionId": "v2"}
    assert environments(proxy).invoke({"Records": EVENT["Records"] + again["Records"] * 2}) == {
        "stored": 2,
        "known": 1,
    }
    assert direct.rows("select version from upload order by lpad(sequencer, 40, '0')") == [(None,), ("v2",)]


def test_one_connection_and_it_is_kept(environments: Environments, stage: Stage) -> None:
    """Made at INIT, before any invocation; a named statement goes along, whichever server it gets."""
    proxy = stage.fresh(pool_size=2)
    environment = environments(proxy)
    proxy.wait_gauge("poolproxy_clients_connected", 1)
    first = environment.connection
    for number in range(12):
        assert environment.invoke(put(number))["stored"] == 1
    assert environment.connection is first
    assert proxy.metrics().value("poolproxy_clients_connected") == 1


def test_a_connection_lost_while_frozen_is_replaced(
    environments: Environments, stage: Stage, direct: Direct
) -> None:
    """`idle_client_timeout`: poolproxy has said goodbye, and nobody was awake to hear it."""
    proxy = stage.fresh(idle_client_timeout=0.5)
    environment = environments(proxy)
    assert environment.invoke(put(1))["stored"] == 1
    for number in (2, 3):
        before = environment.connection
        proxy.wait_gauge("poolproxy_clients_connected", 0)
        assert environment.invoke(put(number)) == {"stored": 1, "known": 0}
        assert environment.connection is not before
    assert len(stored(direct)) == 3


def test_a_proxy_that_was_restarted_is_found_again(
    environments: Environments, stage: Stage, direct: Direct
) -> None:
    place = {"POOLPROXY_LISTEN_PORT": str(free_port())}
    first = stage.fresh(place)
    environment = environments(first)
    assert environment.invoke(put(1))["stored"] == 1
    assert first.stop() == 0
    with pytest.raises(OSError):
        environment.invoke(put(2))  # nobody is there: Lambda will call again
    stage.fresh(place)
    assert environment.invoke(put(2)) == {"stored": 1, "known": 0}
    assert len(stored(direct)) == 2


def test_a_proxy_that_was_killed_is_found_again(
    environments: Environments, stage: Stage, direct: Direct
) -> None:
    """No goodbye, and it is back before the function thaws."""
    place = {"POOLPROXY_LISTEN_PORT": str(free_port())}
    first = stage.fresh(place)
    environment = environments(first)
    assert environment.invoke(put(1))["stored"] == 1
    first.kill()
    stage.fresh(place)
    assert environment.invoke(put(2)) == {"stored": 1, "known": 0}
    assert len(stored(direct)) == 2


def test_servers_that_were_terminated_are_none_of_its_business(
    environments: Environments, proxy: ProxyProcess, direct: Direct
) -> None:
    environment = environments(proxy)
    assert environment.invoke(put(1))["stored"] == 1
    before = environment.connection
    direct.rows("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app'")
    assert environment.invoke(put(2))["stored"] == 1
    assert environment.connection is before


def test_what_was_under_way_is_not_run_again(
    environments: Environments, stage: Stage, proxy: ProxyProcess, direct: Direct
) -> None:
    """The server ends in mid-transaction: the invocation fails, and the next one is served."""
    stage.expect_log("server")
    environment = environments(proxy)
    with ThreadPoolExecutor(1) as thread, locked(stage) as lock:
        running = thread.submit(environment.invoke, put(1))
        (pid,) = direct.wait_running("INSERT INTO upload")
        direct.rows("select pg_terminate_backend(%s::int)", [pid])
        with pytest.raises(asyncpg.PostgresError):
            running.result(10)
        lock.rollback()
    eventually(lambda: sessions(direct) == [], "the server that has said so is gone")
    assert stored(direct) == []
    assert environment.invoke(put(1)) == {"stored": 1, "known": 0}


class locked:
    """Somebody else holds the table: what the handler does with it waits."""

    def __init__(self, stage: Stage) -> None:
        self._connection = psycopg.connect(stage.postgres.url(DATABASE), application_name="direct")

    def __enter__(self) -> psycopg.Connection[Any]:
        self._connection.execute("lock table upload in exclusive mode")
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def test_the_deadline_cancels_a_slow_statement(
    environments: Environments, stage: Stage, proxy: ProxyProcess, direct: Direct
) -> None:
    """A second before Lambda's timeout; when the handler is back, the server is idle already."""
    environment = environments(proxy)
    before = environment.connection
    with locked(stage):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            environment.invoke(put(1), timeout=1.6)
        took = time.monotonic() - began
        assert sessions(direct) == []
    assert 0.6 <= took < 1.6
    assert stored(direct) == []
    assert environment.invoke(put(1))["stored"] == 1
    assert environment.connection is before


def test_an_event_that_comes_too_late_sends_nothing(
    environments: Environments, proxy: ProxyProcess, direct: Direct
) -> None:
    environment = environments(proxy)
    with pytest.raises(TimeoutError):
        environment.invoke(put(1), timeout=0.9)
    assert sessions(direct) == []
    assert environment.invoke(put(1))["stored"] == 1


def test_where_nothing_is_answered_the_connection_is_given_up(
    environments: Environments, stage: Stage, direct: Direct
) -> None:
    """A server that hangs: neither cancel nor ROLLBACK is heard. The handler is back in time all the same."""
    proxy = stage.fresh(pool_size=2, server_rescue_timeout=1)
    environment = environments(proxy)
    with locked(stage), ThreadPoolExecutor(1) as thread:
        running = thread.submit(environment.invoke, put(1), timeout=2.5)
        (pid,) = direct.wait_running("INSERT INTO upload")
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                running.result(10)
            assert time.monotonic() - began < 2.5
            proxy.wait_gauge("poolproxy_clients_connected", 0)
            assert environment.connection.is_closed()
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: sessions(direct) == [], "the server is back")
    assert stored(direct) == []
    assert environment.invoke(put(1))["stored"] == 1


def test_a_full_pool_is_no_reason_to_ask_again(environments: Environments, stage: Stage) -> None:
    """53300 ends the connection, for a BEGIN must not fail and let go on; the wait is not begun anew."""
    proxy = stage.fresh(pool_size=1, connection_borrow_timeout=0.5)
    environment = environments(proxy)
    with proxy.login() as other:
        other.query("begin")
        logins = proxy.metrics().value("poolproxy_logins_total")
        with pytest.raises(asyncpg.PostgresError, match="connection_borrow_timeout"):
            environment.invoke(put(1))
        assert proxy.metrics().value("poolproxy_logins_total") == logins
        other.query("rollback")
    assert environment.invoke(put(1)) == {"stored": 1, "known": 0}


def test_a_deadline_in_the_queue_leaves_the_queue(
    environments: Environments, stage: Stage, direct: Direct
) -> None:
    proxy = stage.fresh(pool_size=1)
    environment = environments(proxy)
    with proxy.login() as other:
        other.query("begin")
        with pytest.raises(TimeoutError):
            environment.invoke(put(1), timeout=1.4)
        assert proxy.metrics().value("poolproxy_clients", state="waiting") == 0
        other.query("rollback")
    assert environment.invoke(put(1))["stored"] == 1


def test_a_handler_that_raises_leaves_no_transaction(
    environments: Environments, proxy: ProxyProcess, direct: Direct
) -> None:
    """All of an event or nothing; and the connection is as good as before."""
    environment = environments(proxy)
    before = environment.connection
    broken = put(2)
    broken["Records"][0]["s3"]["object"]["size"] = None
    with pytest.raises(asyncpg.NotNullViolationError):
        environment.invoke({"Records": put(1)["Records"] + broken["Records"]})
    assert sessions(direct) == []
    with pytest.raises(KeyError):
        environment.invoke({"Records": [{"eventSource": "aws:sqs"}]})
    assert stored(direct) == []
    assert environment.invoke(put(1))["stored"] == 1
    assert environment.connection is before


@pytest.mark.parametrize("mistake", ["raises", "hides"])
def test_mistakes_between_the_statements_are_rolled_back(
    environments: Environments, proxy: ProxyProcess, direct: Direct, mistake: str
) -> None:
    """Your own code in `store`: it raises, or it hides that a statement has failed."""
    environment = environments(proxy)
    store = environment.globals["store"]

    async def wrong(rows: Any) -> int:
        count: int = await store(rows)
        if mistake == "raises":
            raise ZeroDivisionError
        with pytest.raises(asyncpg.DivisionByZeroError):
            await environment.connection.execute("select 1/0")
        return count

    environment.globals["store"] = wrong
    with pytest.raises(ZeroDivisionError if mistake == "raises" else RuntimeError):
        environment.invoke(put(1))
    assert sessions(direct) == []
    assert stored(direct) == []
    environment.globals["store"] = store
    assert environment.invoke(put(1))["stored"] == 1


def test_its_socket_notices_a_loss_that_nobody_tells(environments: Environments, proxy: ProxyProcess) -> None:
    environment = environments(proxy)
    sock = environment.connection._transport.get_extra_info("socket")
    limit = environment.globals["UNANSWERED"] * 1000
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == limit


async def test_twenty_environments_frozen_and_thawed(stage: Stage, direct: Direct) -> None:
    """The storm's own runtime: each a process, stopped between invocations; every event comes twice."""
    proxy = stage.fresh(pool_size=3)
    host = ProcessHost(HANDLER, Clock(), variables={**os.environ, "DATABASE_URL": proxy.url()})
    try:
        made = [await host.make() for _ in range(20)]
        answers = await asyncio.gather(*(runtime.initialise() for runtime in made))
        assert [answer.message for answer in answers if answer.failed] == []
        for turn in range(4):
            for runtime in made:
                runtime.thaw()
            answers = await asyncio.gather(
                *(deliver(runtime, number, turn) for number, runtime in enumerate(made))
            )
            assert [answer.message for answer in answers if answer.failed] == []
            for runtime in made:
                runtime.freeze()
        assert proxy.metrics().value("poolproxy_clients_connected") == 20
        assert sum(proxy.metrics().by("poolproxy_servers", "state").values()) <= 3
    finally:
        await host.close()
    assert len(stored(direct)) == 40


def deliver(runtime: Runtime, number: int, turn: int) -> Any:
    event = put(number + 20 * (turn // 2))
    return runtime.invoke(Request(f"r{number}-{turn}", 1, event, "store", 512, number, TIMEOUT))
