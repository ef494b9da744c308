"""Two runs side by side."""

from __future__ import annotations

import copy

from benchmarks.storm.compare import BETTER, SAME, WORSE, compare
from benchmarks.storm.histogram import Histogram
from benchmarks.storm.numbers import NARROW
from benchmarks.storm.results import Run
from tests.unit.storm.fixture import make_run


def small() -> Run:
    return make_run(rounds=3, seconds=4, names=("ramp", "kill"))


def test_a_run_against_itself_has_not_changed() -> None:
    run = small()
    comparison = compare(run, run)
    assert len(comparison.changes) == 2 * (6 + 8 + 8)  # nobody knows direct's CPU and memory
    assert comparison.of(BETTER) == comparison.of(WORSE) == []
    assert {change.ratio for change in comparison.changes} == {1.0}
    assert comparison.missing == []
    assert comparison.sentence() == (
        "Against poolproxy 0.9.0 of 2026-11-28 08:00 UTC: of 44 figures, 0 better, 0 worse, "
        "44 within the spread."
    )


def flat(ms: float) -> Histogram:
    histogram = Histogram()
    for _ in range(100):
        histogram.record(ms)
    return histogram


def test_slower_everywhere_is_worse_and_overlapping_is_not() -> None:
    before, now = small(), small()
    for trial in before.trials:
        trial.latency = flat(10.0 + trial.number)
    for trial in now.trials:
        # Every trial of the proxies is slower than every one before; of direct's, only some.
        trial.latency = flat((12.5 if trial.target == "direct" else 20.0) + trial.number)
    comparison = compare(before, now)
    found = {
        (c.target, c.meaning)
        for c in comparison.changes
        if c.scenario == "ramp" and c.figure.name.startswith("whole")
    }
    assert found == {("direct", WORSE), ("pgbouncer", WORSE), ("poolproxy", WORSE)}
    for trial in now.trials:
        trial.latency = flat(8.0 + 2 * trial.number)
    found = {
        (c.target, c.meaning)
        for c in compare(before, now).changes
        if c.scenario == "ramp" and c.figure.name.startswith("whole")
    }
    assert found == {(target, SAME) for target in before.targets}


def test_succeeding_more_often_is_better() -> None:
    before, now = small(), small()
    for trial in before.trials:
        trial.outcomes = {"succeeded": 50, "failed": 50}
    for trial in now.trials:
        trial.outcomes = {"succeeded": 90, "failed": 10}
    changes = [c for c in compare(before, now).changes if c.figure.name == "succeeded"]
    assert {c.meaning for c in changes} == {BETTER}
    assert {round(c.ratio, 3) for c in changes} == {1.8}
    row = compare(before, now).rows(changes)[0]
    assert [cell.replace(NARROW, " ") for cell in row] == [
        "ramp",
        "direct",
        "succeeded",
        "50.0 %",
        "90.0 %",
        "+80.0 %",
        "better",
    ]


def test_what_only_one_of_them_has_is_named() -> None:
    before, now = small(), copy.deepcopy(small())
    before.trials = [t for t in before.trials if t.scenario == "ramp"]
    now.trials = [t for t in now.trials if t.target != "direct"]
    comparison = compare(before, now)
    assert {c.scenario for c in comparison.changes} == {"ramp"}
    assert comparison.missing == [
        "Only before: ramp against direct.",
        "Only now: kill against pgbouncer, kill against poolproxy.",
    ]
    assert comparison.sentence().endswith(" ".join(comparison.missing))


def test_from_nothing_there_is_no_ratio() -> None:
    before, now = small(), small()
    for trial in before.trials:
        trial.outcomes = {"failed": 5}
    changes = [c for c in compare(before, now).changes if c.figure.name == "succeeded"]
    assert all(c.ratio != c.ratio for c in changes)
    assert {c.meaning for c in changes} == {BETTER}
