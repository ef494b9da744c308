"""What PostgreSQL itself does with session state: the experiments that the rules of ours rest on.

No proxy takes part. Each test repeats an experiment of one rule; where a new PostgreSQL answers otherwise,
the rule and what is built on it must be looked at again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire, cancel

#: Rule 2: what hands a server over to another client and keeps its prepared statements.
HANDOVER = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; RESET SESSION AUTHORIZATION; RESET ALL;"
    " SET LOCAL exit_on_error = on; CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES;"
    " SELECT pg_catalog.pg_advisory_unlock_all()"
)

#: Rule 3: what a session holds, asked so that its own settings cannot change the answer.
AUDIT = """
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SELECT pg_catalog.current_setting('role'), session_user;
SET LOCAL SESSION AUTHORIZATION DEFAULT;
SET LOCAL client_encoding = 'UTF8';
SELECT name, setting FROM pg_catalog.pg_show_all_settings() WHERE source OPERATOR(pg_catalog.=) 'session'
    AND name OPERATOR(pg_catalog.<>) ALL ('{transaction_isolation,transaction_read_only,
        transaction_deferrable,client_encoding}'::pg_catalog.text[]);
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '1s';
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_lock_status()
        WHERE locktype OPERATOR(pg_catalog.=) 'advisory'
            AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()),
    EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615
        AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()),
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_cursor() WHERE is_holdable),
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statement() WHERE from_sql),
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_listening_channels())
"""


@pytest.fixture
def address(stage: Stage) -> tuple[str, int]:
    return stage.postgres.host, stage.postgres.port


@pytest.fixture
def session(address: tuple[str, int]) -> Iterator[Wire]:
    """An ordinary user's session, straight at PostgreSQL."""
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE) as wire:
        yield wire


@pytest.fixture
def another(address: tuple[str, int]) -> Iterator[Wire]:
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE) as wire:
        yield wire


@pytest.fixture(autouse=True)
def _objects(direct: Direct) -> Iterator[None]:
    """Tables and functions of these tests alone."""
    direct.rows("create schema lab")
    direct.rows("grant all on schema lab to public")
    direct.rows(
        "create function lab.login(tenant text) returns void language plpgsql as"
        " $$ begin perform set_config('app.tenant', tenant, false); end $$"
    )
    yield
    direct.rows("drop schema lab cascade")


def noted(direct: Direct, body: str) -> int:
    """How many notes say this; they are taken away."""
    return len(direct.rows("delete from note where body = %s returning id", [body]))


def audit(session: Wire) -> tuple[list[str | None], dict[str, str], list[str | None]]:
    """(role and session user, settings of source 'session', locks, temporary objects, cursors, ...)."""
    rows = [
        [None if value is None else value.decode() for value in row]
        for row in m.rows(session.ask(m.query(AUDIT)))
    ]
    who, held = rows[0], rows[-1]
    settings = {str(name): str(value) for name, value in rows[1:-1]}
    return who, settings, held


class TestRule1SettingsAhead:
    def test_a_failing_one_does_not_stop_what_follows(self, session: Wire, direct: Direct) -> None:
        session.send(m.query("set role nobody_here") + m.query("insert into note values (1, 'rule 1')"))
        assert m.errors(session.read_ready()) == ["22023"]
        assert m.tags(session.read_ready()) == ["INSERT 0 1"]
        assert noted(direct, "rule 1") == 1

    def test_guarded_it_ends_the_session_first(self, session: Wire, direct: Direct) -> None:
        session.send(
            m.query("set local exit_on_error = on; set role nobody_here")
            + m.query("insert into note values (1, 'rule 1')")
        )
        (error,) = [message for message in session.read_to_end() if message.letter == "E"]
        assert (error.sqlstate, error.fields["S"]) == ("22023", "FATAL")
        assert noted(direct, "rule 1") == 0

    def test_the_guard_ends_with_its_query(self, session: Wire) -> None:
        session.query("set local exit_on_error = on; set work_mem = '5MB'")
        assert m.errors(session.ask(m.query("select 1 / 0"))) == ["22012"]
        assert session.value("show work_mem") == "5MB"

    def test_reset_all_switches_it_off(self, session: Wire) -> None:
        answer = session.ask(m.query("set local exit_on_error = on; reset all; set role nobody_here"))
        assert [message.fields["S"] for message in answer if message.letter == "E"] == ["ERROR"]


