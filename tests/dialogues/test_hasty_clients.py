"""Clients that do not wait for their turn, and clients that talk nonsense behind a good request."""

from __future__ import annotations

from tests.dialogues.stage import Stage
from tests.dialogues.words import END, answer, ended
from tests.support import messages as m
from tests.support.messages import query


def test_a_query_right_behind_the_startup_message(stage: Stage) -> None:
    """No server is known yet: the query waits until the client has been greeted."""
    client = stage.knock()
    client >> m.startup({"user": "app", "database": "app"}) + query("select 1")
    server = stage.server()
    server.learn()
    client.greeted()
    server << query("select 1")
    server >> answer("1")
    client << answer("1")
    stage.nothing_more()


def test_nonsense_behind_a_query_does_not_cost_a_server(stage: Stage) -> None:
    """What stood before it has been asked, as on a direct connection, and its server is free again."""
    server, client = stage.server(), stage.client()
    client >> query("select 1") + m.message("y")
    client << ended("08P01") << END
    server << query("select 1")
    server >> answer("1")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()
