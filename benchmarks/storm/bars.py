"""Bars that take two targets: poolproxy against PgBouncer, trial by trial of the same number.

What ran right after each other is compared with each other: what disturbs a whole round cancels out.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks.storm.numbers import number
from benchmarks.storm.results import Check, Run, Trial

OURS, THEIRS = "poolproxy", "pgbouncer"
MOST = 1.1
SCENARIOS = ("ramp", "spike")
PERCENTILES = (50, 99)


def bars(run: Run) -> list[Check]:
    """For each scenario in which both have connected."""
    return [check for name in SCENARIOS for check in _bars(run, name)]


def _bars(run: Run, scenario: str) -> Iterator[Check]:
    ours, theirs = (_trials(run, scenario, target) for target in (OURS, THEIRS))
    turns = sorted(ours.keys() & theirs.keys())
    for p in PERCENTILES:
        ratios = [ours[turn].connect.percentile(p) / theirs[turn].connect.percentile(p) for turn in turns]
        if ratios:
            middle = median(ratios)
            found = f"{number(middle)} ({number(min(ratios))}..{number(max(ratios))})"
            name = f"{scenario}: connect + first answer, p{p}, {OURS} / {THEIRS}"
            yield Check(name, found, f"at most {MOST}", middle <= MOST)


def _trials(run: Run, scenario: str, target: str) -> dict[int, Trial]:
    return {
        trial.number: trial
        for trial in run.trials
        if trial.scenario == scenario and trial.target == target and len(trial.connect)
    }
