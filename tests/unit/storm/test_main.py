"""The exit status of a run, and what of its command line is passed on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.storm.__main__ import begun, passed, under_test
from benchmarks.storm.results import Check, Run, Trial

MISSED = Check("servers", "21", "at most 20", False)


def run() -> Run:
    made = begun(["ramp"])
    for target in ("direct", "pgbouncer", "poolproxy", "mine"):
        trial = Trial("ramp", target, 1, "", 1.0, ledger={"faults": 0})
        trial.checks = [Check("servers", "20", "at most 20", True)]
        made.trials.append(trial)
    made.checks = [Check("p50", "1", "at most 1.1", True)]
    return made


@pytest.mark.parametrize(
    ("spoil", "still"),
    [
        (lambda run: None, True),
        (lambda run: run.trials[0].checks.append(MISSED), True),  # direct is there to be seen failing
        (lambda run: run.trials[0].ledger.update(faults=1), False),
        (lambda run: run.trials[1].checks.append(MISSED), True),  # pgbouncer is compared with
        (lambda run: run.trials[1].ledger.update(faults=1), False),
        (lambda run: run.trials[2].checks.append(MISSED), False),
        (lambda run: run.trials[2].ledger.update(faults=1), False),
        (lambda run: run.trials[3].checks.append(MISSED), False),
        (lambda run: run.trials[3].ledger.clear(), True),  # a handler of one's own keeps none
        (lambda run: run.checks.append(MISSED), False),
    ],
)
def test_what_makes_a_run_fail(spoil: Callable[[Run], object], still: bool) -> None:
    made = run()
    spoil(made)
    assert passed(made) == still


@pytest.mark.parametrize(
    ("targets", "tested"),
    [
        (["direct", "pgbouncer", "poolproxy"], {"poolproxy"}),
        (["direct", "pgbouncer", "poolproxy", "mine", "other"], {"poolproxy", "mine", "other"}),
        (["pgbouncer", "mine"], {"mine"}),
        (["direct", "pgbouncer"], {"pgbouncer"}),
        (["direct"], set()),
    ],
)
def test_whom_the_exit_status_speaks_of(targets: list[str], tested: set[str]) -> None:
    assert under_test(targets) == tested


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("postgres://me:secret@db/shop", "postgres://me:***@db/shop"),
        ("postgres://me@db/shop", "postgres://me@db/shop"),
        ("postgres://me:secret@db/shop?password=secret&x=1", "postgres://me:***@db/shop?password=***&x=1"),
        ("postgres://me@db/shop?x=1&password=secret", "postgres://me@db/shop?x=1&password=***"),
    ],
)
def test_a_report_has_no_passwords(given: str, told: str) -> None:
    command = begun(["ramp", "--dsn", f"mine={given}"]).command
    assert command.replace("'", "") == f"python -m benchmarks.storm ramp --dsn mine={told}"
