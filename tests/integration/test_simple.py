"""The plainest use: one client, one statement, and what a server remembers of it."""

from __future__ import annotations

from tests.support import messages as m
from tests.support.cluster import Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage


def test_one_query(proxy: ProxyProcess) -> None:
    with proxy.login() as client:
        assert client.status == "I"
        assert m.letters(client.query("select id, name from item order by id limit 2")) == "TDDCZ"
        assert client.rows("select name from item where id = 7") == [["item 7"]]


def test_a_transaction_keeps_its_server(proxy: ProxyProcess) -> None:
    with proxy.login() as client:
        client.query("begin")
        assert client.status == "T"
        pids = {client.value("select pg_backend_pid()") for _ in range(20)}
        assert len(pids) == 1
        client.query("rollback")
        assert client.status == "I"


def test_servers_are_shared(narrow: ProxyProcess, direct: Direct) -> None:
    """Twenty clients at once, one server."""
    clients = [narrow.login() for _ in range(20)]
    try:
        pids = {client.value("select pg_backend_pid()") for client in clients}
    finally:
        for client in clients:
            client.close()
    assert len(pids) == 1


def test_server_connections_stay_below_the_pool_size(stage: Stage, direct: Direct) -> None:
    """Twelve clients that all want a server at the same time get the five there are, one after the other."""
    proxy = stage.fresh()  # with no servers that are to be replaced, for what other tests have changed
    clients = [proxy.login(application_name="crowd") for _ in range(12)]
    try:
        for client in clients:
            client.send(m.query("select pg_backend_pid(), pg_sleep(0.02)"))
        pids = {m.rows(client.read_ready())[0][0] for client in clients}
    finally:
        for client in clients:
            client.close()
    assert len(pids) <= 5


def test_an_error_leaves_the_session_usable(proxy: ProxyProcess) -> None:
    with proxy.login() as client:
        answer = client.ask(m.query("select 1/0"))
        assert m.letters(answer) == "EZ"
        assert answer[0].sqlstate == "22012"
        assert client.value("select 'still here'") == "still here"


def test_a_failed_transaction_stays_failed(narrow: ProxyProcess) -> None:
    with narrow.login() as client, narrow.login() as other:
        client.query("begin")
        client.query("insert into note values (1, 'never seen')")
        assert m.errors(client.ask(m.query("select 1/0"))) == ["22012"]
        assert client.status == "E"
        assert m.errors(client.ask(m.query("select 1"))) == ["25P02"]
        client.query("rollback")
        assert other.rows("select * from note where body = 'never seen'") == []
