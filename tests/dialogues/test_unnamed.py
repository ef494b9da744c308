"""The unnamed statement of a shared server: only ever its owner's (sessions.md, rules 9 and 17)."""

from __future__ import annotations

from tests.dialogues.stage import Stage
from tests.dialogues.words import BOUND, CLOSED, PARSED, done, error, ready
from tests.support.messages import FLUSH, SYNC, bind, close_statement, execute, parse


def test_a_named_parse_ahead_does_not_make_it_ones_own(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    stage.ask_unnamed(client, server, "select secret")
    other >> parse("select 1", "s1") + bind() + execute() + SYNC
    server << parse("select 1", "s1") + close_statement() + bind() + execute() + SYNC
    server >> PARSED + CLOSED + error("26000") + ready()
    other << PARSED + error("26000") + ready()
    stage.nothing_more()


def test_a_parse_that_is_skipped_does_not_make_it_ones_own(stage: Stage) -> None:
    """Behind an error PostgreSQL does not read it: the server still holds the other one's statement."""
    server, client, other = stage.server(), stage.client(), stage.client()
    stage.ask_unnamed(client, server, "select secret")
    other >> bind(statement="nope") + FLUSH
    server << bind(statement="nope") + FLUSH
    server >> error("26000")
    other << error("26000")
    other >> parse("select 1") + SYNC
    server << parse("select 1") + SYNC
    server >> ready()
    other << ready()
    other >> bind() + execute() + SYNC
    heard = server.take()
    assert heard.letter in "PC", "its own Parse again, or a Close: never a Bind to the other one's"


def test_a_parse_cut_behind_its_header_is_unnamed_all_the_same(stage: Stage) -> None:
    """It is too long to wait for; its name has not come yet when it begins to pass."""
    server, client, other = stage.server(), stage.client(), stage.client()
    for peer in (client, other):
        stage.ask_unnamed(peer, server, "select 'small'")
    large = parse("select '" + "x" * 300_000 + "'")
    for start, end in ((0, 5), (5, 100_000), (100_000, 200_000), (200_000, len(large))):
        client.push(large[start:end])
        stage.settle()
    client >> SYNC
    server << large << SYNC
    server >> PARSED + ready()
    client << PARSED + ready()
    client >> bind() + execute() + SYNC
    server << bind() + execute() + SYNC
    server >> BOUND + done("SELECT 1")
    client << BOUND + done("SELECT 1")
    stage.nothing_more()


def test_the_answer_to_a_close_of_ours_is_told_apart(stage: Stage) -> None:
    """Behind a CloseComplete that has come already, the next one is ours."""
    server, client = stage.server(), stage.client()
    client >> close_statement("x") + FLUSH
    server << close_statement("x") + FLUSH
    server >> CLOSED
    client << CLOSED
    client >> bind() + execute() + SYNC
    server << close_statement() + bind() + execute() + SYNC
    server >> CLOSED + error("26000") + ready()
    client << error("26000") + ready()
    stage.nothing_more()
