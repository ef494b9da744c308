"""The unnamed statement of a shared server: only ever its owner's (sessions.md, rules 9 and 17)."""

from __future__ import annotations

from tests.dialogues.stage import Stage
from tests.dialogues.words import BOUND, CLOSED, NO_DATA, PARAMETERS, PARSED, answer, done, error, ready
from tests.support.messages import (
    FLUSH,
    SYNC,
    bind,
    close_portal,
    close_statement,
    describe_statement,
    execute,
    parse,
    query,
)


def test_a_named_parse_ahead_does_not_make_it_ones_own(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    stage.ask_unnamed(client, server, "select secret")
    other >> parse("select 1", "s1") + bind() + execute() + SYNC
    name = "_poolproxy_1"
    (
        server
        << parse("select 1", name) + describe_statement(name) + close_statement() + bind() + execute() + SYNC
    )
    server >> PARSED + PARAMETERS + NO_DATA + CLOSED + error("26000") + ready()
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
    assert server.server.pin == "unaudited"
    client >> bind() + execute() + SYNC
    server << bind() + execute() + SYNC  # not the small one: this is where the large one is


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


def test_an_older_one_of_its_own_on_another_server_is_not_run(stage: Stage) -> None:
    """Parsed there first and here later: what is bound is the later one, wherever it runs."""
    here, there, client, other = stage.server(), stage.server(), stage.client(), stage.client()
    stage.ask_unnamed(client, there, "delete from accounts")
    other >> query("begin")
    there << query("begin")
    there >> done("BEGIN", "T")
    other << done("BEGIN", "T")
    stage.ask_unnamed(client, here, "update accounts set balance = 1")
    other >> close_portal("p") + SYNC  # a Query would drop what the server holds
    there << close_portal("p") + SYNC
    there >> CLOSED + ready()
    other << CLOSED + ready()
    client >> bind() + execute() + SYNC
    there << parse("update accounts set balance = 1") + bind() + execute() + SYNC
    there >> PARSED + BOUND + done("UPDATE 1")
    client << BOUND + done("UPDATE 1")
    stage.nothing_more()


def test_a_query_of_ones_own_drops_it(stage: Stage) -> None:
    """As PostgreSQL does; and no number of them can make us send a long Parse again and again."""
    server, client = stage.server(), stage.client()
    stage.ask_unnamed(client, server, "select 1")
    client >> query("select 2") + bind() + execute() + SYNC
    server << query("select 2") + close_statement() + bind() + execute() + SYNC
    server >> answer("2") + CLOSED + error("26000") + ready()
    client << answer("2") + error("26000") + ready()
    stage.nothing_more()


def test_a_close_of_ones_own_drops_it_everywhere(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    stage.ask_unnamed(client, server, "select 1")
    client >> close_statement() + SYNC
    server << close_statement() + SYNC
    server >> CLOSED + ready()
    client << CLOSED + ready()
    stage.ask_unnamed(other, server, "select secret")
    client >> bind() + execute() + SYNC
    server << close_statement() + bind() + execute() + SYNC
    server >> CLOSED + error("26000") + ready()
    client << error("26000") + ready()
    stage.nothing_more()


def test_a_name_that_has_not_come_yet_is_not_anothers_statement(stage: Stage) -> None:
    """A Bind too long to be held, whose portal has a name of thousands of bytes."""
    server, client, other = stage.server(), stage.client(), stage.client()
    stage.ask_unnamed(client, server, "select secret")
    large = bind([b"x" * 300_000], portal="p" * 9000)
    other.push(large[:2000])
    stage.settle()
    other >> large[2000:] + SYNC
    server << close_statement() + large + SYNC
    server >> CLOSED + error("26000") + ready()
    other << error("26000") + ready()
    stage.nothing_more()
