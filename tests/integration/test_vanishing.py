"""Clients that go away in the middle of everything: the server comes back clean, and for the next client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import messages as m
from tests.support.cluster import HELD, Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire

Leave = Callable[[Wire], None]


def shut(client: Wire) -> None:
    """A bare close, without Terminate."""
    client.sock.close()


WAYS = [
    pytest.param(Wire.vanish, id="reset"),
    pytest.param(shut, id="close"),
    pytest.param(Wire.close, id="terminate"),
]


def next_client_is_fine(proxy: ProxyProcess, marker: str) -> None:
    """The next one gets a server outside any transaction, and sees nothing of what was not committed."""
    with proxy.login() as client:
        assert client.value(f"select count(*) from note where body = '{marker}'") == "0"
        assert client.value("select now() = statement_timestamp()") == "t"
        assert client.value("select count(*) from pg_locks where locktype = 'advisory'") == "0"


@pytest.mark.parametrize("leave", WAYS)
def test_when_idle(narrow: ProxyProcess, leave: Leave) -> None:
    client = narrow.login()
    client.value("select 1")
    leave(client)
    next_client_is_fine(narrow, "idle")


@pytest.mark.parametrize("leave", WAYS)
def test_in_a_transaction(narrow: ProxyProcess, leave: Leave) -> None:
    client = narrow.login()
    client.query("begin")
    client.query("insert into note values (1, 'uncommitted')")
    client.query("select pg_advisory_xact_lock(1)")
    leave(client)
    next_client_is_fine(narrow, "uncommitted")


@pytest.mark.parametrize("leave", WAYS)
def test_in_a_failed_transaction(narrow: ProxyProcess, leave: Leave) -> None:
    client = narrow.login()
    client.query("begin")
    client.ask(m.query("select 1/0"))
    leave(client)
    next_client_is_fine(narrow, "failed")


@pytest.mark.parametrize("leave", WAYS)
def test_in_a_query_that_ends_in_time(narrow: ProxyProcess, direct: Direct, leave: Leave) -> None:
    """Within server_rescue_timeout it runs to its end, committed as on a direct connection (rule 23)."""
    direct.rows("truncate ledger")
    client = narrow.login()
    with direct.holding():
        client.send(m.query(f"insert into ledger select 'gone', 1 from {HELD}, pg_sleep(0.3)"))
        direct.wait_running(HELD)
        leave(client)
    next_client_is_fine(narrow, "query")
    assert direct.rows("select * from ledger") == [("gone", 1)]


@pytest.mark.parametrize("leave", WAYS)
def test_in_a_query_that_does_not_end(stage: Stage, direct: Direct, leave: Leave) -> None:
    """After server_rescue_timeout the query is cancelled and the server serves others."""
    proxy = stage.proxy(pool_size=1, server_rescue_timeout=0.5)
    client = proxy.login()
    client.send(m.query("select pg_sleep(600)"))
    direct.wait_running("pg_sleep(600)")
    leave(client)
    next_client_is_fine(proxy, "endless")
    assert not [query for _, state, query in direct.sessions("state = 'active'") if "600" in query]


@pytest.mark.parametrize("leave", WAYS)
def test_in_a_query_of_a_transaction(stage: Stage, direct: Direct, leave: Leave) -> None:
    proxy = stage.proxy(pool_size=1, server_rescue_timeout=0.5)
    client = proxy.login()
    client.query("begin")
    client.query("insert into note values (1, 'in between')")
    client.send(m.query("select pg_sleep(600)"))
    direct.wait_running("pg_sleep(600)")
    leave(client)
    next_client_is_fine(proxy, "in between")


@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_in_copy_in(narrow: ProxyProcess, direct: Direct, leave: Leave, extended: bool) -> None:
    """None of the rows may be there: the copy did not end."""
    client = narrow.login()
    sql = "copy note from stdin"
    client.send(m.extended(sql) + m.FLUSH if extended else m.query(sql))
    client.read_until("G")
    client.send(m.copy_data(b"1\thalf copied\n") * 1000 + m.copy_data(b"2\thalf")[:9])
    leave(client)
    next_client_is_fine(narrow, "half copied")


@pytest.mark.parametrize("leave", WAYS)
def test_in_copy_out(narrow: ProxyProcess, leave: Leave) -> None:
    client = narrow.login()
    client.send(m.query("copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout"))
    client.read_until("d")
    leave(client)
    next_client_is_fine(narrow, "copy out")


@pytest.mark.parametrize("leave", WAYS)
def test_in_a_large_result(narrow: ProxyProcess, leave: Leave) -> None:
    client = narrow.login()
    client.send(m.query("select repeat('x', 1000) from generate_series(1, 100000)"))
    client.read_until("D")
    leave(client)
    next_client_is_fine(narrow, "result")


@pytest.mark.parametrize("leave", WAYS)
def test_in_a_batch_before_its_sync(narrow: ProxyProcess, leave: Leave) -> None:
    """Flushed and answered, but never synced: the implicit transaction must not be committed (rule 7)."""
    client = narrow.login()
    client.query("select 1")
    opened = narrow.metrics().value("poolproxy_server_connects_total", result="ok")
    client.send(m.extended("insert into note values (1, 'not synced')") + m.FLUSH)
    client.read_until("C")
    leave(client)
    next_client_is_fine(narrow, "not synced")

    assert narrow.metrics().value("poolproxy_server_connects_total", result="ok") == opened


@pytest.mark.parametrize("leave", WAYS)
def test_while_pinned(narrow: ProxyProcess, direct: Direct, leave: Leave) -> None:
    client = narrow.login()
    pid = client.value("select pg_backend_pid()")
    client.query("select pg_advisory_lock(7); create temp table mine (a int)")
    client.query('listen there; listen U&"\\0068ere"')
    leave(client)
    next_client_is_fine(narrow, "pinned")
    with narrow.login() as client:
        assert client.value("select pg_backend_pid()") == pid
        assert client.value("select to_regclass('pg_temp.mine') is null") == "t"
        assert client.value("select count(*) from pg_listening_channels()") == "0"


@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize(
    "text", ["set app.a = 'x'; select pg_advisory_lock(8)", "listen there", "notify there"]
)
def test_right_behind_what_it_asked(narrow: ProxyProcess, leave: Leave, text: str) -> None:
    """While its server is audited, while the hub is waited for: at any moment of it."""
    for _ in range(20):
        client = narrow.login()
        client.query("listen there")
        client.send(m.query(text))
        leave(client)
        next_client_is_fine(narrow, "behind")


@pytest.mark.parametrize("leave", WAYS)
def test_in_a_query_that_is_not_to_finish(stage: Stage, direct: Direct, leave: Leave) -> None:
    """`client_loss = cancel`: only an orderly end lets it finish."""
    proxy = stage.proxy(pool_size=1, client_loss="cancel", server_rescue_timeout=30)
    direct.rows("truncate ledger")
    client = proxy.login()
    client.send(m.query("insert into ledger select 'gone', 1 from pg_sleep(3)"))
    direct.wait_running("pg_sleep(3)")
    leave(client)
    next_client_is_fine(proxy, "cancelled")
    finished = leave is Wire.close
    assert direct.rows("select * from ledger") == ([("gone", 1)] if finished else [])


@pytest.mark.parametrize("leave", WAYS)
def test_in_half_a_message_of_a_transaction(narrow: ProxyProcess, leave: Leave) -> None:
    """Half a Query that reached the server's stream must never be completed by somebody else's bytes."""
    client = narrow.login()
    client.query("begin")
    client.send(m.query("insert into note values (1, 'half" + "x" * 400_000 + "')")[:200_000])
    leave(client)
    next_client_is_fine(narrow, "half")


@pytest.mark.parametrize("leave", WAYS)
def test_with_a_pipeline_under_way(stage: Stage, direct: Direct, leave: Leave) -> None:
    proxy = stage.proxy(pool_size=1, server_rescue_timeout=2)
    client = proxy.login()
    client.send(b"".join(m.extended("select pg_sleep(0.01)") + m.SYNC for _ in range(20)))
    client.read_ready()
    leave(client)
    next_client_is_fine(proxy, "pipeline")


@pytest.mark.parametrize("leave", WAYS)
def test_before_the_login(proxy: ProxyProcess, stage: Stage, leave: Leave) -> None:
    stage.expect_log("login|08P01")
    for data in (
        b"",
        m.ssl_request(),
        m.startup({"user": "app"})[:10],
        m.startup({"user": "app", "database": "app"}),
    ):
        client = Wire(proxy.address)
        client.send(data)
        if data.endswith(b"app\0\0"):
            client.read()
        leave(client)
    proxy.wait_gauge("poolproxy_clients_connected", 0)


def test_many_vanish_at_once(stage: Stage, direct: Direct) -> None:
    """Thirty clients in transactions, in queries and in the queue reset their connections together."""
    proxy = stage.proxy(pool_size=3, server_rescue_timeout=0.5)
    clients = [proxy.login() for _ in range(30)]
    for n, client in enumerate(clients):
        client.send(
            m.query("begin; insert into note values (1, 'crowd')" if n % 2 else "select pg_sleep(600)")
        )
    proxy.wait_clients("active", 3)
    for client in clients:
        client.vanish()
    eventually(lambda: proxy.metrics().value("poolproxy_clients_connected") == 0, "all clients gone")
    next_client_is_fine(proxy, "crowd")
