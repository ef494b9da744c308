"""Logging in with a password that may change: each try on a connection of its own, and no more than helps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from poolproxy.auth.server_login import ScramKeyCache, ServerRefusedLogin
from poolproxy.backend.control import Control
from poolproxy.backend.proving import log_in
from poolproxy.protocol.scram import ScramServer, secret_from_password
from poolproxy.route import Target
from poolproxy.transport.poller import Poller
from tests.dialogues.words import fatal
from tests.support import messages as m
from tests.support.polling import dialer_of
from tests.unit.backend.fake_postgres import GREETING, OK, PASSWORD, Caller, FakePostgres, Script, saying


class Trial:
    """One login's, as the test has it."""

    def __init__(self, passwords: Sequence[str]) -> None:
        self.password, *self.others = passwords
        self.refusals: list[tuple[str, str, str]] = []
        self.taken: list[str] = []

    async def another(self, sqlstate: str, message: str) -> bool:
        self.refusals.append((self.password, sqlstate, message))
        if self.others:
            self.password = self.others.pop(0)
            return True
        return False

    def accepted(self) -> None:
        self.taken.append(self.password)


class Provider:
    """Gives each login the same passwords; a problem instead, if there is one."""

    def __init__(self, *passwords: str, problem: Exception | None = None) -> None:
        self.passwords = passwords
        self.problem = problem
        self.trials: list[Trial] = []

    async def trial(self) -> Trial:
        if self.problem is not None:
            raise self.problem
        self.trials.append(Trial(self.passwords))
        return self.trials[-1]


def checking(password: str = PASSWORD) -> Script:
    """SCRAM as PostgreSQL does it, to the refusal of a wrong proof."""

    async def script(caller: Caller) -> None:
        await caller.startup()
        server = ScramServer(secret_from_password(password))
        await caller.say(m.message("R", (10).to_bytes(4, "big") + b"SCRAM-SHA-256\0\0"))
        first = await caller.message("p")
        challenge = server.first(first[len(b"SCRAM-SHA-256\0") + 4 :])
        await caller.say(m.message("R", (11).to_bytes(4, "big") + challenge))
        try:
            proof = server.final(await caller.message("p"))
        except Exception:
            await caller.say(fatal("28P01", 'password authentication failed for user "app"'))
        else:
            await caller.say(m.message("R", (12).to_bytes(4, "big") + proof) + OK + GREETING)
        await caller.gone()

    return script


async def entered(poller: Poller, target: Target) -> int:
    async with asyncio.timeout(20):
        stream, greeting = await log_in(dialer_of(poller), target, ScramKeyCache())
    stream.close()
    return greeting.pid


async def test_without_a_provider_the_password_is_the_targets(poller: Poller, tmp_path: Path) -> None:
    async with FakePostgres(checking()).serving(tmp_path) as fake:
        assert await entered(poller, fake.target) == 4711


async def test_the_first_password_that_is_taken(poller: Poller, tmp_path: Path) -> None:
    provider = Provider(PASSWORD, "other")
    async with FakePostgres(checking()).serving(tmp_path) as fake:
        await entered(poller, replace(fake.target, password=None, provider=provider))
    assert fake.calls == 1
    assert provider.trials[0].taken == [PASSWORD]
    assert provider.trials[0].refusals == []


async def test_a_refusal_is_followed_by_another_try_on_a_new_connection(
    poller: Poller, tmp_path: Path
) -> None:
    provider = Provider("old", PASSWORD)
    async with FakePostgres(checking()).serving(tmp_path) as fake:
        await entered(poller, replace(fake.target, password=None, provider=provider))
    assert fake.calls == 2
    said = 'password authentication failed for user "app"'
    assert provider.trials[0].refusals == [("old", "28P01", said)]
    assert provider.trials[0].taken == [PASSWORD]


async def test_all_are_refused(poller: Poller, tmp_path: Path) -> None:
    provider = Provider("old", "older")
    async with FakePostgres(checking()).serving(tmp_path) as fake:
        with pytest.raises(ServerRefusedLogin, match="28P01: password authentication failed"):
            await entered(poller, replace(fake.target, provider=provider))
    assert fake.calls == 2
    assert provider.trials[0].taken == []


async def test_what_is_no_refusal_is_no_reason_for_another_try(poller: Poller, tmp_path: Path) -> None:
    provider = Provider("one", "two")
    async with FakePostgres(saying(OK[:4], then_close=True)).serving(tmp_path) as fake:
        with pytest.raises(ConnectionResetError):
            await entered(poller, replace(fake.target, provider=provider))
    assert fake.calls == 1
    assert provider.trials[0].refusals == []


async def test_no_password_no_connection(poller: Poller, tmp_path: Path) -> None:
    provider = Provider(problem=ServerRefusedLogin("28000", "password_file: it is empty"))
    async with FakePostgres(checking()).serving(tmp_path) as fake:
        with pytest.raises(ServerRefusedLogin, match="password_file: it is empty"):
            await entered(poller, replace(fake.target, provider=provider))
    assert fake.calls == 0


async def test_questions_of_our_own_log_in_so_too(poller: Poller, tmp_path: Path) -> None:
    provider = Provider("old", PASSWORD)
    control = Control(dialer_of(poller), ScramKeyCache())
    async with FakePostgres(checking()).serving(tmp_path) as fake:
        target = replace(fake.target, password=None, provider=provider)
        connection = await control.connect(target, 20.0)
        connection.terminate()
    assert (fake.calls, provider.trials[0].taken) == (2, [PASSWORD])


async def test_targets_are_the_same_if_their_provider_is(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Provider("hunter2"), Provider("hunter2")
    with caplog.at_level(logging.DEBUG):
        target = Target("db", 5432, None, "shop", "app", None, provider=one)
        assert target == Target("db", 5432, None, "shop", "app", None, provider=one)
        assert hash(target) == hash(replace(target))
        assert target != replace(target, provider=two)
    assert "hunter2" not in repr(target) + caplog.text
