"""SET and RESET: followed where they are plain and alone, asked for everywhere else (rules 2, 3, 10, 11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poolproxy.session.parameters import HANDOVER
from poolproxy.session.pins import AUDITED
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


def hand_over(server: ServerPeer) -> None:
    """Nobody waits: what no audit sees is undone at once."""
    server << query(HANDOVER)
    server >> done("SELECT 1")


def leave_for_ever(client: ClientPeer, server: ServerPeer) -> None:
    """A client leaves behind what nothing can undo."""
    client >> TERMINATE
    client << END
    server.take_all()
    server << END


def leave(client: ClientPeer, server: ServerPeer) -> None:
    """A client that has pinned its server, or changed what cannot be known, leaves it."""
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
    server.audited()
    client << PARSED + BOUND + tag("SET") + PARSED + BOUND + error("22012") + ready()
    hand_over(server)
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
def test_a_set_in_a_transaction_is_asked_for_when_that_has_ended(stage: Stage, end: str) -> None:
    """It may have been in a savepoint: the server alone knows what has become of it."""
    server, client, other = stage.server(), stage.client(), stage.client()
    for sql in ("begin", "set app.a to 1"):
        client >> query(sql)
        server << query(sql)
        server >> done(sql.split()[0].upper(), "T")
        client << done(sql.split()[0].upper(), "T")
    client >> query(end)
    server << query(end)
    server >> done(end.upper())
    server.audited(*([("setting", "app.a", "1")] if end == "commit" else []))
    client << done(end.upper())
    hand_over(server)
    stage.ask(other, server, "select 1")
    back = [query(GUARD + "SET \"app.a\" TO '1'")] if end == "commit" else []
    stage.ask(client, server, "select 2", *back)
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


SUSPECT = [
    "begin; set app.a to 1; commit",
    "set app.a from current",
    "set role other",
    "set session authorization other",
    "select set_config('app.a', 'b', false)",
    "set default_text_search_config to 'mine'",
    "set session characteristics as transaction read only",
    "do $$ begin end $$",
    "create temp table t ()",
    "select pg_advisory_lock(1)",
    "declare c cursor with hold for select 1",
    "prepare s as select 1",
    "listen x",
    "frob",
]


def ask_suspect(client: ClientPeer, server: ServerPeer, sql: str, *found: tuple[str, str, str]) -> None:
    """Ask what leaves `found` behind."""
    client >> query(sql)
    server << query(sql)
    server >> answer("x")
    server.audited(*found)
    client << answer("x")


@pytest.mark.parametrize("sql", SUSPECT)
def test_what_is_not_followed_is_asked_for(stage: Stage, sql: str) -> None:
    """The client hears that it is over when the server has said what is left; then others may have it."""
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query(sql)
    server << query(sql)
    server >> answer("x")
    client << answer("x")[: -len(ready())]
    other >> query("select 'other'")
    server.audited()
    client << ready()
    server << query(HANDOVER) + query("select 'other'")
    server >> done("SELECT 1") + answer("other")
    other << answer("other")
    assert not any(stage.pool().counters.pins.values())
    stage.nothing_more()


@pytest.mark.parametrize("reason", AUDITED)
def test_what_cannot_be_carried_along_pins_until_it_has_gone(stage: Stage, reason: str) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    found = ("prepared", "mine", "") if reason == "sql_prepare" else ("left", reason, "")
    ask_suspect(client, server, "do $$ begin end $$", found)
    assert server.server.pin == reason
    other >> query("select 'other'")
    stage.nothing_more()
    ask_suspect(client, server, "do $$ begin end $$")
    server << query(HANDOVER) + query("select 'other'")
    server >> done("SELECT 1") + answer("other")
    other << answer("other")
    assert stage.pool().pins[reason] == 0
    stage.nothing_more()


@pytest.mark.parametrize("end", ["unlisten x", "select pg_advisory_unlock(1)", "close c", "discard temp"])
def test_what_may_end_a_pin_is_asked_for_at_once(stage: Stage, end: str) -> None:
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    client >> query(end)
    server << query(end)
    server >> done("DONE")
    server.audited()
    client << done("DONE")
    assert not server.server.pin
    hand_over(server)
    stage.nothing_more()


@pytest.mark.parametrize("end", ["unlisten x", "select pg_advisory_unlock(1)", "close c", "discard temp"])
def test_where_nothing_is_pinned_it_ends_nothing(stage: Stage, end: str) -> None:
    server, client = stage.server(), stage.client()
    stage.ask(client, server, end)
    stage.nothing_more()


def test_an_end_that_no_text_shows_is_found_later(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    stage.later(4)
    stage.nothing_more()
    stage.later(6)
    server.audited(("left", "listen", ""))
    stage.later(14)
    stage.nothing_more()
    stage.later(17)  # seen from the beginning: twice as long after the one before
    server.audited()
    assert not server.server.pin
    hand_over(server)
    stage.nothing_more()


def test_a_client_that_asks_during_an_audit_waits(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    stage.later(6)
    client >> query("select 1")
    server.audited(("left", "listen", ""))
    server << query("select 1")
    server >> answer("1")
    client << answer("1")
    stage.nothing_more()


def test_exchanges_in_one_write_are_audited_together(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select set_config('app.a', 'b', false)") + query("select 1")
    server << query("select set_config('app.a', 'b', false)") + query("select 1")
    server >> answer("b") + answer("1")
    server.audited(("setting", "app.a", "b"))
    client << answer("b") + answer("1")
    assert stage.of(client).parameters.values == {"app.a": "'b'"}
    hand_over(server)
    stage.nothing_more()


@pytest.mark.parametrize("reason", AUDITED)
def test_what_is_not_to_pin_is_discarded(stages: Callable[..., Stage], reason: str) -> None:
    stage = stages(session_pinning_filters=[reason])
    server, client = stage.server(), stage.client()
    client >> query("do $$ begin end $$")
    server << query("do $$ begin end $$")
    server >> done("DO")
    server.audited(("prepared", "mine", "") if reason == "sql_prepare" else ("left", reason, ""))
    client << tag("DO")
    (discarding,) = server.take_all()
    assert discarding.letter == "Q"
    server >> done("DISCARD")
    client << ready()
    assert not server.server.pin
    hand_over(server)
    stage.nothing_more()


def test_what_only_a_superuser_sets_cannot_be_repeated(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    ask_suspect(client, server, "do $$ begin end $$", ("superuser", "log_statement", "all"))
    assert server.server.pin == "unaudited"
    leave_for_ever(client, server)
    stage.nothing_more()


def test_an_audit_that_fails_keeps_the_server_and_costs_it(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("do $$ begin end $$")
    server << query("do $$ begin end $$")
    server >> done("DO")
    server.take_all()
    server >> error("57014") + ready()
    client << done("DO")
    assert server.server.pin == "unaudited"
    stage.ask(client, server, "select 1")
    leave_for_ever(client, server)
    stage.nothing_more()


def test_a_custom_setting_that_must_not_be_read_is_not_asked_for_again(stage: Stage) -> None:
    """An extension's own, which a text has named: nobody's audits may fail by it."""
    server, client = stage.server(), stage.client()
    client >> query("do $$ begin perform 'cron.host'; perform 'app.a'; end $$")
    server << query("do $$ begin perform 'cron.host'; perform 'app.a'; end $$")
    server >> done("DO")
    (asked,) = server.take_all()
    assert b"'{cron.host,app.a}'" in asked.body
    server >> error("42501", 'permission denied to examine "cron.host"') + ready()
    server.audited(("setting", "app.a", "b"))
    client << done("DO")
    assert stage.pool().custom_names.names() == ("app.a",)
    stage.pool().custom_names.learn(["cron.host"])
    assert stage.pool().custom_names.names() == ("app.a",)
    hand_over(server)
    stage.nothing_more()


def test_a_cancel_during_an_audit_has_come_too_late(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("do $$ begin end $$")
    server << query("do $$ begin end $$")
    server >> done("DO")
    stage.door.cancel(client.pid, client.key)
    assert not stage.pools.canceller.asked
    server.audited()
    client << done("DO")
    hand_over(server)
    stage.nothing_more()


def test_a_client_that_leaves_during_an_audit(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("do $$ begin end $$")
    server << query("do $$ begin end $$")
    server >> done("DO")
    client << tag("DO")
    client.leave()
    server.audited(("left", "advisory_lock", ""))
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


@pytest.mark.parametrize(
    "sql", ["load 'x'", "select setseed(0.5)", "set seed to 0.5", "select dblink_connect('a', 'b')"]
)
def test_what_cannot_be_discarded_costs_the_server(stage: Stage, sql: str) -> None:
    server, client = stage.server(), stage.client()
    stage.ask(client, server, sql)
    assert server.server.pin
    leave_for_ever(client, server)
    assert stage.pool().size() == 0
    stage.nothing_more()


def test_settings_are_taken_up_in_the_order_in_which_they_may_be(stage: Stage) -> None:
    """Who one is comes last, for one may not set everything as anybody (rule 8)."""
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("set role reader")
    server << query("set role reader")
    server >> done("SET")
    server.audited(("setting", "work_mem", "9216"), ("setting", "search_path", "a, b"), role="reader")
    client << done("SET")
    hand_over(server)
    stage.ask(other, server, "select 1")
    taken_up = "SET \"search_path\" TO 'a', 'b'; SET \"work_mem\" TO '9216'; SET \"role\" TO 'reader'"
    stage.ask(client, server, "select 1", query(GUARD + taken_up))
    laid_down = "RESET SESSION AUTHORIZATION; RESET ROLE"
    back = query(GUARD + laid_down) + query(GUARD + 'RESET "search_path"; RESET "work_mem"')
    other >> query("select 1")
    server << back + query("select 1")
    stage.of(other)


def test_reset_all_goes_back_to_the_startup_values(stage: Stage) -> None:
    """PostgreSQL's RESET returns to what the connection was opened with, not to the server's default."""
    server, client = stage.server(), stage.client(work_mem="9MB")
    set_simply(client, server, "set work_mem to '1MB'")
    set_simply(client, server, "set app.a to 'x'")
    reset(client, server, "reset all", "SET \"work_mem\" TO '9MB'")
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
    server.audited(("setting", "work_mem", "9216"))
    client << done("COMMIT")
    hand_over(server)


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


def test_a_startup_value_that_is_refused_now_is_asked_for(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB")
    client >> query("reset all")
    server << query("reset all") + query("SET \"work_mem\" TO '9MB'")
    server >> done("RESET") + error("22023") + ready()
    client << done("RESET")
    server.audited()
    stage.nothing_more()


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
    for sql in ("begin", "select 1", "reset all"):
        client >> query(sql)
        server << query(sql)
        server >> done(sql.split()[0].upper(), "T")
        client << done(sql.split()[0].upper(), "T")
    stage.nothing_more()
