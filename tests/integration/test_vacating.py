"""Databases that are dropped, renamed or copied: nobody of ours is in them then (sessions.md, rule 20)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import messages as m
from tests.support.cluster import Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError

#: PostgreSQL waits so long for others to leave, and then refuses (procarray.c: CountOtherDBBackends).
POSTGRES_WAITS = 5.0


@pytest.fixture
def shop(direct: Direct) -> Iterator[None]:
    """A database of the user app, who may make and drop databases."""
    direct.rows("alter role app createdb")
    direct.rows("create database shop owner app template template0")  # an idle server may be in template1
    yield
    direct.rows("alter role app nocreatedb")
    for name in ("shop", "store", "copy"):
        direct.rows(f"drop database if exists {name} with (force)")


def serving(stage: Stage, **of_shop: object) -> ProxyProcess:
    url = f"postgres://{stage.postgres.host}:{stage.postgres.port}"
    databases = {
        "app": {"url": f"{url}/app"},
        "shop": {"url": f"{url}/shop", **of_shop},
        "alias": {"url": f"{url}/shop", **of_shop},
    }
    return stage.fresh(databases=databases)


TEXTS = {
    "drop": "drop database shop",
    "rename": "alter database shop rename to store",
    "copy": "create database copy template shop",
}


def asked(wire: Wire, text: str, extended: bool = False) -> list[str]:
    """The tags of the answer."""
    answer = wire.ask(m.extended(text) + m.SYNC if extended else m.query(text))
    assert m.errors(answer) == [], answer
    return m.tags(answer)


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_idle_servers_are_no_reason_to_refuse(
    stage: Stage, direct: Direct, shop: None, text: str, extended: bool
) -> None:
    """Of all its pools, under all its names; clients of it are there, but hold no server."""
    proxy = serving(stage)
    stage.expect_log("server connect failed")
    with (
        proxy.login() as client,
        proxy.login(database="shop") as one,
        proxy.login("other", database="shop") as another,
        proxy.login(database="alias") as third,
    ):
        for other in (one, another, third):
            assert other.value("select current_database()") == "shop"
        assert direct.value("select count(*) from pg_stat_activity where datname = 'shop'") >= 3
        assert asked(client, text, extended) == [
            {"drop": "DROP DATABASE", "alte": "ALTER DATABASE", "crea": "CREATE DATABASE"}[text[:4]]
        ]
        assert client.value("select 1") == "1"
        if text.startswith("create"):
            assert one.value("select current_database()") == "shop"


def test_the_floor_is_not_opened_again_at_once(stage: Stage, direct: Direct, shop: None) -> None:
    proxy = serving(stage, min_pool_size=2)
    stage.expect_log("server connect failed")
    proxy.login(database="shop").query("select 1")
    proxy.wait_gauge("poolproxy_servers", 2, database="shop", state="idle")
    with proxy.login() as client:
        assert asked(client, TEXTS["drop"]) == ["DROP DATABASE"]


def test_the_hub_leaves_as_well(stage: Stage, direct: Direct, shop: None) -> None:
    proxy = serving(stage)
    stage.expect_log("listening server lost|server connect failed")
    with proxy.login(database="shop") as listener, proxy.login() as client:
        listener.query("listen news")
        assert asked(client, TEXTS["drop"]) == ["DROP DATABASE"]
        (lost,) = [message for message in listener.read_to_end() if message.letter == "E"]
        assert (lost.fields["S"], lost.sqlstate) == ("FATAL", "08006")


def test_who_really_is_there_is_a_reason(stage: Stage, direct: Direct, shop: None) -> None:
    """A client in a transaction: PostgreSQL's own error, as on direct connections."""
    proxy = serving(stage)
    with proxy.login(database="shop") as busy, proxy.login() as client:
        busy.query("begin")
        assert m.errors(client.ask(m.query(TEXTS["drop"]))) == ["55006"]
        assert busy.value("select current_database()") == "shop"
        busy.query("commit")
        assert asked(client, TEXTS["rename"]) == ["ALTER DATABASE"]


def test_in_a_transaction_it_is_refused(stage: Stage, shop: None) -> None:
    proxy = serving(stage)
    with proxy.login(database="shop") as one, proxy.login() as client:
        one.query("select 1")
        client.query("begin")
        assert m.errors(client.ask(m.query(TEXTS["drop"]))) == ["25001"]
        client.query("rollback")
        assert one.value("select 1") == "1"


def test_ones_own_database(stage: Stage, direct: Direct, shop: None) -> None:
    """It cannot be dropped, but copied it can be, while nobody else is there."""
    proxy = serving(stage)
    with proxy.login(database="shop") as client, proxy.login("other", database="shop") as other:
        other.query("select 1")
        assert m.errors(client.ask(m.query(TEXTS["drop"]))) == ["55006"]
        assert asked(client, TEXTS["copy"]) == ["CREATE DATABASE"]
        assert other.value("select 1") == "1"


def test_what_has_gone_is_gone(stage: Stage, shop: None) -> None:
    """Its clients hear of it when they ask for something, and new ones when they log in."""
    proxy = serving(stage)
    stage.expect_log("server connect failed|login refused")
    with proxy.login(database="shop") as one, proxy.login() as client:
        one.query("select 1")
        asked(client, TEXTS["drop"])
        one.send(m.query("select 1"))
        (error,) = [message for message in one.read_to_end() if message.letter == "E"]
        assert error.sqlstate == "3D000"
    with pytest.raises(WireError), proxy.login(database="shop") as late:
        late.query("select 1")
