"""Whoever does not read slows down whoever writes to it, and nobody else; memory stays at a chunk or two."""

from __future__ import annotations

from tests.dialogues.peer import Peer
from tests.dialogues.stage import Stage
from tests.dialogues.words import COPY_IN, DESCRIPTION, answer, done, ready, row, tag
from tests.support.messages import copy_data, query

#: What may be under way to one that does not read: a chunk, and the sockets' own buffers.
HELD = 2_000_000


def fill(stage: Stage, peer: Peer, data: bytes) -> int:
    """Say as much of `data` as the proxy takes; how much that was."""
    sent = 0
    while sent < len(data):
        try:
            sent += peer.sock.send(data[sent : sent + 50_000])
        except BlockingIOError:
            stage.settle()
            try:
                sent += peer.sock.send(data[sent : sent + 1000])
            except BlockingIOError:
                return sent
    return sent


def drain(stage: Stage, peer: Peer, data: bytes, reader: Peer) -> bytes:
    """Say the rest to a reader who listens again; all that it has heard."""
    reader.deaf = False
    heard = bytearray()
    while data:
        stage.settle()
        heard += reader.heard
        reader.heard.clear()
        data = data[peer.sock.send(data[:50_000]) :]
    stage.settle()
    heard += reader.heard
    reader.heard.clear()
    return bytes(heard)


def test_a_client_that_does_not_read_stops_its_server(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(buffer=4096), stage.client()
    second = stage.server()
    client >> query("select x from large")
    busy, free = (server, second) if server.heard else (second, server)
    busy << query("select x from large")
    client.deaf = True
    large = DESCRIPTION + row("x" * 1000) * 3000 + tag("SELECT 3000") + ready()
    sent = fill(stage, busy, large)
    assert sent < HELD, "the proxy went on reading"
    stage.ask(other, free, "select 'other'")
    assert drain(stage, busy, large[sent:], client) == large
    assert len(stage.pool().idle) == 2
    stage.nothing_more()


def test_a_server_that_does_not_read_stops_its_client(stage: Stage) -> None:
    server, client = stage.server(buffer=4096), stage.client()
    client >> query("copy t from stdin")
    server << query("copy t from stdin")
    server >> COPY_IN
    client << COPY_IN
    server.deaf = True
    data = copy_data(b"x" * 1000) * 3000
    sent = fill(stage, client, data)
    assert sent < HELD, "the proxy went on reading"
    assert drain(stage, client, data[sent:], server) == data
    client >> b"c\0\0\0\4"
    server << b"c\0\0\0\4"
    server >> done("COPY 3000")
    client << done("COPY 3000")
    stage.nothing_more()


def test_a_client_that_asks_without_reading_is_not_read_on(stage: Stage) -> None:
    """Its answers would fill memory: it is asked for no more questions."""
    server, client = stage.server(), stage.client(buffer=4096)
    client.deaf = True
    client >> query("select 1")
    server << query("select 1")
    server.push(DESCRIPTION + row("x" * 100_000) + tag("SELECT 1"))
    stage.settle()
    assert stage.of(client).stream.backlog
    client.push(query("select 2"))
    stage.settle()
    assert not server.heard
    server >> ready()
    client.deaf = False
    stage.settle()
    client << DESCRIPTION + row("x" * 100_000) + tag("SELECT 1") + ready()
    server << query("select 2")
    server >> answer("2")
    client << answer("2")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_the_next_client_of_a_server_whose_last_one_does_not_read(stage: Stage) -> None:
    """The server is not to wait for the one that it serves no more."""
    server, client, other = stage.server(), stage.client(buffer=4096), stage.client()
    client.deaf = True
    client >> query("select x")
    server << query("select x")
    said = DESCRIPTION + row("x" * 30_000) + tag("SELECT 1") + ready()
    server.push(said)
    stage.settle()
    stage.ask(other, server, "select 'other'")
    client.deaf = False
    stage.settle()
    client << said
    stage.nothing_more()


def test_exchanges_of_some_size_are_not_bulk_data(stage: Stage) -> None:
    """Answers and questions of 20 kB are each read at once, however many there are."""
    server, client = stage.server(), stage.client()
    question = query("select '" + "q" * 20_000 + "'")
    for _ in range(40):
        client >> question
        server << question
        server >> answer("a" * 20_000)
        client << answer("a" * 20_000)
    assert not stage.ever_paced
    stage.nothing_more()
