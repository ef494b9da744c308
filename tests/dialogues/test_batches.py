"""Batches and function calls: answers in order, errors PostgreSQL's own, nothing made up."""

from __future__ import annotations

import pytest

from tests.dialogues.stage import Stage
from tests.dialogues.words import (
    BOUND,
    CALLED,
    CLOSED,
    COPY_DONE,
    COPY_IN,
    DESCRIPTION,
    EMPTY,
    END,
    NO_DATA,
    PARAMETERS,
    PARSED,
    SUSPENDED,
    answer,
    done,
    error,
    ready,
    row,
    tag,
)
from tests.support.messages import (
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    close_portal,
    close_statement,
    describe_statement,
    execute,
    extended,
    function_call,
    parse,
    query,
)

LO_CREAT = 957
PG_ADVISORY_LOCK = 2880


def test_batches_in_one_write_are_answered_one_by_one(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> (extended("select 1") + SYNC) * 3
    server << (extended("select 1") + SYNC) * 3
    one = PARSED + BOUND + DESCRIPTION + row("1") + tag("SELECT 1") + ready()
    server >> one + one
    assert not stage.pool().idle
    server >> one
    client << one * 3
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_batch_that_fails_between_two_that_do_not(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> extended("select 1") + SYNC + extended("select 1/0") + SYNC + extended("select 3") + SYNC
    server << extended("select 1") + SYNC + extended("select 1/0") + SYNC + extended("select 3") + SYNC
    begun = PARSED + BOUND + DESCRIPTION
    good = begun + row("1") + tag("SELECT 1") + ready()
    for said in (good, begun + error("22012") + ready(), good):
        server >> said
        client << said
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_behind_an_error_everything_up_to_the_sync_is_left_to_postgresql(stage: Stage) -> None:
    """A Query and a FunctionCall, too, are skipped by it: no answer is owed for them."""
    server, client = stage.server(), stage.client()
    client >> parse("select nope") + FLUSH
    server << parse("select nope") + FLUSH
    server >> error("42703")
    client << error("42703")
    skipped = (
        bind(statement="s")
        + query("select 2")
        + function_call(LO_CREAT, b"1")
        + close_statement("x")
        + execute()
    )
    client >> skipped
    server << skipped
    assert not stage.pool().idle
    client >> SYNC
    server << SYNC
    server >> ready()
    client << ready()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_an_error_in_a_transaction_keeps_the_server_until_its_rollback(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    client >> extended("select 1/0") + SYNC
    server << extended("select 1/0") + SYNC
    server >> PARSED + error("22012") + ready("E")
    client << PARSED + error("22012") + ready("E")
    other >> query("select 'other'")
    client >> query("rollback")
    server << query("rollback")
    server >> done("ROLLBACK")
    client << done("ROLLBACK")
    server << query("select 'other'")
    server >> answer("other")
    other << answer("other")
    stage.nothing_more()


def test_a_portal_lives_across_flushes(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    first = parse("select x from t") + bind(portal="p") + execute("p", 1) + FLUSH
    client >> first
    server << first
    server >> PARSED + BOUND + row("1") + SUSPENDED
    client << PARSED + BOUND + row("1") + SUSPENDED
    assert not stage.pool().idle
    client >> execute("p", 1) + close_portal("p") + FLUSH
    server << execute("p", 1) + close_portal("p") + FLUSH
    server >> row("2") + SUSPENDED + CLOSED
    client << row("2") + SUSPENDED + CLOSED
    assert not stage.pool().idle
    client >> SYNC
    server << SYNC
    server >> ready()
    client << ready()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (query(""), EMPTY + ready()),
        (query("select 1; select 2"), (DESCRIPTION + row("1") + tag("SELECT 1")) * 2 + ready()),
        (parse("") + bind() + execute() + SYNC, PARSED + BOUND + EMPTY + ready()),
        (parse("select 1") + describe_statement() + SYNC, PARSED + NO_DATA + ready()),
        (SYNC + SYNC, ready() + ready()),
    ],
    ids=["empty query", "two statements", "empty statement", "only parsed", "two syncs"],
)
def test_small_exchanges(stage: Stage, asked: bytes, said: bytes) -> None:
    server, client = stage.server(), stage.client()
    client >> asked
    server << asked
    server >> said
    client << said
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_function_call_of_a_large_object_function_is_an_exchange(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> function_call(LO_CREAT, b"1") * 2
    server << function_call(LO_CREAT, b"1") * 2
    server >> CALLED + ready()
    assert not stage.pool().idle
    server >> error("42501") + ready()
    client << CALLED + ready() + error("42501") + ready()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_any_other_function_call_is_audited(stage: Stage) -> None:
    """Nothing shows what it does: a lock, a setting (rule 12)."""
    server, client = stage.server(), stage.client()
    client >> function_call(PG_ADVISORY_LOCK, b"7")
    server << function_call(PG_ADVISORY_LOCK, b"7")
    server >> CALLED + ready()
    server.audited(("left", "advisory_lock", ""))
    client << CALLED + ready()
    assert server.server.pin == "advisory_lock"
    stage.nothing_more()


@pytest.mark.parametrize("ending", [query("select 1"), function_call(LO_CREAT, b"1")], ids=["query", "call"])
def test_a_batch_without_a_sync_that_an_exchange_of_another_kind_ends(stage: Stage, ending: bytes) -> None:
    """PostgreSQL answers that in more than one way: the server serves nobody else afterwards."""
    server, client = stage.server(), stage.client()
    client >> extended("select 1") + ending
    server << extended("select 1") + ending
    said = PARSED + BOUND + DESCRIPTION + row("1") + tag("SELECT 1") + CALLED + ready()
    server >> said
    client << said
    assert server.server.pin == "unaudited"
    client >> query("select 2")
    server << query("select 2")
    server >> answer("2")
    client << answer("2")
    client >> TERMINATE
    client << END
    server.take_all()
    server << END
    stage.nothing_more()


NOTHING = close_statement("_poolproxy_none")
BEGIN = parse("begin") + bind() + execute()


@pytest.mark.parametrize("pieces", [1, 2], ids=["at once", "after its answers"])
def test_a_query_behind_a_batch_that_has_run_nothing_is_an_exchange_of_its_own(
    stage: Stage, pieces: int
) -> None:
    """asyncpg prepares with a Flush and goes on with a Query."""
    server, client = stage.server(), stage.client()
    begun = parse("select 1") + describe_statement() + FLUSH
    said = PARSED + PARAMETERS + DESCRIPTION
    if pieces == 1:
        client >> begun + query("select 2")
        server << begun + NOTHING + FLUSH
        server >> said
        client << said
    else:
        client >> begun
        server << begun
        server >> said
        client << said
        client >> query("select 2")
        server << NOTHING + FLUSH
    stage.nothing_more()
    server >> CLOSED
    server << query("select 2")
    server >> answer("2")
    client << answer("2")
    assert stage.pool().idle == [server.server]
    stage.ask(client, server, "select 3")
    stage.nothing_more()


def test_a_query_behind_a_batch_that_has_failed_is_skipped(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> parse("select nonsense") + FLUSH + query("select 2")
    server << parse("select nonsense") + FLUSH + NOTHING + FLUSH
    server >> error("42703")
    client << error("42703")
    server << query("select 2")
    client >> SYNC
    server << SYNC
    server >> ready()
    client << ready()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_query_behind_a_batch_in_a_transaction(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    client >> parse("select 1") + FLUSH + query("select 2; commit")
    server << parse("select 1") + FLUSH + NOTHING + FLUSH
    server >> PARSED + CLOSED
    server << query("select 2; commit")
    server >> done("COMMIT")
    client << PARSED + done("COMMIT")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_query_behind_begin_waits_until_that_has_gone_well(stage: Stage) -> None:
    """As pgjdbc does it with autosave: whose an error behind it is can be told."""
    server, client = stage.server(), stage.client()
    client >> BEGIN + query("savepoint s") + extended("select 1") + SYNC
    server << BEGIN + NOTHING + FLUSH
    server >> PARSED + BOUND + tag("BEGIN") + CLOSED
    client << PARSED + BOUND + tag("BEGIN")
    server << query("savepoint s") + extended("select 1") + SYNC
    said = done("SAVEPOINT", "T") + PARSED + BOUND + DESCRIPTION + row("1") + tag("SELECT 1") + ready("T")
    server >> said
    client << said
    client >> query("commit")
    server << query("commit")
    server >> done("COMMIT")
    client << done("COMMIT")
    assert not server.server.pin
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_query_behind_what_was_only_parsed(stage: Stage) -> None:
    """As asyncpg does it in copy_records_to_table: the columns' types are asked for without a Sync."""
    server, client = stage.server(), stage.client()
    client >> parse("select a from t") + describe_statement() + FLUSH
    server << parse("select a from t") + describe_statement() + FLUSH
    server >> PARSED + PARAMETERS + DESCRIPTION
    client << PARSED + PARAMETERS + DESCRIPTION
    client >> query("copy t from stdin")
    server << NOTHING + FLUSH
    server >> CLOSED
    server << query("copy t from stdin")
    server >> COPY_IN
    client << COPY_IN
    client >> COPY_DONE
    server << COPY_DONE
    server >> done("COPY 0")
    client << done("COPY 0")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_behind_a_begin_that_fails_everything_is_skipped(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> BEGIN + query("savepoint s") + SYNC
    server << BEGIN + NOTHING + FLUSH
    server >> PARSED + error("25001")
    client << PARSED + error("25001")
    server << query("savepoint s") + SYNC
    server >> ready()
    client << ready()
    assert not server.server.pin
    assert stage.pool().idle == [server.server]
    stage.nothing_more()
