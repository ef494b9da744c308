"""The storm's command line: three targets side by side, what it writes, and the ways to bring one's own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.storm.results import Run
from tests.support.alone import alone
from tests.support.cluster import DATABASE
from tests.support.stage import Stage
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent.parent
TARGETS = ("direct", "pgbouncer", "poolproxy")
TINY = ("--quick", "--environments", "20")

#: As people write it: connected outside the handler; its own table, and no ledger of ours.
SYNC = """
import os

import psycopg

connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


def handler(event, context):
    assert context.get_remaining_time_in_millis() > 0
    connection.execute("INSERT INTO visit (path) VALUES (%s)", (event["rawPath"],))
    return {"statusCode": 204}
"""
ASYNC = """
import os

import asyncpg

connection = None


async def handler(event, context):
    global connection
    if connection is None or connection.is_closed():
        connection = await asyncpg.connect(os.environ["DATABASE_URL"], statement_cache_size=0)
    await connection.execute("INSERT INTO visit (path) VALUES ($1)", event["rawPath"])
    return {"statusCode": 204}
"""
BROKEN = """
def handler(event, context):
    raise KeyError("no such path")
"""


def storm(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks.storm`, to its end."""
    command = [sys.executable, "-m", "benchmarks.storm", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


def missed(run: Run) -> list[tuple[str, str]]:
    return [
        (trial.target, check.name)
        for trial in run.trials
        if trial.target == "poolproxy"
        for check in trial.checks
        if not check.passed
    ] + [("both", check.name) for check in run.checks if not check.passed]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storm")


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[subprocess.CompletedProcess[str], Run]:
    """All three, twice, and what it has written."""
    path = folder / "first.json"
    done = storm("ramp", *TINY, "--trials", 2, "--json", path, "--html", folder / "first.html")
    assert path.exists(), done.stderr[-3000:]
    return done, Run.from_json(path.read_text("utf-8"))


def test_three_targets_take_turns(first: tuple[subprocess.CompletedProcess[str], Run]) -> None:
    _, run = first
    assert [(trial.number, trial.target) for trial in run.trials] == [
        (1, "direct"),
        (1, "pgbouncer"),
        (1, "poolproxy"),
        (2, "pgbouncer"),
        (2, "poolproxy"),
        (2, "direct"),
    ]
    assert all(trial.fault() == "" and trial.ledger["acknowledged"] for trial in run.trials)


def test_the_proxies_are_configured_alike(first: tuple[subprocess.CompletedProcess[str], Run]) -> None:
    _, run = first
    assert {name: run.targets[name].pool_size for name in TARGETS} == {
        "direct": 0,
        "pgbouncer": 20,
        "poolproxy": 20,
    }
    assert "default_pool_size = 20" in run.targets["pgbouncer"].configuration
    assert "pool_size = 20" in run.targets["poolproxy"].configuration
    assert run.targets["pgbouncer"].version.startswith("PgBouncer ")
    for target in ("pgbouncer", "poolproxy"):
        samples = [sample for trial in run.trials if trial.target == target for sample in trial.samples]
        assert 0 < max(sample.servers for sample in samples) <= 20
        assert min(sample.waiting for sample in samples) >= 0


def test_the_exit_status_is_1_when_a_bar_was_missed_and_else_0(
    first: tuple[subprocess.CompletedProcess[str], Run],
) -> None:
    """By poolproxy: the others are compared with. Two of the bars are of time: which of the two it is, this
    machine decides."""
    done, run = first
    assert done.returncode == (1 if missed(run) else 0)
    assert [name for _, name in missed(run) if "connect + first answer" not in name] == []
    assert len(run.checks) == 2


def test_a_table_is_printed_and_a_page_written(
    first: tuple[subprocess.CompletedProcess[str], Run], folder: Path
) -> None:
    done, _ = first
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ramp |")]
    assert {row.split(" | ")[1] for row in rows} == set(TARGETS)
    html = (folder / "first.html").read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert all(target in html for target in TARGETS)


def test_a_second_run_says_what_has_changed_since_the_first(
    first: tuple[subprocess.CompletedProcess[str], Run], folder: Path
) -> None:
    html = folder / "second.html"
    done = storm(
        "ramp",
        *TINY,
        "--target",
        "poolproxy",
        "--compare",
        folder / "first.json",
        "--html",
        html,
        "--seed",
        2,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'id="comparison"' in html.read_text("utf-8")
    assert 'id="comparison"' not in (folder / "first.html").read_text("utf-8")


@pytest.mark.parametrize(("name", "code"), [("sync", SYNC), ("async", ASYNC)])
def test_a_handler_of_one_s_own_on_an_endpoint_of_one_s_own(
    stage: Stage, tmp_path: Path, name: str, code: str
) -> None:
    """What it writes is there; of a ledger that it does not keep nothing is claimed."""
    stage.direct.rows("DROP TABLE IF EXISTS visit")
    stage.direct.rows("CREATE TABLE visit (path text NOT NULL)")
    function = tmp_path / f"{name}.py"
    function.write_text(code, "utf-8")
    url = stage.postgres.url(DATABASE)
    path = tmp_path / "run.json"
    done = storm(
        # More environments than invocations: however slow the machine is, nobody is throttled.
        *("load", "--quick", "--seconds", 2, "--rate", 10, "--environments", 100),
        *("--dsn", f"mine={url}", "--handler", f"{function}:handler", "--json", path),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (trial,) = Run.from_json(path.read_text("utf-8")).trials
    assert (trial.target, trial.ledger) == ("mine", {})
    assert [check.name for check in trial.checks] == ["failed invocations"]
    assert stage.direct.value("SELECT count(*) FROM visit") == trial.outcomes["succeeded"] > 0
    assert stage.postgres.password not in path.read_text("utf-8")


def test_a_handler_that_fails_makes_the_run_fail(stage: Stage, tmp_path: Path) -> None:
    function = tmp_path / "broken.py"
    function.write_text(BROKEN, "utf-8")
    path = tmp_path / "run.json"
    done = storm(
        *("load", "--quick", "--seconds", 1, "--rate", 20, "--dsn", f"mine={stage.postgres.url(DATABASE)}"),
        *("--handler", f"{function}:handler", "--json", path),
    )
    assert done.returncode == 1, done.stderr[-3000:]
    (trial,) = Run.from_json(path.read_text("utf-8")).trials
    assert trial.outcomes.keys() == {"failed"}
    assert trial.errors == {"KeyError": trial.outcomes["failed"]}


def test_a_dsn_beside_a_local_target(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    done = storm(
        *("ramp", *TINY, "--target", "direct", "--dsn", f"mine={stage.postgres.url(DATABASE)}"),
        *("--json", path, "--client", "asyncpg"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = Run.from_json(path.read_text("utf-8"))
    assert {trial.target for trial in run.trials} == {"direct", "mine"}
    mine = next(trial for trial in run.trials if trial.target == "mine")
    assert [check.name for check in mine.checks] == [
        "failed invocations",
        "ledger",
        "environments at the peak",
    ]  # how many servers there are, nobody can say
    assert mine.ledger["clean"] == mine.ledger["acknowledged"] > 0
    schemas = stage.direct.rows("SELECT nspname FROM pg_namespace WHERE nspname = 'storm'")
    assert schemas == []  # it is somebody else's database


def test_all_vanish_and_new_ones_are_served(tmp_path: Path) -> None:
    """What must be over within seconds is not asserted: those of a loaded machine mean nothing."""
    path = tmp_path / "run.json"
    with alone():  # it has a network namespace
        done = storm("vanish", *TINY, "--target", "poolproxy", "--json", path)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    (trial,) = Run.from_json(path.read_text("utf-8")).trials
    assert trial.outcomes == {"succeeded": 20, "failed": 20}
    assert trial.fault() == ""
    checks = {check.name: check for check in trial.checks}
    assert checks["invocations that failed afterwards"].passed
    assert checks["ledger"].passed


def test_all_thaw_on_connections_that_nobody_knows_any_more(tmp_path: Path) -> None:
    """Seven of each kind, and six that were frozen in a transaction. What must be over in time is not
    asserted here either."""
    path = tmp_path / "run.json"
    with alone():  # it has network namespaces
        done = storm("thaw", *TINY, "--target", "pgbouncer", "--target", "poolproxy", "--json", path)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    run = Run.from_json(path.read_text("utf-8"))
    assert [trial.target for trial in run.trials] == ["pgbouncer", "poolproxy"]
    timed = {
        "clients not given up in time",
        "their servers, not back in time",
        "given up after",
        "the longest waited for an error, s",
    }
    for trial in run.trials:
        assert trial.outcomes == {"succeeded": 47, "failed": 13}
        assert trial.errors == {"ConnectionLost": 20}
        assert trial.fault() == ""
        checks = {check.name: check for check in trial.checks}
        assert checks.keys() > timed
        assert [name for name in checks.keys() - timed if not checks[name].passed] == []


def test_a_ramp_over_tls_beside_an_api(tmp_path: Path) -> None:
    """As functions have it, with asyncpg. How slow the API may become is not asserted here."""
    path = tmp_path / "run.json"
    asked = ("--client", "asyncpg", "--target", "pgbouncer", "--target", "poolproxy", "--json", path)
    done = storm("tls", *TINY, *asked)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    run = Run.from_json(path.read_text("utf-8"))
    assert [trial.target for trial in run.trials] == ["pgbouncer", "poolproxy"]
    assert "client_tls_sslmode = require" in run.targets["pgbouncer"].configuration
    assert 'tls_mode = "require"' in run.targets["poolproxy"].configuration
    for trial in run.trials:
        assert trial.outcomes.keys() == {"succeeded"}, trial.examples
        assert trial.outcomes["succeeded"] > 20 + 50  # orders, and answers of the API
        assert trial.fault() == ""
        assert len(trial.connect) > 20  # those of the ramp, and of the API those that had work
        checks = {check.name: check for check in trial.checks}
        timed = {"p99 of the API, beside the ramp"}
        assert checks.keys() > timed
        assert [name for name in checks.keys() - timed if not checks[name].passed] == []


def test_ctrl_c_leaves_nothing_behind_but_the_trials_that_were_over(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks.storm", "load", "--target", "poolproxy"]
    command += ["--isolation", "process", "--seconds", "6", "--trials", "50", "--json", str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("load · poolproxy · trial 1: "):
                break
        for line in run.stderr:
            if " environments, " in line:  # the next one is under way
                break
        started = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in said
    numbers = [trial.number for trial in Run.from_json(path.read_text("utf-8")).trials]
    assert numbers[0] == 1
    assert len(numbers) < 50
    assert len(started) > 3  # PostgreSQL and its own, poolproxy, a zygote and its own
    eventually(lambda: not any(child.is_running() for child in started), "all that it started is gone")


def test_who_asks_for_nothing_that_there_is_hears_what_there_is() -> None:
    done = storm("rampp")
    assert done.returncode == 2
    assert "there is no scenario rampp: it is one of ramp, spike" in done.stderr
    assert "Traceback" not in done.stderr
