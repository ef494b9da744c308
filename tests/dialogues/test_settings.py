"""Settings of clients that share a server: nobody ever runs under another one's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import (
    BOUND,
    END,
    PARSED,
    answer,
    done,
    ended,
    error,
    fatal,
    parameter,
    ready,
    refused,
    tag,
)
from tests.support import messages as m
from tests.support.messages import SYNC, TERMINATE, bind, execute, extended, parse, query

GUARD = "SET LOCAL exit_on_error = on; "


def test_parameters_refused_to_a_client_that_has_left(stage: Stage) -> None:
    """Nobody is there to hear of it, and yet the server holds neither its parameters nor the defaults."""
    server = stage.server()
    stage.client(search_path="a")
    leaver = stage.knock()
    leaver >> m.startup({"user": "app", "database": "app", "work_mem": "bad"})
    server << query('RESET "search_path"; SET "work_mem" TO \'bad\'')
    leaver.leave()
    server >> error("22023") + ready()
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    stage.nothing_more()
    stage.ask(stage.client(), server, "select 1")
    stage.nothing_more()


def test_leaving_while_the_server_reports_another_spelling(stages: Callable[..., Stage]) -> None:
    """A difference is due at the next exchange; a Terminate is none, and the server must not wait for it."""
    stage = stages(pool_mode="session")
    server, client = stage.server(), stage.client()
    client >> query("set timezone to 'utc'")
    server << query("set timezone to 'utc'")
    server >> tag("SET") + parameter("TimeZone", "UTC") + ready()
    client << done("SET")
    client >> TERMINATE
    client << END
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_a_set_that_was_parsed_before_and_runs_again(stage: Stage) -> None:
    """Its batch shows no text; what it sets must still not be left to the next client."""
    server, client = stage.server(), stage.client()
    stage.ask_unnamed(client, server, "set app.tenant to 'a'")
    client >> bind() + execute() + SYNC
    server << bind() + execute() + SYNC
    server >> BOUND + done("SET")
    server.audited(("setting", "app.tenant", "a"))
    client << BOUND + done("SET")
    assert stage.of(client).parameters.values == {"app.tenant": "'a'"}


def test_a_set_whose_batch_a_query_ends(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    request = parse("set app.tenant to 'a'") + bind() + execute() + query("select 1")
    client >> request
    server << request
    server >> PARSED + BOUND + tag("SET") + answer("1")
    client << PARSED + BOUND + tag("SET") + answer("1")
    assert server.server.pin or server.server.parameters.values == {"app.tenant": "'a'"}


def test_who_came_before_the_first_server_keeps_what_init_query_sets(stage: Stage) -> None:
    client = stage.knock()
    client >> m.startup({"user": "app", "database": "app"})
    server = stage.server(baseline={"work_mem": "'9MB'"})
    server << query("")
    server >> m.message("I") + ready()
    client.greeted()
    stage.ask(client, server, "show work_mem")
    stage.nothing_more()


def test_a_shutdown_while_settings_are_applied_is_not_their_fault(stage: Stage, pace: str) -> None:
    """The session ends as on a direct connection; its settings are as good as they were."""
    size = f"{len(pace)}MB"  # of its own: what is known of a set of settings outlives the stage
    server, client = stage.server(), stage.client(work_mem=size)
    stage.ask(stage.client(), server, "select 1")
    parameters = stage.of(client).parameters
    client >> query("select 2")
    server << query(GUARD + f"SET \"work_mem\" TO '{size}'") << query("select 2")
    server >> fatal("57P01")
    server.leave()
    client << ended("08006") << END
    assert not parameters.refused


def refuse_settings(stage: Stage, server: ServerPeer, client: ClientPeer, asked: bytes, size: str) -> None:
    """`client` asks for something, and its work_mem is refused by `server` before it reads that."""
    client >> asked
    server << query(GUARD + f"SET \"work_mem\" TO '{size}'") << asked
    server >> fatal("22023", "no such memory")
    server.leave()


@pytest.mark.parametrize("asked", [query("select 2"), extended("select 2") + SYNC], ids=["query", "batch"])
def test_settings_that_are_refused_are_an_error_up_to_the_sync(stage: Stage, pace: str, asked: bytes) -> None:
    """Guarded, a refusal ends the server before it reads the client's bytes: nothing was run (rule 1)."""
    size = f"3{len(pace)}{len(asked)}MB"
    server, client = stage.server(), stage.client(work_mem=size)
    stage.ask(stage.client(), server, "select 1")
    refuse_settings(stage, server, client, asked, size)
    client << refused("22023", "no such memory") << ready()
    # From now on these settings are asked for first, and the answer is awaited: no server dies of it again.
    second = stage.server()
    client >> query("select 3")
    second << query(f"SET \"work_mem\" TO '{size}'")
    stage.nothing_more()
    second >> done("SET")
    second << query("select 3")
    second >> answer("3")
    client << answer("3")
    stage.nothing_more()