class TestRule2WhatNoTextShows:
    def test_a_function_sets_what_no_catalogue_lists(self, session: Wire) -> None:
        session.query("select lab.login('acme')")
        assert session.value("select count(*) from pg_settings where source = 'session'") == "0"
        assert session.rows("select owner from secret") == [["acme"]]

    def test_the_hand_over_leaves_nothing_but_prepared_statements(self, session: Wire, another: Wire) -> None:
        session.query("select lab.login('acme'); set work_mem = '9MB'; set search_path = tenant_a")
        session.query("select pg_advisory_lock(77); create temp table t (); listen news")
        session.query("begin; declare c cursor with hold for select 1; commit")
        assert m.errors(session.ask(m.parse("select 'still here'", "kept") + m.SYNC)) == []
        session.query(HANDOVER)
        who, settings, held = audit(session)
        assert (who[0], settings, held) == ("none", {}, ["0", "f", "0", "0", "0"])
        assert session.value("select current_setting('app.tenant', true)") in (None, "")
        assert another.value("select pg_try_advisory_lock(77)") == "t"
        kept = session.ask(m.bind(statement="kept") + m.execute() + m.SYNC)
        assert m.rows(kept) == [[b"still here"]]


class TestRule3TheAudit:
    def test_a_careless_one_reads_what_it_has_set_itself(self, session: Wire) -> None:
        answer = session.rows(
            "set local statement_timeout = 0; select name from pg_settings where source = 'session'"
        )
        assert answer == [["statement_timeout"]]

    def test_a_transactions_own_settings_stay_as_of_the_session(self, session: Wire) -> None:
        session.query("begin; set transaction isolation level serializable; select 1; commit")
        found = session.rows("select name from pg_settings where source = 'session'")
        assert ["transaction_isolation"] in found

    def test_it_tells_what_is_there_and_changes_nothing(self, session: Wire, direct: Direct) -> None:
        direct.rows("create role lab_role; grant lab_role to app")
        try:
            session.query("set statement_timeout = '30s'; set search_path = tenant_a; set role lab_role")
            session.query("select pg_advisory_lock(78)")
            who, settings, held = audit(session)
            assert who == ["lab_role", "app"]
            assert settings == {"statement_timeout": "30000", "search_path": "tenant_a"}
            assert held[0] == "1"
            assert session.value("show role") == "lab_role"
            assert session.value("show statement_timeout") == "30s"
            session.query("reset role")
        finally:
            session.query("reset role")
            direct.rows("drop role lab_role")

    def test_a_hostile_search_path_does_not_reach_it(self, session: Wire) -> None:
        session.query(
            "create function lab.current_setting(text) returns text language sql as $$ select 'forged' $$;"
            "create function lab.never(text, text) returns boolean language sql as $$ select false $$;"
            "create operator lab.= (leftarg = text, rightarg = text, function = lab.never);"
            "set search_path = lab, pg_catalog"
        )
        who, settings, _ = audit(session)
        assert who == ["none", "app"]
        assert settings == {"search_path": "lab, pg_catalog"}

    @pytest.mark.parametrize(
        "statement",
        [
            "create function pg_temp.f() returns int language sql as 'select 1'",
            "create domain pg_temp.d as int",
            "create type pg_temp.e as enum ('a')",
            "create temp table t ()",
        ],
    )
    def test_dependencies_show_every_kind_of_temporary_object(self, session: Wire, statement: str) -> None:
        assert audit(session)[2][1] == "f"
        session.query(statement)
        assert audit(session)[2][1] == "t"


class TestRule4SharedStatements:
    def test_a_temporary_table_is_not_seen_by_a_statement_parsed_before(self, session: Wire) -> None:
        """On a server where anybody has ever had a temporary table."""
        session.query("create table lab.thing as select 'permanent' as v; set search_path = lab")
        session.query("create temp table any_other ()")
        session.ask(m.parse("select v from thing", "x") + m.SYNC)
        session.query("create temp table thing as select 'temporary' as v")
        old = session.ask(m.bind(statement="x") + m.execute() + m.SYNC)
        new = session.ask(m.extended("select v from thing") + m.SYNC)
        assert (m.rows(old), m.rows(new)) == ([[b"permanent"]], [[b"temporary"]])

    def test_literals_are_folded_when_a_statement_is_parsed(self, session: Wire) -> None:
        session.query("set datestyle = 'ISO, DMY'")
        session.ask(m.parse("select '01/02/2000'::date - '2000-01-01'::date", "x") + m.SYNC)
        session.query("set datestyle = 'ISO, MDY'")
        old = session.ask(m.bind(statement="x") + m.execute() + m.SYNC)
        new = session.ask(m.extended("select '01/02/2000'::date - '2000-01-01'::date") + m.SYNC)
        assert (m.rows(old), m.rows(new)) == ([[b"31"]], [[b"1"]])

    def test_the_search_path_decides_again_at_every_bind(self, session: Wire) -> None:
        """Plans are made anew when the path differs: the answer changes, or its description must not."""
        session.query("set search_path = tenant_a")
        session.ask(m.parse("select name from whose", "x") + m.SYNC)
        session.query("set search_path = tenant_b")
        assert m.rows(session.ask(m.bind(statement="x") + m.execute() + m.SYNC)) == [[b"b"]]


