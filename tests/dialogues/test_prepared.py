"""Named statements of many clients on shared servers, message by message (sessions.md, rules 4 to 6 and
9)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from poolproxy.session.parameters import HANDOVER
from tests.dialogues.stage import ServerPeer, Stage
from tests.dialogues.words import (
    BOUND,
    CLOSED,
    DESCRIPTION,
    END,
    NO_DATA,
    PARAMETERS,
    PARSED,
    answer,
    done,
    ended,
    error,
    notice,
    ready,
    tag,
)
from tests.support import messages as m
from tests.support.messages import (
    FLUSH,
    SYNC,
    bind,
    close_statement,
    describe_portal,
    describe_statement,
    execute,
    parse,
    query,
)

ONE, TWO, THREE = "_poolproxy_1", "_poolproxy_2", "_poolproxy_3"
NOBODYS = "_poolproxy_none"
RUN = execute() + SYNC
RAN = BOUND + tag("SELECT 1") + ready()


def prepare(stage: Stage, server: ServerPeer, client: object, text: str, name: str, ours: str) -> None:
    """`client` prepares what nobody has prepared before."""
    client >> parse(text, name) + SYNC  # type: ignore[operator]
    server << parse(text, ours) + describe_statement(ours) + SYNC
    server >> PARSED + PARAMETERS + NO_DATA + ready()
    client << PARSED + ready()  # type: ignore[operator]


def busy(stage: Stage, server: ServerPeer, settings: bytes = b"", better: ServerPeer | None = None) -> None:
    """Somebody else takes this server, which was used last, and keeps it; `settings` go ahead. `better` is
    one without settings, which would be preferred."""
    if better is not None:
        one = stage.client()
        one >> query("begin")
        better << query("begin")
        better >> done("BEGIN", "T")
        one << done("BEGIN", "T")
    other = stage.client()
    other >> query("begin")
    server << settings + query("begin")
    server >> done("RESET") * bool(settings) + done("BEGIN", "T")
    other << done("BEGIN", "T")
    if better is not None:
        one >> query("commit")
        better << query("commit")
        better >> done("COMMIT")
        one << done("COMMIT")


def test_what_the_server_has_is_not_parsed_again(stage: Stage) -> None:
    """In its place goes a Close of nothing, which PostgreSQL answers in its turn."""
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    other >> parse("select 1", "mine") + describe_statement("mine") + SYNC
    server << close_statement(NOBODYS) + describe_statement(ONE) + SYNC
    server >> CLOSED + PARAMETERS + DESCRIPTION + ready()
    other << PARSED + PARAMETERS + DESCRIPTION + ready()
    other >> bind(statement="mine") + RUN
    server << bind(statement=ONE) + RUN
    server >> RAN
    other << RAN
    stage.nothing_more()


def test_other_types_or_texts_are_other_statements(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, client, "select $1", "s", ONE)
    other >> parse("select $1", "s", [23]) + SYNC
    server << parse("select $1", TWO, [23]) + describe_statement(TWO) + SYNC
    server >> PARSED + PARAMETERS + NO_DATA + ready()
    other << PARSED + ready()
    stage.nothing_more()


def test_a_server_that_lacks_it_gets_it_right_before_the_message_that_needs_it(stage: Stage) -> None:
    """With the types that were found the first time; the client waits until it has been described (rule
    5)."""
    first, second, client = stage.server(), stage.server(), stage.client()
    types = m.message("t", struct.pack("!hi", 1, 23))
    client >> parse("select $1", "s") + SYNC
    second << parse("select $1", ONE) + describe_statement(ONE) + SYNC
    second >> PARSED + types + DESCRIPTION + ready()
    client << PARSED + ready()
    busy(stage, second)
    client >> parse("insert") + bind() + execute() + bind([b"1"], statement="s") + RUN
    first << parse("insert") + bind() + execute()
    first << parse("select $1", ONE, [23]) + describe_statement(ONE) + FLUSH
    first >> PARSED + BOUND + tag("INSERT 0 1") + PARSED
    client << PARSED + BOUND + tag("INSERT 0 1")
    first >> types
    client >> query("select 'waits'")
    first >> DESCRIPTION
    first << bind([b"1"], statement=ONE) + RUN + query("select 'waits'")
    first >> RAN + answer("waits")
    client << RAN + answer("waits")
    stage.nothing_more()


def test_notices_of_another_parse_are_the_clients_only_where_it_asked(stage: Stage) -> None:
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select 1", "s", ONE)
    busy(stage, second)
    client >> bind(statement="s") + RUN
    first << parse("select 1", ONE) + describe_statement(ONE) + FLUSH
    first >> PARSED + PARAMETERS + NO_DATA
    first << bind(statement=ONE) + RUN
    first >> notice("of the bind") + RAN
    client << notice("of the bind") + RAN
    stage.nothing_more()


def test_another_description_is_refused_in_postgresqls_words(stage: Stage) -> None:
    """By an error of PostgreSQL's own, so that what came before it in the batch is undone."""
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select 1", "s", ONE)
    busy(stage, second)
    client >> parse("insert") + bind() + execute() + bind(statement="s") + RUN
    first << parse("insert") + bind() + execute()
    first << parse("select 1", ONE) + describe_statement(ONE) + FLUSH
    first >> PARSED + BOUND + tag("INSERT 0 1") + PARSED + PARAMETERS + DESCRIPTION
    client << PARSED + BOUND + tag("INSERT 0 1")
    first << bind(statement="_poolproxy_changed") + RUN
    first >> error("26000", 'prepared statement "_poolproxy_changed" does not exist') + ready()
    # With the routine: pgjdbc parses again where that is it.
    client << error("0A000", "cached plan must not change result type", R="RevalidateCachedQuery") + ready()
    client >> query("select 2")
    first << close_statement(ONE) + SYNC + query("select 2")
    first >> CLOSED + ready() + answer("2")
    client << answer("2")
    first << query(HANDOVER)  # the catalogue has changed: who knows how, until it has been looked at
    first >> done("SELECT 1")
    stage.nothing_more()


