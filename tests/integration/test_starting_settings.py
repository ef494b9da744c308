"""Settings that only a starting session takes: a pool of their own, whose servers start with them."""

from __future__ import annotations

import pytest

from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire, WireError

IGNORING = {"ignore_system_indexes": "on"}


@pytest.mark.parametrize(
    "startup", [IGNORING, {"options": "-P"}, {"options": "-c ignore_system_indexes=1 -c work_mem=9MB"}]
)
def test_a_client_gets_what_it_asked_for_and_nobody_else_does(stage: Stage, startup: dict[str, str]) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login() as ordinary, proxy.login(**startup) as one:
        for _ in range(2):
            assert one.value("show ignore_system_indexes") == "on"
            assert one.value("show work_mem") == ("9MB" if "work_mem" in str(startup) else "4MB")
            assert ordinary.value("show ignore_system_indexes") == "off"
            assert ordinary.value("show work_mem") == "4MB"


def test_those_who_ask_for_the_same_share_servers(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login(**IGNORING) as one, proxy.login(**IGNORING, timezone="Asia/Tokyo") as two:
        server = one.value("select pg_backend_pid()")
        assert two.value("select pg_backend_pid()") == server
        assert two.value("show timezone") == "Asia/Tokyo"
        assert one.value("show timezone") != "Asia/Tokyo"
        with proxy.login(ignore_system_indexes="off") as three:
            assert three.value("select pg_backend_pid()") != server
            assert three.value("show ignore_system_indexes") == "off"


def test_they_hear_each_other_and_everybody_else(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login() as ordinary, proxy.login(**IGNORING) as one:
        for wire in (ordinary, one):
            wire.query("listen here")
        ordinary.query("notify here, 'word'")
        assert one.read().letter == "A"


def test_metrics_tell_their_pool_apart(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login() as ordinary, proxy.login(**IGNORING) as one:
        ordinary.query("select 1")
        one.query("select 1")
        names = {"database": DATABASE, "user": "app", "state": "idle"}

        def clients() -> tuple[float, float]:
            metrics = proxy.metrics()
            theirs = metrics.value("poolproxy_clients", **names, startup="ignore_system_indexes=on")
            return theirs, metrics.value("poolproxy_clients", **names)

        eventually(lambda: clients() == (1, 2), "one of two clients has servers of its own")


@pytest.mark.parametrize(
    "startup",
    [
        {"ignore_system_indexes": "maybe"},
        {"log_connections": "on"},
        {"post_auth_delay": "x"},
        {"options": "-c log_disconnections=on"},
        {"session_preload_libraries": "nonsense"},
        {"local_preload_libraries": "nonsense"},
    ],
)
def test_what_postgresql_refuses_is_refused_in_its_words(stage: Stage, startup: dict[str, str]) -> None:
    stage.expect_log("server connect failed")
    proxy = stage.fresh(pool_size=1)
    address = (stage.postgres.host, stage.postgres.port)
    with pytest.raises(WireError) as direct:
        Wire.login(address, "app", PASSWORDS["app"], DATABASE, **startup)
    with pytest.raises(WireError) as caught:
        proxy.login(**startup)
    expected, found = (error.value.message.fields for error in (direct, caught))
    for field in "SVCM":
        assert found[field] == expected[field]
    # It is that client's own affair: nothing of it is left, and no server is called down.
    assert all(
        sample.value
        for sample in proxy.metrics().samples
        if sample.name == "poolproxy_server_up" and "startup" in sample.labels
    )
    with proxy.login() as client:
        assert client.value("select 1") == "1"


def test_in_session_mode(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=1, pool_mode="session")
    with proxy.login() as ordinary, proxy.login(**IGNORING) as one:
        assert one.value("show ignore_system_indexes") == "on"
        assert ordinary.value("show ignore_system_indexes") == "off"


def test_a_reset_does_not_touch_them(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login(**IGNORING) as one, proxy.login(**IGNORING) as two:
        one.query("discard all")
        one.query("reset all")
        for wire in (one, two):
            assert wire.value("show ignore_system_indexes") == "on"
