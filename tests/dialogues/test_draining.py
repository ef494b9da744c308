"""Draining: nobody comes in, who is idle goes, who is in a transaction may end it, and the rest is ended."""

from __future__ import annotations

import pytest

from tests.dialogues.stage import Stage
from tests.dialogues.words import DESCRIPTION, END, answer, done, ended, row
from tests.support import messages as m
from tests.support.messages import query

STARTUP = m.startup({"user": "app", "database": "app"})


def test_logins_under_way_are_ended(stage: Stage) -> None:
    stage.server(), stage.client()
    silent, waiting = stage.knock(), stage.knock()
    waiting >> STARTUP[:10]
    stage.door.drain()
    stage.settle()
    silent << ended("57P01") << END
    waiting << ended("57P01") << END
    assert not stage.door.logins


def test_nobody_comes_in_any_more(stage: Stage) -> None:
    stage.door.drain()
    late = stage.knock()
    late << END
    assert stage.door.rejections["draining"] == 1


def test_the_idle_go_and_the_busy_end_what_they_do(stage: Stage) -> None:
    first, idle, busy, open_ = stage.server(), stage.client(), stage.client(), stage.client()
    second = stage.server()
    busy >> query("select 1")
    open_ >> query("begin")
    working, other = (first, second) if first.take_all()[0].body == b"select 1\0" else (second, first)
    working.heard.clear()
    other.heard.clear()
    other >> done("BEGIN", "T")
    open_ << done("BEGIN", "T")
    stage.door.drain()
    assert stage.door.dismiss_idle() == 2
    stage.settle()
    idle << ended("57P01") << END
    working >> answer("1")
    busy << answer("1")
    assert stage.door.dismiss_idle() == 1
    stage.settle()
    busy << ended("57P01") << END
    open_ >> query("commit")
    other << query("commit")
    other >> done("COMMIT")
    open_ << done("COMMIT")
    assert stage.door.dismiss_idle() == 0
    stage.settle()
    open_ << ended("57P01") << END
    assert len(stage.pool().idle) == 2
    stage.nothing_more()


def test_a_pinned_client_between_transactions_is_idle(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    assert stage.door.dismiss_idle() == 0
    stage.settle()
    client << ended("57P01") << END
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    stage.nothing_more()


def test_in_the_end_everybody_goes(stage: Stage) -> None:
    server, busy, waiting = stage.server(), stage.client(), stage.client()
    busy >> query("select 1")
    server << query("select 1")
    server >> DESCRIPTION
    busy << DESCRIPTION
    waiting >> query("select 2")
    greeting = stage.knock()
    greeting >> m.startup({"user": "app", "database": "app", "work_mem": "1MB"})
    stage.door.drain()
    stage.door.dismiss_all()
    stage.settle()
    for peer in (busy, waiting, greeting):
        peer << ended("57P01") << END
    assert len(stage.door.clients) == 0
    assert stage.pool().waiting.size() == 0
    server >> row("1") + done("SELECT 1")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


@pytest.mark.parametrize("cut", [3, 20])
def test_in_the_middle_of_a_row_the_connection_just_ends(stage: Stage, cut: int) -> None:
    """An error there would be read as the rest of the row."""
    server, client = stage.server(), stage.client()
    client >> query("select x")
    server << query("select x")
    said = row("x" * 100)
    server >> said[:cut]
    stage.door.dismiss_all()
    stage.settle()
    if cut > 5:
        client << said[:cut] << END
    else:
        client << ended("57P01") << END
    server >> said[cut:] + done("SELECT 1")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()
