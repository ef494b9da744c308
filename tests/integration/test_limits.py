"""Limits: clients, pools, connections of a database, and the database that takes any name."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolproxy.settings import descriptors_needed
from tests.support import messages as m
from tests.support.cluster import DATABASE, Direct
from tests.support.proxy import ProxyProcess, bare_environment, toml
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire, WireError, cancel


def test_max_client_connections(stage: Stage) -> None:
    """One too many gets FATAL 53300 at once, and there is room again when somebody leaves."""
    stage.expect_log("53300|clients")
    proxy = stage.proxy(max_client_connections=3)
    clients = [proxy.login() for _ in range(3)]
    with pytest.raises(WireError) as caught:
        proxy.login()
    assert (caught.value.sqlstate, caught.value.fields["S"]) == ("53300", "FATAL")
    assert "max_client_connections" in caught.value.fields["M"]
    clients.pop().close()
    proxy.wait_gauge("poolproxy_clients_connected", 2)
    with proxy.login() as client:
        assert client.value("select 1") == "1"
    for client in clients:
        client.close()


def test_a_cancel_gets_through_when_clients_are_at_their_limit(stage: Stage, direct: Direct) -> None:
    proxy = stage.proxy(max_client_connections=1)
    with proxy.login() as client:
        client.send(m.query("select pg_sleep(60)"))
        direct.wait_running("pg_sleep(60)")
        cancel(proxy.address, client.pid, client.key)
        assert m.errors(client.read_ready()) == ["57014"]


def test_max_pools(stage: Stage) -> None:
    stage.expect_log("53300|pools")
    proxy = stage.proxy(max_pools=2)
    with proxy.login("app") as app, proxy.login("other") as other:
        assert app.value("select 1") == other.value("select 1") == "1"
        with pytest.raises(WireError) as caught:
            proxy.login("md5user")
        assert (caught.value.sqlstate, caught.value.fields["S"]) == ("53300", "FATAL")
        assert "max_pools" in caught.value.fields["M"]


def test_any_database(stage: Stage) -> None:
    """`*` takes the client's database name, and the client's user where its url names none."""
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    proxy = stage.proxy(databases={"*": {"url": f"postgres://{place}"}})
    for user in ("app", "other"):
        for database in (DATABASE, "second", "template1"):
            with proxy.login(user, database) as client:
                assert client.rows("select current_user, current_database()") == [[user, database]]


def test_any_database_with_one_user(stage: Stage) -> None:
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    proxy = stage.proxy(databases={"*": {"url": f"postgres://other:other%2Fsecret@{place}"}})
    with proxy.login("app", "second") as client:
        assert client.rows("select current_user, current_database()") == [["other", "second"]]


def test_a_named_database_before_any(stage: Stage) -> None:
    """A name of its own for a database, beside `*`."""
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    url = f"postgres://{place}"
    proxy = stage.proxy(databases={"*": {"url": url}, "shop": {"url": f"{url}/{DATABASE}"}})
    with proxy.login(database="shop") as client:
        assert client.value("select current_database()") == DATABASE


def test_a_database_that_the_server_does_not_have(stage: Stage) -> None:
    stage.expect_log(".")
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    proxy = stage.fresh(databases={"*": {"url": f"postgres://{place}"}}, connection_borrow_timeout=2)
    with pytest.raises(WireError) as caught:
        proxy.login(database="nosuch")
    assert caught.value.sqlstate == "3D000"
    assert 'database "nosuch" does not exist' in str(caught.value)


def test_max_connections_of_a_database_over_its_pools(stage: Stage, direct: Direct) -> None:
    """Three servers for two pools of five: nobody starves, and PostgreSQL never sees more than three."""
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    databases = {"bounded": {"url": f"postgres://{place}/bounded"}}
    proxy = stage.fresh(databases=databases, max_connections=3, pool_size=5)
    clients = [proxy.login(user, "bounded") for user in ("app", "other") * 6]
    for client in clients:
        client.send(
            m.query("select pg_sleep(0.02), count(*) from pg_stat_activity where datname = 'bounded'")
        )
    for client in clients:
        ((_, count),) = m.rows(client.read_ready())
        assert count is not None
        assert int(count) <= 3
        client.close()
    assert proxy.metrics().value("poolproxy_database_servers_limit", database="bounded") == 3
    assert proxy.metrics().value("poolproxy_database_servers", database="bounded") <= 3


class Watch:
    """Counts the sessions on the database `bounded`, which no shared proxy uses, again and again, in a thread
    of its own."""

    def __init__(self, stage: Stage) -> None:
        self._direct = Direct(stage.postgres)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self.peak = self.rounds = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def _count(self) -> None:
        while not self._done.is_set():
            self.peak = max(self.peak, len(self._direct.sessions("datname = 'bounded'")))
            self.rounds += 1

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._direct.close()


def share_of(stage: Stage, most: int) -> int:
    """The max_connections_percent that comes to `most` connections of the stage's PostgreSQL, or one or two
    more."""
    setting = "current_setting('{}')::int"
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    usable = stage.direct.value("select " + " - ".join(setting.format(name) for name in names))
    return -(-100 * most // usable)


def storm(proxy: ProxyProcess, count: int, sql: str) -> None:
    """So many clients log in and send their query at once; every one is answered."""

    def one(_: int) -> str | None:
        with proxy.login(database="bounded") as client:
            return client.value(sql)

    with ThreadPoolExecutor(count) as threads:
        assert list(threads.map(one, range(count))) == ["1"] * count


def test_max_connections_percent_from_the_first_moment(stage: Stage) -> None:
    """Fifteen clients at once before anybody knows how many that is: PostgreSQL never sees more than four."""
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    databases = {"bounded": {"url": f"postgres://{place}/bounded"}}
    proxy = stage.fresh(databases=databases, max_connections_percent=share_of(stage, 4), pool_size=15)
    with Watch(stage) as watch:
        storm(proxy, 15, "select 1 from pg_sleep(0.2)")
    limit = proxy.metrics().value("poolproxy_database_servers_limit", database="bounded")
    assert 4 <= limit < 6
    assert watch.rounds > 10
    assert watch.peak == limit, "all of it was used, and no more"


def test_max_connections_percent_that_nobody_can_tell(stage: Stage) -> None:
    """PostgreSQL does not answer our question: clients take turns on one server, and are all served."""
    stage.expect_log("control query failed")
    stage.expect_log("catalogue not read")
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    unasked = Direct(stage.postgres, "bounded")
    unasked.rows("revoke execute on function pg_catalog.current_setting(text) from public")
    try:
        proxy = stage.fresh(
            databases={"bounded": {"url": f"postgres://{place}/bounded"}},
            max_connections_percent=50,
            pool_size=15,
        )
        with Watch(stage) as watch:
            storm(proxy, 15, "select 1 from pg_sleep(0.02)")
        line = proxy.wait_log(lambda line: line["event"] == "control query failed")
        assert "permission denied" in line["reason"]
        assert line["effect"] == "one server until it is answered"
        assert watch.peak <= 2, "a server, and the connection that asks"
    finally:
        unasked.rows("grant execute on function pg_catalog.current_setting(text) to public")
        unasked.close()


def test_max_idle_connections_percent_over_several_users(stage: Stage) -> None:
    """A fifth of ten may stay idle on the database, whichever of its three pools they are in."""
    proxy = stage.fresh(max_connections=10, max_idle_connections_percent=20, pool_size=3)
    clients = [proxy.login(user) for user in ("app", "other", "md5user") * 3]
    for client in clients:
        client.query("begin")
    proxy.wait_gauge("poolproxy_servers", 9, state="active")
    for client in clients:
        client.query("commit")
    proxy.wait_gauge("poolproxy_servers", 2)
    assert proxy.metrics().by("poolproxy_servers", "state") == {"idle": 2}
    for client in clients:
        client.close()


def test_two_names_of_one_database(stage: Stage) -> None:
    """One budget for both, and metrics for each."""
    url = f"postgres://{stage.postgres.host}:{stage.postgres.port}/{DATABASE}"
    proxy = stage.fresh(databases={"one": {"url": url}, "two": {"url": url}}, max_connections=3)
    names = ("one", "two", "two")
    clients = [proxy.login(database=name) for name in names]
    for client in clients:
        client.query("begin")
    metrics = proxy.metrics()
    assert metrics.by("poolproxy_database_servers", "database") == {"one": 1, "two": 2}
    assert metrics.by("poolproxy_database_servers_limit", "database") == {"one": 3, "two": 3}
    for client in clients:
        client.query("commit")
        client.close()


def test_idle_servers_of_another_pool_give_way(stage: Stage) -> None:
    """Under a database limit of one, the idle server of one user is closed for the other's query."""
    proxy = stage.fresh(max_connections=2, pool_size=1, max_idle_connections_percent=100)
    for _ in range(3):
        for user in ("app", "other", "md5user"):
            with proxy.login(user) as client:
                assert client.value("select current_user") == user


