"""Logging in with tokens to a server that asks as RDS does: over TLS, in clear text, with PAM behind it."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
import trustme

from poolproxy.auth.server_login import ScramKeyCache, ServerRefusedLogin
from poolproxy.backend.aws import Aws, TokenSource
from poolproxy.backend.passwords import Passwords
from poolproxy.backend.proving import log_in
from poolproxy.route import ServerTls, Target
from poolproxy.transport.poller import Poller
from tests.dialogues.words import fatal
from tests.support import messages as m
from tests.support.polling import dialer_of
from tests.unit.backend.amazon import CREDENTIALS, away
from tests.unit.backend.fake_postgres import GREETING, OK, Caller, FakePostgres


class Rds:
    """What a server of RDS does with a user who has the role rds_iam."""

    def __init__(self) -> None:
        self.certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(self.certificate)
        self.takes = True
        self.encrypts = True
        self.tokens: list[str] = []

    async def script(self, caller: Caller) -> None:
        if self.encrypts:
            question = await caller.reader.readexactly(len(m.ssl_request()))
            assert question == m.ssl_request()
            caller.writer.write(b"S")
            await caller.writer.start_tls(self.certificate)
        user = (await caller.startup())["user"]
        await caller.say(m.message("R", struct.pack("!i", 3)))
        try:
            self.tokens.append((await caller.message("p"))[:-1].decode())
        except asyncio.IncompleteReadError:
            return  # it does not tell that on such a line
        refusal = fatal("28000", f'PAM authentication failed for user "{user}"')
        await caller.say(OK + GREETING if self.takes else refusal)
        await caller.gone()


@pytest.fixture
def rds() -> Rds:
    return Rds()


@pytest_asyncio.fixture
async def fake(rds: Rds) -> AsyncIterator[FakePostgres]:
    async with FakePostgres(rds.script).serving() as fake:
        yield fake


@pytest.fixture
def target(fake: FakePostgres, monkeypatch: pytest.MonkeyPatch) -> Target:
    away(monkeypatch)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    service = Aws("iam_auth").service("rds", "eu-west-1")
    provider = Passwords(TokenSource(service, fake.target.host, fake.target.port, fake.target.user))
    return replace(fake.target, password=None, provider=provider, tls=ServerTls(sslmode="require"))


async def entered(poller: Poller, target: Target) -> None:
    async with asyncio.timeout(20):
        stream, _ = await log_in(dialer_of(poller), target, ScramKeyCache())
    stream.close()


async def test_a_token_over_tls(poller: Poller, rds: Rds, target: Target) -> None:
    for _ in range(3):
        await entered(poller, target)
    assert len(set(rds.tokens)) == 1, "it is good for all logins of the next minutes"
    parts = urlsplit(f"https://{rds.tokens[0]}")
    assert parts.netloc == f"{target.host}:{target.port}"
    assert parse_qs(parts.query)["DBUser"] == ["app"]
    assert rds.tokens[0] not in repr(target)


async def test_one_that_is_refused(poller: Poller, rds: Rds, target: Target, fake: FakePostgres) -> None:
    rds.takes = False
    with pytest.raises(ServerRefusedLogin, match="PAM authentication failed") as caught:
        await entered(poller, target)
    assert caught.value.sqlstate == "28000"
    tried = fake.calls
    with pytest.raises(ServerRefusedLogin, match="not tried again yet"):
        await entered(poller, target)
    assert fake.calls == tried, "nobody has been asked"


async def test_none_without_tls(poller: Poller, rds: Rds, target: Target) -> None:
    """The settings refuse it; should anything else ask for it, it is refused here."""
    rds.encrypts = False
    with pytest.raises(ServerRefusedLogin, match="a cleartext password, which is sent over TLS"):
        await entered(poller, replace(target, tls=ServerTls(sslmode="disable")))
    assert rds.tokens == []
