"""What a server says unasked (notices, notifications, parameters) reaches whom it is meant for, or nobody."""

from __future__ import annotations

import pytest

from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import EMPTY, answer, done, error, notice, notification, parameter, ready, tag
from tests.support.messages import query, startup

GUARD = "SET LOCAL exit_on_error = on; "


def test_a_notice_in_an_exchange_is_the_clients(stage: Stage) -> None:
    server, client, _ = stage.server(), stage.client(), stage.client()
    client >> query("drop table if exists t")
    server << query("drop table if exists t")
    server >> notice("skipping") + done("DROP TABLE")
    server.audited(("left", "temp_object", ""))
    client << notice("skipping") + done("DROP TABLE")
    server >> notice("later, pinned")
    client << notice("later, pinned")
    stage.nothing_more()


def test_a_notice_while_nobody_has_the_server_is_nobodys(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    stage.ask(client, server, "select 1")
    server >> notice("to nobody")
    stage.nothing_more()
    stage.ask(other, server, "select 2")
    stage.nothing_more()


def test_a_notice_about_settings_of_ours_is_not_the_clients(stage: Stage) -> None:
    server, client = stage.server(), stage.client(work_mem="21MB")
    stage.ask(stage.client(), server, "select 1")
    client >> query("select 2")
    server << query(GUARD + "SET \"work_mem\" TO '21MB'") << query("select 2")
    server >> notice("ours") + done("SET") + notice("the client's") + answer("2")
    client << notice("the client's") + answer("2")
    stage.nothing_more()


def test_a_notification_reaches_only_a_client_that_keeps_its_server(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    stage.pin(client, server)
    server >> notification("x", "hello")
    client << notification("x", "hello")
    second = stage.server()
    other >> query("select 1")
    second << query("select 1")
    second >> notification("x", "stray") + answer("1")
    other << answer("1")
    second >> notification("x", "stray")
    stage.nothing_more()


def test_what_differs_is_told_ahead_of_the_first_ready(stage: Stage) -> None:
    """Greeted by one server, served by another that reports otherwise."""
    first, client = stage.server(), stage.client()
    first.leave()
    second = stage.server(server_version="18.7", in_hot_standby="on")
    client >> query("select 1") + query("select 2")
    second << query("select 1") + query("select 2")
    second >> answer("1") + answer("2")
    client << answer("1")[: -len(ready())]
    assert {client.take().pair, client.take().pair} == {("server_version", "18.7"), ("in_hot_standby", "on")}
    client << ready() << answer("2")
    stage.nothing_more()


def test_what_a_statement_changes_is_told_in_its_own_exchange(stage: Stage) -> None:
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("set timezone to 'Asia/Tokyo'")
    server << query("set timezone to 'Asia/Tokyo'")
    server >> tag("SET") + parameter("TimeZone", "Asia/Tokyo") + ready()
    client << tag("SET") + parameter("TimeZone", "Asia/Tokyo") + ready()
    # The other one has heard UTC, and gets it back before anything of its own is run.
    other >> query("select 1")
    server << query(GUARD + 'RESET "timezone"') << query("select 1")
    server >> tag("RESET") + parameter("TimeZone", "UTC") + ready() + answer("1")
    other << answer("1")
    client >> query("select 2")
    server << query(GUARD + "SET \"timezone\" TO 'Asia/Tokyo'") << query("select 2")
    server >> tag("SET") + parameter("TimeZone", "Asia/Tokyo") + ready() + answer("2")
    client << answer("2")
    stage.nothing_more()


def test_a_parameter_reported_while_idle_is_told_at_the_next_exchange(stage: Stage) -> None:
    """A reload of its configuration (SIGHUP)."""
    server, client = stage.server(), stage.client()
    server >> parameter("TimeZone", "Europe/Prague")
    stage.nothing_more()
    client >> query("select 1")
    server << query("select 1")
    server >> answer("1")
    client << answer("1")[: -len(ready())] << parameter("TimeZone", "Europe/Prague") << ready()
    stage.nothing_more()


def newcomer(stage: Stage, server: ServerPeer) -> ClientPeer:
    """Who logs in when it is not known any more what servers report: one is asked."""
    client = stage.knock()
    client >> startup({"user": "app", "database": "app"})
    server << query("")
    server >> EMPTY + ready()
    return client.greeted()


@pytest.mark.parametrize("asked", [True, False], ids=["in an exchange", "while idle"])
@pytest.mark.parametrize("name", ["in_hot_standby", "default_transaction_read_only"])
def test_who_comes_after_a_promotion_is_told_of_it(stage: Stage, name: str, asked: bool) -> None:
    """Drivers decide by it at login whether this is the server they look for (rule 19)."""
    server = stage.server(**{name: "on"})
    client = stage.client()
    assert client.parameters[name] == stage.client().parameters[name] == "on"
    if asked:
        client >> query("select 1")
        server << query("select 1")
        server >> answer("1")[: -len(ready())] + parameter(name, "off") + ready()
        client << answer("1")[: -len(ready())] + parameter(name, "off") + ready()
    else:
        server >> parameter(name, "off")
    assert newcomer(stage, server).parameters[name] == "off"
    assert stage.client().parameters[name] == "off", "and that is known again"
    stage.nothing_more()


def test_what_a_client_sets_for_itself_is_nobody_elses_news(stage: Stage) -> None:
    server = stage.server(default_transaction_read_only="off")
    client = stage.client()
    text = query("set default_transaction_read_only to on")
    client >> text
    server << text
    server >> tag("SET") + parameter("default_transaction_read_only", "on") + ready()
    client << tag("SET") + parameter("default_transaction_read_only", "on") + ready()
    assert stage.client().parameters["default_transaction_read_only"] == "off"
    stage.nothing_more()


def test_a_newer_server_that_reports_otherwise_is_news_for_who_comes_then(stage: Stage) -> None:
    stage.server(in_hot_standby="on")
    assert stage.client().parameters["in_hot_standby"] == "on"
    stage.pool()
    server = stage.server(in_hot_standby="off")
    stage.pool().greetings.clear()  # what the grower does (see its own tests)
    assert newcomer(stage, server).parameters["in_hot_standby"] == "off"
    stage.nothing_more()


@pytest.mark.parametrize("status", ["T", "I"])
def test_a_parameter_is_told_when_the_exchange_failed_as_well(stage: Stage, status: str) -> None:
    server, client = stage.server(), stage.client()
    client >> query("select x")
    server << query("select x")
    server >> error("22012") + parameter("application_name", "job") + ready(status)
    client << error("22012") + parameter("application_name", "job") + ready(status)
    if status == "T":
        client >> query("rollback")
        server << query("rollback")
        server >> done("ROLLBACK")
        client << done("ROLLBACK")
    stage.nothing_more()
