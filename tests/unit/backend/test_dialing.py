"""Servers that answer the request for TLS as no PostgreSQL does, or as one that has none."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from poolproxy.auth.server_login import ScramKeyCache
from poolproxy.backend.connecting import describe, log_in
from poolproxy.backend.dialing import NoTls
from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.route import ServerTls
from poolproxy.transport.poller import Poller
from tests.dialogues.words import fatal
from tests.support import messages as m
from tests.support.polling import dialer_of
from tests.unit.backend.fake_postgres import GREETING, OK, Caller, FakePostgres, Script

FORGED = OK + GREETING
SECRET = "to be shown to nobody"


def answering(answer: bytes) -> Script:
    """Says this to the request for TLS, and hears what else there is."""

    async def script(caller: Caller) -> None:
        assert await caller.reader.readexactly(8) == m.ssl_request()
        with contextlib.suppress(ConnectionError):
            await caller.say(answer)
            await caller.gone()

    return script


async def refused(poller: Poller, script: Script, **tls: str) -> tuple[Exception, int]:
    """What a login there raises, and how often it was tried."""
    fake = FakePostgres(script)
    async with fake.serving():
        target = replace(fake.target, tls=ServerTls(**tls))
        with pytest.raises((OSError, UnexpectedServerAnswer)) as caught:
            async with asyncio.timeout(20):
                await log_in(dialer_of(poller), target, ScramKeyCache())
        async with asyncio.timeout(20):
            await fake.over.wait()
    assert fake.problems == []
    return caught.value, fake.calls


MODES = [{"sslmode": "require"}, {"sslmode": "verify-full", "sslrootcert": "system"}]


@pytest.mark.parametrize("tls", MODES, ids=lambda tls: tls["sslmode"])
@pytest.mark.parametrize("size", [1, 5, len(FORGED)])
async def test_plain_bytes_behind_the_consent(poller: Poller, tls: dict[str, str], size: int) -> None:
    """CVE-2021-23222: in one segment with `S`, before any handshake, as if all had gone well."""
    error, calls = await refused(poller, answering(b"S" + FORGED[:size] + bytes(5)), **tls)
    assert isinstance(error, (NoTls, UnexpectedServerAnswer))
    assert describe(error).count("answer was not the one expected") <= 1, "said once"
    assert calls == 1


@pytest.mark.parametrize("tls", MODES, ids=lambda tls: tls["sslmode"])
async def test_no_tls_where_it_is_demanded(poller: Poller, tls: dict[str, str]) -> None:
    """Nor is the login behind it believed."""
    error, calls = await refused(poller, answering(b"N" + FORGED), **tls)
    assert f"sslmode {tls['sslmode']} demands it" in describe(error)
    assert calls == 1


@pytest.mark.parametrize("length", [0, 100, 1_000_000])
async def test_an_error_before_anybody_has_proved_anything(poller: Poller, length: int) -> None:
    """CVE-2024-10977: its text is neither shown nor waited for."""
    text = fatal("28P01", SECRET + "x" * length)
    error, calls = await refused(poller, answering(text), sslmode="require")
    assert isinstance(error, NoTls)
    assert SECRET not in describe(error) + repr(error)
    assert calls == 1


@pytest.mark.parametrize("answer", [b"X", b"\0", b"R", b"s", b"\xff", b"\x16\x03\x03"])
async def test_what_is_no_answer(poller: Poller, answer: bytes) -> None:
    error, _ = await refused(poller, answering(answer), sslmode="require")
    assert isinstance(error, UnexpectedServerAnswer)


async def test_no_answer(poller: Poller) -> None:
    async def script(caller: Caller) -> None:
        await caller.reader.readexactly(8)

    error, _ = await refused(poller, script, sslmode="require")
    assert "closed the connection when it was asked for TLS" in describe(error)


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x03\x00\x10half", b"\x15\x03\x03\x00\x02\x02\x28"])
async def test_a_handshake_that_ends(poller: Poller, said: bytes) -> None:
    async def script(caller: Caller) -> None:
        await caller.reader.readexactly(8)
        await caller.say(b"S")
        await caller.reader.readexactly(5)
        await caller.say(said)

    error, _ = await refused(poller, script, sslmode="require")
    assert isinstance(error, NoTls)


async def test_direct_tls_with_what_knows_none(poller: Poller) -> None:
    """Say a PostgreSQL 15, to which it is a startup packet of 369 million bytes."""

    async def script(caller: Caller) -> None:
        assert (await caller.reader.readexactly(1)) == b"\x16"
        await caller.say(fatal("08P01", "invalid length of startup packet"))

    error, _ = await refused(poller, script, sslmode="require", sslnegotiation="direct")
    assert isinstance(error, NoTls)
