"""COPY: its answers are counted as PostgreSQL counts, and what the client still sends after an error must not
become part of anybody else's conversation (rule 22)."""

from __future__ import annotations

import pytest

from tests.dialogues.stage import ServerPeer, Stage
from tests.dialogues.words import (
    BOUND,
    COPY_IN,
    COPY_OUT,
    PARSED,
    answer,
    done,
    error,
    ready,
    tag,
)
from tests.dialogues.words import COPY_DONE as COPIED
from tests.support.messages import COPY_DONE, SYNC, bind, copy_data, copy_fail, execute, parse, query

START = query("copy t from stdin")
BATCH = parse("copy t from stdin") + bind() + execute()


def is_free(stage: Stage, server: ServerPeer) -> None:
    """The next client has it, and hears what is meant for it alone."""
    assert stage.pool().idle == [server.server]
    stage.ask(stage.client(), server, "select 'other'")
    stage.nothing_more()


def test_a_copy_out_passes(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("copy t to stdout")
    server << query("copy t to stdout")
    rows = b"".join(copy_data(b"%d\n" % number) for number in range(100))
    server >> COPY_OUT + rows
    client << COPY_OUT + rows
    assert not stage.pool().idle
    server >> COPIED + done("COPY 100")
    client << COPIED + done("COPY 100")
    is_free(stage, server)


def test_a_copy_out_that_fails_on_its_way(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("copy t to stdout")
    server << query("copy t to stdout")
    server >> COPY_OUT + copy_data(b"1\n") + error("57014") + ready()
    client << COPY_OUT + copy_data(b"1\n") + error("57014") + ready()
    is_free(stage, server)


@pytest.mark.parametrize("last", [COPY_DONE, copy_fail("no more")], ids=["done", "fail"])
def test_a_copy_in(stage: Stage, last: bytes) -> None:
    server, client = stage.server(), stage.client()
    client >> START
    server << START
    server >> COPY_IN
    client << COPY_IN
    for number in range(20):
        client >> copy_data(b"%d\n" % number)
        server << copy_data(b"%d\n" % number)
    client >> last
    server << last
    assert not stage.pool().idle
    said = done("COPY 20") if last == COPY_DONE else error("57014") + ready()
    server >> said
    client << said
    is_free(stage, server)


@pytest.mark.parametrize("last", [COPY_DONE, copy_fail("no more")], ids=["done", "fail"])
def test_a_copy_in_of_a_batch(stage: Stage, last: bytes) -> None:
    server, client = stage.server(), stage.client()
    client >> BATCH
    server << BATCH
    server >> PARSED + BOUND + COPY_IN
    client << PARSED + BOUND + COPY_IN
    client >> copy_data(b"1\n") + last + SYNC
    server << copy_data(b"1\n") + last + SYNC
    said = tag("COPY 1") + ready() if last == COPY_DONE else error("57014") + ready()
    server >> said
    client << said
    is_free(stage, server)


def test_a_sync_right_behind_the_execute_is_swallowed(stage: Stage) -> None:
    """libpq and its like: the Sync reaches a server in copy mode, and only the second one is answered."""
    server, client = stage.server(), stage.client()
    client >> BATCH + SYNC
    server << BATCH + SYNC
    server >> PARSED + BOUND + COPY_IN
    client << PARSED + BOUND + COPY_IN
    client >> copy_data(b"1\n") + COPY_DONE
    server << copy_data(b"1\n") + COPY_DONE
    server >> tag("COPY 1")
    client << tag("COPY 1")
    assert not stage.pool().idle
    client >> SYNC
    server << SYNC
    server >> ready()
    client << ready()
    is_free(stage, server)


def test_a_sync_right_behind_an_execute_that_fails_counts(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> BATCH + SYNC
    server << BATCH + SYNC
    server >> PARSED + BOUND + error("42501") + ready()
    client << PARSED + BOUND + error("42501") + ready()
    is_free(stage, server)


def test_a_client_that_does_not_wait_for_its_copy_to_begin(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> START + copy_data(b"1\n") + COPY_DONE
    server << START + copy_data(b"1\n") + COPY_DONE
    server >> COPY_IN + done("COPY 1")
    client << COPY_IN + done("COPY 1")
    is_free(stage, server)


def test_late_data_of_a_failed_copy_needs_no_server(stage: Stage) -> None:
    """PostgreSQL ignores it: nobody is bothered with it."""
    server, client = stage.server(), stage.client()
    client >> START
    server << START
    server >> COPY_IN + error("22P02") + ready()
    client << COPY_IN + error("22P02") + ready()
    assert stage.pool().idle == [server.server]
    client >> copy_data(b"2\n") + copy_data(b"x" * 50_000) + COPY_DONE
    assert stage.pool().idle == [server.server]
    stage.nothing_more()
    client >> copy_data(b"3\n") + query("select 1")
    server << query("select 1")
    server >> answer("1")
    client << answer("1")
    is_free(stage, server)


def test_late_data_ahead_of_the_next_query_while_another_client_is_served(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> START
    server << START
    server >> COPY_IN + error("22P02") + ready()
    client << COPY_IN + error("22P02") + ready()
    other >> query("select 'other'")
    server << query("select 'other'")
    client >> copy_data(b"secret\n") + copy_fail("oh") + query("select 'mine'")
    stage.nothing_more()
    server >> answer("other")
    other << answer("other")
    server << query("select 'mine'")
    server >> answer("mine")
    client << answer("mine")
    stage.nothing_more()


def test_a_copy_of_a_batch_that_fails_is_over_at_its_sync(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> BATCH
    server << BATCH
    server >> PARSED + BOUND + COPY_IN
    client << PARSED + BOUND + COPY_IN
    client >> copy_data(b"bad\n")
    server << copy_data(b"bad\n")
    server >> error("22P02")
    client << error("22P02")
    client >> copy_data(b"more\n") + COPY_DONE
    assert not stage.pool().idle
    client >> SYNC
    server << copy_data(b"more\n") + COPY_DONE + SYNC
    server >> ready()
    client << ready()
    is_free(stage, server)


def test_a_failed_copy_keeps_its_server_until_the_data_on_its_way_is_whole(stage: Stage) -> None:
    """The server answers E and Z in the middle of a CopyData: its rest must follow before anything else."""
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> START
    server << START
    server >> COPY_IN
    client << COPY_IN
    data = copy_data(b"bad\n" * 100)
    client >> data[:200]
    server << data[:200]
    server >> error("22P02") + ready()
    client << error("22P02") + ready()
    other >> query("select 'other'")
    stage.nothing_more()
    client >> data[200:]
    server << data[200:] << query("select 'other'")
    server >> answer("other")
    other << answer("other")
    stage.nothing_more()


def test_two_copies_in_one_query(stage: Stage) -> None:
    """A text of two COPYs asks twice."""
    server, client = stage.server(), stage.client()
    client >> query("copy a from stdin; copy b from stdin")
    server << query("copy a from stdin; copy b from stdin")
    server >> COPY_IN
    client << COPY_IN
    client >> copy_data(b"1\n") + COPY_DONE
    server << copy_data(b"1\n") + COPY_DONE
    server >> tag("COPY 1") + COPY_IN
    client << tag("COPY 1") + COPY_IN
    client >> copy_data(b"2\n") + COPY_DONE
    server << copy_data(b"2\n") + COPY_DONE
    server >> done("COPY 1")
    client << done("COPY 1")
    is_free(stage, server)


def test_a_client_that_leaves_before_its_copy_begins(stage: Stage) -> None:
    """Nobody will ever send the data: the copy is refused as soon as the server asks for it."""
    server, client = stage.server(), stage.client()
    client >> START
    server << START
    client.leave()
    server >> COPY_IN
    assert server.take().letter == "f"
    server >> error("57014") + ready()
    assert stage.pool().idle == [server.server]
