"""Asking a real PostgreSQL how many connections it takes."""

from __future__ import annotations

import dataclasses
import socket

import asyncpg
import pytest

from poolproxy.backend.control import APPLICATION_NAME, usable_connections
from poolproxy.route import Target
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.stage import Stage
from tests.support.waiting import eventually


@pytest.fixture
def target(stage: Stage) -> Target:
    """An ordinary user's way in: nobody gives the proxy a superuser."""
    postgres = stage.postgres
    return Target(postgres.host, postgres.port, None, DATABASE, "app", PASSWORDS["app"])


async def test_what_is_left_for_ordinary_users(target: Target, direct: Direct) -> None:
    setting = "select current_setting('{}')::int"
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    most, superusers, reserved = (direct.value(setting.format(name)) for name in names)
    assert await usable_connections(target, 10.0) == most - superusers - reserved


async def test_the_connection_is_open_only_while_we_ask(target: Target, direct: Direct) -> None:
    await usable_connections(target, 10.0)
    assert direct.sessions(f"application_name = '{APPLICATION_NAME}'") == []


async def test_a_wrong_password(target: Target) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await usable_connections(dataclasses.replace(target, password="wrong"), 10.0)


async def test_a_database_that_is_not_there(target: Target) -> None:
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await usable_connections(dataclasses.replace(target, dbname="missing"), 10.0)


async def test_nobody_listens(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OSError):
        await usable_connections(dataclasses.replace(target, port=port), 10.0)


async def test_over_its_unix_socket(target: Target, stage: Stage) -> None:
    """A database reached by a Unix socket has a limit too."""
    folder = str(stage.postgres.socket_dir)
    path = f"{folder}/.s.PGSQL.{stage.postgres.port}"
    local = dataclasses.replace(target, host=folder, unix_path=path)
    assert await usable_connections(local, 10.0) == await usable_connections(target, 10.0)


def test_no_thread_stays(stage: Stage) -> None:
    """A name is looked up, a password stretched, PostgreSQL asked for its limit, HTTP served: in threads that
    end, for in a process of several every message costs more."""
    url = f"postgres://app:app%20secret@localhost:{stage.postgres.port}/{DATABASE}"
    proxy = stage.fresh(databases={DATABASE: {"url": url}})
    with proxy.login() as client:
        assert client.value("select 1") == "1"
    eventually(lambda: proxy.metrics().by("poolproxy_database_servers_limit", "database"), "its limit")
    eventually(lambda: proxy.threads() == 1, "one thread")