class TestRule5Descriptions:
    def test_a_statement_whose_description_has_changed_is_refused(self, session: Wire) -> None:
        session.query("create table lab.n as select 1 as v")
        session.ask(m.parse("select v from lab.n", "x") + m.SYNC)
        session.query("alter table lab.n alter v type bigint")
        assert m.errors(session.ask(m.bind(statement="x") + m.execute() + m.SYNC)) == ["0A000"]
        assert m.errors(session.ask(m.extended("select v from lab.n") + m.SYNC)) == []


class TestRule6ErrorsInABatch:
    INSERT = m.extended("insert into note values (6, 'rule 6')")

    def test_an_unknown_name_aborts_what_ran_before_it(self, session: Wire, direct: Direct) -> None:
        answer = session.ask(self.INSERT + m.bind(statement="nope") + m.SYNC)
        assert m.errors(answer) == ["26000"]
        assert noted(direct, "rule 6") == 0

    def test_a_name_that_is_taken_does_as_well(self, session: Wire, direct: Direct) -> None:
        session.ask(m.parse("select 1", "taken") + m.SYNC)
        answer = session.ask(self.INSERT + m.parse("select 2", "taken") + m.SYNC)
        assert m.errors(answer) == ["42P05"]
        assert noted(direct, "rule 6") == 0

    def test_a_text_that_is_wrong_comes_before_a_name_that_is_taken(self, session: Wire) -> None:
        session.ask(m.parse("select 1", "taken") + m.SYNC)
        assert m.errors(session.ask(m.parse("selekt", "taken") + m.SYNC)) == ["42601"]

    def test_nothing_is_parsed_in_a_transaction_that_failed(self, session: Wire) -> None:
        session.ask(m.query("begin; select 1 / 0"))
        assert m.errors(session.ask(m.parse("select 1", "x") + m.SYNC)) == ["25P02"]

    def test_a_close_of_nothing_is_answered_in_order_and_skipped_after_an_error(self, session: Wire) -> None:
        """What can stand for a Parse that need not be repeated: the server itself keeps the order."""
        close = m.close_statement("no such statement")
        assert m.letters(session.ask(close + m.extended("select 1") + close + m.SYNC)) == "312TDC3Z"
        assert m.letters(session.ask(m.parse("selekt") + close + m.SYNC)) == "EZ"
        session.ask(m.query("begin; select 1 / 0"))
        assert m.letters(session.ask(close + m.SYNC)) == "3Z"  # where a Parse would be refused (25P02)

    def test_sql_and_protocol_have_one_name_space(self, session: Wire) -> None:
        session.query("prepare by_sql as select 'by sql'")
        assert m.rows(session.ask(m.bind(statement="by_sql") + m.execute() + m.SYNC)) == [[b"by sql"]]
        session.ask(m.parse("select 'by protocol'", "by_protocol") + m.SYNC)
        assert session.value("execute by_protocol") == "by protocol"
        session.query("deallocate by_protocol")
        assert m.errors(session.ask(m.bind(statement="by_protocol") + m.SYNC)) == ["26000"]


class TestRule7TheStatusByte:
    def test_it_is_stale_from_the_first_extended_message_on(self, session: Wire, direct: Direct) -> None:
        session.send(m.extended("insert into note values (7, 'rule 7')") + m.FLUSH)
        session.read_until("C")
        assert session.status == "I"
        xid = direct.value(
            "select backend_xid is not null from pg_stat_activity where pid = %s", [session.pid]
        )
        assert xid is True
        session.ask(m.SYNC)
        assert noted(direct, "rule 7") == 1