def test_settings_that_are_refused_twice_end_the_session_and_not_the_server(stage: Stage, pace: str) -> None:
    size = f"4{len(pace)}MB"
    server, client = stage.server(), stage.client(work_mem=size)
    stage.ask(stage.client(), server, "select 1")
    refuse_settings(stage, server, client, query("select 2"), size)
    client << refused("22023") << ready()
    second = stage.server()
    client >> query("select 3")
    second << query(f"SET \"work_mem\" TO '{size}'")
    second >> error("22023", "still not") + ready()
    client << ended("22023", "still not") << END
    second << query("DISCARD ALL")
    second >> done("DISCARD ALL")
    stage.ask(stage.client(), second, "select 4")
    stage.nothing_more()


@pytest.mark.parametrize(
    "asked",
    [
        query("begin"),
        query("select 2") + query("select 3"),
        query("select 2") + parse("select 3"),
        parse("commit"),
    ],
    ids=["begin", "two queries", "query and batch", "control in a batch"],
)
def test_refused_settings_end_the_session_where_going_on_is_not_safe(
    stage: Stage, pace: str, asked: bytes
) -> None:
    """What is on its way already would run outside the transaction that it was meant for (rule 16)."""
    size = f"5{len(pace)}{len(asked)}MB"
    server, client = stage.server(), stage.client(work_mem=size)
    stage.ask(stage.client(), server, "select 1")
    refuse_settings(stage, server, client, asked, size)
    client << ended("08006") << END
    stage.nothing_more()


def test_guard_settings_and_query_go_out_in_one_write(stage: Stage, pace: str) -> None:
    """So attaching costs no round trip; the answers to what is ours are nobody's."""
    server, other = stage.server(packets=True), stage.client()
    client = stage.client(client_encoding="LATIN1", search_path="a, b", reports={"client_encoding": "LATIN1"})
    server.writes.clear()
    other >> query("select 1")
    first, second = query(GUARD + 'RESET "client_encoding"'), query(GUARD + 'RESET "search_path"')
    if pace == "whole":
        assert server.writes == [first + second + query("select 1")]
    server << first << second << query("select 1")
    server >> tag("RESET") + parameter("client_encoding", "UTF8") + ready() + done("RESET") + answer("1")
    other << answer("1")
    server.writes.clear()
    client >> extended("select 2") + SYNC
    first = query(GUARD + "SET \"client_encoding\" TO 'LATIN1'")
    second = query(GUARD + "SET \"search_path\" TO 'a', 'b'")
    if pace == "whole":
        assert server.writes == [first + second + extended("select 2") + SYNC]
    server << first << second << extended("select 2") << SYNC
    server >> tag("SET") + parameter("client_encoding", "LATIN1") + ready() + done("SET")
    server >> PARSED + BOUND + done("SELECT 1")
    client << PARSED + BOUND + done("SELECT 1")
    stage.nothing_more()


def test_equal_clients_need_no_settings_between_them(stage: Stage) -> None:
    server = stage.server()
    first = stage.client(work_mem="2MB", application_name="a", reports={"application_name": "a"})
    second = stage.client(work_mem="2MB", application_name="a")
    for client in (first, second, first):
        stage.ask(client, server, "select 1")
    stage.nothing_more()


def test_a_refusal_that_the_guard_did_not_turn_into_the_end(stage: Stage) -> None:
    """That server has run the query without its settings: it is closed, and its answer told to nobody."""
    server, client = stage.server(), stage.client(work_mem="61MB")
    stage.ask(stage.client(), server, "select 1")
    client >> query("select 2")
    server << query(GUARD + "SET \"work_mem\" TO '61MB'") << query("select 2")
    server >> error("22023") + ready() + answer("wrong")
    stage.out_of_sync = 1
    server << END
    client << ended("08006") << END
    stage.nothing_more()
