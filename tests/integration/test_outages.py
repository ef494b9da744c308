"""Bad days of the database: servers killed, restarts, a database that is not there. On a PostgreSQL of its
own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from threading import Timer

import pytest

from tests.support import messages as m
from tests.support.cluster import make_postgres
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import WireError


@pytest.fixture(scope="module")
def module_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(make_postgres(), tmp_path_factory.mktemp("outages"))
    yield stage
    stage.close()


@pytest.fixture
def outage(module_stage: Stage) -> Iterator[Stage]:
    module_stage.begin()
    module_stage.expect_log("server|database|57P|08006|connect")
    yield module_stage
    module_stage.postgres.start()
    module_stage.end()


def kill(outage: Stage, pid: str | int | None) -> None:
    assert outage.direct.value("select pg_terminate_backend(%s::int)", [pid]) is True


def test_an_idle_server_is_killed(outage: Stage) -> None:
    """Nobody notices: the next query gets another server."""
    proxy = outage.proxy(pool_size=3)
    with proxy.login() as client:
        for _ in range(5):
            kill(outage, client.value("select pg_backend_pid()"))
            proxy.wait_gauge("poolproxy_servers", 0)
            assert client.value("select 1") == "1"


def test_idle_servers_are_killed_without_waiting(outage: Stage) -> None:
    """The query may come before the proxy has seen the end of its idle servers: still no error (nothing was
    sent).
    """
    proxy = outage.proxy(pool_size=3)
    with proxy.login() as client:
        for _ in range(20):
            pid = client.value("select pg_backend_pid()")
            kill(outage, pid)
            gone = f"not exists (select from pg_stat_activity where pid = {pid})"
            eventually(partial(outage.direct.value, f"select {gone}"), "the server's end")
            assert client.value("select 1") == "1"


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_a_server_is_killed_in_mid_query(outage: Stage, extended: bool) -> None:
    """PostgreSQL's own FATAL, exactly one error, then the connection ends; the next client is served."""
    proxy = outage.proxy(pool_size=1)
    with proxy.login() as client:
        sql = "select pg_sleep(60)"
        client.send(m.extended(sql) + m.SYNC if extended else m.query(sql))
        (pid,) = outage.direct.wait_running(sql)
        kill(outage, pid)
        (error,) = [message for message in client.read_to_end() if message.letter in "EZ"]
        assert (error.sqlstate, error.fields["S"]) == ("57P01", "FATAL")
    with proxy.login() as client:
        assert client.value("select 1") == "1"


def test_a_server_is_killed_in_an_idle_transaction(outage: Stage) -> None:
    """The client is told, and its COMMIT does not reach another server."""
    proxy = outage.proxy(pool_size=2)
    with proxy.login() as client:
        client.query("begin")
        client.query("insert into note values (1, 'lost')")
        kill(outage, client.value("select pg_backend_pid()"))
        (error,) = client.read_to_end()
        assert error.fields["S"] == "FATAL"
        assert error.sqlstate in {"57P01", "08006"}
    with proxy.login() as client:
        assert client.value("select count(*) from note where body = 'lost'") == "0"


def test_a_server_crashes_without_a_word(outage: Stage) -> None:
    """SIGKILL of the backend: all sessions end, the client gets exactly one error, service resumes."""
    proxy = outage.proxy(pool_size=2)
    with proxy.login() as client:
        client.send(m.query("select pg_sleep(60)"))
        outage.direct.wait_running("pg_sleep(60)")
        outage.postgres.kill()
        errors = m.errors(client.read_to_end())
        assert len(errors) == 1
        assert errors[0] in {"08006", "57P01", "57P02"}
    outage.postgres.start()
    with proxy.login() as client:
        assert client.value("select 1") == "1"


def test_clients_wait_while_the_database_is_away(outage: Stage) -> None:
    """Logged-in clients stay, their queries wait, and go on within a second of its coming back."""
    proxy = outage.proxy(pool_size=2)
    with proxy.login() as client, proxy.login() as other:
        client.value("select 1")
        outage.postgres.stop()
        client.send(m.query("select 'after the outage'"))
        other.send(m.extended("select 'me too'") + m.SYNC)
        proxy.wait_clients("waiting", 2)
        proxy.wait_gauge("poolproxy_server_up", 0)
        status, _ = proxy.get("/ready")
        assert status == 200, "a database that is down is a metric, never a failed probe"
        outage.postgres.start()
        started = time.monotonic()
        assert m.rows(client.read_ready()) == [[b"after the outage"]]
        assert m.rows(other.read_ready()) == [[b"me too"]]
        assert time.monotonic() - started < 2
        proxy.wait_gauge("poolproxy_server_up", 1)


