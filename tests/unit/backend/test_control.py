"""Connections of our own: what a server can make of them that is none, or wants too much."""

from __future__ import annotations

import struct

import pytest
import pytest_asyncio

from poolproxy.auth.server_login import ScramKeyCache, ServerRefusedLogin
from poolproxy.backend.control import APPLICATION_NAME, Control
from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.transport.poller import Poller
from tests.dialogues.words import error
from tests.support import messages as m
from tests.support.polling import dialer_of
from tests.unit.backend.fake_postgres import GREETING, OK, PASSWORD, Caller, FakePostgres

CLEARTEXT = m.message("R", struct.pack("!i", 3))
SCRAM = m.message("R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")


@pytest_asyncio.fixture
async def control(poller: Poller) -> Control:
    return Control(dialer_of(poller), ScramKeyCache())


async def test_a_password_is_not_told_to_who_asks_for_it(control: Control) -> None:
    heard = []

    async def script(caller: Caller) -> None:
        await caller.startup()
        await caller.say(CLEARTEXT)
        heard.append(await caller.reader.read())

    async with FakePostgres(script).serving() as fake:
        with pytest.raises(ServerRefusedLogin, match="cleartext password"):
            await control.connect(fake.target, 10.0)
        await fake.over.wait()
    assert heard == [b""]


async def test_a_password_is_not_stretched_as_often_as_a_server_likes(control: Control) -> None:
    async def script(caller: Caller) -> None:
        await caller.startup()
        await caller.say(SCRAM)
        first = await caller.message("p")
        nonce = first[first.index(b"r=") + 2 :]
        challenge = b"r=" + nonce + b"more,s=c2FsdA==,i=2147483647"
        await caller.say(m.message("R", struct.pack("!i", 11) + challenge))
        assert await caller.reader.read() == b""

    async with FakePostgres(script).serving() as fake:
        with pytest.raises(UnexpectedServerAnswer, match="iterations"):
            await control.connect(fake.target, 10.0)


async def test_what_it_starts_with_and_that_asyncpg_begins_behind_that(control: Control) -> None:
    asked = []

    async def script(caller: Caller) -> None:
        asked.append(await caller.startup())
        await caller.say(OK + GREETING)
        await caller.message("P")
        await caller.say(error("57P01", "enough"))

    async with FakePostgres(script).serving() as fake:
        connection = await control.connect(fake.target, 10.0)
        with pytest.raises(Exception, match="enough"):
            await connection.fetchval("select 1")
        connection.terminate()
    assert asked[0]["application_name"] == APPLICATION_NAME
    assert asked[0]["search_path"] == "pg_catalog"
    assert PASSWORD not in repr(asked)


async def test_a_server_that_says_nothing(control: Control) -> None:
    async def script(caller: Caller) -> None:
        await caller.startup()
        await caller.gone()

    async with FakePostgres(script).serving() as fake:
        with pytest.raises(TimeoutError):
            await control.connect(fake.target, 0.2)
