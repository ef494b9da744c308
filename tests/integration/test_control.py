"""Asking a real PostgreSQL how many connections it takes."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from poolproxy.auth.server_login import ScramKeyCache, ServerRefusedLogin
from poolproxy.backend.control import APPLICATION_NAME, Control
from poolproxy.route import Target
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.polling import dialer_of, served_poller
from tests.support.stage import Stage
from tests.support.waiting import eventually


@pytest_asyncio.fixture
async def control() -> AsyncIterator[Control]:
    async with served_poller() as poller:
        yield Control(dialer_of(poller), ScramKeyCache())


@pytest.fixture
def target(stage: Stage) -> Target:
    """An ordinary user's way in: nobody gives the proxy a superuser."""
    postgres = stage.postgres
    return Target(postgres.host, postgres.port, None, DATABASE, "app", PASSWORDS["app"])


def is_closed(direct: Direct) -> None:
    """Its server takes leave when it has heard of it."""
    eventually(
        lambda: not direct.sessions(f"application_name = '{APPLICATION_NAME}'"), "the connection is closed"
    )


async def test_what_is_left_for_ordinary_users(control: Control, target: Target, direct: Direct) -> None:
    setting = "select current_setting('{}')::int"
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    most, superusers, reserved = (direct.value(setting.format(name)) for name in names)
    assert await control.usable_connections(target, 10.0) == most - superusers - reserved


async def test_the_connection_is_open_only_while_we_ask(
    control: Control, target: Target, direct: Direct
) -> None:
    await control.usable_connections(target, 10.0)
    is_closed(direct)


async def test_a_wrong_password(control: Control, target: Target) -> None:
    with pytest.raises(ServerRefusedLogin, match="28P01"):
        await control.usable_connections(dataclasses.replace(target, password="wrong"), 10.0)


async def test_a_database_that_is_not_there(control: Control, target: Target) -> None:
    with pytest.raises(ServerRefusedLogin, match="3D000"):
        await control.usable_connections(dataclasses.replace(target, dbname="missing"), 10.0)


async def test_nobody_listens(control: Control, target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OSError):
        await control.usable_connections(dataclasses.replace(target, port=port), 10.0)


async def test_over_its_unix_socket(control: Control, target: Target, stage: Stage) -> None:
    """A database reached by a Unix socket has a limit too."""
    folder = str(stage.postgres.socket_dir)
    path = f"{folder}/.s.PGSQL.{stage.postgres.port}"
    local = dataclasses.replace(target, host=folder, unix_path=path)
    assert await control.usable_connections(local, 10.0) == await control.usable_connections(target, 10.0)


def test_no_thread_stays(stage: Stage) -> None:
    """A name is looked up, a password stretched, PostgreSQL asked for its limit, HTTP served: in threads that
    end, for in a process of several every message costs more."""
    url = f"postgres://app:app%20secret@localhost:{stage.postgres.port}/{DATABASE}"
    proxy = stage.fresh(databases={DATABASE: {"url": url}})
    with proxy.login() as client:
        assert client.value("select 1") == "1"
    eventually(lambda: proxy.metrics().by("poolproxy_database_servers_limit", "database"), "its limit")
    eventually(lambda: proxy.threads() == 1, "one thread")


async def test_it_is_asked_with_its_own_name_and_nobody_elses_objects(
    control: Control, target: Target, direct: Direct
) -> None:
    connection = await control.connect(target, 10.0)
    try:
        assert await connection.fetchval("show search_path") == "pg_catalog"
        assert await connection.fetchval("select $1::int8 + 1", 2**40) == 2**40 + 1
        rows = await connection.fetch("select repeat('x', 10000) as text from generate_series(1, 1000)")
        assert {len(row["text"]) for row in rows} == {10_000}
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("select 1 / 0")
        assert len(direct.sessions(f"application_name = '{APPLICATION_NAME}'")) == 1
    finally:
        await connection.close(timeout=10.0)
    is_closed(direct)


async def test_a_question_that_takes_too_long(control: Control, target: Target, direct: Direct) -> None:
    connection = await control.connect(target, 10.0)
    pid = await connection.fetchval("select pg_backend_pid()")
    try:
        with pytest.raises(TimeoutError):
            await connection.fetchval("select pg_sleep(60)", timeout=0.2)
    finally:
        connection.terminate()
        # It would sleep on, and be taken by another test for what that has just sent.
        direct.rows(f"select pg_terminate_backend({pid}, 10000)")


async def test_its_server_is_lost(control: Control, target: Target, direct: Direct) -> None:
    connection = await control.connect(target, 10.0)
    pid = await connection.fetchval("select pg_backend_pid()")
    direct.rows(f"select pg_terminate_backend({pid})")
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("select 1")
    connection.terminate()
