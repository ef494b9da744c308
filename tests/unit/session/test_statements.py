"""What the text of a statement says about session state: the table of what is clean, tracked and suspect."""

from __future__ import annotations

import pytest

from poolproxy.session.assignments import ALL, EVERYTHING, Assignment
from tests.unit.session.looking import controls, found, look, one

CLEAN = [
    "",
    ";",
    " ; ; ",
    "-- nothing",
    "/* nothing */",
    "select 1",
    "SELECT 1;",
    "(select 1) union (select 2)",
    "select $1, $2",
    "select 'set x = 1; listen y'",
    'select "set", "listen" from "prepare"',
    "select $$; set x = 1$$",
    "select $tag$; set x = 1; $$ $other$ $tag$",
    "select a$b$c, $1$$; set x = 1$$",
    "select 'it''s; set x = 1'",
    "select e'it\\'s; set x = 1'",
    "select E'\\\\'; select 1",
    "select 1 -- ; set x = 1",
    "select 1 /* ; set x = 1 */",
    "select 1 /* a /* nested */ ; set x = 1 */",
    "select 1 /*/**/ ; set x = 1 */",
    "select 1 /***/ , 2",
    "insert into t values (1)",
    "INSERT/**/INTO t VALUES (1)",
    "with x as (insert into t values (1) returning a) select * from x",
    "with x as (select 1) insert into t select * from x",
    "merge into t using s on t.a = s.a when matched then delete",
    "with x as (select 1) merge into t using x on true when matched then do nothing",
    "update t set a = 1",
    "delete from t where a = 1",
    "values (1), (2)",
    "table t",
    "begin; update t set a = 1; commit",
    "start transaction isolation level serializable",
    "savepoint a; release a; rollback to a; rollback; abort; end",
    "set transaction isolation level serializable",
    "set constraints all deferred",
    "discard plans",
    "discard temp",
    "discard sequences",
    "show all",
    "explain analyze select 1",
    "declare c cursor for select 1",
    "declare c scroll cursor without_hold for select 1",
    "fetch all from c; move 1 in c; close c",
    "copy t from stdin",
    "copy (select 1) to stdout",
    "notify a, 'b'",
    "lock table t",
    "vacuum; analyze; checkpoint; truncate t; reindex table t; cluster",
    "refresh materialized view v",
    "unlisten *",
    "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(1), pg_advisory_unlock(1)",
    "select current_setting('work_mem'), nextval('s'), setval('s', 1)",
    "select hold, into_, created, set_configured from t",
    "select 'ü', ü from \"ü\"",
]

