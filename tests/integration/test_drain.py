"""SIGTERM: who is busy finishes, who is idle is told, nobody new comes in, the exit status is 0."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support import messages as m
from tests.support.cluster import Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire


def refuses(proxy: ProxyProcess) -> bool:
    """Whether new clients are kept out: no connection, or closed, or told 57P01 / 57P03."""
    try:
        with Wire(proxy.address, timeout=2) as wire:
            wire.send(m.startup({"user": "app", "database": "app"}))
            return set(m.errors(wire.read_to_end())) <= {"57P01", "57P03"}
    except (ConnectionError, TimeoutError):
        return True


def test_nobody_there(stage: Stage) -> None:
    proxy = stage.fresh()
    started = time.monotonic()
    proxy.terminate()
    assert proxy.wait() == 0
    assert time.monotonic() - started < 5


def test_sighup_disturbs_nobody(stage: Stage) -> None:
    proxy = stage.fresh()
    with proxy.login() as client:
        client.query("begin")
        os.kill(proxy.pid, signal.SIGHUP)
        proxy.wait_log(lambda line: line["event"].startswith("SIGHUP: certificates are read again"))
        assert client.value("select 'still here'") == "still here"
    proxy.terminate()
    assert proxy.wait() == 0


def test_idle_clients_are_told(stage: Stage) -> None:
    proxy = stage.fresh(drain_timeout=10)
    clients = [proxy.login() for _ in range(5)]
    for client in clients:
        client.value("select 1")
    proxy.terminate()
    for client in clients:
        (error,) = client.read_to_end()
        assert (error.sqlstate, error.fields["S"]) == ("57P01", "FATAL")
        client.close()
    assert proxy.wait() == 0


def test_transactions_finish(stage: Stage, direct: Direct) -> None:
    direct.rows("truncate ledger")
    proxy = stage.fresh(drain_timeout=20)
    with proxy.login() as client:
        client.query("begin")
        client.query("insert into ledger values ('drain', 1)")
        proxy.terminate()
        eventually(lambda: proxy.get("/ready")[0] == 503, "/ready fails")
        assert proxy.get("/health")[0] == 200
        assert refuses(proxy)
        client.query("insert into ledger values ('drain', 2)")
        assert m.tags(client.query("commit")) == ["COMMIT"]
        (error,) = client.read_to_end()
        assert error.sqlstate == "57P01"
    assert proxy.wait() == 0
    assert direct.value("select count(*) from ledger") == 2


def test_a_running_query_finishes(stage: Stage, direct: Direct) -> None:
    proxy = stage.fresh(drain_timeout=20)
    with proxy.login() as client:
        client.send(m.query("select pg_sleep(1), 'finished'"))
        direct.wait_running("finished")
        proxy.terminate()
        assert m.rows(client.read_until("Z")) == [[b"", b"finished"]]
        assert m.errors(client.read_to_end()) == ["57P01"]
    assert proxy.wait() == 0


def test_those_in_the_queue(stage: Stage) -> None:
    """A waiting client is served or told, but not forgotten."""
    proxy = stage.fresh(drain_timeout=10, pool_size=1)
    with proxy.login() as holder, proxy.login() as waiting:
        holder.query("begin")
        waiting.send(m.query("select 'served'"))
        proxy.wait_clients("waiting", 1)
        proxy.terminate()
        eventually(lambda: proxy.get("/ready")[0] == 503, "/ready fails")
        holder.query("commit")
        answer = waiting.read_to_end()
        assert m.errors(answer) == ["57P01"]
        holder.read_to_end()
    assert proxy.wait() == 0


def test_a_pinned_client_is_idle(stage: Stage) -> None:
    proxy = stage.fresh(drain_timeout=10)
    with proxy.login() as client:
        client.query("listen x")
        proxy.terminate()
        assert m.errors(client.read_to_end()) == ["57P01"]
    assert proxy.wait() == 0


def test_the_drain_ends(stage: Stage, direct: Direct) -> None:
    """After drain_timeout open transactions are ended with 57P01 and rolled back; still exit 0."""
    stage.expect_log("drain|57P01")
    proxy = stage.fresh(drain_timeout=1)
    with proxy.login() as client:
        client.query("begin")
        client.query("insert into note values (1, 'undone')")
        started = time.monotonic()
        proxy.terminate()
        assert m.errors(client.read_to_end()) == ["57P01"]
        assert 0.9 < time.monotonic() - started < 5
    assert proxy.wait() == 0
    assert direct.value("select count(*) from note where body = 'undone'") == 0


def test_a_second_sigterm_is_now(stage: Stage, direct: Direct) -> None:
    stage.expect_log("drain|57P01|signal")
    proxy = stage.fresh(drain_timeout=60)
    with proxy.login() as client:
        client.query("begin")
        proxy.terminate()
        eventually(lambda: proxy.get("/ready")[0] == 503, "/ready fails")
        started = time.monotonic()
        proxy.terminate()
        proxy.wait(10)
        assert time.monotonic() - started < 5
        client.read_to_end()


def test_servers_are_closed_cleanly(stage: Stage, direct: Direct) -> None:
    """Terminate, not a lost connection: PostgreSQL's log has nothing to say."""
    proxy = stage.fresh()
    with proxy.login(application_name="drained") as client:
        client.value("select 1")
    logged = len(stage.postgres.log_text())
    proxy.terminate()
    assert proxy.wait() == 0
    eventually(lambda: not direct.sessions("application_name = 'drained'"), "servers closed")
    said = stage.postgres.log_text()[logged:]
    assert "connection" not in said, said


@pytest.mark.parametrize("state", ["login", "idle"])
def test_a_client_that_does_not_read(stage: Stage, state: str) -> None:
    """It cannot hold up the drain."""
    stage.expect_log("drain|login")
    proxy = stage.fresh(drain_timeout=2)
    wire = Wire(proxy.address) if state == "login" else proxy.login()
    proxy.terminate()
    assert proxy.wait(15) == 0
    wire.close()
