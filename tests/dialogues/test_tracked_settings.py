"""SET and RESET: followed where they are plain and alone, a pin everywhere else (rules 10 and 11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import (
    BOUND,
    END,
    PARSED,
    Refusal,
    answer,
    done,
    error,
    fatal,
    parameter,
    ready,
    tag,
)
from tests.support.messages import FLUSH, SYNC, TERMINATE, bind, execute, extended, parse, query

GUARD = "SET LOCAL exit_on_error = on; "
Assign = Callable[[ClientPeer, ServerPeer, str], None]


def set_simply(client: ClientPeer, server: ServerPeer, sql: str, said: str = "SET") -> None:
    client >> query(sql)
    server << query(sql)
    server >> done(said)
    client << done(said)


def set_in_a_batch(client: ClientPeer, server: ServerPeer, sql: str, said: str = "SET") -> None:
    batch = parse(sql) + bind() + execute() + SYNC
    client >> batch
    server << batch
    server >> PARSED + BOUND + done(said)
    client << PARSED + BOUND + done(said)


def reset(client: ClientPeer, server: ServerPeer, sql: str, back: str) -> None:
    """`back`: what takes the settings back to what the client started with, behind its own statement."""
    client >> query(sql)
    server << query(sql) + query(back)
    server >> done(sql.split()[0].upper()) + done("SET")
    client << done(sql.split()[0].upper())


def leave(client: ClientPeer, server: ServerPeer) -> None:
    """A client that has pinned its server leaves it."""
    client >> TERMINATE
    client << END
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")


@pytest.mark.parametrize("assign", [set_simply, set_in_a_batch], ids=["query", "batch"])
def test_a_lone_set_follows_its_client(stage: Stage, assign: Assign) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    assign(client, server, "set app.tenant to 'a'")
    assert not server.server.pin
    stage.ask(other, server, "select 1", query(GUARD + 'RESET "app.tenant"'))
    stage.ask(client, server, "select 2", query(GUARD + "SET \"app.tenant\" TO 'a'"))
    stage.nothing_more()


def test_a_set_with_a_statement_beside_it(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("set app.a to 1; select 1; set app.b to 2")
    server << query("set app.a to 1; select 1; set app.b to 2")
    server >> tag("SET") + answer("1")[: -len(ready())] + tag("SET") + ready()
    client << tag("SET") + answer("1")[: -len(ready())] + tag("SET") + ready()
    stage.ask(other, server, "select 1", query(GUARD + 'RESET "app.a"; RESET "app.b"'))
    stage.nothing_more()


@pytest.mark.parametrize("assign", [set_simply, set_in_a_batch], ids=["query", "batch"])
def test_a_set_that_fails_changes_nothing(stage: Stage, assign: Assign) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    asked = (
        query("set work_mem to 'bad'")
        if assign is set_simply
        else parse("set work_mem to 'bad'") + bind() + execute() + SYNC
    )
    client >> asked
    server << asked
    server >> error("22023") + ready()
    client << error("22023") + ready()
    stage.ask(other, server, "select 1")
    stage.nothing_more()


def test_a_set_and_an_error_behind_it_in_one_query(stage: Stage) -> None:
    """Its tag was seen, and yet it was rolled back."""
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("set app.a to 1; select 1/0")
    server << query("set app.a to 1; select 1/0")
    server >> tag("SET") + error("22012") + ready()
    client << tag("SET") + error("22012") + ready()
    stage.ask(other, server, "select 1")
    stage.nothing_more()


def test_a_set_and_an_error_behind_it_in_one_batch(stage: Stage) -> None:
    """Two statements: whichever of them ran, the server is not left to anyone else with it."""
    server, client = stage.server(), stage.client()
    batch = parse("set app.a to 1") + bind() + execute() + parse("select 1/0") + bind() + execute() + SYNC
    client >> batch
    server << batch
    server >> PARSED + BOUND + tag("SET") + PARSED + BOUND + error("22012") + ready()
    client << PARSED + BOUND + tag("SET") + PARSED + BOUND + error("22012") + ready()
    assert server.server.pin == "setting"
    leave(client, server)
    stage.ask(stage.client(), server, "select 1")
    stage.nothing_more()


def test_a_set_executed_up_to_a_flush(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> parse("set app.a to 1") + bind() + execute() + FLUSH
    server << parse("set app.a to 1") + bind() + execute() + FLUSH
    server >> PARSED + BOUND + tag("SET")
    client << PARSED + BOUND + tag("SET")
    assert not stage.pool().idle
    client >> SYNC
    server << SYNC
    server >> ready()
    client << ready()
    stage.ask(other, server, "select 1", query(GUARD + 'RESET "app.a"'))
    stage.nothing_more()


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_set_in_a_transaction_pins(stage: Stage, end: str) -> None:
    """Whether it holds is known when the transaction ends; it may be in a savepoint, too."""
    server, client = stage.server(), stage.client()
    for sql, status in (("begin", "T"), ("set app.a to 1", "T"), (end, "I")):
        client >> query(sql)
        server << query(sql)
        server >> done(sql.split()[0].upper(), status)
        client << done(sql.split()[0].upper(), status)
    assert server.server.pin == "setting"
    leave(client, server)
    stage.ask(stage.client(), server, "select 1")
    stage.nothing_more()


def test_a_set_local_is_its_transactions_business(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    for sql, status in (("begin", "T"), ("set local app.a to 1", "T"), ("commit", "I")):
        client >> query(sql)
        server << query(sql)
        server >> done(sql.split()[0].upper(), status)
        client << done(sql.split()[0].upper(), status)
    stage.ask(other, server, "select 1")
    stage.nothing_more()


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("begin; set app.a to 1; commit", "setting"),
        ("set app.a from current", "setting"),
        ("set role other", "role"),
        ("set session authorization other", "role"),
        ("select set_config('app.a', 'b', false)", "setting"),
        ("set default_text_search_config to 'mine'", "setting"),
        ("set session characteristics as transaction read only", "setting"),
        ("do $$ begin end $$", "code"),
        ("create temp table t ()", "ddl"),
        ("select pg_advisory_lock(1)", "advisory_lock"),
        ("declare c cursor with hold for select 1", "holdable_cursor"),
        ("prepare s as select 1", "sql_prepare"),
        ("listen x", "listen"),
    ],
)
def test_what_is_not_followed_keeps_the_server_and_is_discarded(stage: Stage, sql: str, reason: str) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    stage.ask(client, server, sql)
    assert server.server.pin == reason
    assert stage.pool().pins[reason] == 1
    other >> query("select 'other'")
    stage.nothing_more()
    leave(client, server)
    server << query("select 'other'")
    server >> answer("other")
    other << answer("other")
    stage.nothing_more()


@pytest.mark.parametrize(
    "sql", ["load 'x'", "select setseed(0.5)", "set seed to 0.5", "select dblink_connect('a', 'b')", "frob"]
)
def test_what_cannot_be_discarded_costs_the_server(stage: Stage, sql: str) -> None:
    server, client = stage.server(), stage.client()
    stage.ask(client, server, sql)
    assert server.server.pin
    client >> TERMINATE
    client << END
    server.take_all()
    server << END
    assert stage.pool().size() == 0
    stage.nothing_more()


@pytest.mark.parametrize("sql", ["reset all", "discard all"])
def test_reset_all_goes_back_to_the_startup_values(stage: Stage, sql: str) -> None:
    """PostgreSQL's RESET returns to what the connection was opened with, not to the server's default."""
    server, client = stage.server(), stage.client(work_mem="9MB")
    set_simply(client, server, "set work_mem to '1MB'")
    set_simply(client, server, "set app.a to 'x'")
    reset(client, server, sql, "SET \"work_mem\" TO '9MB'")
    stage.ask(client, server, "show work_mem")
    stage.nothing_more()


def test_reset_of_one_goes_back_to_its_startup_value(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB", statement_timeout="5s")
    set_simply(client, server, "set work_mem to '1MB'")
    reset(client, server, "reset work_mem", "SET \"work_mem\" TO '9MB'")
    stage.ask(client, server, "show work_mem")
    stage.nothing_more()


def test_reset_all_goes_back_to_what_init_query_left(stage: Stage) -> None:
    server = stage.server(baseline={"work_mem": "'7MB'"})
    client = stage.client()
    reset(client, server, "reset all", "SET \"work_mem\" TO '7MB'")
    stage.ask(client, server, "show work_mem")
    stage.nothing_more()


def test_what_is_sent_behind_a_reset_finds_the_startup_value(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB")
    client >> query("reset all") + query("show work_mem")
    server << query("reset all") + query("SET \"work_mem\" TO '9MB'") + query("show work_mem")
    server >> done("RESET") + done("SET") + answer("9MB")
    client << done("RESET") + answer("9MB")
    stage.nothing_more()


def test_reset_in_a_batch_goes_back_behind_its_sync(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB")
    batch = parse("reset work_mem") + bind() + execute() + SYNC
    client >> batch
    server << batch + query("SET \"work_mem\" TO '9MB'")
    server >> PARSED + BOUND + done("RESET") + done("SET")
    client << PARSED + BOUND + done("RESET")
    stage.ask(client, server, "show work_mem")
    stage.nothing_more()


def test_reset_in_a_transaction_goes_back_in_it(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB")
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    client >> query("reset work_mem")
    server << query("reset work_mem") + query("SET \"work_mem\" TO '9MB'")
    server >> done("RESET", "T") + done("SET", "T")
    client << done("RESET", "T")
    client >> query("commit")
    server << query("commit")
    server >> done("COMMIT")
    client << done("COMMIT")
    assert server.server.pin == "setting"
    leave(client, server)


def test_reset_in_a_failed_transaction_is_refused_and_nothing_else(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB")
    client >> query("begin") + query("select nope")
    server << query("begin") + query("select nope")
    server >> done("BEGIN", "T") + error("42703") + ready("E")
    client << done("BEGIN", "T") + error("42703") + ready("E")
    client >> query("reset work_mem")
    server << query("reset work_mem") + query("SET \"work_mem\" TO '9MB'")
    server >> error("25P02") + ready("E") + error("25P02") + ready("E")
    client << error("25P02") + ready("E")
    client >> query("rollback")
    server << query("rollback")
    server >> done("ROLLBACK")
    client << done("ROLLBACK")
    assert not server.server.pin
    stage.nothing_more()


def test_a_startup_value_that_is_refused_now_pins(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB")
    client >> query("reset all")
    server << query("reset all") + query("SET \"work_mem\" TO '9MB'")
    server >> done("RESET") + error("22023") + ready()
    client << done("RESET")
    assert server.server.pin == "setting"
    leave(client, server)


def test_a_reported_setting_that_is_reset_to_itself_is_not_told(stage: Stage) -> None:
    reports = {"DateStyle": "SQL, MDY"}
    server, client = stage.server(), stage.client(reports=reports, datestyle="SQL, MDY")
    client >> query("reset all")
    server << query("reset all") + query("SET \"datestyle\" TO 'SQL, MDY'")
    server >> tag("RESET") + parameter("DateStyle", "ISO, MDY") + ready()
    client << done("RESET")
    server >> tag("SET") + parameter("DateStyle", "SQL, MDY") + ready()
    stage.nothing_more()


def test_a_client_that_leaves_before_it_is_back(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(work_mem="9MB"), stage.client()
    client >> query("reset all") + TERMINATE
    client << END
    server << query(GUARD + "SET \"work_mem\" TO '9MB'")
    server << query("reset all") + query("SET \"work_mem\" TO '9MB'")
    server >> done("SET") + done("RESET") + done("SET")
    stage.ask(other, server, "show work_mem", query(GUARD + 'RESET "work_mem"'))
    stage.nothing_more()


def test_a_server_lost_before_it_is_back(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB")
    client >> query("reset all")
    server << query("reset all") + query("SET \"work_mem\" TO '9MB'")
    server >> done("RESET") + fatal("57P01")
    server.leave()
    client << done("RESET") << Refusal("FATAL", "08006") << END


def test_the_servers_own_word_for_a_value_is_what_is_repeated(stage: Stage) -> None:
    """DateStyle is relative: what it comes to depends on what it was."""
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("set datestyle to 'sql'")
    server << query("set datestyle to 'sql'")
    server >> tag("SET") + parameter("DateStyle", "SQL, MDY") + ready()
    client << tag("SET") + parameter("DateStyle", "SQL, MDY") + ready()
    other >> query("select 1")
    server << query(GUARD + 'RESET "datestyle"') << query("select 1")
    server >> tag("RESET") + parameter("DateStyle", "ISO, MDY") + ready() + answer("1")
    other << answer("1")
    client >> query("select 2")
    server << query(GUARD + "SET \"datestyle\" TO 'SQL, MDY'") << query("select 2")
    server >> tag("SET") + parameter("DateStyle", "SQL, MDY") + ready() + answer("2")
    client << answer("2")
    stage.nothing_more()


def test_a_set_behind_a_query_in_one_write(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("select 1") + query("set app.a to 1") + extended("select 2") + SYNC
    server << query("select 1") + query("set app.a to 1") + extended("select 2") + SYNC
    server >> answer("1") + done("SET") + PARSED + BOUND + answer("2")
    client << answer("1") + done("SET") + PARSED + BOUND + answer("2")
    stage.ask(other, server, "select 1", query(GUARD + 'RESET "app.a"'))
    stage.nothing_more()


def test_a_set_that_its_client_did_not_wait_for_is_known_all_the_same(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("set app.a to 1") + TERMINATE
    client << END
    server << query("set app.a to 1")
    server >> done("SET")
    stage.ask(other, server, "select 1", query(GUARD + 'RESET "app.a"'))
    stage.nothing_more()


def test_nothing_is_replayed_inside_a_transaction(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    for sql, status in (("begin", "T"), ("select 1", "T"), ("reset all", "T"), ("commit", "I")):
        client >> query(sql)
        server << query(sql)
        server >> done(sql.split()[0].upper(), status)
        client << done(sql.split()[0].upper(), status)
    assert server.server.pin == "setting"
    client >> query("select 1")
    server << query("select 1")
    server >> answer("1")
    client << answer("1")
    stage.nothing_more()