SUSPECT = [
    # set, and why it is not plain
    ("setting", "set x = 1 2"),
    ("setting", "set x to current_user()"),
    ("setting", "set time zone interval '-08:00' hour to minute"),
    ("setting", "set session characteristics as transaction read only"),
    ("setting", "begin; set work_mem = '9MB'"),
    ("setting", "set work_mem = '9MB'; commit"),
    ("setting", "set/**/x=1"),
    ("role", "set role app"),
    ("role", "select 1; set session authorization app"),
    ("role", "reset role"),
    ("seed", "set seed to 0.5"),
    # what leaves something behind
    ("listen", "listen a"),
    ("listen", "select 1;listen a"),
    ("sql_prepare", "prepare a as select 1"),
    ("sql_prepare", "execute a"),
    ("sql_prepare", "explain analyze execute a"),
    ("sql_prepare", "prepare transaction 'a'"),
    ("load", "load 'auto_explain'"),
    ("code", "do $$ begin end $$"),
    ("code", "call p()"),
    ("holdable_cursor", "declare c cursor with hold for select 1"),
    ("holdable_cursor", "begin; declare c no scroll cursor WITH HOLD for select 1; commit"),
    ("holdable_cursor", "declare c cursor with/**/hold for select 1"),
    ("ddl", "create temp table t (a int)"),
    ("ddl", "alter role a set work_mem = '1MB'"),
    ("ddl", "drop table t"),
    ("ddl", "comment on table t is 'a'"),
    ("ddl", "grant select on t to a"),
    ("ddl", "revoke all on t from a"),
    ("ddl", "security label on table t is 'a'"),
    ("ddl", "import foreign schema a from server b into c"),
    ("ddl", "reassign owned by a to b"),
    ("ddl", "select 1 into t"),
    ("ddl", "select*into t"),
    ("ddl", "select 1 as a INTO TEMP t"),
    ("ddl", "table t into temp u"),
    ("ddl", "with x as (select 1) select * into t from x"),
    ("ddl", "select 'insert' into t"),
    ("ddl", 'select "insert" into t'),
    ("ddl", "select 1 as insert into temp t"),
    ("ddl", "with x as (select 1) select 1 as insert into temp t"),
    ("ddl", "with x as (select 1 as insert) select ( insert ) into temp t from x"),
    ("ddl", "explain analyze select 1 as a into temp t"),
    ("ddl", "explain analyze create temp table t as select 1"),
    ("ddl", "explain analyze declare c cursor with hold for select 1"),
    # functions, wherever they are named
    ("setting", "select set_config('a', 'b', false)"),
    ("setting", "select pg_catalog.Set_Config('a', 'b', false)"),
    ("setting", "select \"set_config\"('a', 'b', false)"),
    ("setting", "select 1 where 'set_config(' is not null"),
    ("setting", "select 1 /* set_config */"),
    ("setting", "select 1 -- set_config"),
    ("setting", "select $$set_config$$"),
    ("setting", "update pg_settings set setting = 'a' where name = 'b'"),
    ("advisory_lock", "select pg_advisory_lock(1)"),
    ("advisory_lock", "select pg_advisory_lock_shared(1)"),
    ("advisory_lock", "select pg_try_advisory_lock(1)"),
    ("advisory_lock", "select pg_try_advisory_lock_shared(1)"),
    ("temp_object", "insert into pg_temp.t values (1)"),
    ("temp_object", "select * from pg_temp.t"),
    ("sequence", "select lastval()"),
    ("sequence", "select currval('s')"),
    ("seed", "select setseed(0.5)"),
    ("dblink", "select dblink_connect('a', 'b')"),
    ("dblink", "select dblink_connect_u('a', 'b')"),
    ("replication", "select pg_replication_origin_session_setup('a')"),
    ("replication", "select pg_replication_origin_xact_setup('0/0', now())"),
    ("replication", "select pg_create_physical_replication_slot('a', true, true)"),
    ("replication", "select pg_create_logical_replication_slot('a', 'b', true)"),
    ("replication", "select pg_copy_physical_replication_slot('a', 'b', true)"),
    ("replication", "select pg_copy_logical_replication_slot('a', 'b', true)"),
    ("backup", "select pg_backup_start('a')"),
    ("backup", "select pg_start_backup('a')"),
    # functions that run a text we cannot see
    ("unclear", "select query_to_xml('a', true, true, '')"),
    ("unclear", "select query_to_xmlschema('a', true, true, '')"),
    ("unclear", "select query_to_xml_and_xmlschema('a', true, true, '')"),
    ("unclear", "select * from ts_stat('select 1')"),
    ("unclear", "select ts_rewrite('a'::tsquery, 'select 1')"),
    ("unclear", "select * from crosstab('select 1')"),
    ("unclear", "select * from connectby('a', 'b', 'c', 'd', 1)"),
    # what is not understood
    ("unclear", "frobnicate"),
    ("unclear", '"select" 1'),
    ("unclear", 'select U&"\\0041"'),
    ("unclear", "u&'a'"),
    ("unclear", "select 'open"),
    ("unclear", 'select "open'),
    ("unclear", "select $$open"),
    ("unclear", "select $a$open$b$"),
    ("unclear", "select /* open /* */"),
]

TRACKED = [
    ("set work_mem = '9MB'", one("work_mem", "'9MB'")),
    ("SET Work_Mem TO 9000 ;", one("work_mem", "9000")),
    ("set session statement_timeout to 5", one("statement_timeout", "5")),
    ("reset work_mem", one("work_mem", None)),
    ("reset all", one(ALL, None)),
    ("discard all", one(EVERYTHING, None)),
    ("set work_mem to default", one("work_mem", None)),
    ("select 1; set a.b = 'c;d'", one("a.b", "'c;d'")),
    ("set a.b = 'c'; select 'x -- y'", one("a.b", "'c'")),
    ("set a.b = 1; set local c.d = 2; set e.f = 3", (Assignment("a.b", "1"), Assignment("e.f", "3"))),
    ("select 1 -- x\n; set a.b = 1", one("a.b", "1")),
]


