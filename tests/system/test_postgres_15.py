"""Debian's PostgreSQL 15 behind the proxy: older protocol, fewer reported settings, the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.test_differential import outcome
from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, make_postgres
from tests.support.exchanges import ALL, Exchange
from tests.support.stage import Stage
from tests.support.wire import Wire, cancel

pytestmark = pytest.mark.system

BINARIES = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def module_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(make_postgres(bin_dir=BINARIES), tmp_path_factory.mktemp("proxies15"))
    yield stage
    stage.close()


@pytest.fixture
def old(module_stage: Stage) -> Iterator[Stage]:
    module_stage.begin()
    yield module_stage
    module_stage.end()


def test_the_version(old: Stage) -> None:
    proxy = old.proxy()
    with proxy.login() as client:
        assert client.parameters["server_version"].startswith("15.")
        assert (client.value("show server_version") or "").startswith("15.")


@pytest.mark.parametrize("exchange", ALL, ids=lambda exchange: exchange.name.replace(" ", "-"))
def test_same_answers(old: Stage, exchange: Exchange) -> None:
    proxy = old.proxy()
    expected = outcome(old, (old.postgres.host, old.postgres.port), exchange)
    assert outcome(old, proxy.address, exchange) == expected
    assert outcome(old, proxy.address, exchange, split=True) == expected


def test_parameters_are_those_of_a_direct_login(old: Stage) -> None:
    address = (old.postgres.host, old.postgres.port)
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE) as direct, old.proxy().login() as client:
        assert client.parameters == direct.parameters


def test_settings_follow_their_client(old: Stage) -> None:
    """search_path is not reported by this version: it must be followed all the same."""
    proxy = old.proxy(pool_size=1)
    with proxy.login() as one, proxy.login(search_path="tenant_b") as two:
        one.query("set search_path to tenant_a")
        for _ in range(3):
            assert one.value("select name from whose") == "a"
            assert two.value("select name from whose") == "b"


def test_cancel(old: Stage) -> None:
    """A 3.2 client with its long key, over a server that has a short one."""
    proxy = old.proxy(pool_size=1)
    with proxy.login(version=0x00030002) as client:
        client.send(m.query("select pg_sleep(60)"))
        old.direct.wait_running("pg_sleep(60)")
        cancel(proxy.address, client.pid, client.key)
        assert m.errors(client.read_ready()) == ["57014"]


def test_a_driver(old: Stage) -> None:
    with psycopg.connect(old.proxy().url()) as connection:
        assert connection.execute("select count(*) from item").fetchone() == (100,)


def test_md5_towards_the_server(old: Stage) -> None:
    with old.proxy().login("md5user") as client:
        assert client.value("select current_user") == "md5user"
