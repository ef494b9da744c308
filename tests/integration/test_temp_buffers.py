"""temp_buffers over shared servers: never refused because of somebody else's temporary tables (rule 18)."""

from __future__ import annotations

import pytest

from tests.support import messages as m
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError

USE_TABLES = "create temp table t on commit drop as select 1 as a"

SETTERS = {
    "simple": m.query("set temp_buffers = '16MB'"),
    "extended": m.extended("set temp_buffers = '16MB'") + m.SYNC,
    "named": m.extended("set temp_buffers = '16MB'", statement="s") + m.SYNC,
    "in a text": m.query("select 1; set temp_buffers = '16MB'"),
    "by a function": m.query("select set_config('temp_buffers', '16MB', false)"),
    "pipelined": m.query("select 1") + m.query("set temp_buffers = '16MB'"),
}


def taint(client: Wire) -> None:
    """Use temporary tables, and leave none."""
    client.query(USE_TABLES)


@pytest.mark.parametrize("setter", SETTERS.values(), ids=SETTERS)
def test_set_where_another_client_has_used_temporary_tables(stage: Stage, setter: bytes) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login() as other, proxy.login() as client:
        taint(other)
        client.send(setter)
        answer = client.read_ready(m.frontend_letters(setter).count("Q") or 1)
        assert m.errors(answer) == []
        for _ in range(2):
            assert client.value("show temp_buffers") == "16MB"
            assert other.value("show temp_buffers") == "8MB"
        assert not proxy.metrics().by("poolproxy_pins_total", "reason")


def test_it_follows_its_client_wherever_others_use_temporary_tables(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=2)
    with proxy.login() as client, proxy.login() as other, proxy.login() as third:
        client.query("set temp_buffers = '16MB'")
        for _ in range(3):
            other.query("begin")
            taint(third)
            other.query("commit")
            taint(other)
            assert client.value("show temp_buffers") == "16MB"
            assert other.value("show temp_buffers") == "8MB"
        assert not proxy.metrics().by("poolproxy_pins_total", "reason")


@pytest.mark.parametrize(
    "parameters", [{"temp_buffers": "16MB"}, {"options": "-c temp_buffers=16MB"}], ids=str
)
def test_as_a_startup_parameter(narrow: ProxyProcess, parameters: dict[str, str]) -> None:
    with narrow.login() as other:
        taint(other)
        for _ in range(2):
            with narrow.login(**parameters) as client:
                taint(other)
                assert client.value("show temp_buffers") == "16MB"
                client.query("set temp_buffers = '24MB'")
                client.query("reset temp_buffers")
                taint(other)
                assert client.value("show temp_buffers") == "16MB"


@pytest.mark.parametrize("value", ["nonsense", "1", "-1"])
def test_a_wrong_value_is_refused_all_the_same(stage: Stage, narrow: ProxyProcess, value: str) -> None:
    stage.expect_log("login refused|server")
    with narrow.login() as client:
        taint(client)
        assert m.errors(client.ask(m.query(f"set temp_buffers = '{value}'"))) == ["22023"]
        assert client.value("show temp_buffers") == "8MB"
    with pytest.raises(WireError) as caught, narrow.login(temp_buffers=value) as late:
        late.query("select 1")
    assert caught.value.sqlstate == "22023"


def test_behind_tables_of_its_own_postgres_refuses_it(stage: Stage) -> None:
    with stage.proxy(pool_size=2).login() as client:
        client.query("create temp table t as select 1 as a")
        assert m.errors(client.ask(m.query("set temp_buffers = '16MB'"))) == ["22023"]
        assert client.value("select a from t") == "1"


def test_who_waits_for_another_server_is_served(stage: Stage) -> None:
    """The pool's other servers are busy, and its only free one has to be replaced."""
    proxy = stage.fresh(pool_size=2)
    with proxy.login() as busy, proxy.login() as other, proxy.login() as client:
        busy.query("begin")
        taint(other)
        client.query("set temp_buffers = '16MB'")
        assert client.value("show temp_buffers") == "16MB"
        busy.query("commit")
