"""Servers that say what no PostgreSQL says: counted, closed, and never believed."""

from __future__ import annotations

import struct

import pytest

from tests.dialogues.stage import Stage
from tests.dialogues.words import (
    BOUND,
    CLOSED,
    COPY_BOTH,
    COPY_IN,
    DESCRIPTION,
    END,
    PARSED,
    answer,
    done,
    ended,
    error,
    parameter,
    ready,
    row,
    tag,
)
from tests.support.messages import message, query, startup

#: What a server may say while nobody asks it anything: everything else is out of order.
UNASKED = {
    "a row": row("secret"),
    "a description": DESCRIPTION,
    "a tag": tag("SELECT 1"),
    "a ready": ready(),
    "a whole answer": answer("secret"),
    "an error": error("22012"),
    "a copy": COPY_IN,
    "parse complete": PARSED,
    "close complete": CLOSED,
    "bind complete": BOUND,
    "an unknown type": message("~", b"x"),
    "an authentication request": message("R", struct.pack("!i", 3)),
    "a length of nothing": b"D\0\0\0\0",
    "a length of too much": b"D\xff\xff\xff\xff",
    "a negative length": b"Z\x80\0\0\0",
}


@pytest.mark.parametrize("said", UNASKED)
def test_answers_before_anything_was_asked(stage: Stage, said: str) -> None:
    """The next client must not take them for its own."""
    server, client = stage.server(), stage.client()
    stage.out_of_sync = 1
    server >> UNASKED[said]
    assert server.ended
    server.take_all()
    server << END
    assert stage.pool().size() == 0
    stage.ask(client, stage.server(), "select 1")
    stage.nothing_more()


@pytest.mark.parametrize("said", UNASKED)
def test_answers_to_a_client_in_a_transaction_that_asked_nothing(stage: Stage, said: str) -> None:
    server, client = stage.server(), stage.client()
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    stage.out_of_sync = 1
    server >> UNASKED[said]
    server << END
    client << ended("08006") << END
    stage.nothing_more()


@pytest.mark.parametrize(
    "said",
    [
        b"D\xff\xff\xff\xff",
        b"D\0\0\0\3",
        b"D\x40\0\0\0",
        message("~"),
        message("R", struct.pack("!i", 0)),
        message("K", b"12345678"),
        message("v", b"12345678"),
        COPY_BOTH,
        b"Z\0\x10\0\0",
        b"S\0\x10\0\0",
    ],
    ids=[
        "all ones", "below four", "above the limit", "unknown", "authentication", "key", "negotiation",
        "copy both", "long ready", "long parameter",
    ],
)  # fmt: skip
def test_nonsense_in_an_answer(stage: Stage, said: bytes) -> None:
    """Nothing is allocated by a length, and the client is told exactly once."""
    server, client = stage.server(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    stage.out_of_sync = 1
    server >> DESCRIPTION
    client << DESCRIPTION
    server >> said
    server << END
    client << ended("08006") << END
    assert stage.pool().size() == 0
    stage.nothing_more()


@pytest.mark.parametrize(
    "said",
    [
        message("E", b"\0"),
        message("E"),
        message("E", b"SERROR"),
        message("E", b"M\xff\xfe\0\0"),
        message("E", b"C\0\0"),
    ],
    ids=["no field", "nothing", "no end", "no code", "empty code"],
)
def test_an_error_that_lacks_its_fields_is_passed_on_as_it_is(stage: Stage, said: bytes) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    server >> said + ready()
    client << said + ready()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_an_error_without_a_code_that_refuses_a_login(stage: Stage) -> None:
    server, client = stage.server(), stage.knock()
    client >> startup({"user": "app", "database": "app", "work_mem": "1"})
    server << query("SET \"work_mem\" TO '1'")
    server >> message("E", b"SERROR\0Mno\0\0") + ready()
    client << ended("22023", "no") << END
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    stage.nothing_more()


@pytest.mark.parametrize(
    "body", [b"", b"x", b"x\0", b"x\0y", b"\0"], ids=["nothing", "cut", "no value", "no end", "zero"]
)
def test_a_parameter_that_is_not_one(stage: Stage, body: bytes) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    stage.out_of_sync = 1
    server >> message("S", body)
    server << END
    client << ended("08006") << END
    stage.nothing_more()


def test_an_answer_too_many(stage: Stage) -> None:
    """The second one was not asked for by anybody."""
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    stage.out_of_sync = 1
    server.push(answer("1") + answer("secret"))
    stage.settle()
    other >> query("select 2")
    stage.server() << query("select 2")
    assert not other.heard
    server << END
    client << answer("1") << ended("08006") << END


def test_a_ready_of_no_known_status_keeps_the_server_from_others(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    server >> tag("SELECT 1") + ready("X")
    client << tag("SELECT 1") + ready("X")
    assert not stage.pool().idle
    stage.nothing_more()


def test_nonsense_while_it_is_cleaned_up(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    client.leave()
    server << query("DISCARD ALL")
    stage.out_of_sync = 1
    server >> parameter("TimeZone", "UTC") + b"D\0\0\0\0"
    server << END
    assert stage.pool().size() == 0
    stage.nothing_more()
