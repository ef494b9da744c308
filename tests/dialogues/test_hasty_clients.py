"""Clients that do not wait for their turn: what they send early is not lost, nor taken for another thing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dialogues.stage import Stage
from tests.dialogues.words import BOUND, END, PARSED, answer, done
from tests.support import messages as m
from tests.support.messages import SYNC, TERMINATE, extended, query

STARTUP = m.startup({"user": "app", "database": "app"})


def test_a_query_right_behind_the_startup_message(stage: Stage) -> None:
    """No server is known yet: the query waits until the client has been greeted."""
    client = stage.knock()
    client >> STARTUP + query("select 1")
    server = stage.server()
    server.learn()
    client.greeted()
    server << query("select 1")
    server >> answer("1")
    client << answer("1")
    stage.nothing_more()


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_conversation_right_behind_the_startup_message(stages: Callable[..., Stage], mode: str) -> None:
    stage = stages(pool_mode=mode)
    server, client = stage.server(), stage.knock()
    client >> STARTUP + extended("select 1") + SYNC + query("select 2") + TERMINATE
    server.learn()
    client.greeted()
    client << END
    server << extended("select 1") + SYNC + query("select 2")
    server >> PARSED + BOUND + answer("1") + answer("2")
    if mode == "session":
        server << query("DISCARD ALL")
        server >> done("DISCARD ALL")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_query_right_behind_a_startup_whose_greeting_is_known(stage: Stage) -> None:
    server, _ = stage.server(), stage.client()
    client = stage.knock()
    client >> STARTUP + query("select 1")
    server << query("select 1")
    server >> answer("1")
    end = answer("1")
    assert client.heard.endswith(end)
    del client.heard[-len(end) :]
    client.greeted()
    stage.nothing_more()


def test_half_a_query_right_behind_the_startup_message(stage: Stage) -> None:
    client = stage.knock()
    client >> STARTUP + query("select 1")[:7]
    server = stage.server()
    server.learn()
    client.greeted()
    client >> query("select 1")[7:]
    server << query("select 1")
    server >> answer("1")
    client << answer("1")
    stage.nothing_more()


def test_a_terminate_right_behind_the_startup_message(stage: Stage) -> None:
    client = stage.knock()
    client >> STARTUP + TERMINATE
    client.leave()
    assert len(stage.door.clients) == 0
    stage.nothing_more()


def test_questions_before_the_answers(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    for number in range(10):
        client >> query(f"select {number}")
        server << query(f"select {number}")
    for number in range(10):
        assert not stage.pool().idle
        server >> answer(str(number))
        client << answer(str(number))
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_next_question_in_the_middle_of_an_answer(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    server >> answer("1")[:-3]
    client >> query("select 2")
    server << query("select 2")
    server >> answer("1")[-3:]
    assert not stage.pool().idle
    server >> answer("2")
    client << answer("1") + answer("2")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()
