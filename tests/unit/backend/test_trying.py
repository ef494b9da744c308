"""Tokens of clients are tried on the server, once each, and believed until they expire."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from poolproxy.backend import trying
from poolproxy.backend.trying import PLAIN_LIFETIME, Trials, expiry
from poolproxy.errors import AuthenticationFailed, PoolproxyError, TokenNotTried
from poolproxy.protocol.auth_methods import SCRAM
from poolproxy.route import Route, ServerTls
from poolproxy.transport.poller import Poller
from tests.dialogues.words import fatal
from tests.fakes.routes import route_of
from tests.support import messages as m
from tests.support.polling import dialer_of
from tests.unit.backend.fake_postgres import GREETING, OK, Caller, FakePostgres

SIGNED = (
    "db.example:5432/?Action=connect&DBUser=app"
    "&X-Amz-Date=20261128T120000Z&X-Amz-Expires=900&X-Amz-Signature=a"
)


class Server:
    """It takes one token from each user, over a Unix socket."""

    def __init__(self, *good: str) -> None:
        self.good = good
        self.heard: list[tuple[str, str]] = []
        self.answer = asyncio.Event()
        self.answer.set()
        self.fake = FakePostgres(self._serve)

    async def _serve(self, caller: Caller) -> None:
        user = (await caller.startup())["user"]
        await caller.say(m.message("R", (3).to_bytes(4, "big")))
        try:
            token = (await caller.message("p"))[:-1].decode()
        except asyncio.IncompleteReadError:
            return  # who must not show it has hung up
        self.heard.append((user, token))
        await self.answer.wait()
        if token not in self.good:
            await caller.say(fatal("28P01"))
            return
        await caller.say(OK + GREETING)
        await caller.reader.read()


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def outcome(trials: Trials, route: Route, token: str) -> str:
    """known, taken, or the name of the problem."""
    told: asyncio.Future[PoolproxyError | None] = asyncio.get_running_loop().create_future()
    if trials.ask(route, token, told.set_result):
        return "known"
    async with asyncio.timeout(20):
        problem = await told
    return "taken" if problem is None else type(problem).__name__


async def test_a_token_is_tried_once_and_believed_for_its_time(poller: Poller, tmp_path: Path) -> None:
    server, clock = Server("good"), Clock()
    async with server.fake.serving(tmp_path):
        trials = Trials(dialer_of(poller), clock)
        route = route_of(target=server.fake.target, user="app")
        assert await outcome(trials, route, "good") == "taken"
        assert await outcome(trials, route, "good") == "known"
        clock.now += PLAIN_LIFETIME
        assert await outcome(trials, route, "good") == "taken"
    assert server.heard == [("app", "good")] * 2


async def test_it_is_that_users_and_no_other(poller: Poller, tmp_path: Path) -> None:
    """Whatever user pools log in as."""
    server = Server("good")
    async with server.fake.serving(tmp_path):
        trials = Trials(dialer_of(poller))
        for user in ("app", "other"):
            assert await outcome(trials, route_of(target=server.fake.target, user=user), "good") == "taken"
    assert [user for user, _ in server.heard] == ["app", "other"]


async def test_it_is_tried_on_each_way_to_the_server(poller: Poller, tmp_path: Path) -> None:
    """What a server has taken that need not prove who it is is not believed where it must; nor is it refused
    on one way because it was on another."""
    server = Server("good")
    async with server.fake.serving(tmp_path):
        trials = Trials(dialer_of(poller))
        ways = [
            server.fake.target,
            replace(server.fake.target, tls=ServerTls(channel_binding="require")),
            replace(server.fake.target, methods=frozenset({SCRAM})),
        ]
        routes = [route_of(target=way, user="app") for way in ways]
        found = await asyncio.gather(*(outcome(trials, route, "good") for route in routes))
        assert found == ["taken", AuthenticationFailed.__name__, AuthenticationFailed.__name__]
        assert await outcome(trials, routes[0], "good") == "known"
        assert await outcome(trials, routes[1], "good") == AuthenticationFailed.__name__


async def test_a_wrong_one_is_a_wrong_password_each_time(poller: Poller, tmp_path: Path) -> None:
    server = Server("good")
    async with server.fake.serving(tmp_path):
        trials = Trials(dialer_of(poller))
        route = route_of(target=server.fake.target, user="app")
        for _ in range(2):
            assert await outcome(trials, route, "bad") == AuthenticationFailed.__name__
    assert len(server.heard) == 2


async def test_a_server_that_asks_for_nothing_has_taken_nothing(poller: Poller, tmp_path: Path) -> None:
    async def trusts(caller: Caller) -> None:
        await caller.startup()
        await caller.say(OK + GREETING)
        await caller.reader.read()

    fake = FakePostgres(trusts)
    async with fake.serving(tmp_path):
        trials = Trials(dialer_of(poller))
        route = route_of(target=fake.target, user="app")
        assert await outcome(trials, route, "anything") == AuthenticationFailed.__name__


async def test_why_a_token_is_not_shown_is_logged(
    poller: Poller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client hears what it hears of a wrong one; of a wrong one there is no line."""
    told: list[object] = []
    monkeypatch.setattr(trying, "repeated", lambda *_, **fields: told.append(fields["reason"]))
    server = Server("good")
    async with server.fake.serving(tmp_path):
        route = route_of(target=server.fake.target, user="app")
        assert await outcome(Trials(dialer_of(poller)), route, "bad") == AuthenticationFailed.__name__
        assert not told
        only_scram = replace(server.fake.target, methods=frozenset({SCRAM}))
        route = route_of(target=only_scram, user="app")
        assert await outcome(Trials(dialer_of(poller)), route, "good") == AuthenticationFailed.__name__
    assert told == ["the server asks for a cleartext password: not by require_auth"]