def test_min_pool_size(stage: Stage) -> None:
    """Warm servers come without a client where the url names the user."""
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    proxy = stage.fresh(
        databases={DATABASE: {"url": f"postgres://app:app%20secret@{place}/{DATABASE}", "min_pool_size": 3}}
    )
    proxy.wait_gauge("poolproxy_servers", 3, state="idle")
    with proxy.login() as client:
        assert client.value("select 1") == "1"


def test_init_query(stage: Stage) -> None:
    settings = stage.settings()
    settings["databases"][DATABASE]["init_query"] = "set work_mem = '11MB'"
    proxy = stage.proxy(**settings)
    with proxy.login() as client:
        assert client.value("show work_mem") == "11MB"
        client.query("set work_mem = '5MB'")
        client.query("reset work_mem")
        assert client.value("show work_mem") == "11MB", "the baseline is what init_query left (rule 10)"


def test_an_init_query_that_fails(stage: Stage) -> None:
    """Whoever waits is told what it was; nobody claims that the database cannot be reached."""
    stage.expect_log("init query failed|57P03")
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    database = {"url": f"postgres://app:app%20secret@{place}/{DATABASE}", "min_pool_size": 1}
    proxy = stage.fresh(init_query="selekt 1", connection_borrow_timeout=0.5, databases={DATABASE: database})
    proxy.wait_log(lambda line: line["event"] == "init query failed")
    with pytest.raises(WireError) as caught:
        proxy.login()
    assert caught.value.sqlstate == "57P03"
    assert "(init_query failed: syntax error" in caught.value.fields["M"]
    assert "reached" not in caught.value.fields["M"]


