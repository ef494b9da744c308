"""Clients that do nothing for too long, in a transaction and outside one; and those who only look as if."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dialogues.stage import Stage
from tests.dialogues.words import (
    BOUND,
    COPY_IN,
    END,
    NO_DATA,
    PARSED,
    ROLL_BACK,
    answer,
    done,
    ended,
    error,
    ready,
    tag,
)
from tests.support.messages import FLUSH, extended, parse, query


def test_an_idle_client_is_ended(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_client_timeout=60)
    server, client = stage.server(), stage.client()
    stage.later(59)
    stage.nothing_more()
    stage.later(61)
    client << ended("57P05", "idle for 60 s") << END
    assert len(stage.door.clients) == 0
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_client_that_asks_now_and_then_is_not_idle(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_client_timeout=60)
    server, client = stage.server(), stage.client()
    for _ in range(3):
        stage.of(client).last_active -= 40
        stage.later(0)
        stage.ask(client, server, "select 1")
    stage.later(59)
    stage.nothing_more()


def test_one_who_waits_is_not_idle(stages: Callable[..., Stage]) -> None:
    """Neither for an answer nor for a server: that takes as long as it takes."""
    stage = stages(idle_client_timeout=60, connection_borrow_timeout=1000)
    server, client, waiting = stage.server(), stage.client(), stage.client()
    client >> query("select pg_sleep(1000)")
    server << query("select pg_sleep(1000)")
    waiting >> query("select 2")
    for seconds in (61, 200, 500):
        stage.later(seconds)
        stage.nothing_more()
    server >> answer("1")
    client << answer("1")
    server << query("select 2")
    server >> answer("2")
    waiting << answer("2")
    stage.nothing_more()


def test_a_pinned_client_that_is_idle_is_ended(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_client_timeout=60)
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    stage.later(61)
    client << ended("57P05") << END
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_transaction_is_not_ended_by_the_clients_idleness(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_client_timeout=60)
    server, client = stage.server(), stage.client()
    client >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    stage.later(1000)
    stage.nothing_more()


OPEN = {
    "a transaction": (query("begin"), done("BEGIN", "T"), b""),
    "a failed transaction": (query("begin; select 1/0"), tag("BEGIN") + error("22012") + ready("E"), b""),
    "an unsynced batch": (extended("insert"), b"", PARSED + BOUND + NO_DATA + tag("INSERT 0 1")),
    "a flushed batch": (
        extended("insert into t values (1)") + FLUSH,
        PARSED + BOUND + NO_DATA + tag("INSERT 0 1"),
        b"",
    ),
    "a lone parse": (parse("select 1"), b"", PARSED),
}


@pytest.mark.parametrize("state", OPEN)
def test_a_transaction_left_open_is_ended_and_rolled_back(stages: Callable[..., Stage], state: str) -> None:
    """A frozen client must not hold a server, nor its locks, for ever."""
    stage = stages(idle_transaction_timeout=30)
    server, client, other = stage.server(), stage.client(), stage.client()
    asked, said, owed = OPEN[state]
    client >> asked
    server << asked
    server >> said
    client << said
    other >> query("select 'other'")
    stage.later(29)
    stage.nothing_more()
    stage.later(31)
    client << ended("25P03", "idle in transaction for 30 s") << END
    if "transaction" in state:
        server << query("ROLLBACK")
        server >> done("ROLLBACK")
    else:
        server << ROLL_BACK
        server >> owed + PARSED + BOUND + done("ROLLBACK")
    server << query("select 'other'")
    server >> answer("other")
    other << answer("other")
    stage.nothing_more()


def test_a_batch_that_failed_and_was_not_synced(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_transaction_timeout=30)
    server, client = stage.server(), stage.client()
    client >> extended("select 1/0") + FLUSH
    server << extended("select 1/0") + FLUSH
    server >> PARSED + BOUND + error("22012")
    client << PARSED + BOUND + error("22012")
    stage.later(31)
    client << ended("25P03") << END
    server << ROLL_BACK
    server >> ready()
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_transaction_that_works_is_not_idle(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_transaction_timeout=30)
    server, client = stage.server(), stage.client()
    client >> query("begin") + query("select pg_sleep(1000)")
    server << query("begin") + query("select pg_sleep(1000)")
    server >> done("BEGIN", "T")
    client << done("BEGIN", "T")
    for seconds in (31, 100, 400):
        stage.later(seconds)
        stage.nothing_more()
    server >> answer("slept", "T")
    client << answer("slept", "T")
    stage.nothing_more()


def test_a_copy_that_waits_for_its_data_is_not_idle(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_transaction_timeout=30)
    server, client = stage.server(), stage.client()
    client >> query("copy t from stdin")
    server << query("copy t from stdin")
    server >> COPY_IN
    client << COPY_IN
    stage.later(31)
    stage.nothing_more()


def test_outside_a_transaction_its_limit_means_nothing(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_transaction_timeout=30)
    server, client, pinned = stage.server(), stage.client(), stage.client()
    stage.pin(pinned, server)
    stage.later(31)
    server.audited(("left", "listen", ""))
    stage.nothing_more()
    assert len(stage.door.clients) == 2
    assert not stage.of(client).closed()


def test_both_limits_at_once(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_client_timeout=60, idle_transaction_timeout=30)
    server, idle, frozen = stage.server(), stage.client(), stage.client()
    frozen >> query("begin")
    server << query("begin")
    server >> done("BEGIN", "T")
    frozen << done("BEGIN", "T")
    stage.later(31)
    frozen << ended("25P03") << END
    server << query("ROLLBACK")
    server >> done("ROLLBACK")
    stage.nothing_more()
    stage.later(69)
    idle << ended("57P05") << END
    stage.nothing_more()


def test_no_limits_at_all(stages: Callable[..., Stage]) -> None:
    stage = stages(idle_client_timeout=0)
    stage.server(), stage.client()
    stage.later(1_000_000)
    stage.nothing_more()
