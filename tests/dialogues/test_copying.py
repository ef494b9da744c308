"""COPY: what the client still sends after an error must not become part of anybody else's conversation."""

from __future__ import annotations

from tests.dialogues.stage import Stage
from tests.dialogues.words import COPY_IN, answer, error, ready
from tests.support.messages import copy_data, query


def test_a_failed_copy_keeps_its_server_until_the_data_on_its_way_is_whole(stage: Stage) -> None:
    """The server answers E and Z in the middle of a CopyData: its rest must follow before anything else."""
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("copy t from stdin")
    server << query("copy t from stdin")
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


def test_a_client_that_leaves_before_its_copy_begins(stage: Stage) -> None:
    """Nobody will ever send the data: the copy is refused as soon as the server asks for it."""
    server, client = stage.server(), stage.client()
    client >> query("copy t from stdin")
    server << query("copy t from stdin")
    client.leave()
    server >> COPY_IN
    assert server.take().letter == "f"
    server >> error("57014") + ready()
    assert stage.pool().idle == [server.server]
