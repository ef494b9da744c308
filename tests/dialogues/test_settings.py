"""Settings of clients that share a server: nobody ever runs under another one's."""

from __future__ import annotations

from collections.abc import Callable

from tests.dialogues.stage import Stage
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
    tag,
)
from tests.support import messages as m
from tests.support.messages import SYNC, TERMINATE, bind, execute, parse, query

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
    client >> query("reset app.tenant")
    server << query("reset app.tenant")
    server >> done("RESET")
    client << done("RESET")
    client >> bind() + execute() + SYNC
    server << parse("set app.tenant to 'a'") + bind() + execute() + SYNC
    server >> PARSED + BOUND + done("SET")
    client << BOUND + done("SET")
    assert server.server.pin or server.server.parameters.values == {"app.tenant": "'a'"}


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
    """The session ends as on a direct connection, and its settings are as good as they were for the next one."""
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