def test_server_lifetime(stage: Stage) -> None:
    """Servers are replaced when their time is over, and no client notices."""
    proxy = stage.proxy(pool_size=1, server_lifetime=0.3)
    with proxy.login() as client:
        first = client.value("select pg_backend_pid()")
        proxy.wait_gauge("poolproxy_servers", 0)
        assert client.value("select pg_backend_pid()") != first


def test_server_idle_timeout(stage: Stage) -> None:
    proxy = stage.proxy(server_idle_timeout=0.3)
    with proxy.login() as client:
        client.value("select 1")
        proxy.wait_gauge("poolproxy_servers", 0)
        assert client.value("select 1") == "1"


def test_file_limit_that_cannot_hold_the_clients(stage: Stage) -> None:
    """A max_client_connections that cannot fit is refused at start, naming both numbers."""
    folder = stage.folder / "files"
    folder.mkdir()
    (folder / "p.toml").write_text(toml(stage.settings(max_client_connections=50_000)))
    done = subprocess.run(
        ["sh", "-c", f"ulimit -n 1024; exec {sys.executable} -m poolproxy run -c p.toml"],
        cwd=folder,
        env={**bare_environment(), "POOLPROXY_LISTEN_PORT": "0", "POOLPROXY_HTTP_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "50000" in done.stderr.replace("_", "").replace(",", "")
    assert "1024" in done.stderr.replace(",", "")


def test_running_out_of_descriptors_pauses_accepting(stage: Stage) -> None:
    """Clients beyond the file limit wait in the backlog; those inside go on; nothing crashes."""
    stage.expect_log(".")
    proxy = stage.fresh(max_client_connections=60, pool_size=2)
    with proxy.login() as inside:
        inside.value("select 1")
        room = proxy.descriptors() + 3
        _, hard = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (room, hard))
        crowd = [Wire(proxy.address) for _ in range(10)]
        assert inside.value("select 'still served'") == "still served"
        for wire in crowd:
            wire.vanish()
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (4096, hard))
        with proxy.login() as client:
            assert client.value("select 1") == "1"


def test_strangers_cannot_take_the_descriptors_of_servers_and_http(stage: Stage) -> None:
    """With just the files that the settings ask for, and connections that say nothing on both ports: whoever
    is logged in gets another server, HTTP answers, and a login gets in when the silent ones' time is over."""
    stage.expect_log("accepting paused|login refused")
    proxy = stage.fresh(max_client_connections=20, pool_size=5)
    files = descriptors_needed(20, 5)
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (files, files))
    with contextlib.ExitStack() as crowd, proxy.login() as first, proxy.login() as second:
        first.query("begin")
        for _ in range(files):
            crowd.enter_context(socket.create_connection(proxy.address))
        proxy.wait_gauge("poolproxy_accepting", 0)
        assert second.value("select 'a server of its own'") == "a server of its own"
        assert proxy.get("/health")[0] == 200
        for _ in range(files):
            crowd.enter_context(socket.create_connection((proxy.host, proxy.http_port)))
        with contextlib.ExitStack() as others:
            busy = [others.enter_context(proxy.login()) for _ in range(2)]
            for client in [second, *busy]:
                client.query("begin")
            assert proxy.descriptors() <= files
    eventually(lambda: proxy.get("/health")[0] == 200, "room on the HTTP port")
    scrape = proxy.metrics()
    assert scrape.value("poolproxy_accept_pauses_total", reason="clients") >= 1
    assert scrape.value("poolproxy_accept_pauses_total", reason="descriptors") == 0
    assert scrape.by("poolproxy_server_connects_total", "result") == {"ok": 4}