class TestRule8Replay:
    def test_one_query_is_read_in_the_old_encoding(self, session: Wire) -> None:
        session.query("set client_encoding = 'LATIN1'")
        session.query("set client_encoding = 'UTF8'; set app.v = 'schéma'")
        assert session.value("show app.v") == "schÃ©ma"
        session.query("set client_encoding = 'LATIN1'")
        session.query("set client_encoding = 'UTF8'")
        session.query("set app.v = 'schéma'")
        assert session.value("show app.v") == "schéma"

    def test_a_backslash_leaves_a_literal_where_strings_do_not_conform(self, session: Wire) -> None:
        session.query("set standard_conforming_strings = off; set escape_string_warning = off")
        value = "\\'; set work_mem to 77000; --"
        session.query("set app.v = '" + value.replace("'", "''") + "'")
        assert session.value("show work_mem") == "77000kB"

    def test_a_list_that_is_quoted_as_one_is_one_name(self, session: Wire) -> None:
        session.query("""set search_path = '"$user", public'""")
        assert session.value("select cardinality(current_schemas(false))") == "0"
        session.query("""set search_path = "$user", public""")
        assert session.value("select cardinality(current_schemas(false))") == "1"


def test_rule_9_a_parse_ahead_of_its_place_breaks_what_follows(session: Wire) -> None:
    begin = m.extended("begin isolation level serializable")
    assert m.errors(session.ask(m.parse("select 1 from item", "x") + begin + m.SYNC)) == ["25001"]
    session.query("rollback")
    assert m.errors(session.ask(begin + m.parse("select 1 from item", "y") + m.SYNC)) == []
    session.query("rollback")


def test_rule_10_reset_returns_to_what_the_session_started_with(address: tuple[str, int]) -> None:
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE, work_mem="9MB") as session:
        for reset in ("reset work_mem", "reset all", "discard all"):
            session.query("set work_mem = '5MB'")
            session.query(reset)
            assert session.value("show work_mem") == "9MB"


class TestRule11WhatATagProves:
    @pytest.mark.parametrize("statement", ["set local work_mem = '5MB'", "set transaction read only"])
    def test_the_same_tag_where_nothing_was_set(self, session: Wire, statement: str) -> None:
        assert m.tags(session.query(statement)) == ["SET"]
        assert [notice.fields["C"] for notice in session.notices] == ["25P01"]

    def test_a_value_may_be_merged_with_the_old_one(self, session: Wire) -> None:
        session.query("set datestyle = 'SQL, DMY'")
        session.query("set datestyle = 'ISO'")
        assert session.value("show datestyle") == "ISO, DMY"

    def test_a_set_is_undone_by_an_error_behind_it_in_its_batch(self, session: Wire) -> None:
        answer = session.ask(m.extended("set work_mem = '5MB'") + m.extended("select 1 / 0") + m.SYNC)
        assert m.tags(answer) == ["SET"]
        assert session.value("show work_mem") == "4MB"


class TestRule12WhatTextHides:
    @pytest.mark.parametrize(
        "statement",
        [
            r"""select U&"set\005fconfig"('work_mem', '5MB', false)""",
            "update pg_settings set setting = '5120' where name = 'work_mem'",
            "do $$ begin execute 'set work_' || 'mem = ''5MB''' ; end $$",
        ],
    )
    def test_a_setting_without_a_set(self, session: Wire, statement: str) -> None:
        session.query(statement)
        assert session.value("show work_mem") == "5MB"

    def test_a_function_call_has_no_text_at_all(self, session: Wire) -> None:
        answer = session.ask(m.function_call(2078, b"work_mem", b"5MB", b"f"))
        assert m.errors(answer) == []
        assert session.value("show work_mem") == "5MB"

    def test_a_table_is_temporary_by_its_path(self, session: Wire) -> None:
        session.query("set search_path = pg_temp; create table t ()")
        assert session.value("select relpersistence from pg_class where relname = 't'") == "t"


def test_rule_13_discard_all_leaves_the_seed(session: Wire, another: Wire) -> None:
    for wire in (session, another):
        wire.query("select setseed(0.5)")
        wire.query("discard all")
    assert session.value("select random()") == another.value("select random()")


def test_rule_14_lastval_is_of_the_session_until_sequences_are_discarded(session: Wire) -> None:
    session.query("create sequence lab.s; select nextval('lab.s')")
    assert session.value("select lastval()") == "1"
    session.query("discard sequences")
    assert m.errors(session.ask(m.query("select lastval()"))) == ["55000"]


