"""Servers that attack, in every state that one can be in: only that one dies, and its client, if any."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from poolproxy.backend.server_session import MAX_KEPT
from poolproxy.protocol.codes import MAX_REPORTED
from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import (
    DESCRIPTION,
    END,
    PARSED,
    answer,
    done,
    ended,
    error,
    notification,
    parameter,
    ready,
    row,
    tag,
)
from tests.support.messages import SYNC, bind, execute, message, parse, query

#: More than is held of one message.
LARGE = 300_000


def long_error(severity: str = "ERROR") -> bytes:
    return error("XX000", "x" * (1 << 20), severity)


def untold() -> list[bytes]:
    """Errors that lack what an error has."""
    return [
        message("E"), message("E", b"\0"), message("E", b"SERROR"), message("E", b"SERROR\0Mno\0\0"),
        message("E", b"SERROR\0C42601\0\0"), message("E", b"?x\0\xffy\0zz\0\0"), long_error(),
    ]  # fmt: skip


ERRORS = ["nothing", "no field", "no end", "no code", "no text", "unknown fields", "1 MB"]


def say(stage: Stage, server: ServerPeer, data: bytes) -> None:
    """However much it is."""
    for start in range(0, len(data), 60_000):
        if server.ended:
            return
        server.push(data[start : start + 60_000])
        stage.settle()


def bystander_is_served(stage: Stage) -> None:
    """By a server of its own, with its own answer."""
    server, client = stage.server(), stage.client()
    client >> query("select 'bystander'")
    server << query("select 'bystander'")
    server >> answer("bystander")
    client << answer("bystander")


# Errors.


@pytest.mark.parametrize("number", range(len(ERRORS)), ids=ERRORS)
def test_an_error_while_idle(stage: Stage, number: int) -> None:
    server = stage.server()
    stage.out_of_sync = 1
    say(stage, server, untold()[number])
    server.take_all()
    server << END
    assert stage.pool().size() == 0
    bystander_is_served(stage)


@pytest.mark.parametrize("number", range(len(ERRORS)), ids=ERRORS)
def test_an_error_while_it_is_reset(stage: Stage, number: int) -> None:
    """Nobody gets a server of which it is not known that the reset has worked."""
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    client.leave()
    server << query("DISCARD ALL")
    stage.out_of_sync = int(ERRORS[number] == "1 MB")
    say(stage, server, untold()[number] + ready())
    server.take_all()
    server << END
    assert stage.pool().size() == 0
    bystander_is_served(stage)


@pytest.mark.parametrize("number", range(len(ERRORS)), ids=ERRORS)
def test_an_error_in_place_of_an_audit(stage: Stage, number: int) -> None:
    """What it holds is not known: it stays with its client, or is closed."""
    server, client = stage.server(), stage.client()
    client >> query("select set_config('a.b', 'c', false)")
    server << query("select set_config('a.b', 'c', false)")
    server >> answer("c")
    assert server.take().letter == "Q"
    stage.out_of_sync = int(ERRORS[number] == "1 MB")
    say(stage, server, untold()[number] + ready())
    assert not stage.pool().idle
    assert server.ended or server.server.pin == "unaudited"
    server.ended = client.ended = False
    client.heard.clear()
    bystander_is_served(stage)


# Audits.

MALFORMED = {
    "one column": row("x"),
    "four columns": row("left", "a", "b", "c"),
    "no columns": message("D", b"\0\0"),
    "65,535 columns": message("D", b"\xff\xff" + struct.pack("!i", 1) + b"x"),
    "a length of -2": message("D", b"\0\3" + struct.pack("!i", -2) * 3),
    "the smallest length": message("D", b"\0\1" + struct.pack("!i", -(2**31))),
    "a length of more": message("D", b"\0\3" + struct.pack("!i", 1000) + b"x"),
    "a count that is none": row("ours", "", "many"),
    "a name that ends its quotes": row("setting", 'a" TO 1; DROP TABLE t; --', "x"),
    "no end of rows": row("left", "x" * 60_000, "") * (MAX_KEPT // 60_000 + 1),
}


@pytest.mark.parametrize("said", MALFORMED)
def test_rows_that_no_audit_has(stage: Stage, said: str) -> None:
    if stage.bytewise and said == "no end of rows":
        stage.bytewise = False  # sixteen million turns show no more
    server, client = stage.server(), stage.client()
    client >> query("select set_config('a.b', 'c', false)")
    server << query("select set_config('a.b', 'c', false)")
    server >> answer("c")
    assert server.take().letter == "Q"
    stage.out_of_sync = 1
    say(stage, server, tag("SET") + DESCRIPTION + MALFORMED[said] + tag("SELECT 1") + ready())
    server.take_all()
    server << END
    client << answer("c")[: -len(ready())] << ended("08006") << END
    bystander_is_served(stage)


# Rows for a client.


@pytest.mark.parametrize(
    "said", ["65,535 columns", "a length of -2", "the smallest length", "a length of more"]
)
def test_rows_that_are_none_pass_unread(stage: Stage, said: str) -> None:
    """They are their client's to judge; the books count messages."""
    server, client = stage.server(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    server >> DESCRIPTION + MALFORMED[said] + done("SELECT 1")
    client << DESCRIPTION + MALFORMED[said] + done("SELECT 1")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


@pytest.mark.parametrize(
    "body", [b"\0\1", b"\0\1name", b"\0\1name\0", b"\xff\xffname\0" + bytes(18), b"\0\0x"]
)
def test_a_description_that_is_none(stage: Stage, body: bytes) -> None:
    """Of a statement that goes by a name: a server that lacks it is asked, and then it is read."""
    first, client, busy = stage.server(), stage.client(), stage.client()
    client >> parse("select 1", "p") + SYNC
    first.take_all()
    first >> PARSED + ready()
    client << PARSED + ready()
    busy >> query("begin")
    first.take_all()
    first >> done("BEGIN", "T")
    busy << done("BEGIN", "T")
    server = stage.server()
    client >> bind(statement="p") + execute() + SYNC
    assert "D" in [said.letter for said in server.take_all()]
    stage.out_of_sync = 1
    server >> PARSED + message("t", b"\0\0") + message("T", body)
    server.take_all()
    server << END
    client << ended("08006") << END
    bystander_is_served(stage)


# Floods.


def flood(count: int, names: int) -> bytes:
    return b"".join(parameter(f"name {number % names}", str(number)) for number in range(count))


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a query"])
def test_parameters_of_new_names_without_end(stage: Stage, busy: bool) -> None:
    stage.bytewise = False
    server, client = stage.server(), stage.client()
    if busy:
        client >> query("select 1")
        server << query("select 1")
    stage.out_of_sync = 1
    say(stage, server, flood(100_000, 100_000))
    server.take_all()
    server << END
    assert len(server.server.reported.values) == MAX_REPORTED
    if busy:
        client << ended("08006") << END
    bystander_is_served(stage)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a query"])
def test_a_parameter_again_and_again(stage: Stage, busy: bool) -> None:
    """The last value counts, and is told once."""
    stage.bytewise = False
    server, client = stage.server(), stage.client()
    if busy:
        client >> query("select 1")
        server << query("select 1")
    say(stage, server, flood(100_000, 2))
    if not busy:
        client >> query("select 1")
        server << query("select 1")
    server >> answer("1")
    reported = parameter("name 0", "99998") + parameter("name 1", "99999")
    client << answer("1")[: -len(ready())] + reported + ready()
    stage.nothing_more()


def test_notifications_without_end_that_wait_for_an_audit(stage: Stage) -> None:
    stage.bytewise = False
    server, client = stage.server(), stage.client()
    client >> query("select set_config('a.b', 'c', false)")
    server << query("select set_config('a.b', 'c', false)")
    stage.out_of_sync = 1
    said = notification("x", "y" * 60_000)
    say(stage, server, said * (MAX_KEPT // len(said) + 2))
    server.take_all()
    server << END
    client << ended("08006") << END
    bystander_is_served(stage)


# Answers before the question.


Early = Callable[[Stage, ServerPeer, ClientPeer], None]


def after_a_reset(stage: Stage, server: ServerPeer, client: ClientPeer) -> None:
    stage.pin(client, server)
    client.leave()
    server << query("DISCARD ALL")
    server.push(done("DISCARD ALL") + answer("early"))
    stage.settle()


def behind_an_answer(stage: Stage, server: ServerPeer, client: ClientPeer) -> None:
    client >> query("select 1")
    server << query("select 1")
    server.push(answer("1"))
    stage.settle()
    client << answer("1")
    server.push(answer("early"))
    stage.settle()
    client.leave()


@pytest.mark.parametrize("early", [after_a_reset, behind_an_answer])
def test_an_answer_before_it_is_asked_for(stage: Stage, early: Early) -> None:
    server, client = stage.server(), stage.client()
    stage.out_of_sync = 1
    early(stage, server, client)
    assert server.ended
    assert stage.pool().size() == 0
    server.take_all()
    server << END
    bystander_is_served(stage)
    stage.nothing_more()


def test_a_notice_of_megabytes_while_idle_reaches_nobody(stage: Stage) -> None:
    """Its rest would be the first that the next client hears."""
    server = stage.server()
    stage.out_of_sync = 1
    head = b"N" + struct.pack("!i", LARGE) + b"SNOTICE\0M"
    server >> head
    server.take_all()
    server << END
    bystander_is_served(stage)
