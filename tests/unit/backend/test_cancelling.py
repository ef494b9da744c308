"""Cancel requests on their way to PostgreSQL: what is sent, when, and what a failure means for the server."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from poolproxy.backend import cancelling
from poolproxy.backend.cancelling import MAX_AT_ONCE, Canceller
from poolproxy.route import Target
from poolproxy.transport.poller import Poller
from tests.fakes.routes import route_of, target_of
from tests.support import messages as m
from tests.support.polling import dialer_of
from tests.unit.backend.fake_postgres import Caller, FakePostgres


class Server:
    """As much of a server as a canceller must know; `over` is set when it may be handed out again."""

    def __init__(self, target: Target, pid: int = 4711, key: bytes = b"k" * 32) -> None:
        self.pid = pid
        self.key = key
        self.cancelling = 0
        self.discarding = False
        self.settings_ahead = False  #: Queries of our own go ahead of the client's
        self.at_rest = False  #: everything has been answered
        self.closed_for = ""
        self.over = asyncio.Event()
        self.pool: Any = SimpleNamespace(route=route_of(target=target))
        self.pipeline = SimpleNamespace(skipping=lambda: self.settings_ahead, quiet=lambda: self.at_rest)
        self.stream = SimpleNamespace(closed=False)

    def cancel_over(self) -> None:
        self.cancelling -= 1
        self.over.set()

    def close(self, reason: str) -> None:
        self.closed_for = reason


class Stage:
    """A PostgreSQL that takes cancel requests and hangs up when `act` is set."""

    def __init__(self, poller: Poller) -> None:
        self.results: list[str] = []
        self.canceller = Canceller(dialer_of(poller), self.results.append)
        self.requests: list[bytes] = []
        self.heard = asyncio.Event()
        self.act = asyncio.Event()
        self.act.set()
        self.fake = FakePostgres(self._take)

    async def _take(self, caller: Caller) -> None:
        request = await caller.reader.read(1000)
        if request:
            self.requests.append(request)
            self.heard.set()
            await self.act.wait()

    def cancel(self, server: Any) -> None:
        self.canceller.cancel(server)


@pytest_asyncio.fixture
async def stage(tmp_path: Path, poller: Poller) -> AsyncIterator[Stage]:
    stage = Stage(poller)
    async with stage.fake.serving(tmp_path), asyncio.timeout(30):
        yield stage
        stage.act.set()
        await stage.canceller.close()


async def test_it_is_passed_on_with_the_servers_own_key(stage: Stage) -> None:
    server = Server(stage.fake.target)
    stage.cancel(server)
    assert server.cancelling == 1, "not to be handed out from now on"
    await server.over.wait()
    assert stage.requests == [m.cancel_request(4711, b"k" * 32)]
    assert (stage.results, server.cancelling, server.closed_for) == (["forwarded"], 0, "")


async def test_it_is_over_only_when_postgresql_has_acted(stage: Stage) -> None:
    """Until it hangs up, the signal may still come: it must not hit another query."""
    stage.act.clear()
    server = Server(stage.fake.target)
    stage.cancel(server)
    await stage.heard.wait()
    assert not server.over.is_set()
    assert stage.results == []
    stage.act.set()
    await server.over.wait()
    assert stage.results == ["forwarded"]


async def test_one_on_its_way_will_do(stage: Stage) -> None:
    stage.act.clear()
    server = Server(stage.fake.target)
    stage.cancel(server)
    await stage.heard.wait()
    for _ in range(3):
        stage.cancel(server)
    assert server.cancelling == 1
    stage.act.set()
    await server.over.wait()
    assert (stage.results, len(stage.requests)) == (["forwarded"] * 4, 1)


async def test_a_server_without_a_key_takes_none(stage: Stage) -> None:
    server = Server(stage.fake.target, key=b"")
    stage.cancel(server)
    assert (server.cancelling, stage.results) == (0, ["failed"])


@pytest.mark.parametrize("gone", [False, True], ids=["answered", "closed"])
async def test_what_is_over_already_is_not_cancelled(stage: Stage, gone: bool) -> None:
    """The next query of this server would be hit instead."""
    server = Server(stage.fake.target)
    server.at_rest, server.stream.closed = not gone, gone
    stage.cancel(server)
    await server.over.wait()
    assert (stage.requests, stage.results) == ([], ["forwarded"])


async def test_settings_that_go_ahead_are_not_hit(stage: Stage) -> None:
    server = Server(stage.fake.target)
    looks = 0

    def skipping() -> bool:
        nonlocal looks
        looks += 1
        assert not stage.requests
        return looks < 5

    server.pipeline.skipping = skipping
    stage.cancel(server)
    await server.over.wait()
    assert looks == 5
    assert len(stage.requests) == 1


async def test_a_server_that_ends_meanwhile_is_not_waited_for(stage: Stage) -> None:
    server = Server(stage.fake.target)
    server.settings_ahead = server.stream.closed = True
    stage.cancel(server)
    await server.over.wait()
    assert stage.requests == []


async def test_nobody_answers_the_door(stage: Stage) -> None:
    """Nothing was sent: the server goes on as if nobody had asked."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    server = Server(target_of(host="127.0.0.1", port=port))
    stage.cancel(server)
    await server.over.wait()
    assert (stage.results, server.closed_for, server.cancelling) == (["failed"], "", 0)


async def test_a_request_that_breaks_off_ends_the_server(stage: Stage) -> None:
    """Whether PostgreSQL will act on it is not known: nothing else may run there."""

    async def reset(caller: Caller) -> None:
        await caller.reader.read(1000)
        sock = caller.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    fake = FakePostgres(reset)
    async with fake.serving():
        server = Server(fake.target)
        stage.cancel(server)
        await server.over.wait()
    assert (stage.results, server.cancelling) == (["failed"], 0)
    assert "cancel request" in server.closed_for


async def test_a_request_that_takes_too_long_ends_the_server(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "TIMEOUT", 0.05)
    stage.act.clear()
    server = Server(stage.fake.target)
    stage.cancel(server)
    await server.over.wait()
    assert (stage.results, bool(server.closed_for)) == (["failed"], True)


async def test_only_so_many_at_once_and_nobody_is_forgotten(stage: Stage) -> None:
    stage.act.clear()
    servers = [Server(stage.fake.target, pid=pid) for pid in range(1, MAX_AT_ONCE + 6)]
    for server in servers:
        stage.cancel(server)
    while len(stage.requests) < MAX_AT_ONCE:
        stage.heard.clear()
        await stage.heard.wait()
    assert stage.fake.calls == MAX_AT_ONCE
    stage.act.set()
    for server in servers:
        await server.over.wait()
    assert stage.results == ["forwarded"] * len(servers)
    assert len(set(stage.requests)) == len(servers)


async def test_closing_ends_what_is_under_way(stage: Stage) -> None:
    stage.act.clear()
    server = Server(stage.fake.target)
    stage.cancel(server)
    await stage.heard.wait()
    await stage.canceller.close()
    assert server.over.is_set()
    assert server.cancelling == 0
