"""currval() and lastval(): never a number that another client has drawn (sessions.md, rule 14)."""

from __future__ import annotations

import pytest

from tests.dialogues.stage import Stage
from tests.dialogues.words import (
    BOUND,
    CLOSED,
    DESCRIPTION,
    NO_DATA,
    PARAMETERS,
    PARSED,
    answer,
    done,
    error,
    ready,
    row,
    tag,
)
from tests.support.messages import (
    SYNC,
    Message,
    bind,
    close_portal,
    close_statement,
    describe_portal,
    execute,
    message,
    parse,
    query,
)
from tests.support.messages import text as cstring

FORGET = query("DISCARD SEQUENCES")


def frame(heard: Message) -> bytes:
    return message(heard.letter, heard.body)


def test_what_others_have_drawn_is_forgotten_first(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select lastval()")
    server << FORGET + query("select lastval()")
    server >> done("DISCARD SEQUENCES") + error("55000") + ready()
    client << error("55000") + ready()
    assert not server.server.pin
    stage.nothing_more()


def test_in_a_transaction_that_has_drawn_nothing(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    for sql in ("begin", "select 1"):
        client >> query(sql)
        server << query(sql)
        server >> done(sql.split()[0].upper(), "T")
        client << done(sql.split()[0].upper(), "T")
    client >> query("select lastval()")
    server << FORGET + query("select lastval()")
    server >> done("DISCARD SEQUENCES", "T") + error("55000") + ready("E")
    client << error("55000") + ready("E")
    stage.nothing_more()


@pytest.mark.parametrize("name", ["", "s"])
def test_what_a_statement_parsed_before_has_drawn_stays(stage: Stage, name: str) -> None:
    server, client = stage.server(), stage.client()
    client >> parse("insert into t default values", name) + SYNC
    server.take_all()
    server >> PARSED + (PARAMETERS + NO_DATA if name else b"") + ready()
    client << PARSED + ready()
    client >> query("begin") + bind(statement=name) + execute() + SYNC
    server.take_all()
    client.take_all()
    server >> done("BEGIN", "T")
    server.take_all()
    server >> (b"" if name else PARSED) + BOUND + done("INSERT 0 1", "T")
    client.take_all()
    client >> query("select lastval()")
    server << query("select lastval()")
    stage.nothing_more()


def test_a_pinned_server_has_drawn_for_its_client_alone(stage: Stage) -> None:
    """From then on: before it was pinned it may have drawn for others."""
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    client >> query("select lastval()")
    server << FORGET + query("select lastval()")
    server >> done("DISCARD SEQUENCES") + error("55000") + ready()
    client << error("55000") + ready()
    for text in ("select nextval('s')", "select lastval()"):
        client >> query(text)
        server << query(text)
        server >> answer("1")
        client << answer("1")
    stage.nothing_more()


def test_behind_an_unanswered_exchange(stage: Stage) -> None:
    """In its place: what is unanswered may have drawn, or failed."""
    server, client = stage.server(), stage.client()
    client >> query("select 1") + query("select lastval()") + query("select 2")
    server << query("select 1") + FORGET + query("select lastval()") + query("select 2")
    server >> answer("1") + done("DISCARD SEQUENCES") + error("55000") + ready() + answer("2")
    client << answer("1") + error("55000") + ready() + answer("2")
    stage.nothing_more()


def test_where_somebody_has_asked_it_is_done_as_an_exchange_begins(stage: Stage) -> None:
    """For what writes may draw nothing, and there may be no place for it later."""
    server, client, other = stage.server(), stage.client(), stage.client()
    other >> query("select lastval()")
    server << FORGET + query("select lastval()")
    server >> done("DISCARD SEQUENCES") + error("55000") + ready()
    other << error("55000") + ready()
    client >> query("begin")
    server << FORGET + query("begin")
    server >> done("DISCARD SEQUENCES") + done("BEGIN", "T")
    client << done("BEGIN", "T")
    for text in ("insert into t values (1)", "select lastval()"):
        client >> query(text)
        server << query(text)
        server >> done("INSERT 0 1", "T")
        client << done("INSERT 0 1", "T")
    stage.nothing_more()


def test_ahead_of_a_batch_as_well(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    batch = parse("select currval('s')") + bind() + execute() + SYNC
    client >> batch
    server << FORGET + batch
    server >> done("DISCARD SEQUENCES") + PARSED + error("55000") + ready()
    client << PARSED + error("55000") + ready()
    stage.nothing_more()


@pytest.mark.parametrize("begin", ["begin", "begin isolation level serializable"])
def test_what_its_own_transaction_has_drawn_stays(stage: Stage, begin: str) -> None:
    server, client = stage.server(), stage.client()
    for sql, said in ((begin, "BEGIN"), ("insert into t default values", "INSERT 0 1")):
        client >> query(sql)
        server << query(sql)
        server >> done(said, "T")
        client << done(said, "T")
    client >> query("select lastval()")
    server << query("select lastval()")
    server >> answer("7", "T")
    client << answer("7", "T")
    stage.nothing_more()


def failing(routine: str, hint: str = "") -> bytes:
    fields = {"S": "ERROR", "V": "ERROR", "C": "55000", "M": "not yet", **({"H": hint} if hint else {})}
    body = b"".join(letter.encode() + cstring(value) for letter, value in fields.items())
    return message("E", body + b"R" + cstring(routine) + b"\0")


@pytest.mark.parametrize(
    ("routine", "hint", "told"),
    [
        ("lastval", "", "pin_on"),
        ("currval_oid", "", "pin_on"),
        ("elsewhere", "", ""),
        ("lastval", "ask", "ask"),
    ],
)
def test_who_finds_nothing_is_told_why(stage: Stage, routine: str, hint: str, told: str) -> None:
    """Because it was made to forget; any error before that is PostgreSQL's own."""
    server, client = stage.server(), stage.client()
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    for sql in ("select 1", "select lastval()"):
        client >> query(sql)
        server << (FORGET if "lastval" in sql else b"") + query(sql)
        server >> (done("DISCARD SEQUENCES", "T") if "lastval" in sql else b"")
        server >> failing(routine, hint) + ready("T")
        error_told = client.take()
        assert (error_told.sqlstate, error_told.fields["M"]) == ("55000", "not yet")
        expected = told if "lastval" in sql else hint
        assert expected in error_told.fields.get("H", "")
        assert bool(error_told.fields.get("H")) == bool(expected)
        client << ready("T")
    stage.nothing_more()


def test_behind_others_in_a_pipeline_as_well(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select 1") + query("select lastval()")
    server << query("select 1") + FORGET + query("select lastval()")
    server >> answer("1") + done("DISCARD SEQUENCES") + error("55000") + ready()
    client << answer("1") + error("55000") + ready()
    stage.nothing_more()


OURS = "_poolproxy_forget"
FORGET_HERE = parse("DISCARD SEQUENCES", OURS) + bind(statement=OURS, portal=OURS) + execute(OURS)
FORGET_HERE += close_portal(OURS) + close_statement(OURS)
FORGOTTEN = PARSED + BOUND + tag("DISCARD SEQUENCES") + CLOSED + CLOSED


@pytest.mark.parametrize("name", ["", "s"])
def test_in_the_middle_of_a_batch_as_well(stage: Stage, name: str) -> None:
    """Where no Query may stand: a statement of ours takes its place, and nobody hears of it."""
    server, client = stage.server(), stage.client()
    first = parse("select 1") + bind() + execute()
    asked = parse("select lastval()", name) + bind(statement=name) + execute()
    behind = parse("select 2") + bind() + describe_portal() + execute() + SYNC
    client >> first + asked + behind
    server << first
    # In the midst of a batch that was forwarded when it came; whatever is behind is as the client sent it.
    heard = b"".join(frame(each) for each in server.take_all())
    assert heard.startswith(FORGET_HERE)
    assert heard.endswith(behind)
    described = PARAMETERS + DESCRIPTION if name else b""
    server >> PARSED + BOUND + row("1") + tag("SELECT 1") + FORGOTTEN
    server >> PARSED + described + BOUND + row("7") + tag("SELECT 1")
    server >> PARSED + BOUND + DESCRIPTION + row("2") + tag("SELECT 1") + ready()
    client << PARSED + BOUND + row("1") + tag("SELECT 1") + PARSED + BOUND + row("7") + tag("SELECT 1")
    client << PARSED + BOUND + DESCRIPTION + row("2") + tag("SELECT 1") + ready()
    stage.ask(client, server, "select 3", FORGET)
    stage.nothing_more()


@pytest.mark.parametrize("answered", [b"", PARSED, PARSED + BOUND])
def test_an_error_where_it_stands(stage: Stage, answered: bytes) -> None:
    server, client = stage.server(), stage.client()
    batch = parse("select 1") + bind() + execute()
    asked = parse("select lastval()") + bind() + execute() + SYNC
    client >> batch + asked
    server << batch + FORGET_HERE + asked
    server >> PARSED + BOUND + row("1") + tag("SELECT 1") + answered + error("57014") + ready()
    client << PARSED + BOUND + row("1") + tag("SELECT 1") + error("57014") + ready()
    stage.ask(client, server, "select 3", FORGET)
    stage.nothing_more()


def test_behind_a_begin_that_has_failed(stage: Stage) -> None:
    """What cannot be discarded then is not told either."""
    server, client = stage.server(), stage.client()
    client >> query("begin; select 1 / 0") + query("select lastval()")
    server << query("begin; select 1 / 0") + FORGET + query("select lastval()")
    server >> tag("BEGIN") + error("22012") + ready("E") + error("25P02") + ready("E") + error(
        "25P02"
    ) + ready("E")
    client << tag("BEGIN") + error("22012") + ready("E") + error("25P02") + ready("E")
    stage.nothing_more()


def test_what_its_own_batch_has_drawn_stays(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    batch = parse("insert into t default values") + bind() + execute()
    batch += parse("select lastval()") + bind() + execute() + SYNC
    client >> batch
    server << batch
    stage.nothing_more()
