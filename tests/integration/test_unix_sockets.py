"""Unix sockets on both sides: clients to the proxy, the proxy to PostgreSQL."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire, cancel


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a socket's name has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pp") as name:
        yield Path(name)


@pytest.fixture
def local(stage: Stage, folder: Path) -> ProxyProcess:
    """A proxy that listens on a Unix socket and reaches PostgreSQL over one."""
    postgres = stage.postgres
    url = f"postgres:///{DATABASE}?host={postgres.socket_dir}&port={postgres.port}"
    return stage.fresh(
        databases={DATABASE: {"url": url}}, unix_socket_dir=str(folder), unix_socket_mode="0700"
    )


def test_both_sides(local: ProxyProcess, folder: Path) -> None:
    path = folder / f".s.PGSQL.{local.port}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for address in (str(path), local.address):
        with Wire.login(address, "app", PASSWORDS["app"], DATABASE) as client:
            assert client.value("select coalesce(inet_client_addr()::text, 'unix')") == "unix"


def test_cancel_over_a_unix_socket(local: ProxyProcess, folder: Path, stage: Stage) -> None:
    path = str(folder / f".s.PGSQL.{local.port}")
    with Wire.login(path, "app", PASSWORDS["app"], DATABASE) as client:
        client.send(m.query("select pg_sleep(60)"))
        stage.direct.wait_running("pg_sleep(60)")
        cancel(path, client.pid, client.key)
        assert m.errors(client.read_ready()) == ["57014"]


def test_a_driver_over_a_unix_socket(local: ProxyProcess, folder: Path) -> None:
    options = f"host={folder} port={local.port} user=app dbname={DATABASE}"
    with psycopg.connect(options, password=PASSWORDS["app"]) as connection:
        assert connection.execute("select count(*) from item").fetchone() == (100,)


def test_the_socket_goes_with_the_proxy(local: ProxyProcess, folder: Path) -> None:
    path = folder / f".s.PGSQL.{local.port}"
    assert path.exists()
    local.terminate()
    assert local.wait() == 0
    assert not path.exists()


def test_the_other_form_of_the_url(stage: Stage) -> None:
    """postgres://%2Fdirectory:port/db"""
    postgres = stage.postgres
    place = str(postgres.socket_dir).replace("/", "%2F")
    proxy = stage.fresh(databases={DATABASE: {"url": f"postgres://{place}:{postgres.port}/{DATABASE}"}})
    with proxy.login() as client:
        assert client.value("select coalesce(inet_client_addr()::text, 'unix')") == "unix"


def test_a_socket_that_was_left_behind(stage: Stage, folder: Path) -> None:
    """After a crash the old socket must not keep the next proxy from starting."""
    first = stage.fresh(unix_socket_dir=str(folder))
    port = first.port
    first.kill()
    assert (folder / f".s.PGSQL.{port}").exists()
    second = stage.fresh({"POOLPROXY_LISTEN_PORT": str(port)}, unix_socket_dir=str(folder))
    with Wire.login(str(folder / f".s.PGSQL.{second.port}"), "app", PASSWORDS["app"], DATABASE) as client:
        assert client.value("select 1") == "1"