def test_the_wait_for_a_database_ends(outage: Stage) -> None:
    """57P03 after connection_borrow_timeout, naming pool and reason; the session goes on when it is back."""
    proxy = outage.proxy(pool_size=1, connection_borrow_timeout=1)
    with proxy.login() as client:
        client.value("select 1")
        outage.postgres.stop()
        started = time.monotonic()
        answer = client.ask(m.query("select 1"))
        assert 0.9 < time.monotonic() - started < 4
        assert m.letters(answer) == "EZ"
        assert (answer[0].sqlstate, answer[0].fields["S"]) == ("57P03", "ERROR")
        outage.postgres.start()
        # The next attempt to connect may be nearly as far off as the client waits.
        eventually(lambda: m.rows(client.ask(m.query("select 'back'"))) == [[b"back"]], "it is back")


def test_a_login_while_the_database_is_away(outage: Stage) -> None:
    """The first login of a pool needs the server's parameters: it waits, too."""
    proxy = outage.fresh(connection_borrow_timeout=20)
    outage.postgres.stop()
    back = Timer(0.5, outage.postgres.start)
    back.start()
    with proxy.login() as client:
        assert client.value("select 1") == "1"
    back.join()


def test_a_login_while_the_database_stays_away(outage: Stage) -> None:
    proxy = outage.fresh(connection_borrow_timeout=1)
    outage.postgres.stop()
    with pytest.raises(WireError) as caught:
        proxy.login()
    assert caught.value.sqlstate == "57P03"
    assert caught.value.fields["S"] == "FATAL"


def test_a_restart_under_load(outage: Stage) -> None:
    """Clients that are between transactions do not notice a fast restart."""
    proxy = outage.proxy(pool_size=3)
    idle = [proxy.login() for _ in range(10)]
    for client in idle:
        client.value("select 1")
    outage.postgres.restart("fast")
    for n, client in enumerate(idle):
        assert client.value(f"select {n}") == str(n)
        client.close()


def test_no_connect_stampede(outage: Stage) -> None:
    """Fifty clients wait for a database that is down: attempts to connect stay few."""
    proxy = outage.fresh(pool_size=10, connection_borrow_timeout=30)
    crowd = [proxy.login() for _ in range(50)]
    outage.postgres.stop()
    before = sum(proxy.metrics().by("poolproxy_server_connects_total", "result").values())
    for client in crowd:
        client.send(m.query("select 1"))
    proxy.wait_clients("waiting", 50)
    started = time.monotonic()
    eventually(lambda: time.monotonic() - started > 1.5, "a second and a half of outage")
    attempts = sum(proxy.metrics().by("poolproxy_server_connects_total", "result").values()) - before
    assert attempts < 60
    outage.postgres.start()
    for client in crowd:
        assert m.errors(client.read_ready()) == []
        client.close()


def test_too_many_connections_at_the_server_is_no_outage(outage: Stage) -> None:
    """PostgreSQL's 53300 makes clients share what there is, without an error."""
    proxy = outage.fresh(pool_size=10, max_connections=50)
    outage.direct.rows("alter role app connection limit 2")
    try:
        crowd = [proxy.login() for _ in range(8)]
        for client in crowd:
            client.send(m.query("select pg_sleep(0.05)"))
        for client in crowd:
            assert m.errors(client.read_ready()) == []
            client.close()
    finally:
        outage.direct.rows("alter role app connection limit -1")


def test_a_database_that_does_not_exist(outage: Stage) -> None:
    """The server's own refusal is told, not a wait without end."""
    place = f"{outage.postgres.host}:{outage.postgres.port}"
    proxy = outage.fresh(
        databases={"ghost": {"url": f"postgres://{place}/nosuch"}}, connection_borrow_timeout=2
    )
    with pytest.raises(WireError) as caught:
        proxy.login(database="ghost")
    assert caught.value.sqlstate == "3D000"
