"""DISCARD ALL through shared servers: PostgreSQL's answer, a clean session, and others' statements stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.proxy import ProxyProcess
from tests.support.sessions import answers, straight
from tests.support.stage import Stage
from tests.support.wire import Wire, cancel

SIMPLE = m.query("DISCARD ALL")
EXTENDED = m.extended("discard all") + m.SYNC
BOTH = pytest.mark.parametrize("discard", [SIMPLE, EXTENDED], ids=["simple", "extended"])

#: What a session may hold, and how to see it.
STATE = [
    m.query("set work_mem = '9MB'; set app.tenant = 'acme'; set timezone = 'Europe/Rome'"),
    m.query("set role other"),
    m.query("select set_config('search_path', 'tenant_a', false)"),
    m.query("create temp table mine (a int)"),
    m.query("select pg_advisory_lock(4711)"),
    m.query("declare mine cursor with hold for select 1"),
    m.query("listen news"),
    m.query("select nextval('counter') is not null"),
    m.parse("select 1", "s") + m.SYNC,
]
LOOK = [
    m.query("select current_setting('work_mem'), current_setting('app.tenant', true), current_user"),
    m.query("select current_setting('timezone'), current_setting('search_path')"),
    m.query("select count(*) from pg_locks where locktype = 'advisory' and objid = 4711"),
    m.query("select count(*) from pg_cursors"),
    m.query("select to_regclass('mine') is null"),
    m.bind(statement="s") + m.execute() + m.SYNC,
    m.query("fetch mine"),
    m.query("notify news"),
]


def both(stage: Stage, proxy: ProxyProcess, program: list[bytes], **parameters: str) -> None:
    """The program is answered through the proxy as on a direct connection."""
    address = (stage.postgres.host, stage.postgres.port)
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE, **parameters) as direct:
        expected = [sorted(answer) for answer in answers(direct, program)]  # the order of reports is open
    with proxy.login(**parameters) as client:
        assert [sorted(answer) for answer in answers(client, program)] == expected


@BOTH
@pytest.mark.parametrize(
    "parameters", [{}, {"work_mem": "7MB", "timezone": "Asia/Tokyo"}], ids=["plain", "with startup values"]
)
def test_it_leaves_what_a_direct_connection_has(
    stage: Stage, discard: bytes, parameters: dict[str, str]
) -> None:
    both(stage, stage.proxy(pool_size=2), [*STATE, discard, *LOOK, discard, *LOOK], **parameters)


@BOTH
def test_inside_a_transaction_it_is_refused(stage: Stage, narrow: ProxyProcess, discard: bytes) -> None:
    show = m.query("show work_mem")
    program = [m.query("set work_mem = '9MB'"), m.query("begin"), discard, show, m.query("rollback"), show]
    both(stage, narrow, program)


def test_in_a_batch_or_a_text_with_others_it_is_refused(stage: Stage, narrow: ProxyProcess) -> None:
    both(
        stage,
        narrow,
        [
            m.query("set work_mem = '9MB'"),
            m.query("select 1; discard all"),
            m.query("discard all; select 1"),
            m.extended("select 1") + m.extended("discard all") + m.SYNC,
            m.query("show work_mem"),
        ],
    )


@BOTH
def test_pipelined_with_what_comes_next(stage: Stage, narrow: ProxyProcess, discard: bytes) -> None:
    """As npgsql does it: with the first statement of the next user."""
    both(
        stage,
        narrow,
        [
            m.query("set work_mem = '9MB'"),
            discard + m.extended("show work_mem") + m.SYNC + m.query("show work_mem"),
            m.query("set work_mem = '8MB'"),
            m.query("select 1") + discard + m.query("show work_mem"),
        ],
        work_mem="6MB",
    )


@BOTH
def test_others_keep_what_they_have_prepared(stage: Stage, direct: Direct, discard: bytes) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login() as one, proxy.login() as other:
        one.ask(m.parse("select 'kept'", "s") + m.SYNC)
        before = proxy.metrics().value("poolproxy_parses_total")
        for _ in range(20):
            assert m.tags(other.ask(discard)) == ["DISCARD ALL"]
            assert m.rows(one.ask(m.bind(statement="s") + m.execute() + m.SYNC)) == [[b"kept"]]
        assert proxy.metrics().value("poolproxy_parses_total") == before
        assert not proxy.metrics().by("poolproxy_pins_total", "reason")


HIDDEN: dict[str, Callable[[Wire], str | None]] = {
    "select login('acme')": lambda wire: wire.value("select current_setting('app.tenant', true)"),
    "select lock_me(4712)": lambda wire: wire.value(
        "select nullif(count(*), 0) from pg_locks where locktype = 'advisory' and objid = 4712"
    ),
    "select become('other')": lambda wire: wire.value("select nullif(current_user, 'app')"),
}


@pytest.mark.parametrize("text", HIDDEN)
@BOTH
def test_what_functions_hide_is_gone_as_well(narrow: ProxyProcess, discard: bytes, text: str) -> None:
    with narrow.login() as client, narrow.login() as other:
        client.query(text)
        assert HIDDEN[text](client)
        client.ask(discard)
        assert not HIDDEN[text](client)
        assert not HIDDEN[text](other)


def test_its_pins_end_before_it_is_answered(stage: Stage) -> None:
    proxy = stage.proxy(pool_size=2)
    with proxy.login() as client:
        for state in STATE:
            client.ask(state)
        assert proxy.metrics().value("poolproxy_servers_pinned") == 1
        client.ask(SIMPLE)
        assert proxy.metrics().value("poolproxy_servers_pinned") == 0


def test_statements_of_sql_prepare_are_gone_as_well(stage: Stage) -> None:
    both(
        stage,
        stage.proxy(pool_size=2),
        [m.query("prepare mine as select 1"), m.query("execute mine"), SIMPLE, m.query("execute mine")],
    )


def test_a_cancel_reaches_it(stage: Stage, direct: Direct) -> None:
    """It waits for a lock on a temporary table that nobody can see; cancelled, it has done nothing."""
    proxy = stage.proxy(pool_size=2)
    with straight(stage) as blocker, proxy.login() as client:
        client.query("create temp table mine (a int); set work_mem = '9MB'")
        schema = client.value("select pg_my_temp_schema()::regnamespace::text")
        direct.rows("grant all on all tables in schema " + (schema or "") + " to public")
        direct.rows("grant usage on schema " + (schema or "") + " to public")
        blocker.query(f"begin; lock table {schema}.mine in access exclusive mode")
        client.send(SIMPLE)
        direct.wait_running("DISCARD TEMP")
        cancel(proxy.address, client.pid, client.key)
        assert m.errors(client.read_ready()) == ["57014"]
        blocker.query("rollback")
        assert client.value("show work_mem") == "9MB"
        assert client.value("select count(*) from mine") == "0"
