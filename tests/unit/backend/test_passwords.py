"""Passwords that change: which one a login tries, when the source is asked, and when nothing is tried."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import traceback
from itertools import pairwise

import pytest

from poolproxy.auth.server_login import ServerRefusedLogin
from poolproxy.backend import passwords as passwords_module
from poolproxy.backend.passwords import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_TRIES,
    Found,
    NoPassword,
    Passwords,
    Trial,
)

WRONG = ("28P01", 'password authentication failed for user "app"')


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeSource:
    """Says what the test has put there, and counts how often it was asked."""

    refusals = frozenset({"28P01"})

    def __init__(self, *passwords: str, free: bool = False) -> None:
        self.free = free
        self.current: tuple[str, ...] = passwords
        self.also: tuple[str, ...] = ()  #: only if asked thoroughly
        self.problem: Exception | None = None
        self.lasting = (math.inf, math.inf)
        self.asked: list[bool] = []
        self.gate: threading.Event | None = None  #: it answers when this is set

    def __repr__(self) -> str:
        return "fake source"

    def fetch(self, thorough: bool) -> Found:
        assert threading.current_thread() is not threading.main_thread(), "it may wait"
        self.asked.append(thorough)
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.problem is not None:
            raise self.problem
        found = self.current + (self.also if thorough else ())
        return Found(found, *self.lasting)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What is logged of failures."""
    lines: list[dict[str, object]] = []

    def repeated(logger: object, key: object, event: str, **fields: object) -> None:
        lines.append({"event": event, **fields})

    monkeypatch.setattr(passwords_module, "repeated", repeated)
    return lines


async def login(passwords: Passwords, *accepted: str, shown: list[str] | None = None) -> list[str]:
    """One login to a server that takes these; what it was shown, in order, is added to `shown`. Raises what
    the login would."""
    shown = [] if shown is None else shown
    trial = await passwords.trial()
    shown.append(trial.password)
    while trial.password not in accepted:
        if not await trial.another(*WRONG):
            raise ServerRefusedLogin(*WRONG)
        shown.append(trial.password)
    trial.accepted()
    return shown


async def refused(passwords: Passwords, *accepted: str, shown: list[str] | None = None) -> ServerRefusedLogin:
    with pytest.raises(ServerRefusedLogin) as caught:
        await login(passwords, *accepted, shown=shown)
    return caught.value