def test_a_description_that_has_changed_begins_as_postgresqls(stage: Stage) -> None:
    """The types of the parameters, which have not changed, come before the error."""
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select 1", "s", ONE)
    busy(stage, second)
    client >> describe_statement("s") + RUN
    first << parse("select 1", ONE) + describe_statement(ONE) + FLUSH
    first >> PARSED + PARAMETERS + DESCRIPTION
    first << close_statement(NOBODYS) + describe_statement("_poolproxy_changed") + RUN
    first >> CLOSED + error("26000", 'prepared statement "_poolproxy_changed" does not exist') + ready()
    said = error("0A000", "cached plan must not change result type", R="RevalidateCachedQuery")
    client << PARAMETERS + said + ready()
    stage.nothing_more()


def test_a_parse_of_ours_that_fails_is_answered_in_the_messages_place(stage: Stage) -> None:
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select a from gone", "s", ONE)
    busy(stage, second)
    client >> bind(statement="s") + RUN
    first << parse("select a from gone", ONE) + describe_statement(ONE) + FLUSH
    first >> error("42P01")
    client << error("42P01")
    first << bind(statement="s") + RUN
    first >> ready()
    client << ready()
    client >> bind(statement="s") + RUN
    first << close_statement(ONE) + SYNC + parse("select a from gone", ONE) + describe_statement(ONE) + FLUSH
    first >> CLOSED + ready() + PARSED + PARAMETERS + NO_DATA
    first << bind(statement=ONE) + RUN
    first >> RAN
    client << RAN
    stage.nothing_more()


