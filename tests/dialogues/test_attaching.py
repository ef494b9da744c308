"""When a client gets a server, and when it is taken back: never while anything is open on it (rule 7)."""

from __future__ import annotations

import pytest

from poolproxy.session.lifecycle import SERVER_ACTIVE
from tests.dialogues.stage import Stage
from tests.dialogues.words import BOUND, DESCRIPTION, NO_DATA, PARSED, answer, done, error, ready, row, tag
from tests.support.messages import FLUSH, SYNC, execute, extended, query


def test_a_query_borrows_and_its_end_gives_back(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    assert repr(stage.pool()) == "<Pool app/app servers 1/0/0+0 of 20 waiting 0>"
    server >> answer("1")
    client << answer("1")
    assert repr(stage.pool()) == "<Pool app/app servers 0/1/0+0 of 20 waiting 0>"
    stage.nothing_more()


@pytest.mark.parametrize("status", ["T", "E"])
def test_a_transaction_keeps_its_server(stage: Stage, status: str) -> None:
    server, client = stage.server(), stage.client()
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", status)
    client << done("BEGIN", status)
    assert not stage.pool().idle
    client >> query("commit")
    server << query("commit")
    server >> done("COMMIT")
    client << done("COMMIT")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_answers_up_to_a_flush_keep_the_server(stage: Stage) -> None:
    """All is answered and the last status was I, yet a transaction is open: only Sync ends it."""
    server, client = stage.server(), stage.client()
    batch = extended("insert into note values (1)")
    client >> batch + FLUSH
    server << batch + FLUSH
    server >> PARSED + BOUND + NO_DATA + tag("INSERT 0 1")
    client << PARSED + BOUND + NO_DATA + tag("INSERT 0 1")
    assert stage.pool().in_state(SERVER_ACTIVE) == [server.server]
    other = stage.client()
    other >> query("select 'other'")
    assert stage.of(other).waiting()
    client >> SYNC
    server << SYNC
    server >> ready()
    client << ready()
    server << query("select 'other'")
    server >> answer("other")
    other << answer("other")
    stage.nothing_more()


def test_a_lone_sync_is_answered_by_a_server(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> SYNC
    server << SYNC
    server >> ready()
    client << ready()
    stage.nothing_more()


def test_a_flush_of_nothing_needs_no_server(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> FLUSH
    assert stage.pool().idle == [server.server]
    client >> query("select 1")
    server << query("select 1")
    server >> answer("1")
    client << answer("1")
    stage.nothing_more()


def test_pipelined_queries_are_answered_in_order_before_the_server_goes_back(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select 1") + query("select 2") + query("select 3")
    server << query("select 1") + query("select 2") + query("select 3")
    server >> answer("1") + error("22012") + ready()
    assert not stage.pool().idle
    server >> answer("3")
    client << answer("1") + error("22012") + ready() + answer("3")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_pipelined_batches_with_a_transaction_between_them(stage: Stage) -> None:
    """The I of the first answer is not the end: a BEGIN is on its way already."""
    server, client = stage.server(), stage.client()
    client >> extended("select 1") + SYNC + extended("begin") + SYNC
    server << extended("select 1") + SYNC + extended("begin") + SYNC
    server >> PARSED + BOUND + DESCRIPTION + row("1") + tag("SELECT 1") + ready()
    assert not stage.pool().idle
    server >> PARSED + BOUND + NO_DATA + tag("BEGIN") + ready("T")
    assert not stage.pool().idle
    client << PARSED + BOUND + DESCRIPTION + row("1") + tag("SELECT 1") + ready()
    client << PARSED + BOUND + NO_DATA + tag("BEGIN") + ready("T")
    stage.nothing_more()


def test_an_error_in_a_batch_is_told_at_once_and_ends_at_its_sync(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> extended("select 1/0") + FLUSH
    server << extended("select 1/0") + FLUSH
    server >> PARSED + BOUND + DESCRIPTION + error("22012")
    client << PARSED + BOUND + DESCRIPTION + error("22012")
    assert not stage.pool().idle
    client >> execute() + SYNC
    server << execute() + SYNC
    server >> ready()
    client << ready()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()
