"""Session mode: one client, one server, from greeting to end; and servers that have reached their age."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poolproxy.session.lifecycle import SERVER_ACTIVE
from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import END, answer, done, ended, error, ready
from tests.support import messages as m
from tests.support.messages import SYNC, TERMINATE, parse, query


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    return stages(pool_mode="session")


def leave(client: ClientPeer, server: ServerPeer) -> None:
    client >> TERMINATE
    client << END
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")


def test_a_session_keeps_its_server_and_has_its_pid(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    assert client.pid == server.server.pid
    assert server.server.pin == "session_mode"
    for number in range(3):
        stage.ask(client, server, f"select {number}")
        assert stage.pool().in_state(SERVER_ACTIVE) == [server.server]
    leave(client, server)
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_its_settings_are_its_own_business(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="2MB")
    for sql in ("set work_mem to '3MB'", "set role other", "prepare s as select 1"):
        stage.ask(client, server, sql)
    client >> parse("select 1", "named") + SYNC
    server << parse("select 1", "named") + SYNC
    server >> m.message("1") + ready()
    client << m.message("1") + ready()
    leave(client, server)
    fresh = stage.client()
    stage.ask(fresh, server, "select 2")
    stage.nothing_more()


def test_the_next_client_waits_for_its_greeting_and_gets_its_own_settings(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    waiting = stage.knock()
    waiting >> m.startup({"user": "app", "database": "app", "work_mem": "2MB"})
    assert not waiting.heard
    leave(client, server)
    server << query("SET \"work_mem\" TO '2MB'")
    server >> done("SET")
    waiting.greeted()
    stage.ask(waiting, server, "select 1")
    stage.nothing_more()


def test_who_waits_too_long_for_its_session_is_refused(stage: Stage) -> None:
    stage.server(), stage.client()
    waiting = stage.knock()
    waiting >> m.startup({"user": "app", "database": "app"})
    stage.later(121)
    waiting << ended("53300") << END
    stage.nothing_more()


def test_parameters_that_are_refused_end_the_login(stage: Stage) -> None:
    server, client = stage.server(), stage.knock()
    client >> m.startup({"user": "app", "database": "app", "work_mem": "bad"})
    server << query("SET \"work_mem\" TO 'bad'")
    server >> error("22023", "bad value") + ready()
    client << ended("22023", "bad value") << END
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_its_cancel_key_works_with_its_servers_pid(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select pg_sleep(1000)")
    server << query("select pg_sleep(1000)")
    peer = stage.knock()
    peer >> m.cancel_request(client.pid, client.key)
    peer << END
    assert stage.pools.canceller.asked == [server.server]
    server >> error("57014") + ready()
    client << error("57014") + ready()
    server.server.cancel_over()
    stage.nothing_more()


# Age.


def test_a_server_is_closed_when_it_is_given_back_too_old(stages: Callable[..., Stage]) -> None:
    """Never under a client: it may be in a transaction."""
    stage = stages()
    server, client = stage.server(), stage.client()
    client >> query("begin")
    server << query("begin")
    server.server.expires = stage.poller.now - 1
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    stage.later(1000)
    client >> query("commit")
    server << query("commit")
    server >> done("COMMIT")
    client << done("COMMIT")
    server.heard.clear()
    server << END
    assert stage.pool().size() == 0
    stage.ask(client, stage.server(), "select 1")
    stage.nothing_more()


def test_who_waits_gets_another_one_than_the_server_that_is_too_old(stages: Callable[..., Stage]) -> None:
    stage = stages(pool_size=1)
    server, client, waiting = stage.server(), stage.client(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    waiting >> query("select 2")
    server.server.expires = stage.poller.now - 1
    server >> answer("1")
    client << answer("1")
    server.heard.clear()
    server << END
    assert stage.pools.needs[-1:] == [stage.pool()]
    second = stage.server()
    second << query("select 2")
    second >> answer("2")
    waiting << answer("2")
    stage.nothing_more()
