"""DISCARD ALL alone in its exchange: run as its parts, so that what others have prepared stays (rule 20)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poolproxy.errors import ShuttingDown
from poolproxy.session.parameters import DISCARD_ALL, HANDOVER
from tests.dialogues.stage import Stage
from tests.dialogues.words import (
    BOUND,
    CLOSED,
    END,
    NO_DATA,
    PARAMETERS,
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
from tests.support.messages import (
    SYNC,
    bind,
    close_statement,
    describe_portal,
    describe_statement,
    execute,
    parse,
    query,
)

ONE = "_poolproxy_1"
GUARD = "SET LOCAL exit_on_error = on; "
PARTS = query(DISCARD_ALL)


def test_one_tag_and_what_others_have_prepared_stays(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    other >> parse("select 1", "s") + SYNC
    server << parse("select 1", ONE) + describe_statement(ONE) + SYNC
    server >> PARSED + PARAMETERS + NO_DATA + ready()
    other << PARSED + ready()
    client >> query("DISCARD ALL")
    server << PARTS
    server >> done("SELECT 1")
    client << done("DISCARD ALL")
    other >> bind(statement="s") + execute() + SYNC
    server << bind(statement=ONE) + execute() + SYNC
    server >> BOUND + done("SELECT 1")
    other << BOUND + done("SELECT 1")
    stage.nothing_more()


def test_settings_go_back_and_their_reports_come_ahead_of_ready(stage: Stage) -> None:
    server = stage.server()
    client = stage.client(work_mem="9MB", timezone="Asia/Tokyo", reports={"TimeZone": "Asia/Tokyo"})
    client >> query("set timezone to 'Europe/Rome'")
    server << query("set timezone to 'Europe/Rome'")
    server >> tag("SET") + parameter("TimeZone", "Europe/Rome") + ready()
    client << tag("SET") + parameter("TimeZone", "Europe/Rome") + ready()
    client >> query(" discard\nall ; ")
    server << PARTS
    server >> tag("SELECT 1") + parameter("TimeZone", "UTC") + ready()
    server << query("SET \"timezone\" TO 'Asia/Tokyo'; SET \"work_mem\" TO '9MB'")
    server >> tag("SET") + parameter("TimeZone", "Asia/Tokyo") + ready()
    client << tag("DISCARD ALL") + parameter("TimeZone", "Asia/Tokyo") + ready()
    stage.ask(client, server, "select 1")
    stage.nothing_more()


def test_what_comes_with_it_waits_for_it(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="9MB")
    client >> query("discard all") + query("select 1")
    server << PARTS
    server >> done("SELECT 1")
    server << query("SET \"work_mem\" TO '9MB'")
    server >> done("SET")
    server << query("select 1")
    server >> answer("x")
    client << done("DISCARD ALL") + answer("x")
    stage.nothing_more()


@pytest.mark.parametrize("reason", ["temp_object", "advisory_lock", "holdable_cursor", "listen"])
def test_a_pin_ends_with_it(stage: Stage, reason: str) -> None:
    server, client = stage.server(), stage.client()
    stage.pin(client, server, reason)
    client >> query("discard all")
    server << PARTS
    assert server.server.pin == reason
    server >> done("SELECT 1")
    assert not server.server.pin
    client << done("DISCARD ALL")
    assert stage.pool().idle == [server.server]
    stage.nothing_more()


def test_nothing_is_left_to_undo(stages: Callable[..., Stage]) -> None:
    stage = stages(handover_reset="always")
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("discard all")
    server << PARTS
    server >> done("SELECT 1")
    client << done("DISCARD ALL")
    other >> query("select 1")
    server << query("select 1")
    server >> answer("x")
    server << query(HANDOVER)
    server >> done("SELECT 1")
    other << answer("x")
    stage.nothing_more()


@pytest.mark.parametrize("described", [b"", describe_portal()], ids=["plain", "described"])
def test_as_a_batch(stage: Stage, pace: str, described: bytes) -> None:
    """Recognised where all of it is there at once; else it is run as it is."""
    server, client = stage.server(), stage.client()
    batch = parse("DISCARD ALL") + bind() + described + execute() + SYNC
    client >> batch
    heard = PARSED + BOUND + (NO_DATA if described else b"") + done("DISCARD ALL")
    if pace == "whole":
        server << PARTS
        server >> done("SELECT 1")
    else:
        server << batch
        server >> heard
    client << heard
    client >> bind() + execute() + SYNC
    heard = BOUND + done("DISCARD ALL")
    server << (parse("DISCARD ALL") if pace == "whole" else b"") + bind() + execute() + SYNC
    server >> (PARSED if pace == "whole" else b"") + heard
    server.audited()
    client << heard
    server << query(HANDOVER)
    server >> done("SELECT 1")
    stage.nothing_more()


def test_the_clients_own_statements_are_gone(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> parse("select 1", "s") + SYNC
    server << parse("select 1", ONE) + describe_statement(ONE) + SYNC
    server >> PARSED + PARAMETERS + NO_DATA + ready()
    client << PARSED + ready()
    client >> query("discard all")
    server << PARTS
    server >> done("SELECT 1")
    client << done("DISCARD ALL")
    client >> bind(statement="s") + execute() + SYNC
    server << bind(statement="s") + execute() + SYNC
    server >> error("26000") + ready()
    client << error("26000") + ready()
    stage.nothing_more()


def test_statements_that_nobody_else_can_use_are_closed(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    stage.pin(client, server)
    client >> parse("select 1", "s") + SYNC
    server << parse("select 1", ONE) + describe_statement(ONE) + SYNC
    server >> PARSED + PARAMETERS + NO_DATA + ready()
    client << PARSED + ready()
    client >> query("discard all")
    server << PARTS
    server >> done("SELECT 1")
    client << done("DISCARD ALL")
    client >> query("select 1")
    server << close_statement(ONE) + SYNC + query("select 1")
    server >> CLOSED + ready() + answer("x")
    client << answer("x")
    stage.nothing_more()


def test_cancelled_it_has_done_nothing(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("set work_mem to '1MB'")
    server << query("set work_mem to '1MB'")
    server >> done("SET")
    client << done("SET")
    client >> query("discard all")
    server << PARTS
    server >> error("57014") + ready()
    client << error("57014") + ready()
    stage.ask(other, server, "select 1", query(GUARD + 'RESET "work_mem"'))
    stage.nothing_more()


def test_the_server_is_lost_meanwhile(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> query("discard all")
    server << PARTS
    server >> fatal("57P01")
    server.leave()
    client << ended("08006") << END
    server.ended = False
    stage.nothing_more()


def test_the_client_leaves_meanwhile(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("set work_mem to '1MB'")
    server << query("set work_mem to '1MB'")
    server >> done("SET")
    client << done("SET")
    client >> query("discard all")
    server << PARTS
    stage.of(client).fail(ShuttingDown())
    stage.settle()
    client << ended("57P01") << END
    server >> done("SELECT 1")
    stage.ask(other, server, "select 1", query(GUARD + 'RESET "work_mem"'))
    stage.nothing_more()


@pytest.mark.parametrize("before", ["begin", "prepare mine as select 1"])
def test_in_a_transaction_or_beside_prepare_it_is_run_whole(stage: Stage, before: str) -> None:
    server, client = stage.server(), stage.client()
    status = "T" if before == "begin" else "I"
    client >> query(before)
    server << query(before)
    server >> done("DONE", status)
    if status == "I":
        server.audited(("prepared", "mine", ""))
    client << done("DONE", status)
    client >> query("discard all")
    server << query("discard all")
    stage.nothing_more()