class TestASecretThatIsRotated:
    async def test_it_is_asked_for_once_and_then_known(self, clock: Clock) -> None:
        source = FakeSource("one")
        passwords = Passwords(source, clock)
        for _ in range(3):
            assert await login(passwords, "one") == ["one"]
            clock.now += 100_000
        assert source.asked == [False]

    async def test_a_hundred_logins_at_once_ask_once(self, clock: Clock) -> None:
        source = FakeSource("one")
        source.gate = threading.Event()
        passwords = Passwords(source, clock)
        logins = [asyncio.create_task(login(passwords, "one")) for _ in range(100)]
        await asyncio.sleep(0)
        source.gate.set()
        assert await asyncio.gather(*logins) == [["one"]] * 100
        assert source.asked == [False]

    async def test_the_new_one_when_the_old_one_is_refused(self, clock: Clock) -> None:
        source = FakeSource("old")
        passwords = Passwords(source, clock)
        await login(passwords, "old")
        source.current = ("new",)
        assert await login(passwords, "new") == ["old", "new"]
        assert await login(passwords, "new") == ["new"], "and from then on at once"
        assert source.asked == [False, True]

    async def test_the_pending_one_while_the_current_one_is_refused(self, clock: Clock) -> None:
        """Rotation has told the server, and not yet made the new secret current."""
        source = FakeSource("old")
        passwords = Passwords(source, clock)
        await login(passwords, "old")
        source.also = ("pending",)
        assert await login(passwords, "pending") == ["old", "pending"]
        assert await login(passwords, "pending") == ["pending"]
        source.current, source.also = ("pending",), ()
        assert await login(passwords, "pending") == ["pending"]
        assert source.asked == [False, True], "its end goes unnoticed"

    async def test_a_rotation_that_is_taken_back(self, clock: Clock) -> None:
        source = FakeSource("old")
        source.also = ("pending",)
        passwords = Passwords(source, clock)
        await login(passwords, "old")
        await login(passwords, "pending")
        source.also = ()
        assert await login(passwords, "old") == ["pending", "old"], "at once, though it was refused just now"

    async def test_many_that_are_refused_at_once_ask_once(self, clock: Clock) -> None:
        source = FakeSource("old")
        passwords = Passwords(source, clock)
        await login(passwords, "old")
        source.current = ("new",)
        trials = [await passwords.trial() for _ in range(50)]
        clock.now += 0.1
        source.gate = threading.Event()
        answers = [asyncio.create_task(trial.another(*WRONG)) for trial in trials]
        await asyncio.sleep(0)
        source.gate.set()
        assert await asyncio.gather(*answers) == [True] * 50
        assert {trial.password for trial in trials} == {"new"}
        assert source.asked == [False, True]

    async def test_who_comes_while_it_is_asked_waits_for_the_answer(self, clock: Clock) -> None:
        source = FakeSource("old")
        passwords = Passwords(source, clock)
        first = await passwords.trial()
        source.current, source.gate = ("new",), threading.Event()
        clock.now += 0.01
        other = asyncio.create_task(first.another(*WRONG))
        await asyncio.sleep(0)
        late = asyncio.create_task(passwords.trial())
        await asyncio.sleep(0)
        assert not late.done(), "what is known is refused: it is no use to try that"
        source.gate.set()
        assert await other
        assert (await late).password == "new"

    async def test_other_refusals_are_not_the_passwords(self, clock: Clock) -> None:
        source = FakeSource("one")
        source.also = ("two",)
        trial = await Passwords(source, clock).trial()
        assert not await trial.another("53300", "sorry, too many clients already")
        assert not await trial.another("3D000", "database does not exist")
        assert not await trial.another("28000", "no pg_hba.conf entry")
        assert source.asked == [False]

    async def test_one_who_is_tired_of_waiting_does_not_end_it_for_others(self, clock: Clock) -> None:
        source = FakeSource("one")
        source.gate = threading.Event()
        passwords = Passwords(source, clock)
        tired, patient = (asyncio.create_task(passwords.trial()) for _ in range(2))
        await asyncio.sleep(0)
        tired.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tired
        source.gate.set()
        assert (await patient).password == "one"
        assert source.asked == [False]


