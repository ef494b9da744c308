"""Cancel requests: they reach the query of whoever holds the key, and never anything else of anybody's."""

from __future__ import annotations

import pytest

from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import END, answer, done, ended, error, ready, refused
from tests.support import messages as m
from tests.support.messages import SYNC, TERMINATE, parse, query

GUARD = "SET LOCAL exit_on_error = on; "


def cancel(stage: Stage, pid: int, key: bytes) -> None:
    """A connection that only cancels; it is closed without a word, whatever it meant."""
    peer = stage.knock()
    peer >> m.cancel_request(pid, key)
    peer << END


def running(stage: Stage) -> tuple[ServerPeer, ClientPeer]:
    server, client = stage.server(), stage.client()
    client >> query("select pg_sleep(1000)")
    server << query("select pg_sleep(1000)")
    return server, client


def test_the_query_that_runs_is_cancelled(stage: Stage) -> None:
    server, client = running(stage)
    cancel(stage, client.pid, client.key)
    assert stage.pools.canceller.asked == [server.server]
    server >> error("57014") + ready()
    client << error("57014") + ready()
    assert not stage.pool().idle, "the signal may still be on its way: nobody else's query must be hit by it"
    other = stage.client()
    other >> query("select 'other'")
    stage.nothing_more()
    server.server.cancel_over()
    stage.settle()
    server << query("select 'other'")
    server >> answer("other")
    other << answer("other")
    stage.nothing_more()


def test_the_clients_own_next_query_waits_for_the_end_of_the_cancel(stage: Stage) -> None:
    server, client = running(stage)
    cancel(stage, client.pid, client.key)
    server >> error("57014") + ready()
    client << error("57014") + ready()
    client >> query("select 2") + query("select 3")
    stage.nothing_more()
    server.server.cancel_over()
    stage.settle()
    server << query("select 2") + query("select 3")
    server >> answer("2") + answer("3")
    client << answer("2") + answer("3")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_cancel_that_comes_too_late_is_harmless(stage: Stage) -> None:
    server, client = running(stage)
    cancel(stage, client.pid, client.key)
    server >> answer("slept")
    client << answer("slept")
    server.server.cancel_over()
    stage.settle()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_cancels_at_once_hold_the_server_until_the_last_is_over(stage: Stage) -> None:
    server, client = running(stage)
    cancel(stage, client.pid, client.key)
    cancel(stage, client.pid, client.key)
    server >> error("57014") + ready()
    client << error("57014") + ready()
    while server.server.cancelling:
        assert not stage.pool().idle
        server.server.cancel_over()
    stage.settle()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


@pytest.mark.parametrize("wrong", ["key", "short key", "long key", "pid", "server pid"])
def test_who_only_guesses_cancels_nothing(stage: Stage, wrong: str) -> None:
    server, client = running(stage)
    keys = {"key": b"x" * len(client.key), "short key": client.key[:-1] + b"", "long key": client.key + b"x"}
    pid = {"pid": client.pid + 1, "server pid": server.server.pid}.get(wrong, client.pid)
    peer = stage.knock()
    peer >> m.cancel_request(pid, keys.get(wrong, client.key))
    peer.heard.clear()
    peer << END
    assert stage.pools.canceller.asked == []
    server >> answer("1")
    client << answer("1")
    stage.nothing_more()


def test_a_cancel_between_queries_is_ignored(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    cancel(stage, client.pid, client.key)
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    cancel(stage, client.pid, client.key)
    assert stage.pools.canceller.asked == []
    assert stage.door.cancels == {"idle": 2}
    stage.nothing_more()


def test_a_cancel_in_the_queue_takes_the_client_out_of_it(stage: Stage) -> None:
    server, busy = running(stage)
    client = stage.client()
    client >> query("select 1")
    cancel(stage, client.pid, client.key)
    client << refused("57014") << ready()
    assert stage.pool().waiting.size() == 0
    assert stage.pools.canceller.asked == [], "the server belongs to another one"
    server >> answer("slept")
    busy << answer("slept")
    stage.ask(client, server, "select 2")
    stage.nothing_more()


def test_a_cancel_of_an_unsynced_batch_in_the_queue(stage: Stage) -> None:
    running(stage)
    client = stage.client()
    client >> parse("select 1")
    cancel(stage, client.pid, client.key)
    client << refused("57014")
    client >> SYNC
    client << ready()
    stage.nothing_more()


def test_a_cancel_in_the_queue_of_a_transactions_begin_ends_the_session(stage: Stage) -> None:
    running(stage)
    client = stage.client()
    client >> query("begin")
    cancel(stage, client.pid, client.key)
    client << ended("57014") << END
    stage.nothing_more()


def test_a_cancel_while_settings_go_ahead_is_for_the_canceller_to_hold(stage: Stage) -> None:
    """It would hit them, and end the server: while `skipping`, the canceller waits (rule 21)."""
    server, client = stage.server(), stage.client(work_mem="71MB")
    stage.ask(stage.client(), server, "select 1")
    client >> query("select 2")
    server << query(GUARD + "SET \"work_mem\" TO '71MB'") << query("select 2")
    cancel(stage, client.pid, client.key)
    assert stage.pools.canceller.asked == [server.server]
    assert server.server.pipeline.skipping()
    server >> done("SET")
    assert not server.server.pipeline.skipping()
    assert not server.server.pipeline.quiet()
    server >> error("57014") + ready()
    client << error("57014") + ready()
    server.server.cancel_over()
    stage.settle()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_client_that_leaves_behind_its_cancel(stage: Stage) -> None:
    """Ctrl-C twice: the server is cleaned up only when the cancel can hit nothing any more."""
    server, client = stage.server(), stage.client()
    client >> query("begin") + query("select pg_sleep(1000)")
    server << query("begin") + query("select pg_sleep(1000)")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    cancel(stage, client.pid, client.key)
    client >> TERMINATE
    client << END
    server >> error("57014") + ready("E")
    stage.nothing_more()
    server.server.cancel_over()
    stage.settle()
    server << query("ROLLBACK")
    server >> done("ROLLBACK")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_server_lost_while_it_is_cancelled(stage: Stage) -> None:
    server, client = running(stage)
    cancel(stage, client.pid, client.key)
    server.leave()
    client << ended("08006") << END
    server.server.cancel_over()
    stage.nothing_more()
