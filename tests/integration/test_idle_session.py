"""idle_session_timeout of a client's own: it ends that client, and no server that nobody has (rule 20)."""

from __future__ import annotations

import time

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire

LIMIT = "300ms"


def last_words(wire: Wire) -> tuple[str, str, str]:
    (error,) = [message for message in wire.read_to_end() if message.letter == "E"]
    return error.fields["S"], error.sqlstate, error.fields["M"]


def set_by_startup(proxy: ProxyProcess) -> Wire:
    return proxy.login(idle_session_timeout=LIMIT)


def set_by_options(proxy: ProxyProcess) -> Wire:
    return proxy.login(options=f"-c idle_session_timeout={LIMIT}")


def set_by_statement(proxy: ProxyProcess) -> Wire:
    wire = proxy.login()
    wire.query(f"set idle_session_timeout = '{LIMIT}'")
    return wire


def set_by_a_function(proxy: ProxyProcess) -> Wire:
    wire = proxy.login()
    wire.query("select set_config('idle_session_timeout', '300', false)")
    return wire


WAYS = [set_by_startup, set_by_options, set_by_statement, set_by_a_function]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_who_is_idle_for_longer_hears_what_postgres_says(
    stage: Stage, direct: Direct, narrow: ProxyProcess, way: object
) -> None:
    address = (stage.postgres.host, stage.postgres.port)
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE) as wire:
        wire.query(f"set idle_session_timeout = '{LIMIT}'")
        expected = last_words(wire)
    assert expected[:2] == ("FATAL", "57P05")
    assert callable(way)
    pid = narrow.login().value("select pg_backend_pid()")
    began = time.monotonic()
    with way(narrow) as client:
        assert client.value("show idle_session_timeout") == LIMIT
        assert last_words(client) == expected
    assert time.monotonic() - began >= 0.3
    with narrow.login() as other:
        assert other.value("select pg_backend_pid()") == pid, "its server is as well as before"
        assert other.value("show idle_session_timeout") == "0"


def test_only_outside_a_transaction_and_while_nothing_runs(narrow: ProxyProcess) -> None:
    with narrow.login(idle_session_timeout=LIMIT) as client:
        client.query("begin")
        client.query("select pg_sleep(0.5)")
        with narrow.login(idle_session_timeout=LIMIT) as clock:  # idle, without a server, for as long
            last_words(clock)
        client.query("commit")
        assert client.value("select 'here' from pg_sleep(0.5)") == "here"
        assert last_words(client)[1] == "57P05"


def test_what_has_been_reset_ends_nobody(narrow: ProxyProcess) -> None:
    with narrow.login() as client:
        client.query(f"set idle_session_timeout = '{LIMIT}'")
        client.query("reset idle_session_timeout")
        with narrow.login(idle_session_timeout=LIMIT) as clock:
            last_words(clock)
        assert client.value("show idle_session_timeout") == "0"


def test_waiting_for_a_server_is_not_being_idle(narrow: ProxyProcess) -> None:
    with narrow.login() as busy, narrow.login(idle_session_timeout=LIMIT) as client:
        busy.send(m.query("begin"))  # its answer is not waited for: the client's time runs
        client.send(m.query("select 'served'"))
        busy.read_ready()
        busy.query("select pg_sleep(0.6)")
        busy.query("commit")
        assert m.rows(client.read_ready()) == [[b"served"]]


def test_on_a_server_of_its_own_postgres_sees_to_it(stage: Stage) -> None:
    proxy = stage.proxy(pool_size=2)
    stage.expect_log("server")
    with proxy.login(idle_session_timeout=LIMIT) as client:
        client.query("select pg_advisory_lock(3)")
        assert last_words(client)[:2] == ("FATAL", "57P05")
    eventually(lambda: proxy.metrics().value("poolproxy_servers_pinned") == 0, "the pin ends")