def test_a_parse_that_failed_leaves_no_name(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> parse("select nonsense", "s") + SYNC
    server << parse("select nonsense", ONE) + describe_statement(ONE) + SYNC
    server >> error("42601") + ready()
    client << error("42601") + ready()
    client >> bind(statement="s") + RUN
    server << bind(statement="s") + RUN
    server >> error("26000", 'prepared statement "s" does not exist') + ready()
    client << error("26000", 'prepared statement "s" does not exist') + ready()
    stage.nothing_more()


def test_a_name_in_use_is_refused_by_postgresql_under_the_clients_name(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    client >> parse("select 2", "s") + SYNC
    server << parse("select 2", ONE) + SYNC
    server >> error("42P05", f'prepared statement "{ONE}" already exists') + ready()
    client << error("42P05", 'prepared statement "s" already exists') + ready()
    stage.nothing_more()


def test_what_waits_for_an_answer_is_asked_when_it_has_come(stage: Stage) -> None:
    """A Parse of what the server has, behind an error perhaps: whether it counts is not known before."""
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, other, "select 1", "s", ONE)
    client >> bind() + execute() + parse("select 1", "t") + SYNC + bind(statement="t") + RUN
    server << close_statement("") + bind() + execute() + close_statement(NOBODYS) + SYNC
    server >> CLOSED + error("26000") + ready()
    client << error("26000") + ready()
    server << bind(statement="t") + RUN
    server >> error("26000") + ready()
    client << error("26000") + ready()
    stage.nothing_more()


def test_a_shared_statement_is_not_closed(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    client >> close_statement("s") + SYNC + bind(statement="s") + RUN
    server << close_statement(NOBODYS) + SYNC + bind(statement="s") + RUN
    server >> CLOSED + ready() + error("26000") + ready()
    client << CLOSED + ready() + error("26000") + ready()
    other >> parse("select 1", "s") + SYNC
    server << close_statement(NOBODYS) + SYNC
    server >> CLOSED + ready()
    other << PARSED + ready()
    stage.nothing_more()


def test_in_a_failed_transaction_nothing_is_answered_for_postgresql(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    client >> query("begin; oops")
    server << query("begin; oops")
    server >> error("42601") + ready("E")
    client << error("42601") + ready("E")
    client >> parse("select 1", "t") + SYNC
    server << parse("select 1", TWO) + describe_statement(TWO) + SYNC
    server >> error("25P02") + ready("E")
    client << error("25P02") + ready("E")
    stage.nothing_more()


def test_behind_an_unanswered_exchange_nothing_is_answered_for_postgresql(stage: Stage) -> None:
    """It may be the end of a transaction, or its beginning."""
    server, client = stage.server(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    client >> query("begin") + parse("select 1", "t") + SYNC
    server << query("begin") + parse("select 1", TWO) + describe_statement(TWO) + SYNC
    server >> done("BEGIN", "T") + PARSED + PARAMETERS + NO_DATA + ready("T")
    client << done("BEGIN", "T") + PARSED + ready("T")
    stage.nothing_more()


@pytest.mark.parametrize(
    "before",
    ["set local search_path = a", "create table t (a int)", "select set_config('search_path', 'a', true)"],
)
def test_in_a_transaction_that_may_read_it_otherwise_it_is_ones_own(stage: Stage, before: str) -> None:
    server, client = stage.server(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    client >> query("begin; " + before)
    server << query("begin; " + before)
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    client >> parse("select 1", "t") + SYNC
    server << parse("select 1", TWO) + describe_statement(TWO) + SYNC
    server >> PARSED + PARAMETERS + NO_DATA + ready("T")
    client << PARSED + ready("T")
    stage.nothing_more()


def test_after_ddl_of_anybody_the_same_text_is_parsed_anew(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    other >> query("alter table t add b int")
    server << query("alter table t add b int")
    server >> done("ALTER TABLE")
    server.audited()
    other << done("ALTER TABLE")
    server << query(HANDOVER)
    server >> done("SELECT 1")
    client >> parse("select 1", "t") + SYNC
    server << parse("select 1", TWO) + describe_statement(TWO) + SYNC
    server >> PARSED + PARAMETERS + NO_DATA + ready()
    client << PARSED + ready()


def test_other_settings_other_statement(stage: Stage) -> None:
    """But for those that no text depends on."""
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    for setting, ours in (("app.tenant", NOBODYS), ("search_path", TWO)):
        other >> query(f"set {setting} = 'x'")
        server << query(f"set {setting} = 'x'")
        server >> done("SET")
        other << done("SET")
        other >> parse("select 1", ours) + SYNC
        if ours == NOBODYS:
            server << close_statement(NOBODYS) + SYNC
            server >> CLOSED + ready()
        else:
            server << parse("select 1", TWO) + describe_statement(TWO) + SYNC
            server >> PARSED + PARAMETERS + NO_DATA + ready()
        other << PARSED + ready()
    stage.nothing_more()


def test_deallocate_by_name(stage: Stage) -> None:
    """What it names is put there, an empty text under the client's name: the statement itself may be
    others'."""
    server, client = stage.server(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    client >> query("deallocate s")
    server << parse("", "s") + SYNC + query("deallocate s")
    server >> PARSED + ready() + done("DEALLOCATE")
    client << done("DEALLOCATE")
    client >> query("deallocate s")
    server << close_statement("s") + SYNC + query("deallocate s")
    server >> CLOSED + ready() + error("26000") + ready()
    client << error("26000") + ready()
    stage.nothing_more()


def test_deallocate_all_by_one_client_is_made_good_to_the_others(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    other >> query("deallocate all")
    server << query("deallocate all")
    server >> done("DEALLOCATE ALL")
    other << done("DEALLOCATE ALL")
    client >> bind(statement="s") + RUN
    server << parse("select 1", ONE) + describe_statement(ONE) + FLUSH
    server >> PARSED + PARAMETERS + NO_DATA
    server << bind(statement=ONE) + RUN
    server >> RAN
    client << RAN
    stage.nothing_more()


def test_names_of_ours_are_nobodys_else(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, client, "select 'secret'", "s", ONE)
    other >> bind(statement=ONE) + RUN
    server << bind(statement=NOBODYS + ONE) + RUN
    server >> error("26000", f'prepared statement "{NOBODYS}{ONE}" does not exist') + ready()
    other << error("26000", f'prepared statement "{ONE}" does not exist') + ready()
    stage.nothing_more()


def test_a_statement_that_is_lost_against_the_books_is_parsed_again(stage: Stage) -> None:
    """Some function has deallocated it: told once, as PostgreSQL would tell who called that function."""
    server, client = stage.server(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    client >> bind(statement="s") + RUN
    server << bind(statement=ONE) + RUN
    server >> error("26000", f'prepared statement "{ONE}" does not exist') + ready()
    client << error("26000", 'prepared statement "s" does not exist') + ready()
    client >> bind(statement="s") + RUN
    server << parse("select 1", ONE) + describe_statement(ONE) + FLUSH
    server >> PARSED + PARAMETERS + NO_DATA
    server << bind(statement=ONE) + RUN
    server >> RAN
    client << RAN
    stage.nothing_more()


def test_a_client_that_leaves_while_it_waits_for_a_description(stage: Stage) -> None:
    """What it had sent is run, as on a direct connection."""
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select 1", "s", ONE)
    busy(stage, second)
    client >> bind(statement="s") + RUN
    first << parse("select 1", ONE) + describe_statement(ONE) + FLUSH
    client.hang_up()
    first >> PARSED + PARAMETERS + NO_DATA
    first << bind(statement=ONE) + RUN
    first >> RAN
    assert stage.pool().idle == [first.server]


def test_the_constants_of_a_text_stay_as_they_were_read(stage: Stage) -> None:
    """A server that lacks the statement parses it under the settings of then (rule 4)."""
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select 'P1D'::interval", "s", ONE)
    client >> query("set intervalstyle = 'iso_8601'")
    second << query("set intervalstyle = 'iso_8601'")
    second >> done("SET")
    client << done("SET")
    busy(stage, second, query('SET LOCAL exit_on_error = on; RESET "intervalstyle"'), first)
    client >> bind(statement="s") + describe_portal() + RUN
    heard = first.take_all()
    assert m.letters(heard) == "QQPDSQ"
    assert b"iso_8601" in heard[0].body
    assert b'RESET "intervalstyle"' in heard[1].body
    assert b"iso_8601" in heard[5].body
    first >> done("SET") * 2 + PARSED + PARAMETERS + NO_DATA + ready() + done("SET")
    first << bind(statement=ONE) + describe_portal() + RUN
    first >> RAN
    client << RAN
    stage.nothing_more()


def test_a_session_of_its_own_keeps_its_names(stage: Stage) -> None:
    own = Stage(databases={"app": {"url": "postgres://db/app", "pool_mode": "session"}})
    server = own.server()
    client = own.client()
    client >> parse("select 1", "s") + bind(statement="s") + RUN
    server << parse("select 1", "s") + bind(statement="s") + RUN
    server >> PARSED + RAN
    client << PARSED + RAN
    own.nothing_more()
    own.close()


def test_one_client_has_so_many_names_and_no_more(stages: Callable[..., Stage]) -> None:
    stage = stages(max_client_prepared_statements=2)
    server, client = stage.server(), stage.client()
    prepare(stage, server, client, "select 1", "a", ONE)
    prepare(stage, server, client, "select 2", "b", TWO)
    client >> close_statement("b") + SYNC
    server << close_statement(NOBODYS) + SYNC
    server >> CLOSED + ready()
    client << CLOSED + ready()
    prepare(stage, server, client, "select 3", "c", THREE)
    client >> parse("select 4", "d") + SYNC
    client << ended("53400") << END
    assert not server.heard
    stage.check()


def test_behind_settings_of_ours_it_is_shared_all_the_same(stage: Stage) -> None:
    """What we put ahead of an exchange changes no transaction's status."""
    server, client, other = stage.server(), stage.client(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    other >> query("set app.tenant = 'x'")
    server << query("set app.tenant = 'x'")
    server >> done("SET")
    other << done("SET")
    client >> parse("select 1", "t") + SYNC
    client_name = TWO  # one of ours for one of its
    server << query('SET LOCAL exit_on_error = on; RESET "app.tenant"')
    server << parse("select 1", client_name) + describe_statement(client_name) + SYNC
    server >> done("RESET") + PARSED + PARAMETERS + NO_DATA + ready()
    client << PARSED + ready()
    other >> parse("select 1", "t") + SYNC
    (
        server
        << query("SET LOCAL exit_on_error = on; SET \"app.tenant\" TO 'x'") + close_statement(NOBODYS) + SYNC
    )
    server >> done("SET") + CLOSED + ready()
    other << PARSED + ready()
    stage.nothing_more()


def test_a_deallocate_all_is_heard_of_behind_another_answer(stage: Stage) -> None:
    """The end of the exchange before it is not the end of it."""
    server, client = stage.server(), stage.client()
    deallocate = parse("deallocate all") + bind() + execute()
    client >> query("") + parse("select 1", "a") + deallocate + bind(statement="a") + RUN
    server << query("") + parse("select 1", ONE) + describe_statement(ONE) + deallocate + FLUSH
    server >> m.message("I") + ready() + PARSED + PARAMETERS + NO_DATA + PARSED + BOUND + tag(
        "DEALLOCATE ALL"
    )
    client << m.message("I") + ready() + PARSED + PARSED + BOUND + tag("DEALLOCATE ALL")
    assert m.letters(server.take_all()).lstrip("H") == "BES"
    server >> error("26000") + ready()
    client << error("26000") + ready()
    stage.nothing_more()


def test_a_server_is_not_given_a_statement_behind_an_unanswered_set(stage: Stage) -> None:
    """Which settings it is to be parsed under, and which come back after it, is known when that is
    answered."""
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select 'P1D'::interval", "s", ONE)
    busy(stage, second)
    client >> query("set intervalstyle = 'iso_8601'") + bind(statement="s") + RUN
    first << query("set intervalstyle = 'iso_8601'")
    first >> done("SET")
    client << done("SET")
    heard = first.take_all()
    assert m.letters(heard) == "QPDSQ"
    assert b'RESET "intervalstyle"' in heard[0].body
    assert b"iso_8601" in heard[4].body
    first >> done("RESET") + PARSED + PARAMETERS + NO_DATA + ready() + done("SET")
    first << bind(statement=ONE) + RUN
    first >> RAN
    client << RAN
    stage.nothing_more()


def test_one_that_cannot_be_parsed_any_more_is_told_of_in_the_messages_place(stage: Stage) -> None:
    """Parsed under other settings, between exchanges, it fails unseen: then once more where the client
    asks."""
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select a from gone", "s", ONE)
    client >> query("set intervalstyle = 'iso_8601'")
    second << query("set intervalstyle = 'iso_8601'")
    second >> done("SET")
    client << done("SET")
    busy(stage, second, query('SET LOCAL exit_on_error = on; RESET "intervalstyle"'), first)
    client >> bind(statement="s") + RUN
    assert m.letters(first.take_all()) == "QQPDSQ"
    first >> done("SET") * 2 + error("42P01") + ready() + done("SET")
    first << close_statement(ONE) + SYNC + parse("select a from gone", ONE) + describe_statement(ONE) + FLUSH
    first >> CLOSED + ready() + error("42P01")
    client << error("42P01")
    first << bind(statement="s") + RUN
    first >> ready()
    client << ready()
    stage.nothing_more()


def test_what_stood_in_on_a_pinned_server_is_closed_too(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    prepare(stage, server, client, "select 1", "s", ONE)
    client >> query("select pg_advisory_lock(1); begin; oops")
    server << query("select pg_advisory_lock(1); begin; oops")
    server >> error("42601") + ready("E")
    client << error("42601") + ready("E")
    client >> query("deallocate s")
    server << parse("", "s") + SYNC + query("deallocate s")
    server >> PARSED + ready("E") + error("25P02") + ready("E")
    client << error("25P02") + ready("E")
    client >> query("deallocate s")
    server << close_statement("s") + SYNC + parse("", "s") + SYNC + query("deallocate s")
    server >> CLOSED + ready("E") + PARSED + ready("E") + error("25P02") + ready("E")
    client << error("25P02") + ready("E")
    stage.nothing_more()


def test_who_waits_for_a_description_is_not_idle(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_transaction_timeout=5)
    first, second, client = stage.server(), stage.server(), stage.client()
    prepare(stage, second, client, "select 1", "s", ONE)
    other = stage.client()
    other >> query("select 1")
    second << query("select 1")
    client >> bind(statement="s") + RUN
    first << parse("select 1", ONE) + describe_statement(ONE) + FLUSH
    stage.later(6)
    assert not client.ended
    first >> PARSED + PARAMETERS + NO_DATA
    first << bind(statement=ONE) + RUN
    first >> RAN
    client << RAN
    second >> answer("1")
    other << answer("1")
    stage.nothing_more()
