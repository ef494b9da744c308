"""What the scenarios do while the arrivals come, and what they note of it: in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from benchmarks.storm.results import UNKNOWN
from benchmarks.storm.scenarios import SCENARIOS
from benchmarks.storm.scenarios.deploy import Deploy
from benchmarks.storm.scenarios.freeze import Freeze
from benchmarks.storm.scenarios.kill import Kill, Vanish
from benchmarks.storm.scenarios.retry import Retry
from benchmarks.storm.scenarios.scenario import Scenario, Underway
from benchmarks.storm.scenarios.thaw import Thaw
from tests.unit.storm.stormy import INVOKE, NEVER, Weather
from tests.unit.storm.virtual_time import loop_time, run


@dataclass
class Told:
    """A database that says one thing after the other; the last again and again."""

    in_transaction: list[int] = field(default_factory=lambda: [0])
    waits: list[int] = field(default_factory=lambda: [0])
    bytes: list[int] = field(default_factory=lambda: [0])
    has: list[int] = field(default_factory=lambda: [0])  #: clients
    seconds: float = 0.0  #: of a restart
    restarts: list[float] = field(default_factory=list)

    async def restart(self) -> None:
        self.restarts.append(loop_time())
        await asyncio.sleep(self.seconds)

    async def servers_in_transaction(self) -> int:
        return _next(self.in_transaction)

    async def clients(self) -> int:
        return _next(self.has)

    async def waiting(self) -> int:
        return _next(self.waits)

    async def memory(self) -> int:
        return _next(self.bytes)


def _next(said: list[int]) -> int:
    return said.pop(0) if len(said) > 1 else said[0]


class Cable:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.at: list[float] = []

    def cut(self) -> None:
        self._hear("cut")

    def mend(self) -> None:
        self._hear("mend")

    def _hear(self, word: str) -> None:
        self.heard.append(word)
        self.at.append(loop_time())


def underway(weather: Weather, database: Told) -> Underway:
    return Underway(weather.storm, weather.clock, database, weather.recorder.groups, weather.recorder.ended)


def found(scenario: Scenario, database: Told, environments: int = 0) -> dict[str, float]:
    """What it has noted, with so many environments that serve somebody for ever."""

    async def play() -> dict[str, float]:
        weather = Weather(timeout=900.0)
        weather.host.does(INVOKE, *(NEVER for _ in range(environments)))
        under = underway(weather, database)
        async with weather.storm:
            for number in range(environments):
                weather.invoke(str(number))
            await scenario.alongside(under)
        return under.found

    return run(play())


def test_kill_ends_all_and_says_when_nothing_was_left() -> None:
    told = Told(in_transaction=[20, 7, 3, 0], waits=[2, 0])
    noted = found(Kill(True, 3), told, environments=3)
    assert noted.pop("seconds") == pytest.approx(0.2)
    assert noted == {
        "in transaction before": 20,
        "waiting before": 2,
        "killed": 3,
        "in transaction after": 0,
        "waiting after": 0,
    }


def test_kill_looks_once_more_when_its_time_is_over() -> None:
    noted = found(
        Kill(True, 1), Told(in_transaction=[20, 7, 0], waits=[0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0])
    )
    assert noted["seconds"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "told", [Told(in_transaction=[1]), Told(waits=[1]), Told(in_transaction=[UNKNOWN]), Told(waits=[UNKNOWN])]
)
def test_kill_claims_nothing_when_something_is_left_or_nobody_knows(told: Told) -> None:
    noted = found(Kill(True, 1), told)
    assert "seconds" not in noted
    assert (noted["in transaction after"], noted["waiting after"]) == (told.in_transaction[0], told.waits[0])


@pytest.mark.usefixtures("without_threads")
async def test_who_vanishes_does_so_behind_a_link_that_is_cut_and_mended_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.storm.scenarios.kill.KILLED_AT", 0.0)
    weather, cable = Weather(), Cable()
    under = underway(weather, Told())
    under.link = cable
    async with weather.storm:
        await Vanish(True, 1).alongside(under)
    assert cable.heard == ["cut", "mend"]


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time knows none."""

    async def at_once(do: Callable[[], None]) -> None:
        do()

    monkeypatch.setattr(asyncio, "to_thread", at_once)


