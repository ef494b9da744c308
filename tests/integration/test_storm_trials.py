"""Every scenario in its smallest form against poolproxy, through the program's own main().

One run of all of them, looked at from many sides. What must be over within a second is not asserted here: on
a loaded machine a second means nothing.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from benchmarks.storm.__main__ import main
from benchmarks.storm.clients import SessionError
from benchmarks.storm.clock import Clock
from benchmarks.storm.observer import Observer
from benchmarks.storm.results import UNKNOWN, Run, Trial
from benchmarks.storm.scenarios import STORMS
from benchmarks.storm.trials import warm_up
from poolproxy.demo.postgres import free_port
from tests.support.cluster import DATABASE
from tests.support.stage import Stage
from tests.support.waiting import eventually

ENVIRONMENTS = 20
#: What needs neither root nor a PostgreSQL of its own.
SCENARIOS = [scenario.name for scenario in STORMS if not scenario.apart and not scenario.encrypted]
TIMED = {
    "environments killed while they served",
    "servers in a transaction before",
    "servers in a transaction after",
    "clients waiting after",
    "gone after",
    "frozen in a transaction",
    "of their servers, not back in time",
}
#: The whole run is in the first test that wants it.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@dataclass
class Ran:
    status: int
    run: Run
    left: set[int]  #: processes that it has started and not ended

    def trial(self, scenario: str) -> Trial:
        (trial,) = (trial for trial in self.run.trials if trial.scenario == scenario)
        return trial


@pytest.fixture(scope="module")
def ran(session_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    path = tmp_path_factory.mktemp("storm") / "run.json"
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    asked = ["--quick", "--environments", str(ENVIRONMENTS), "--target", "poolproxy", "--json", str(path)]
    status = main([*SCENARIOS, *asked])
    left = {child.pid for child in psutil.Process().children(recursive=True)} - before
    return Ran(status, Run.from_json(path.read_text("utf-8")), left)


def test_every_scenario_has_had_its_trial(ran: Ran) -> None:
    assert [(trial.scenario, trial.target, trial.number) for trial in ran.run.trials] == [
        (name, "poolproxy", 1) for name in SCENARIOS
    ]
    assert ran.run.scenarios.keys() == set(SCENARIOS)
    assert ran.run.targets["poolproxy"].pool_size == 20


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_ledger_is_clean_and_nobody_is_left_unsettled(ran: Ran, name: str) -> None:
    trial = ran.trial(name)
    assert trial.fault() == ""
    assert trial.ledger["acknowledged"] == trial.ledger["clean"] > 0
    assert "unsettled" not in trial.outcomes


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_has_no_time_limit_holds(ran: Ran, name: str) -> None:
    checks = [check for check in ran.trial(name).checks if check.name not in TIMED]
    assert checks
    assert [check for check in checks if not check.passed] == []


def test_the_exit_status_says_whether_all_checks_passed(ran: Ran) -> None:
    missed = [check for trial in ran.run.trials for check in trial.checks if not check.passed]
    assert ran.status == (1 if missed else 0)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_was_seen_meanwhile(ran: Ran, name: str) -> None:
    trial = ran.trial(name)
    assert max(sample.clients for sample in trial.samples) > 0
    assert 0 < max(sample.servers for sample in trial.samples) <= 20
    assert all(sample.memory > 0 and sample.cpu > 0 for sample in trial.samples)
    assert min(sample.waiting for sample in trial.samples) >= 0
    assert sum(second.count for second in trial.timeline) == sum(trial.outcomes.values())
    assert max(sample.environments for sample in trial.samples) > 0
    assert len(trial.connect) > 0
    assert trial.bill["requests"] >= sum(trial.outcomes.values())
    assert trial.bill["dollars"] > 0
    assert 0 <= trial.bill["waiting_share"] < 1


def test_those_that_froze_in_a_transaction_were_told_so(ran: Ran) -> None:
    trial = ran.trial("freeze")
    assert trial.outcomes == {"succeeded": 2 * ENVIRONMENTS + 20, "failed": 20}
    assert trial.errors == {"25P03": 20}


def test_those_that_were_killed_have_failed_and_no_others(ran: Ran) -> None:
    assert ran.trial("kill").outcomes == {"succeeded": 20, "failed": ENVIRONMENTS}


def test_nothing_is_left_behind(ran: Ran) -> None:
    eventually(lambda: not any(map(psutil.pid_exists, ran.left)), "its processes are gone")
    assert "STORM_CLIENT" not in os.environ


# What a trial needs of an endpoint.


def test_a_dsn_with_nobody_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"mine=postgres://somebody:secret@127.0.0.1:{free_port()}/bench"
    assert main(["ramp", "--quick", "--dsn", url]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("storm: mine: the tables of the handlers cannot be made: ")
    assert "secret" not in said


def test_a_setup_that_is_no_sql(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    setup = tmp_path / "setup.sql"
    setup.write_text("CREATE TABEL visit ()", "utf-8")
    assert main(["load", "--target", "poolproxy", "--setup", str(setup)]) == 2
    said = capsys.readouterr().err
    assert f'storm: {setup}: ERROR:  syntax error at or near "TABEL"' in said


async def test_warming_up_where_there_are_fewer_servers_than_sessions(stage: Stage) -> None:
    proxy = stage.proxy(pool_size=3)
    await warm_up(proxy.url("app"), patience=0.2)


async def test_warming_up_nobody() -> None:
    url = f"postgres://somebody:secret@127.0.0.1:{free_port()}/bench"
    with pytest.raises(SessionError, match="the endpoint does not answer before the storm: no connection to"):
        await warm_up(url)


class Silent:
    """An endpoint that tells nothing of itself."""

    async def waiting(self) -> int:
        return UNKNOWN

    def cpu(self) -> float:
        return UNKNOWN

    def memory(self) -> int:
        return UNKNOWN


async def test_who_watches_and_who_asks_beside_him_are_both_answered(stage: Stage) -> None:
    opened: list[asyncpg.Connection[Any]] = []

    async def connect() -> asyncpg.Connection[Any]:
        opened.append(await asyncpg.connect(stage.postgres.url(DATABASE)))
        return opened[-1]

    observer = Observer(Silent(), "postgres", connect, Clock())
    asked = await asyncio.gather(*(observer.servers() for _ in range(8)))
    assert all(servers >= busy >= 1 for servers, busy in asked)  # it sees itself
    assert len(opened) == 1
    sample = await observer.sample(3, 2, 1)
    assert (sample.clients, sample.environments, sample.in_flight, sample.waiting) == (3, 2, 1, UNKNOWN)
    await observer.close()
    assert opened[0].is_closed()


async def test_an_observer_comes_back_with_its_database(stage: Stage) -> None:
    opened: list[asyncpg.Connection[Any]] = []

    async def connect() -> asyncpg.Connection[Any]:
        opened.append(await asyncpg.connect(stage.postgres.url(DATABASE)))
        return opened[-1]

    observer = Observer(Silent(), "postgres", connect, Clock())
    await observer.servers()
    opened[0].terminate()
    assert (await observer.servers())[0] >= 1
    assert len(opened) == 2
    await observer.close()


async def test_where_nobody_may_look_nothing_is_known() -> None:
    assert await Observer(Silent(), "postgres", None, Clock()).servers() == (UNKNOWN, UNKNOWN)
