"""Waiting for a server: in order, for a bounded time, and refused so that nothing runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import (
    BOUND,
    DESCRIPTION,
    END,
    NO_DATA,
    PARAMETERS,
    PARSED,
    answer,
    done,
    ended,
    ready,
    refused,
    tag,
)
from tests.support.messages import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    copy_data,
    copy_fail,
    execute,
    extended,
    message,
    parse,
    query,
)


def occupied(stage: Stage) -> tuple[ServerPeer, ClientPeer]:
    """The only server, and who keeps it busy."""
    server, busy = stage.server(), stage.client()
    busy >> query("select pg_sleep(1000)")
    server << query("select pg_sleep(1000)")
    return server, busy


def freed(stage: Stage, server: ServerPeer, busy: ClientPeer) -> None:
    """The one who was busy is done."""
    server >> answer("slept")
    busy << answer("slept")


def test_clients_are_served_in_the_order_they_came(stage: Stage) -> None:
    server, busy = occupied(stage)
    waiting = [stage.client() for _ in range(5)]
    for number, client in enumerate(waiting):
        client >> query(f"select {number}")
        assert stage.pool().waiting.size() == number + 1
    freed(stage, server, busy)
    busy >> query("select 'again'")
    for number, client in enumerate(waiting):
        server << query(f"select {number}")
        server >> answer(str(number))
        client << answer(str(number))
    server << query("select 'again'")
    server >> answer("again")
    busy << answer("again")
    stage.nothing_more()


def test_a_new_server_serves_the_first_who_waits(stage: Stage) -> None:
    _, _ = occupied(stage)
    first, second = stage.client(), stage.client()
    first >> query("select 1")
    second >> query("select 2")
    assert len(stage.pools.needs) == 2
    server = stage.server()
    server << query("select 1")
    server >> answer("1")
    first << answer("1")
    server << query("select 2")
    stage.nothing_more()


def test_what_comes_while_waiting_waits_with_it(stage: Stage) -> None:
    server, busy = occupied(stage)
    client = stage.client()
    client >> parse("select 1")
    client >> bind() + execute()
    client >> SYNC + query("select 2")
    freed(stage, server, busy)
    server << parse("select 1") + bind() + execute() + SYNC + query("select 2")
    server >> PARSED + BOUND + done("SELECT 1") + answer("2")
    client << PARSED + BOUND + done("SELECT 1") + answer("2")
    stage.nothing_more()


def test_who_leaves_the_queue_is_not_served(stage: Stage) -> None:
    server, busy = occupied(stage)
    leaver, stayer = stage.client(), stage.client()
    leaver >> query("delete from t")
    stayer >> query("select 1")
    leaver.leave()
    assert stage.pool().waiting.size() == 1
    freed(stage, server, busy)
    server << query("select 1")
    server >> answer("1")
    stayer << answer("1")
    stage.nothing_more()


def test_a_terminate_behind_a_waiting_query(stage: Stage) -> None:
    """Fire and forget: what was asked is asked, as on a direct connection."""
    server, busy = occupied(stage)
    client = stage.client()
    client >> query("insert into t values (1)") + TERMINATE
    freed(stage, server, busy)
    server << query("insert into t values (1)")
    client << END
    server >> done("INSERT 0 1")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


@pytest.mark.parametrize(
    "asked",
    [
        query("select 1"),
        extended("select 1") + SYNC,
        SYNC,
        query("copy t from stdin") + copy_data(b"x") + copy_fail("done"),
        query("copy t from stdin") + copy_data(b"x") + COPY_DONE + FLUSH,
    ],
    ids=["query", "batch", "sync", "copy that fails", "copy"],
)
def test_an_exchange_that_waited_too_long_is_refused_whole(stage: Stage, asked: bytes) -> None:
    server, busy = occupied(stage)
    client = stage.client()
    client >> asked
    stage.later(119)
    stage.nothing_more()
    stage.later(121)
    client << refused("53300", "app/app") << ready()
    assert not stage.of(client).waiting()
    freed(stage, server, busy)
    stage.ask(client, server, "select 2")
    stage.nothing_more()


@pytest.mark.parametrize("behind", [b"", bind() + execute(), FLUSH], ids=["parse", "execute", "flush"])
def test_a_batch_without_its_sync_is_refused_up_to_it(stage: Stage, behind: bytes) -> None:
    server, busy = occupied(stage)
    client = stage.client()
    client >> parse("select 1") + behind
    stage.later(121)
    client << refused("53300")
    freed(stage, server, busy)
    client >> bind() + execute() + parse("select 2")
    client >> FLUSH + query("select 'skipped'") + copy_data(b"x")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()
    client >> SYNC + query("select 3")
    client << ready()
    server << query("select 3")
    server >> answer("3")
    client << answer("3")
    stage.nothing_more()


@pytest.mark.parametrize(
    "asked",
    [
        query("begin"),
        query("select 1; begin"),
        extended("begin") + SYNC,
        extended("commit"),
        query("select 1") + query("select 2"),
        extended("select 1") + SYNC + query("rollback"),
        query("select 1") + parse("select 2"),
        query("copy t from stdin") + copy_data(b"x") + COPY_DONE + query("select 2"),
        query("copy t from stdin") + copy_data(b"xyz")[:-1],
        bind() + execute() + SYNC,
    ],
    ids=[
        "begin",
        "begin in a text",
        "begin in a batch",
        "commit unsynced",
        "two queries",
        "more behind a sync",
        "more behind a query",
        "more behind a copy",
        "copy in the middle of its data",
        "parsed before",
    ],
)
def test_a_refusal_is_the_end_where_going_on_is_not_safe(stage: Stage, asked: bytes) -> None:
    """What is on its way already would run in autocommit behind a BEGIN that was refused (rule 16)."""
    occupied(stage)
    client = stage.client()
    client >> asked
    stage.later(121)
    client << ended("53300") << END
    stage.nothing_more()


def prepared(stage: Stage, sql: str, name: str) -> tuple[ServerPeer, ClientPeer]:
    """A client that has parsed `sql` under this name, and now finds every server busy."""
    server, client, busy = stage.server(), stage.client(), stage.client()
    client >> parse(sql, name) + SYNC
    server.take_all()
    server >> PARSED + (PARAMETERS + NO_DATA if name else b"") + ready()
    client << PARSED + ready()
    busy >> query("select pg_sleep(1000)")
    server << query("select pg_sleep(1000)")
    return server, client


@pytest.mark.parametrize("name", ["", "s"])
def test_a_statement_parsed_before_that_opens_nothing_is_refused_up_to_its_sync(
    stage: Stage, name: str
) -> None:
    _, client = prepared(stage, "select 1", name)
    client >> bind(statement=name) + execute() + SYNC
    stage.later(121)
    client << refused("53300") << ready()
    client >> bind(statement=name) + execute()
    stage.later(122)
    client << refused("53300")
    client >> SYNC
    client << ready()
    stage.nothing_more()


@pytest.mark.parametrize("name", ["", "s"])
@pytest.mark.parametrize("ahead", [b"", parse("select 2", "t")], ids=["alone", "behind a parse"])
def test_one_that_opens_a_transaction_ends_the_session(stage: Stage, name: str, ahead: bytes) -> None:
    _, client = prepared(stage, "begin", name)
    client >> ahead + bind(statement=name) + execute() + SYNC
    stage.later(121)
    client << ended("53300") << END
    stage.nothing_more()


@pytest.mark.parametrize(
    "asked", [bind(statement="nobody"), bind(statement="s") + execute() + SYNC + query("x")]
)
def test_one_that_is_not_known_or_with_more_behind_it_as_well(stage: Stage, asked: bytes) -> None:
    _, client = prepared(stage, "select 1", "s")
    client >> asked
    stage.later(121)
    client << ended("53300") << END
    stage.nothing_more()


def test_more_input_that_is_still_in_the_socket_is_waiting_input(stage: Stage) -> None:
    occupied(stage)
    client = stage.client()
    client >> query("insert into t values (1)")
    client >> query("rollback")
    stage.later(121)
    client << ended("53300") << END
    stage.nothing_more()


@pytest.mark.parametrize("connecting", [0, 1], ids=["between attempts", "in the midst of one"])
def test_a_database_that_is_down_has_its_own_sqlstate(stage: Stage, connecting: int) -> None:
    server, client = stage.server(), stage.client()
    server.leave()
    stage.pool().up = False
    stage.pool().down_reason = "connection refused"
    stage.pool().connecting = connecting
    client >> query("select 1")
    stage.later(121)
    client << refused("57P03", "connection refused") << ready()
    stage.pool().connecting = 0
    stage.nothing_more()


def test_a_pool_whose_first_server_takes_too_long_is_not_full(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    server.leave()
    stage.pool().connecting = 1
    client >> query("select 1")
    stage.later(121)
    client << refused("57P03", "still being opened") << ready()
    stage.pool().connecting = 0
    stage.nothing_more()


def test_without_patience_a_full_pool_refuses_at_once(stages: Callable[..., Stage]) -> None:
    stage = stages(connection_borrow_timeout=0, pool_size=1)
    server, busy = occupied(stage)
    client = stage.client()
    client >> query("select 1")
    client << refused("53300") << ready()
    client >> query("begin")
    client << ended("53300") << END
    freed(stage, server, busy)
    stage.ask(busy, server, "select 2")
    stage.nothing_more()


def test_without_patience_a_batch_is_refused_up_to_its_sync(stages: Callable[..., Stage]) -> None:
    stage = stages(connection_borrow_timeout=0, pool_size=1)
    occupied(stage)
    client = stage.client()
    client >> parse("select 1") + bind()
    client << refused("53300")
    client >> execute()
    stage.nothing_more()
    client >> SYNC
    client << ready()
    stage.nothing_more()


def test_without_patience_a_server_that_could_be_opened_is_awaited(stages: Callable[..., Stage]) -> None:
    """Nobody was busy: an empty pool is not a full one."""
    stage = stages(connection_borrow_timeout=0, pool_size=2)
    server, busy = occupied(stage)
    client = stage.client()
    client >> query("select 1")
    assert stage.of(client).waiting()
    second = stage.server()
    second << query("select 1")
    second >> answer("1")
    client << answer("1")
    freed(stage, server, busy)
    stage.nothing_more()


def test_nonsense_at_the_head_of_the_queue_is_refused_without_a_server(stage: Stage) -> None:
    occupied(stage)
    client = stage.client()
    client >> message("y")
    client << ended("08P01") << END
    stage.nothing_more()


def test_half_a_query_takes_no_servers_turn(stage: Stage) -> None:
    """A message that fits in memory is whole before it borrows: a slow client costs nobody a server."""
    server, client = stage.server(), stage.client()
    client >> query("select 1")[:-1]
    assert stage.pool().idle == [server.server]
    client >> query("select 1")[-1:]
    server << query("select 1")
    server >> DESCRIPTION + tag("SELECT 0") + ready()
    client << DESCRIPTION + tag("SELECT 0") + ready()
    stage.nothing_more()