def cut_off(database: Told, scenario: Thaw) -> tuple[dict[str, float], list[tuple[str, float]]]:
    """What it has noted, and when the link was cut and mended, in Lambda time."""

    async def play() -> tuple[dict[str, float], list[tuple[str, float]]]:
        weather, cable = Weather(scale=scenario.scale), Cable()
        under = underway(weather, database)
        under.link = cable
        async with weather.storm:
            await scenario.alongside(under)
        return under.found, [
            (word, at * scenario.scale) for word, at in zip(cable.heard, cable.at, strict=True)
        ]

    return run(play())


@pytest.mark.usefixtures("without_threads")
def test_thaw_cuts_the_link_for_350_s_and_says_when_all_were_given_up() -> None:
    thaw = Thaw(True, 20)
    noted, heard = cut_off(Told(in_transaction=[6, 6, 6, 0], has=[20, 20, 7, 0]), thaw)
    assert heard == [("cut", pytest.approx(thaw.cut)), ("mend", pytest.approx(thaw.cut + 350.0))]
    assert heard[1][1] < thaw.thaw
    assert noted == {
        "clients before": 20,
        "in transaction before": 6,
        "clients after": 0,
        "in transaction after": 0,
        "seconds": pytest.approx(0.2),
        "without a link": pytest.approx(10.0),
    }


@pytest.mark.parametrize(
    "told",
    [Told(in_transaction=[1]), Told(has=[1]), Told(in_transaction=[UNKNOWN]), Told(has=[UNKNOWN])],
    ids=repr,
)
@pytest.mark.usefixtures("without_threads")
def test_thaw_claims_nothing_when_something_is_left_or_nobody_knows(told: Told) -> None:
    noted, heard = cut_off(told, Thaw(True, 20))
    assert "seconds" not in noted
    assert (noted["in transaction after"], noted["clients after"]) == (told.in_transaction[0], told.has[0])
    assert [word for word, _ in heard] == ["cut", "mend"]


def test_deploy_counts_those_that_are_gone_and_those_that_are_not() -> None:
    async def play() -> dict[str, float]:
        weather = Weather(timeout=900.0, name="order")
        weather.host.does(INVOKE, 1.0, NEVER)
        under = underway(weather, Told())
        async with weather.storm:
            weather.invoke("idle")
            weather.invoke("stuck")
            await Deploy(True, 2).alongside(under)
        return under.found

    assert run(play()) == {"replaced": 1, "left": 1}


def test_retry_restarts_the_database_in_the_midst_of_the_uploads() -> None:
    told = Told(seconds=1.5)
    noted = found(Retry(False), told)
    assert noted == {"outage": pytest.approx(1.5)}
    assert told.restarts == [pytest.approx(30.0)]


def test_freeze_waits_for_the_servers_and_weighs_the_clients() -> None:
    noted = found(
        Freeze(True, 100), Told(in_transaction=[20, 20, 20, 5, 0], bytes=[1_000_000, 1_000_000 + 100 * 2048])
    )
    assert noted.pop("seconds") < 4.0
    assert noted == {"in transaction": 20, "in transaction after": 0, "clients": 0, "KiB": 2.0}


@pytest.mark.parametrize("told", [[20, 20], [UNKNOWN]])
def test_freeze_gives_up_when_the_servers_do_not_come_back(told: list[int]) -> None:
    noted = found(Freeze(True, 100), Told(in_transaction=list(told), bytes=[UNKNOWN]))
    assert (noted["in transaction after"], noted["KiB"]) == (told[-1], UNKNOWN)


def test_the_others_do_nothing_beside() -> None:
    idle = [name for name in SCENARIOS if name not in ("kill", "vanish", "deploy", "retry", "freeze", "thaw")]
    assert [found(SCENARIOS[name](True, 20), Told()) for name in idle] == [{}] * len(idle)