@pytest.mark.parametrize("text", CLEAN)
def test_what_leaves_nothing_behind_is_clean(text: str) -> None:
    assert look(text) is None


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("set local work_mem = '9MB'", True),
        ("set local role none", True),
        ("select 1; SET LOCAL search_path TO a", True),
        ("set local app.tenant = 'a'", False),
        ("set local statement_timeout to 5", False),
    ],
)
def test_set_local_of_what_texts_depend_on(text: str, local: bool) -> None:
    finding = found(text)
    assert (finding is not None and finding.local) == local
    assert finding is None or not finding.reason


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("deallocate all", (b"",)),
        ("DEALLOCATE PREPARE ALL;", (b"",)),
        ("deallocate Mine", (b"mine",)),
        ("deallocate prepare", (b"prepare",)),
        ('deallocate "Mi""ne" ;', (b'Mi"ne',)),
        ("deallocate " + "a" * 70, (b"a" * 63,)),
        ("deallocate a; select 1; deallocate b", (b"a", b"b")),
        ("begin; deallocate a; commit", (b"a",)),
        ("discard all", (b"",)),
        ("select set_config('a', 'b', false); deallocate all", (b"",)),
    ],
)
def test_what_a_text_deallocates(text: str, names: tuple[bytes, ...]) -> None:
    finding = found(text)
    assert finding is not None
    assert finding.forgets == names


@pytest.mark.parametrize(
    "text",
    [
        "notify a",
        "NOTIFY a, 'b'",
        "select pg_notify($1, $2)",
        "do $$ begin perform pg_notify('a', 'b'); end $$",
    ],
)
def test_a_text_that_notifies_says_so(text: str) -> None:
    finding = found(text)
    assert finding is not None
    assert finding.notifies
    other = found(text.lower().replace("notify", "notification"))
    assert other is None or not other.notifies


@pytest.mark.parametrize(
    ("text", "prepares", "mentions"),
    [
        ("prepare a as select 1", True, True),
        ("execute a", False, True),
        ("explain execute a", False, True),
        ("create table t as execute a", False, True),
        ("create table t as select 1", False, False),
    ],
)
def test_a_text_that_makes_or_means_prepared_statements_says_so(
    text: str, prepares: bool, mentions: bool
) -> None:
    finding = found(text)
    assert finding is not None
    assert (finding.prepares, finding.mentions) == (prepares, mentions)


def test_a_deallocate_that_is_not_plain_pins() -> None:
    assert look("deallocate /* whom? */ mine") == "sql_prepare"


@pytest.mark.parametrize(("reason", "text"), SUSPECT)
def test_what_may_leave_something_behind_has_a_reason(reason: str, text: str) -> None:
    assert look(text) == reason
    assert look(text.upper()) is not None


@pytest.mark.parametrize(("text", "assignments"), TRACKED)
def test_a_plain_assignment_is_tracked(text: str, assignments: tuple[Assignment, ...]) -> None:
    assert look(text) == assignments


@pytest.mark.parametrize(
    "text",
    [
        "select 1 -- a comment ends at a carriage return, too\r; set x.y = 1",
        "select e'a' 'b\\'' ; set x.y = 1 --'",
        "select e'a'\n'b\\'' ; set x.y = 1 --'",
        "select e'a''\\'' ; set x.y = 1 --'",
        "select e'a' -- comment\n 'b\\'' ; set x.y = 1 --'",
        "set local.x = 1",
        "set transaction.x = 1",
        "set constraints.x = 1",
    ],
)
def test_what_hides_an_assignment_is_found(text: str) -> None:
    assert look(text) is not None


@pytest.mark.parametrize("text", ["select '\\'' ; set x.y = 1 --'", "select '\\'", "select 'a' || '\\n'"])
def test_a_backslash_is_suspect_while_it_may_escape(text: str) -> None:
    """Where standard_conforming_strings is off this is one string and one SET."""
    assert look(text, cautious=True) == "unclear"


def test_cautious_looks_trust_strings_without_a_backslash() -> None:
    assert look("select 'it''s; set x.y = 1', $$\\$$", cautious=True) is None


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("begin", True),
        ("select 1; commit", True),
        ("start transaction", True),
        ("savepoint a", True),
        ("release a", True),
        ("END", True),
        ("abort", True),
        ("rollback to a", True),
        ("select 1", False),
        ("select 'x; commit', begin from t -- ; commit", False),
    ],
)
def test_whether_a_transaction_begins_or_ends_is_told(text: str, yes: bool) -> None:
    assert controls(text) is yes


def test_bytes_of_any_encoding_are_looked_at() -> None:
    assert look("select 'ä'; listen ä".encode("latin-1")) == "listen"
    assert look("select 'ソ'".encode("sjis"), cautious=True) == "unclear"  # its second byte is a backslash