class TestWrongSecrets:
    async def test_nothing_is_hammered(self, clock: Clock) -> None:
        """Neither the server nor the source: they are asked at growing intervals, however many come."""
        source = FakeSource("current")
        source.also = ("pending",)
        passwords = Passwords(source, clock)
        shown: list[str] = []
        tried: list[float] = []
        reasons: set[str] = set()
        begin = clock.now
        while clock.now < begin + 60:
            before = shown.copy()
            reasons.add((await refused(passwords, "right", shown=shown)).message)
            if shown != before:
                assert shown[len(before) :] == ["current", "pending"]
                tried.append(clock.now - begin)
            clock.now += 0.125
        assert reasons == {WRONG[1], f"{WRONG[1]}; not tried again yet"}
        pauses = [later - sooner for sooner, later in pairwise(tried)]
        assert pauses[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
        assert set(pauses[5:]) == {LONGEST_PAUSE}
        assert len(source.asked) <= len(tried) + 1

    async def test_it_is_well_again_when_the_secret_is(self, clock: Clock) -> None:
        source = FakeSource("wrong")
        passwords = Passwords(source, clock)
        await refused(passwords, "right")
        source.current = ("right",)
        clock.now += FIRST_PAUSE
        assert await login(passwords, "right") == ["right"], "asked for before anything is tried"

    async def test_it_is_well_again_when_the_server_is(self, clock: Clock) -> None:
        source = FakeSource("one")
        passwords = Passwords(source, clock)
        await refused(passwords, "other")
        clock.now += FIRST_PAUSE
        assert await login(passwords, "one") == ["one"]
        source.also = ("two",)
        clock.now += 1
        assert await login(passwords, "two") == ["one", "two"]

    async def test_a_file_is_looked_at_in_between(self, clock: Clock) -> None:
        source = FakeSource("wrong", free=True)
        passwords = Passwords(source, clock)
        await refused(passwords, "right")
        assert "not tried again yet" in (await refused(passwords, "right")).message
        source.current = ("right",)
        assert await login(passwords, "right") == ["right"]

    async def test_a_login_takes_few_connections(self, clock: Clock) -> None:
        source = FakeSource("one")
        source.also = ("two", "three", "four")
        trial = await Passwords(source, clock).trial()
        shown = [trial.password]
        while await trial.another(*WRONG):
            shown.append(trial.password)
        assert shown == ["one", "two", "three"]
        assert len(shown) == MOST_TRIES


class TestFiles:
    async def test_each_login_has_what_is_in_it_now(self, clock: Clock) -> None:
        source = FakeSource("one", free=True)
        passwords = Passwords(source, clock)
        await login(passwords, "one")
        source.current = ("two",)
        assert await login(passwords, "two") == ["two"], "without a refusal"

    async def test_one_that_is_ahead_of_the_server(self, clock: Clock) -> None:
        """Whatever changes both changes one of them first."""
        source = FakeSource("old", free=True)
        passwords = Passwords(source, clock)
        await login(passwords, "old")
        source.current = ("new",)
        assert await login(passwords, "old") == ["new", "old"]
        assert await login(passwords, "old") == ["old"], "the new one has been refused just now"
        assert await login(passwords, "new") == ["old", "new"], "and is tried when the old one is refused"

    async def test_when_the_server_follows_nobody_is_turned_away(self, clock: Clock) -> None:
        """Neither who comes while another login finds out."""
        source = FakeSource("old", free=True)
        passwords = Passwords(source, clock)
        await login(passwords, "old")
        source.current = ("new",)
        await login(passwords, "old")
        clock.now += 0.1
        first = await passwords.trial()
        assert first.password == "old"
        assert await first.another(*WRONG)
        late = await passwords.trial()
        assert (first.password, late.password) == ("new", "new")

    async def test_a_wrong_one_is_not_tried_again_and_again(self, clock: Clock) -> None:
        source = FakeSource("right", free=True)
        passwords = Passwords(source, clock)
        await login(passwords, "right")
        source.current = ("wrong",)
        begin, tried = clock.now, []
        while clock.now < begin + 30:
            if "wrong" in await login(passwords, "right"):
                tried.append(clock.now - begin)
            clock.now += 0.125
        assert tried[:5] == [0, 0.5, 1.5, 3.5, 7.5]
        assert len(tried) == 7

    async def test_one_that_is_gone_for_a_while(self, clock: Clock, told: list[dict[str, object]]) -> None:
        source = FakeSource("one", free=True)
        passwords = Passwords(source, clock)
        await login(passwords, "one")
        source.problem = NoPassword("password_file: it cannot be read")
        assert await login(passwords, "one") == ["one"]
        assert told[-1]["effect"] == "what was known before is used"

    async def test_one_that_comes_late(self, clock: Clock, told: list[dict[str, object]]) -> None:
        """Vault's agent may start after us."""
        source = FakeSource("one", free=True)
        source.problem = NoPassword("password_file: it cannot be read")
        passwords = Passwords(source, clock)
        for _ in range(3):
            error = await refused(passwords)
            assert isinstance(error, NoPassword)
            assert error.message == "password_file: it cannot be read"
        assert told[-1]["effect"] == "no new servers"
        source.problem = None
        assert await login(passwords, "one") == ["one"], "at once"


class TestSourcesThatFail:
    async def test_they_are_asked_at_growing_intervals(
        self, clock: Clock, told: list[dict[str, object]]
    ) -> None:
        source = FakeSource("one")
        source.problem = NoPassword("password_secret: AWS cannot be reached", "could not connect to ...")
        passwords = Passwords(source, clock)
        begin, asked = clock.now, []
        while clock.now < begin + 40:
            before = len(source.asked)
            error = await refused(passwords)
            assert isinstance(error, NoPassword)
            assert (error.sqlstate, error.message) == ("28000", "password_secret: AWS cannot be reached")
            if len(source.asked) > before:
                asked.append(clock.now - begin)
            clock.now += 0.125
        assert asked[:6] == [0, 0.5, 1.5, 3.5, 7.5, 15.5]
        assert told[0] == {
            "event": "password not obtained",
            "source": "fake source",
            "reason": "password_secret: AWS cannot be reached",
            "detail": "could not connect to ...",
            "effect": "no new servers",
        }
        source.problem = None
        clock.now += LONGEST_PAUSE
        assert await login(passwords, "one") == ["one"]

    async def test_what_is_known_is_used_meanwhile(self, clock: Clock, told: list[dict[str, object]]) -> None:
        source = FakeSource("one")
        source.also = ("two",)
        passwords = Passwords(source, clock)
        await login(passwords, "one")
        await login(passwords, "two")
        source.problem = NoPassword("password_secret: AWS cannot be reached")
        clock.now += 1
        assert await login(passwords, "one") == ["two", "one"]
        assert told[-1]["effect"] == "what was known before is used"

    @pytest.mark.usefixtures("told")
    async def test_what_was_refused_is_tried_again_though_the_source_is_away(self, clock: Clock) -> None:
        source = FakeSource("one")
        passwords = Passwords(source, clock)
        await refused(passwords, "other")
        source.problem = NoPassword("password_secret: AWS cannot be reached")
        clock.now += FIRST_PAUSE
        assert await login(passwords, "one") == ["one"]

    async def test_of_a_mistake_only_its_kind_is_told(
        self, clock: Clock, told: list[dict[str, object]]
    ) -> None:
        source = FakeSource("one")
        source.problem = RuntimeError("hunter2")
        error = await refused(Passwords(source, clock))
        assert error.message == "it could not be had (RuntimeError)"
        text = "".join(traceback.format_exception(error)) + str(told)
        assert "hunter2" not in text


class TestTokens:
    """What expires: another one in time."""

    @pytest.fixture
    def source(self) -> FakeSource:
        source = FakeSource("first")
        source.lasting = (600.0, 840.0)
        return source

    async def settled(self, passwords: Passwords) -> None:
        """Whatever was asked for meanwhile has been answered."""
        async with asyncio.timeout(20):
            while "asking" in repr(passwords):
                await asyncio.sleep(0.001)

    async def test_one_is_used_as_long_as_it_is_fresh(self, clock: Clock, source: FakeSource) -> None:
        passwords = Passwords(source, clock)
        await login(passwords, "first")
        source.current = ("second",)
        clock.now += 599
        assert await login(passwords, "first") == ["first"]
        assert source.asked == [False]

    async def test_another_one_before_it_expires_and_nobody_waits(
        self, clock: Clock, source: FakeSource
    ) -> None:
        passwords = Passwords(source, clock)
        await login(passwords, "first")
        source.current, source.gate = ("second",), threading.Event()
        clock.now += 600
        assert await login(passwords, "first") == ["first"], "while another one is made"
        assert await login(passwords, "first") == ["first"]
        source.gate.set()
        await self.settled(passwords)
        assert await login(passwords, "second") == ["second"]
        assert source.asked == [False, False]

    async def test_none_that_has_expired_is_shown(self, clock: Clock, source: FakeSource) -> None:
        passwords = Passwords(source, clock)
        await login(passwords, "first")
        source.current = ("second",)
        clock.now += 840
        assert await login(passwords, "second") == ["second"]

    async def test_it_lasts_while_the_source_is_away_and_no_longer(
        self, clock: Clock, source: FakeSource, told: list[dict[str, object]]
    ) -> None:
        passwords = Passwords(source, clock)
        await login(passwords, "first")
        source.problem = NoPassword("iam_auth: there are no AWS credentials")
        clock.now += 700
        assert await login(passwords, "first") == ["first"]
        await self.settled(passwords)
        assert await login(passwords, "first") == ["first"]
        assert source.asked == [False, False], "asked again later only"
        clock.now += 140
        error = await refused(passwords, "first")
        assert isinstance(error, NoPassword)
        assert [line["effect"] for line in told] == ["what was known before is used", "no new servers"]

    async def test_an_earlier_one_is_not_tried_again(self, clock: Clock, source: FakeSource) -> None:
        passwords = Passwords(source, clock)
        await login(passwords, "first")
        source.current = ("second",)
        clock.now += 10
        trial = await passwords.trial()
        assert await trial.another(*WRONG)
        assert trial.password == "second"
        assert not await trial.another(*WRONG)


async def test_nothing_of_it_is_in_a_repr(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    source = FakeSource("hunter2")
    source.also = ("hunter3",)
    passwords = Passwords(source, clock)
    assert repr(passwords) == "<Passwords of fake source: unknown>"
    with caplog.at_level(logging.DEBUG):
        await login(passwords, "hunter3")
        trial = await passwords.trial()
    assert isinstance(trial, Trial)
    texts = [repr(passwords), repr(trial), repr(Found(("hunter2",))), caplog.text]
    assert repr(passwords) == "<Passwords of fake source: known>"
    assert not [text for text in texts if "hunter" in text]