async def test_all_who_bring_the_same_wait_for_one(poller: Poller, tmp_path: Path) -> None:
    server = Server("good")
    server.answer.clear()
    async with server.fake.serving(tmp_path):
        trials = Trials(dialer_of(poller))
        route = route_of(target=server.fake.target, user="app")
        waiting = [asyncio.create_task(outcome(trials, route, "good")) for _ in range(100)]
        while not server.heard:
            await asyncio.sleep(0)
        server.answer.set()
        assert set(await asyncio.gather(*waiting)) == {"taken"}
    assert len(server.heard) == 1


async def test_one_that_cannot_hear_it_keeps_nobody_else_waiting(poller: Poller, tmp_path: Path) -> None:
    server = Server("good")
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))

    def broken(problem: PoolproxyError | None) -> None:
        raise ValueError("its own affair")

    async with server.fake.serving(tmp_path):
        trials = Trials(dialer_of(poller))
        route = route_of(target=server.fake.target, user="app")
        assert not trials.ask(route, "good", broken)
        assert await outcome(trials, route, "good") == "taken"
    assert [str(problem) for problem in problems] == ["its own affair"]


async def test_a_server_that_cannot_be_asked(poller: Poller, tmp_path: Path) -> None:
    server = Server()
    async with server.fake.serving(tmp_path):
        route = route_of(target=server.fake.target, user="app")
    trials = Trials(dialer_of(poller))
    assert await outcome(trials, route, "good") == TokenNotTried.__name__


async def test_there_is_an_end_of_those_who_wait(
    poller: Poller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "MAX_WAITING", 2)
    server = Server()
    server.answer.clear()
    async with server.fake.serving(tmp_path):
        trials = Trials(dialer_of(poller))
        route = route_of(target=server.fake.target, user="app")
        told: list[PoolproxyError | None] = []
        for token in ("one", "two", "two"):
            assert not trials.ask(route, token, told.append)
        with pytest.raises(TokenNotTried):
            trials.ask(route, "three", told.append)
        await trials.close()
        assert told == []


async def test_there_is_an_end_of_those_that_are_believed(
    poller: Poller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "MAX_KNOWN", 1)
    server = Server("one", "two")
    async with server.fake.serving(tmp_path):
        trials = Trials(dialer_of(poller))
        route = route_of(target=server.fake.target, user="app")
        assert await outcome(trials, route, "one") == "taken"
        assert await outcome(trials, route, "two") == "taken"
        assert await outcome(trials, route, "two") == "known"
        assert await outcome(trials, route, "one") == "taken"
        assert "one" not in repr(trials)


@pytest.mark.parametrize(
    ("token", "until"),
    [
        (SIGNED, 1795867200.0 + 900),
        (SIGNED.replace("Expires=900", "Expires=60"), 1795867200.0 + 60),
        (SIGNED.replace("20261128T", "20261399T"), 5.0 + PLAIN_LIFETIME),
        ("no token of theirs", 5.0 + PLAIN_LIFETIME),
    ],
)
def test_when_a_token_expires(token: str, until: float) -> None:
    assert expiry(token, 5.0) == until