class TestRule15Listening:
    def test_ones_own_notification_comes_ahead_of_ready(self, session: Wire) -> None:
        session.query("listen news")
        assert m.letters(session.ask(m.query("notify news, 'a'"))) == "CAZ"
        assert m.letters(session.ask(m.extended("notify news, 'b'") + m.SYNC)) == "12nCAZ"

    def test_anothers_comes_ahead_of_the_next_ready(self, session: Wire, another: Wire) -> None:
        session.query("listen news")
        for n in range(100):
            another.query(f"notify news, '{n}'")
            answer = session.ask(m.query("select 1"))
            assert m.letters(answer) in ("ATDCZ", "TDCAZ")

    def test_unlisten_is_undone_by_a_rollback(self, session: Wire) -> None:
        session.query("listen news")
        session.query("begin; unlisten news; rollback")
        assert session.rows("select * from pg_listening_channels()") == [["news"]]

    def test_not_inside_a_transaction(self, session: Wire, another: Wire) -> None:
        session.query("listen news")
        session.query("begin")
        another.query("notify news")
        assert "A" not in m.letters(session.ask(m.query("select 1")))
        assert "A" in m.letters(session.ask(m.query("commit")))


class TestRule17TheUnnamedStatement:
    @pytest.mark.parametrize(
        "killer", [m.query("select 1"), m.parse("selekt") + m.SYNC], ids=["query", "failed parse"]
    )
    def test_it_is_dropped(self, session: Wire, killer: bytes) -> None:
        session.ask(m.parse("select 1") + m.SYNC)
        session.ask(killer)
        assert m.errors(session.ask(m.bind() + m.execute() + m.SYNC)) == ["26000"]

    def test_it_outlives_its_sync(self, session: Wire) -> None:
        session.ask(m.parse("select 'unnamed'") + m.SYNC)
        for _ in range(2):
            assert m.rows(session.ask(m.bind() + m.execute() + m.SYNC)) == [[b"unnamed"]]


class TestRule18StartupParameters:
    @pytest.mark.parametrize("name", ["ignore_system_indexes", "log_connections", "post_auth_delay"])
    def test_some_cannot_be_set_later(self, session: Wire, name: str) -> None:
        assert m.errors(session.ask(m.query(f"set {name} = 1")))[0] in ("55P02", "42501")

    def test_temp_buffers_cannot_follow_temporary_tables(self, session: Wire) -> None:
        session.query("create temp table t as select 1")
        assert m.errors(session.ask(m.query("set temp_buffers = '16MB'"))) == ["22023"]


def test_rule_20_settings_of_a_role_do_not_reach_sessions_that_are_open(
    session: Wire, direct: Direct
) -> None:
    direct.rows("alter role app set work_mem = '13MB'")
    try:
        assert session.value("show work_mem") == "4MB"
    finally:
        direct.rows("alter role app reset work_mem")


def test_rule_21_a_cancel_that_is_over_reaches_no_later_query(
    session: Wire, address: tuple[str, int]
) -> None:
    for _ in range(100):
        cancel(address, session.pid, session.key)
        assert session.value("select 1") == "1"


class TestRule22Copy:
    def test_a_sync_behind_it_is_swallowed(self, session: Wire, direct: Direct) -> None:
        copy = m.parse("copy note from stdin") + m.bind() + m.execute()
        session.send(copy + m.SYNC + m.copy_data(b"1\trule 22\n") + m.COPY_DONE + m.SYNC)
        assert m.letters(session.read_ready()) == "12GCZ"
        assert noted(direct, "rule 22") == 1
        assert session.value("select 1") == "1"

    def test_one_behind_a_copy_that_fails_first_counts(self, session: Wire) -> None:
        copy = m.parse("copy nowhere from stdin") + m.bind() + m.execute()
        session.send(copy + m.SYNC + m.copy_data(b"1\n") + m.COPY_DONE + m.SYNC)
        assert m.letters(session.read_ready(2)) == "12EZZ"


@pytest.mark.parametrize("goodbye", [m.TERMINATE, b""], ids=["terminate", "close"])
def test_rule_23_who_leaves_behind_a_statement_has_it_done(
    address: tuple[str, int], direct: Direct, goodbye: bytes
) -> None:
    wire = Wire.login(address, "app", PASSWORDS["app"], DATABASE)
    wire.send(m.query("insert into note select 23, 'rule 23' from pg_sleep(0.1)") + goodbye)
    wire.sock.close()
    eventually(lambda: noted(direct, "rule 23"), "the insert")


def test_rule_24_a_placeholder_stays(session: Wire) -> None:
    assert m.errors(session.ask(m.query("select current_setting('app.x')"))) == ["42704"]
    session.query("begin; set local app.x = 'a'; commit")
    assert session.value("select current_setting('app.x')") == ""
    session.query("discard all")
    assert session.value("select current_setting('app.x')") == ""
