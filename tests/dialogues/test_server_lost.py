"""A server is lost, in every state: whoever used it is told exactly once, and closed; nobody else notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dialogues.stage import Stage
from tests.dialogues.words import (
    BOUND,
    COPY_IN,
    COPY_OUT,
    DESCRIPTION,
    END,
    PARSED,
    answer,
    done,
    ended,
    fatal,
    notice,
    row,
    tag,
)
from tests.support import messages as m
from tests.support.messages import FLUSH, SYNC, TERMINATE, copy_data, extended, query

GUARD = "SET LOCAL exit_on_error = on; "


def test_idle(stage: Stage) -> None:
    """Nobody had it: nobody is told."""
    server, client = stage.server(), stage.client()
    server >> notice("shutting down") + fatal("57P01")
    server << TERMINATE << END
    assert stage.pool().size() == 0
    client >> query("select 1")
    assert stage.of(client).waiting()
    second = stage.server()
    second << query("select 1")
    second >> answer("1")
    client << answer("1")
    stage.nothing_more()


# What a client has asked, and what the server had answered of it when it was lost.
STATES = {
    "a query": (query("select 1"), b""),
    "a query answered in part": (query("select 1"), DESCRIPTION + row("1")),
    "a query answered but for its end": (query("select 1"), DESCRIPTION + row("1") + tag("SELECT 1")),
    "an open batch": (extended("select 1"), PARSED + BOUND),
    "a flushed batch": (
        extended("select 1") + FLUSH,
        PARSED + BOUND + DESCRIPTION + row("1") + tag("SELECT 1"),
    ),
    "a batch": (extended("select 1") + SYNC, PARSED),
    "a transaction": (query("begin"), done("BEGIN", "T")),
    "a failed transaction": (query("begin; select 1/0"), tag("BEGIN") + done("SELECT 1", "E")),
    "an audit": (query("listen x"), tag("LISTEN")),
    "a copy out": (query("copy t to stdout"), COPY_OUT + copy_data(b"1\n")),
    "a copy in": (query("copy t from stdin"), COPY_IN),
    "pipelined queries": (query("select 1") + query("select 2"), answer("1") + DESCRIPTION),
}


@pytest.mark.parametrize("state", STATES)
def test_without_a_word(stage: Stage, state: str) -> None:
    asked, said = STATES[state]
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> asked
    server << asked
    server >> said
    server.leave()
    client << said << ended("08006") << END
    assert stage.pool().size() == 0
    assert len(stage.door.clients) == 1
    stage.ask(other, stage.server(), "select 'other'")
    stage.nothing_more()


@pytest.mark.parametrize("state", STATES)
def test_with_a_last_word_of_its_own(stage: Stage, state: str) -> None:
    """It is passed on as it is, and nothing is added to it."""
    asked, said = STATES[state]
    server, client = stage.server(), stage.client()
    client >> asked
    server << asked
    server >> said + fatal("57P01", "terminating connection due to administrator command")
    server.leave()
    client << said << fatal("57P01", "terminating connection due to administrator command") << END
    assert stage.pool().size() == 0
    stage.nothing_more()


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_while_a_clients_parameters_are_tried(stages: Callable[..., Stage], mode: str) -> None:
    stage = stages(pool_mode=mode)
    server, client = stage.server(), stage.knock()
    client >> m.startup({"user": "app", "database": "app", "work_mem": "1MB"})
    server << query("SET \"work_mem\" TO '1MB'")
    server.leave()
    client << ended("08006") << END
    assert len(stage.door.clients) == 0
    stage.nothing_more()


def test_while_settings_go_ahead_without_a_word(stage: Stage, pace: str) -> None:
    """Whether it has read the query is not known: it is never asked again."""
    size = f"9{len(pace)}MB"
    server, client = stage.server(), stage.client(work_mem=size)
    stage.ask(stage.client(), server, "select 1")
    client >> query("insert into t values (1)")
    server << query(GUARD + f"SET \"work_mem\" TO '{size}'") << query("insert into t values (1)")
    server.leave()
    client << ended("08006") << END
    stage.nothing_more()


def test_in_the_middle_of_a_row(stage: Stage) -> None:
    """An error there would be read as the rest of the row: a wrong value. The connection just ends."""
    server, client = stage.server(), stage.client()
    client >> query("select x")
    server << query("select x")
    cut = (DESCRIPTION + row("x" * 50))[:-20]
    server >> cut
    server.leave()
    client << cut << END
    stage.nothing_more()


def test_in_the_middle_of_a_message_that_was_not_passed_on(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select x")
    server << query("select x")
    server >> DESCRIPTION + fatal("57P01")[:-5]
    server.leave()
    client << DESCRIPTION << ended("08006") << END
    stage.nothing_more()


def test_its_own_last_word_reaches_a_slow_client(stage: Stage) -> None:
    server, client = stage.server(), stage.client(buffer=4096)
    client >> query("select x")
    server << query("select x")
    client.deaf = True
    server.push(DESCRIPTION + row("x" * 30_000) + fatal("57P01"))
    stage.settle()
    server.leave()
    client.deaf = False
    stage.settle()
    client << DESCRIPTION + row("x" * 30_000) + fatal("57P01") << END
    stage.nothing_more()


def test_while_it_is_cleaned_up(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    client >> TERMINATE
    client << END
    server << query("ROLLBACK")
    server.leave()
    assert stage.pool().size() == 0
    stage.nothing_more()


def test_with_clients_in_the_queue(stage: Stage) -> None:
    """Those who only waited are served by the next one; who it was lost for is told."""
    server, client, waiting = stage.server(), stage.client(), stage.client()
    client >> query("select 1")
    server << query("select 1")
    waiting >> query("select 2")
    wanted = len(stage.pools.needs)
    server.leave()
    client << ended("08006") << END
    assert len(stage.pools.needs) == wanted + 1
    second = stage.server()
    second << query("select 2")
    second >> answer("2")
    waiting << answer("2")
    stage.nothing_more()
