"""The greeting: what a server reports under a client's parameters, learnt once, then known without one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dialogues.stage import REPORTED, Stage
from tests.dialogues.words import END, answer, done, ended, error, parameter, ready, tag
from tests.support import messages as m
from tests.support.messages import query

STARTUP = {"user": "app", "database": "app"}
GUARD = "SET LOCAL exit_on_error = on; "


def test_it_is_learnt_once_and_then_known_without_a_server(stage: Stage) -> None:
    server, first = stage.server(), stage.client()
    assert first.parameters == REPORTED
    server.leave()
    later = stage.knock()
    later >> m.startup(STARTUP)
    assert later.greeted().parameters == REPORTED
    assert stage.pool().size() == 0
    stage.nothing_more()


def test_a_storm_of_equal_clients_needs_one_answer(stage: Stage) -> None:
    clients = [stage.knock() for _ in range(30)]
    for client in clients:
        client >> m.startup(STARTUP)
    assert stage.pool().waiting.size() == 30
    stage.server().learn()
    for client in clients:
        client.greeted()
    assert stage.pool().waiting.size() == 0
    assert len({client.pid for client in clients}) == 30
    assert len({client.key for client in clients}) == 30
    stage.nothing_more()


def test_other_parameters_are_learnt_of_their_own(stage: Stage) -> None:
    server, plain = stage.server(), stage.client()
    german = stage.knock()
    german >> m.startup({**STARTUP, "TimeZone": "Europe/Berlin"})
    server << query("SET \"timezone\" TO 'Europe/Berlin'")
    stage.nothing_more()
    server >> tag("SET") + parameter("TimeZone", "Europe/Berlin") + ready()
    assert german.greeted().parameters == {**REPORTED, "TimeZone": "Europe/Berlin"}
    again = stage.client(TimeZone="Europe/Berlin")
    assert again.parameters["TimeZone"] == "Europe/Berlin"
    plain >> query("select 1")
    server << query(GUARD + 'RESET "timezone"') << query("select 1")
    server >> tag("RESET") + parameter("TimeZone", "UTC") + ready() + answer("1")
    plain << answer("1")
    stage.nothing_more()


def test_application_names_are_told_without_asking(stage: Stage) -> None:
    """They differ from client to client, and no server refuses one."""
    stage.server(), stage.client(application_name="first", reports={"application_name": "first"})
    names = {"second": "second", "Größe": r"Gr\xc3\xb6\xc3\x9fe", "x" * 100: "x" * 63}
    for name, kept in names.items():
        client = stage.knock()
        client >> m.startup({**STARTUP, "application_name": name})
        told = client.greeted().parameters["application_name"]
        assert told == kept
    stage.nothing_more()


def test_refused_parameters_are_the_servers_own_error(stage: Stage) -> None:
    server, client = stage.server(), stage.knock()
    client >> m.startup({**STARTUP, "work_mem": "lots"})
    server << query("SET \"work_mem\" TO 'lots'")
    server >> error("22023", 'invalid value for parameter "work_mem": "lots"') + ready()
    client << ended("22023", 'invalid value for parameter "work_mem": "lots"') << END
    server << query("DISCARD ALL")
    server >> done("DISCARD ALL")
    stage.ask(stage.client(), server, "select 1")
    stage.nothing_more()


@pytest.mark.parametrize("protocol", [m.PROTOCOL_3_0, m.PROTOCOL_3_0 + 2])
def test_the_cancel_key_is_as_long_as_the_protocol_takes(stage: Stage, protocol: int) -> None:
    stage.server()
    client = stage.client(version=protocol)
    assert len(client.key) == (4 if protocol == m.PROTOCOL_3_0 else 32)
    assert client.pid > 2**22, "no pid of a PostgreSQL's"


def test_clients_before_the_first_server_are_served_in_order_under_its_baseline(stage: Stage) -> None:
    """They came before anybody knew what init_query leaves in a server: none may run without it."""
    first, second, third = stage.knock(), stage.knock(), stage.knock()
    first >> m.startup(STARTUP) + query("select 1")
    second >> m.startup({**STARTUP, "work_mem": "2MB"}) + query("select 2")
    third >> m.startup(STARTUP) + query("select 3")
    server = stage.server(baseline={"work_mem": "'9MB'", "app.x": "'y'"})
    server << query("")
    server >> m.message("I") + ready()
    first.greeted()
    third.greeted()  # its parameters are those of the first: what one has learnt is known to all
    server << query("SET \"work_mem\" TO '2MB'")
    server >> done("SET")
    second.greeted()
    for client, number, size in ((first, 1, 9), (third, 3, None), (second, 2, 2)):
        if size is not None:
            server << query(GUARD + f"SET \"work_mem\" TO '{size}MB'")
            server >> done("SET")
        server << query(f"select {number}")
        server >> answer(str(number))
        client << answer(str(number))
    stage.nothing_more()


def test_what_a_client_that_has_left_learnt_is_known_to_the_others(stage: Stage) -> None:
    server, first, second = stage.server(), stage.knock(), stage.knock()
    first >> m.startup(STARTUP)
    second >> m.startup(STARTUP)
    server << query("")
    first.leave()
    server >> m.message("I") + ready()
    second.greeted()
    assert stage.pool().idle == [server.server]
    assert len(stage.door.clients) == 1
    stage.nothing_more()


def test_a_greeting_that_nobody_can_learn_is_refused_in_time(stage: Stage) -> None:
    client = stage.knock()
    client >> m.startup(STARTUP)
    stage.pool().up = False
    stage.later(121)
    client << ended("57P03") << END
    assert stage.pool().waiting.size() == 0
    stage.nothing_more()


def test_without_patience_for_exchanges_a_greeting_still_waits(stages: Callable[..., Stage]) -> None:
    stage = stages(connection_borrow_timeout=0)
    client = stage.knock()
    client >> m.startup(STARTUP)
    stage.later(1)
    stage.nothing_more()
    stage.server().learn()
    client.greeted()
    stage.nothing_more()
