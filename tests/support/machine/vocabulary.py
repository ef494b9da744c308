"""Statements, by the rows of the design's table: what the machine's clients say."""

from __future__ import annotations

LONG = "long_" * 14  # beyond 63 bytes

_VALUES = {
    "work_mem": ["'5MB'", "'6MB'"],
    "search_path": ["tenant_a", "tenant_b, public", "''", '"$user", public'],
    "datestyle": ["'sql, dmy'", "iso", "'mdy'"],
    "timezone": ["'Asia/Tokyo'", "-7", "default"],
    "intervalstyle": ["sql_standard", "default"],
    "app.tenant": ["'acme'", "'bolt'", "''"],
    '"app.user"': ["'Grün'"],
    "statement_timeout": ["'31s'", "default"],
    "lock_timeout": ["'99ms'"],
    "default_transaction_read_only": ["on", "off"],
    "default_transaction_isolation": ["'repeatable read'", "default"],
    "client_encoding": ["'latin1'", "'utf8'"],
    "application_name": ["'machine'"],
    "extra_float_digits": ["0", "3"],
    "bytea_output": ["escape", "hex"],
    "role": ["other", "none"],
    "standard_conforming_strings": ["off", "on"],
    "enable_seqscan": ["off"],
    "plan_cache_mode": ["force_generic_plan"],
    "no_such_setting": ["1"],
}
SETTING = [
    f"set {scope}{name} = {value}"
    for name, values in _VALUES.items()
    for value in values
    for scope in ("", "local ")
] + [
    "set time zone interval '+05:30' hour to minute",
    "set session characteristics as transaction isolation level serializable",
    "set session characteristics as transaction read only",
    "set session authorization app",
    "set session authorization default",
    "set local session authorization app",
    "set transaction read only",
    "set transaction isolation level repeatable read",
    "set names 'utf8'",
    "set schema 'tenant_a'",
    "set role nobody_at_all",
    "reset work_mem",
    "reset app.tenant",
    "reset search_path",
    "reset role",
    "reset session authorization",
    "reset all",
    "discard all",
    "discard plans",
    "discard sequences",
    "select set_config('work_mem', '7MB', false)",
    "select set_config('app.tenant', 'bolt', false)",
    "select set_config('app.tenant', 'acme', true)",
    "select set_config('search_path', 'tenant_b', false)",
    "select set_config('role', 'other', false)",
    "update pg_settings set setting = '8192' where name = 'work_mem'",
    "do $$ begin perform set_config('app.tenant', 'hidden', false); end $$",
    "do $$ begin set work_mem = '6MB'; perform set_config('app.tenant', 'local', true); end $$",
    "select login('acme')",
    "select login_twice('bolt')",
    "select logout()",
    "select become('other')",
    "set work_mem = '5MB'; set app.tenant = 'two'; select 1",
    "set work_mem = '9MB'; select 1/0",
]
CONTROL = [
    "begin",
    "begin",
    "begin isolation level repeatable read",
    "begin read only",
    "start transaction read write",
    "commit",
    "commit",
    "end",
    "rollback",
    "rollback",
    "abort",
    "savepoint a",
    "savepoint b",
    "rollback to a",
    "rollback to b",
    "release a",
    "release b",
    "commit and chain",
    "prepare transaction 'x'",
    "begin; insert into note values (1, 'b'); commit",
    "begin; set work_mem = '11MB'; rollback",
]
#: Savepoints and settings, in one transaction: each is a program of its own.
INSIDE = [
    ["begin", "set work_mem = '15MB'", "rollback"],
    ["begin", "set search_path = tenant_a", "select name from whose", "rollback"],
    ["begin", "set app.tenant = 'out'", "savepoint a", "set app.tenant = 'in'", "rollback to a", "commit"],
    ["begin", "savepoint a", "set role other", "release a", "commit"],
    ["begin", "set local search_path = tenant_b", "select name from whose", "commit"],
    ["begin", "select login('bolt')", "select 1/0", "commit"],
    ["begin", "listen b", "savepoint a", "notify b, 'inner'", "rollback to a", "commit"],
    ["begin", "unlisten a", "rollback"],
    ["begin", "notify a, 'never'", "rollback"],
    ["begin", "select nextval('counter')", "select lastval(), currval('counter')", "commit"],
    ["begin", "insert into pair values (3)", "insert into pair values (3)", "commit"],
]
DATA = [
    "select 1",
    "select 'a' as a, null, 2.5::numeric",
    "insert into note values (1, 'one')",
    "insert into note select g, 'many' from generate_series(2, 4) g",
    "select count(*), min(body) from note",
    "delete from note where id = 1",
    "select name from whose",
    "select body from secret",
    "select timestamptz '2026-02-03 04:05:06+00', interval '1 day 2 hours', date '2026-03-04'",
    "select shout()",
    "copy (select id, body from note order by id, body) to stdout",
    "select repeat('x', 20000)",
    "",
    "-- nothing",
    "select count(*) from ledger",
    "insert into pair values (1)",
    "insert into pair values (2), (2)",  # deferred: it fails when its transaction ends
    "select count(*) from pair",
    "delete from pair",
    "set constraints all immediate",
    "select * from shape",
    "with x as (insert into note values (6, 'w') returning id) select * from x",
    "explain (costs off) select * from item where id = 7",
    "select id from item where id < 4 for update",
]
FAILING = ["select 1/0", "selec", "select * from nowhere", "insert into note values ('x', 'y')"]
#: What changes what a prepared statement returns.
SHAPES = [
    "alter table shape alter a type bigint",
    "alter table shape alter a type text",
    "alter table shape alter a type int using a::text::int",
    "alter table shape add b text",
    "alter table shape drop b",
]
LEFT = [
    "create temp table mine (a int)",
    "create temp table mine on commit drop as select 8 as a",
    "create temp table note (other text)",
    "insert into mine values (3)",
    "select * from mine",
    "drop table mine",
    "drop table pg_temp.note",
    "discard temp",
    "select make_temp()",
    "drop table made",
    "select pg_try_advisory_lock(1)",
    "select pg_try_advisory_lock(2)",
    "select pg_catalog.pg_try_advisory_lock(4, 5)",
    "select lock_me(1)",
    "select pg_try_advisory_xact_lock(1)",
    "select pg_advisory_unlock(1)",
    "select pg_advisory_unlock_all()",
    "declare c cursor with hold for select g from generate_series(1, 5) g",
    "declare c cursor for select g from generate_series(1, 5) g",
    "fetch 2 from c",
    "close c",
    "close all",
    "prepare p as select 41",
    "prepare p (int) as select $1 + 1",
    "execute p",
    "execute p (6)",
    "execute s1",
    "explain (costs off) execute p",
    "deallocate p",
    "deallocate all",
    "deallocate s1",
    "select setseed(0.25); select random()",
]
CHANNELS = [
    "listen a",
    "listen b",
    "listen A",
    'listen "Odd Name"',
    'listen "quo""te"',
    'listen "größe"',
    f"listen {LONG}",
    "unlisten a",
    'unlisten "Odd Name"',
    "unlisten *",
    "notify a, 'x'",
    "notify b",
    "notify \"Odd Name\", 'odd'",
    f"notify {LONG}, 'long'",
    "select pg_notify('a', 'y')",
    "select pg_notify('quo\"te', 'q')",
    "select pg_notify('größe', 'ü')",
    "listen a; notify a, 'z'",
    "notify a, 'twice'; notify a, 'twice'",
    "begin; notify a, '1'; notify b, '2'; notify a, '3'; commit",
]
LOOK = [
    (
        "select current_setting('work_mem'), current_setting('search_path'), current_setting('datestyle'),"
        " current_setting('timezone'), nullif(current_setting('app.tenant', true), ''), current_user,"
        " session_user, current_setting('role'), current_setting('transaction_isolation'),"
        " current_setting('transaction_read_only'), current_setting('statement_timeout'),"
        " current_setting('intervalstyle'), current_setting('client_encoding'),"
        " current_setting('application_name'), current_setting('bytea_output'),"
        " nullif(current_setting('app.user', true), ''), current_setting('lock_timeout'),"
        " current_setting('enable_seqscan'), current_setting('plan_cache_mode')"
    ),
    (
        "select objid, count(*) from pg_locks where locktype = 'advisory' and granted and database ="
        " (select oid from pg_database where datname = current_database()) group by 1 order by 1"
    ),
    "select count(*) from pg_cursors where name <> ''",
    "select to_regclass('pg_temp.mine') is null, to_regclass('pg_temp.note') is null",
    "select name from pg_prepared_statements where from_sql order by 1",
]
#: What a client that has just come must find of everybody else's doings: nothing. Statements of ours may be
#: there, under names of ours (docs/differences.md).
DEFAULTS = [
    LOOK[0],
    (
        "select name, setting from pg_settings where source = 'session' and name <> all"
        " ('{transaction_isolation,transaction_read_only,transaction_deferrable}') order by name"
    ),
    "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'",
    "select count(*) from pg_cursors where name <> ''",
    "select name from pg_prepared_statements where not starts_with(name, '_poolproxy_')",
    "select count(*) from pg_depend where refclassid = 2615 and refobjid = pg_my_temp_schema()",
    "select count(*) from pg_listening_channels()",
    (
        "select current_setting('transaction_isolation'), current_setting('transaction_read_only'),"
        " current_setting('transaction_deferrable'), now() = statement_timestamp(),"
        " pg_current_xact_id_if_assigned() is null"
    ),
    "select body from secret",
    "select lastval()",
    "select currval('counter')",
    "execute p",
    "fetch 1 from c",
    "select * from mine",
]
CHANGES = [*LEFT, *CONTROL, *CHANNELS]
ALL = (*SETTING, *CONTROL, *DATA, *FAILING, *LEFT, *CHANNELS, *LOOK, *SHAPES)
#: One statement each: for a Parse.
SINGLE = [text for text in ALL if ";" not in text]
ANY = [*SETTING, *CONTROL, *CONTROL, *DATA, *FAILING, *LEFT, *LEFT, *CHANNELS, *LOOK, *LOOK, *SHAPES]
#: What may stand with others in one batch. Not what docs/differences.md excepts there.
IN_BATCH = [
    *DATA[:10],
    DATA[11],
    *FAILING,
    "insert into pair values (2), (2)",
    "begin",
    "commit",
    "set work_mem = '13MB'",
    "select pg_try_advisory_lock(3)",
]
PREPARED = [
    *DATA,
    *FAILING,
    *LOOK,
    "select * from shape",
    "select * from shape",
    "begin",
    "commit",
    "rollback",
    "set work_mem = '14MB'",
    "notify a, 'p'",
]
#: Statements with one parameter, and values for it: good ones, NULL, and one that does not fit.
ASKING = {
    "select $1::int + 1": [b"41", None, b"x"],
    "select $1::text": [b"word", b"", None],
    "insert into note values ($1, 'bound')": [b"9", None, b"nine"],
    "select set_config('app.tenant', $1, false)": [b"bound", b""],
    "select name from item where id = $1": [b"7", b"-1"],
    "select pg_try_advisory_lock($1::int)": [b"6"],
    "select count(*) from shape where a::text = $1": [b"1"],
}
#: What gives rows to a portal, or an error on the way.
PORTALS = [
    "select g from generate_series(1, 5) g",
    "select 1 / (3 - g) from generate_series(1, 5) g",
    "insert into note values (5, 'p'), (5, 'q') returning id",
    "select name from whose",
]
#: FunctionCalls: name in pg_proc, and arguments.
CALLS = {
    "int4pl(integer,integer)": (b"40", b"2"),
    "int4div(integer,integer)": (b"1", b"0"),
    "set_config(text,text,boolean)": (b"work_mem", b"8MB", b"f"),
    "pg_try_advisory_lock(bigint)": (b"5",),
    "pg_advisory_unlock(bigint)": (b"5",),
    "": (),
}
#: Startup parameters; the last ones are given as `options`.
STARTUP = [
    {},
    {},
    {"application_name": "starter"},
    {"DateStyle": "German"},
    {"search_path": "tenant_b"},
    {"options": "-c work_mem=3MB"},
    {"options": "-c app.tenant=acme --search_path=tenant_a -c statement_timeout=31s"},
]
