"""Clients that send what no client sends: refused at once, with memory and servers untouched."""

from __future__ import annotations

import struct

import pytest

from poolproxy.session.parameters import HANDOVER
from tests.dialogues.stage import Stage
from tests.dialogues.words import COPY_IN, END, answer, done, ended, error, ready
from tests.support.messages import SYNC, bind, copy_data, execute, extended, message, parse, query

KNOWN = b"QPBDECSHFdcfX"
UNKNOWN = [bytes([byte]) for byte in range(256) if byte not in KNOWN]


def typed(letter: bytes, body: bytes = b"") -> bytes:
    return letter + struct.pack("!i", len(body) + 4) + body


def test_every_unknown_type_without_a_server(stage: Stage) -> None:
    server = stage.server()
    for letter in UNKNOWN:
        client = stage.client()
        client >> typed(letter, b"select 1\0")
        client << ended("08P01") << END
        assert stage.pool().idle == [server.server], letter
    stage.nothing_more()


def test_every_unknown_type_with_a_server(stage: Stage) -> None:
    """The transaction of one who talks nonsense is rolled back, and its server is as good as before."""
    server = stage.server()
    for letter in UNKNOWN:
        client = stage.client()
        client >> query("begin")
        server << query("begin")
        server >> done("BEGIN", "T")
        client << done("BEGIN", "T")
        client >> typed(letter, b"x")
        client << ended("08P01") << END
        server << query("ROLLBACK")
        server >> done("ROLLBACK")
        assert stage.pool().idle == [server.server], letter
    stage.nothing_more()


@pytest.mark.parametrize("length", [0, 1, 3, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("letter", [b"Q", b"P", b"B", b"S", b"d", b"X", b"F", b"y"])
def test_a_length_out_of_range(stage: Stage, letter: bytes, length: int) -> None:
    server, client = stage.server(), stage.client()
    client >> letter + struct.pack("!I", length)
    client << ended("08P01") << END
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_length_out_of_range_behind_a_query(stage: Stage) -> None:
    """What stood before it is asked, as on a direct connection."""
    server, client = stage.server(), stage.client()
    client >> query("select 1") + b"Q\xff\xff\xff\xff"
    client << ended("08P01") << END
    server << query("select 1")
    server >> answer("1")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_length_out_of_range_in_a_copy(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("copy t from stdin")
    server << query("copy t from stdin")
    server >> COPY_IN
    client << COPY_IN
    client >> copy_data(b"1\n")
    server << copy_data(b"1\n")
    client >> b"d\0\0\0\3"
    assert server.take().letter == "f"
    client << ended("08P01") << END
    server >> error("57014") + ready()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_nonsense_behind_a_query_does_not_cost_a_server(stage: Stage) -> None:
    """What stood before it has been asked, as on a direct connection, and its server is free again."""
    server, client = stage.server(), stage.client()
    client >> query("select 1") + message("y")
    client << ended("08P01") << END
    server << query("select 1")
    server >> answer("1")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"no zero byte", b"a\0b\0c\0"], ids=["empty", "zero", "no end", "strings"]
)
@pytest.mark.parametrize("letter", ["Q", "P", "B", "D", "E", "C", "F", "S", "H"])
def test_a_body_that_is_not_one_is_postgresqls_to_judge(stage: Stage, letter: str, body: bytes) -> None:
    server, client = stage.server(), stage.client()
    client >> message(letter, body) + SYNC
    heard = server.take_all()
    assert message(heard[-1].letter, heard[-1].body) == SYNC
    said = [message(said.letter, said.body) for said in heard]
    if letter == "P" and body.count(b"\0") > 1:  # what follows its name, under another one
        assert any(message.startswith(b"P") and message.endswith(body[2:]) for message in said)
    else:
        assert message(letter, body) in said or letter == "H"
    assert not client.heard


def test_a_message_whose_end_never_comes_takes_no_memory(stage: Stage) -> None:
    """It claims a gigabyte: memory is taken as bytes arrive, and a server only when there are many."""
    server, client = stage.server(), stage.client()
    client >> b"Q\x3f\xff\xff\xfe" + b"select 1"
    assert stage.pool().idle == [server.server]
    client.leave()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


# Messages that are too large to be kept pass in pieces.


def test_a_large_query_passes_in_pieces(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    large = query("select '" + "x" * 500_000 + "'")
    for start in range(0, len(large), 60_000):
        client.push(large[start : start + 60_000])
        stage.settle()
    server << large
    server >> answer("x")
    server.audited()  # its text was never seen whole
    client << answer("x")
    assert not server.server.pin
    server << query(HANDOVER)
    server >> done("SELECT 1")
    stage.ask(client, server, "select 1")
    stage.nothing_more()


def test_a_large_batch_passes_in_pieces(stage: Stage) -> None:
    """Only the values are large: what it does is known, and the server is everybody's afterwards."""
    server, client = stage.server(), stage.client()
    batch = parse("select $1") + bind([b"x" * 500_000]) + execute() + SYNC
    for start in range(0, len(batch), 60_000):
        client.push(batch[start : start + 60_000])
        stage.settle()
    server << batch
    said = message("1") + message("2") + answer("x")
    server >> said
    client << said
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_large_copy_data_passes_in_pieces(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("copy t from stdin")
    server << query("copy t from stdin")
    server >> COPY_IN
    client << COPY_IN
    data = copy_data(b"x" * 700_000) + message("c")
    for start in range(0, len(data), 60_000):
        client.push(data[start : start + 60_000])
        stage.settle()
    server << data
    server >> done("COPY 1")
    client << done("COPY 1")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_large_answer_passes_in_pieces(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select x")
    server << query("select x")
    said = message("D", b"\0\1" + struct.pack("!i", 900_000) + b"x" * 900_000) + done("SELECT 1")
    for start in range(0, len(said), 60_000):
        server.push(said[start : start + 60_000])
        stage.settle()
    client << said
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_large_error_passes_in_pieces(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> extended("select 1") + SYNC
    server << extended("select 1") + SYNC
    said = error("22P02", "x" * 300_000) + ready()
    for start in range(0, len(said), 60_000):
        server.push(said[start : start + 60_000])
        stage.settle()
    client << said
    assert stage.pool().idle == [server.server]
    stage.nothing_more()
