"""Session state in transaction mode: the same answers as on a direct connection, whichever server the client
has from exchange to exchange, and nothing of it for whoever has the server next."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import messages as m
from tests.support.sessions import answers, straight
from tests.support.stage import Stage
from tests.support.wire import Wire

SHOW = "select current_setting('work_mem'), current_setting('search_path'), current_setting('datestyle')"
TENANT = "select nullif(current_setting('app.tenant', true), '')"
WHO = "select current_user, session_user, current_setting('role')"

#: What a session that nobody has used before has.
SETTINGS = (
    "select current_setting('work_mem'), current_setting('search_path'), current_setting('datestyle'),"
    " coalesce(current_setting('app.tenant', true), ''), current_user, session_user,"
    " current_setting('role'), current_setting('statement_timeout'), current_setting('timezone'),"
    " current_setting('transaction_isolation'), current_setting('client_encoding')"
)
LEFT = (
    "select (select count(*) from pg_listening_channels()),"
    " (select count(*) from pg_cursors where name <> ''),"
    " (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),"
    " (select count(*) from pg_prepared_statements where not starts_with(name, '_poolproxy_')),"
    " (select count(*) from pg_depend where refclassid = 2615 and refobjid = pg_my_temp_schema())"
)

#: Statements of one client, an exchange each.
PROGRAMS: dict[str, list[str]] = {
    "set in a transaction": ["begin", "set work_mem = '9MB'", SHOW, "commit", SHOW],
    "set rolled back": ["begin", "set work_mem = '9MB'", SHOW, "rollback", SHOW],
    "set in a savepoint": [
        "begin",
        "set work_mem = '5MB'",
        "savepoint a",
        "set work_mem = '6MB'",
        "set app.tenant = 'inner'",
        "rollback to a",
        SHOW,
        "commit",
        SHOW,
        TENANT,
    ],
    "set in a failed transaction": ["begin", "set work_mem = '5MB'", "select 1/0", SHOW, "commit", SHOW],
    "set over another": ["set work_mem = '5MB'", "begin", "set work_mem = '6MB'", "rollback", SHOW],
    "set local": ["begin", "set local work_mem = '5MB'", SHOW, "commit", SHOW],
    "reset in a transaction": ["set work_mem = '5MB'", "begin", "reset work_mem", SHOW, "commit", SHOW],
    "reset rolled back": ["set work_mem = '5MB'", "begin", "reset all", SHOW, "rollback", SHOW],
    "set_config": ["select set_config('work_mem', '7MB', false)", SHOW, "reset work_mem", SHOW],
    "set_config, local": ["select set_config('app.tenant', 'acme', true)", TENANT],
    "set_config of a tenant": [
        "select set_config('app.tenant', 'acme', false)",
        TENANT,
        "select body from secret",
    ],
    "set_config of nothing": ["select set_config('search_path', '', false)", SHOW, "select 1 from item"],
    "set_config by a function": [
        "select login('acme')",
        TENANT,
        "select body from secret",
        "select logout()",
        TENANT,
    ],
    "set_config by a function's function": ["select login_twice('bolt')", TENANT],
    "role by a function": ["select become('other')", WHO, "select become('none')", WHO],
    "set by code": [
        "do $$ begin set work_mem = '6MB'; perform set_config('app.tenant', 'x', false); end $$",
        SHOW,
        TENANT,
    ],
    "set by dynamic code": ["do $$ begin execute 'set work' || '_mem = ''6MB'''; end $$", SHOW],
    "update pg_settings": ["update pg_settings set setting = '8192' where name = 'work_mem'", SHOW],
    "an escaped name": ["select U&\"set\\005fconfig\"('work_mem', '6MB', false)", SHOW],
    "role": ["set role other", WHO, "create table others (a int)", "drop table others", "reset role", WHO],
    "role none": ["set role other", "set role none", WHO],
    "role in a transaction": ["begin", "set role other", WHO, "rollback", WHO],
    "role, local": ["begin", "set local role other", WHO, "commit", WHO],
    "role and a setting": ["set role other", "set work_mem = '6MB'", SHOW, WHO, "reset role", SHOW, WHO],
    "a role that is refused": ["set role postgres", WHO, "set role nobody_at_all", WHO],
    "session authorization": ["set session authorization app", WHO, "reset session authorization", WHO],
    "search_path": [
        'set search_path = tenant_a, "$user", public',
        SHOW,
        "select name from whose",
        "set search_path to tenant_b",
        "select name from whose",
        "begin",
        "set local search_path to tenant_a",
        "select name from whose",
        "commit",
        "select name from whose",
    ],
    "search_path with odd names": [
        "begin",
        'set search_path = "a, b", "c""d", "Grün", \'x y\'',
        "commit",
        SHOW,
        SHOW,
    ],
    "an empty search_path": [
        "set search_path = ''",
        SHOW,
        "select 1 from item",
        "begin",
        "set search_path = ''",
        "commit",
        SHOW,
    ],
    "a relative datestyle": [
        "set datestyle = 'sql, dmy'",
        SHOW,
        "set datestyle = 'iso'",
        SHOW,
        "select date '1/2/2003'",
    ],
    "time zones": [
        "set time zone interval '-07:30' hour to minute",
        "select current_setting('timezone'), timestamptz '2026-01-01 00:00+00'",
        "set time zone -7",
        "select current_setting('timezone'), timestamptz '2026-01-01 00:00+00'",
        "set time zone local",
        "select current_setting('timezone')",
    ],
    "encodings": [
        "set names 'latin1'",
        "select length('\u00e9')",
        "begin",
        "set client_encoding = 'utf8'",
        "select length('\u00e9')",
        "rollback",
        "select length('\u00e9')",
    ],
    "letters": ["select set_config('app.tenant', 'Gr\u00fcn \u20ac \\ '' \"', false)", TENANT, TENANT],
    "strings": [
        "set standard_conforming_strings = off",
        "select 'a\\\\b'",
        "select set_config('app.tenant', 'a\\\\b''c', false)",
        TENANT,
        "set standard_conforming_strings = on",
        TENANT,
    ],
    "characteristics": [
        "set session characteristics as transaction isolation level serializable, read only",
        "show transaction_isolation",
        "insert into note values (1, 'x')",
        "set session characteristics as transaction read write",
        "show transaction_isolation",
    ],
    "serializable, deferrable": [
        "set default_transaction_isolation = serializable",
        "set default_transaction_read_only = on",
        "set default_transaction_deferrable = on",
        "select set_config('app.tenant', 'x', false)",
        TENANT,
    ],
    "set transaction": [
        "set transaction isolation level serializable",
        "select set_config('work_mem', '6MB', false)",
        "show transaction_isolation",
        SHOW,
    ],
    "timeouts": [
        "set statement_timeout = '30s'",
        "select set_config('app.tenant', 'x', false)",
        "show statement_timeout",
        "show lock_timeout",
    ],
    "a timeout as a function sets it": [
        "do $$ begin set statement_timeout = '29s'; end $$",
        "show statement_timeout",
    ],
    "text search": [
        "set default_text_search_config = 'german'",
        "select to_tsvector('Autos')",
        "show default_text_search_config",
    ],
    "set from current": ["set work_mem = '6MB'", "set work_mem from current", SHOW],
    "exit on error": ["set exit_on_error = off", SHOW],
    "several at once": ["set work_mem = '6MB'; select 1; set app.tenant = 'x'; select 2", SHOW, TENANT],
    "several, the last fails": ["set work_mem = '6MB'; set app.tenant = 'x'; select 1/0", SHOW, TENANT],
    "discard all": [
        "set work_mem = '6MB'",
        "select set_config('app.tenant', 'x', false)",
        "discard all",
        SHOW,
        TENANT,
    ],
    "a custom name set plainly and read by a policy": [
        "set app.tenant = 'bolt'",
        "select body from secret",
        "set app.tenant to default",
        "select body from secret",
    ],
    "a temporary table": [
        "create temp table mine (a int)",
        "insert into mine values (1)",
        "select * from mine",
        "drop table mine",
        "select * from mine",
    ],
    "a temporary table in a transaction": [
        "begin",
        "create temp table mine (a int) on commit drop",
        "insert into mine values (1)",
        "select * from mine",
        "commit",
        "select * from mine",
    ],
    "a temporary table by a function": [
        "select make_temp()",
        "select * from made",
        "drop table made",
        "select * from made",
    ],
    "a temporary table instead": [
        "select count(*) from note",
        "create temp table note (x int)",
        "table note",
        "drop table pg_temp.note",
        "select count(*) from note",
    ],
    "a lock": [
        "select pg_advisory_lock(42)",
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
        "select pg_advisory_unlock(42)",
        "select pg_advisory_unlock(42)",
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    ],
    "a lock by a function": [
        "select lock_me(43)",
        "select lock_me(43)",
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
        "select pg_advisory_unlock(43), pg_advisory_unlock(43), pg_advisory_unlock(43)",
    ],
    "a lock in a transaction that fails": [
        "begin",
        "select pg_advisory_lock(42)",
        "rollback",
        "select pg_advisory_unlock(42)",
    ],
    "a cursor": [
        "declare c cursor with hold for select generate_series(1, 3)",
        "fetch 1 from c",
        "fetch 2 from c",
        "close c",
        "fetch 1 from c",
    ],
    "statements": [
        "prepare p (int) as select $1 + 1",
        "execute p (1)",
        "explain (costs off) execute p (2)",
        "deallocate p",
        "execute p (1)",
    ],
    "a statement of a transaction that failed": [
        "begin",
        "prepare p as select 1",
        "rollback",
        "execute p",
        "deallocate p",
    ],
    "sequences in a transaction": [
        "begin",
        "select nextval('counter') > 0",
        "select currval('counter') = lastval()",
        "commit",
    ],
}


#: How a statement is sent: the exchanges it takes.
WAYS: dict[str, Callable[[str], list[bytes]]] = {
    "simple": lambda sql: [m.query(sql)],
    "extended": lambda sql: [m.extended(sql) + m.SYNC],
    "in steps": lambda sql: [m.parse(sql) + m.SYNC, m.bind() + m.execute() + m.SYNC],
    "named": lambda sql: [
        m.parse(sql, "s") + m.describe_statement("s") + m.SYNC,
        m.bind(statement="s") + m.execute() + m.SYNC,
        m.close_statement("s") + m.SYNC,
    ],
}


def exchanges(statements: list[str], way: str) -> list[bytes]:
    """Each statement alone; several in one text are simple."""
    found: list[bytes] = []
    for sql in statements:
        found += WAYS["simple" if ";" in sql.replace("; perform", "") else way](sql)
    return found


def as_it_should_be(stage: Stage, program: list[bytes]) -> list[list[str]]:
    stage.direct.rows("truncate note")
    with straight(stage) as wire:
        return list(answers(wire, program))


def is_clean(stranger: Wire) -> None:
    """Whoever has the server next finds what a new session finds."""
    shown = m.rows(stranger.query(SETTINGS))[0]
    assert shown == [
        *(b"4MB", b'"$user", public', b"ISO, MDY", b"", b"app", b"app", b"none", b"0", b"Etc/UTC"),
        *(b"read committed", b"UTF8"),
    ]
    assert m.rows(stranger.query(LEFT)) == [[b"0"] * 5]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_on_a_direct_connection(stage: Stage, name: str, way: str) -> None:
    """Somebody else takes and returns the server that was used last, so that the client finds another one."""
    program = exchanges(PROGRAMS[name], way)
    should = as_it_should_be(stage, program)
    proxy = stage.proxy(pool_size=2)
    for start in ("begin", "commit"):
        stage.direct.rows("truncate note")
        with proxy.login() as client, proxy.login() as other:
            other.query(start)
            found = []
            for answer in answers(client, program):
                found.append(answer)
                if other.status == "I":
                    other.query("begin")
                    is_clean(other)
                else:
                    other.query("commit")
            assert found == should
        for _ in range(3):
            with proxy.login() as stranger:
                is_clean(stranger)


@pytest.mark.parametrize("name", PROGRAMS)
def test_in_one_write(stage: Stage, name: str) -> None:
    """The client waits for nothing."""
    program = [b"".join(exchanges(PROGRAMS[name], "simple"))]
    should = as_it_should_be(stage, program)
    stage.direct.rows("truncate note")
    proxy = stage.proxy(pool_size=1)
    with proxy.login() as client:
        found = list(answers(client, program))
    assert without_reports(found) == without_reports(should)
    with proxy.login() as stranger:
        is_clean(stranger)


def without_reports(answers: list[list[str]]) -> list[list[str]]:
    """Without ParameterStatus: of several changes that came together only the last may be told."""
    return [[message for message in answer if not message.startswith("S")] for answer in answers]
