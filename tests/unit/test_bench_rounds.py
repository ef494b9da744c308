"""Rounds of the benches: who is measured, what is tried again, and what becomes of it in the report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.beside import check_punctual
from benchmarks.figures import DEFAULT, TUNED, Bar, Figure, all_figures
from benchmarks.report import US, Outcome, detail
from benchmarks.rounds import Rounds
from benchmarks.stalls import Stalls
from benchmarks.steady import counted
from benchmarks.targets import Target
from benchmarks.workloads import Clients, Plan, Sample, Void, Workload

PLAN = Plan.quick()


class FakeTarget(Target):
    """Is there, and has stalled once more every time it is asked, for that long at most."""

    def __init__(self, name: str, tls: bool = False, stall: float | None = None) -> None:
        super().__init__()
        self.name = name
        self.tls = tls
        self._stall = stall
        self._stalls = 0

    @property
    def pid(self) -> int:
        raise AssertionError("nobody asks")

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def version(self) -> str:
        return "1"

    def configuration(self) -> str:
        return ""

    def stalls(self) -> Stalls | None:
        if self._stall is None:
            return None
        self._stalls += 1
        return Stalls({self._stall: self._stalls, math.inf: self._stalls}, math.inf)


@dataclass
class FakeWorkload(Workload):
    """Ends as it is told to, one run after the other, and then well."""

    ends: list[Exception] = field(default_factory=list)
    ran: list[tuple[str, bool]] = field(default_factory=list)

    def command(self, plan: Plan) -> str:
        return "fake"

    def run(self, target: Target, plan: Plan) -> Sample:
        self.ran.append((target.name, target.tls))
        if self.ends:
            raise self.ends.pop(0)
        return Sample(3.0)


def figure(workload: Workload, tls: bool = True, stall: float | None = None) -> Figure:
    return Figure("f", "a figure", "ms", "logins", workload, (Bar(1.0, DEFAULT),), tls=tls, stall=stall)


def run(
    figures: Sequence[Figure], rounds: int = 1, stall: float | None = None, names: Sequence[str] = (US,)
) -> list[Outcome]:
    targets = [FakeTarget(name) for name in names]
    encrypted = [FakeTarget(name, True, stall if name == US else None) for name in names]
    return Rounds(targets, encrypted, PLAN, FakeWorkload()).run(figures, rounds)


def test_figures_over_tls_are_measured_with_those_who_have_it() -> None:
    plain, encrypted = FakeWorkload(), FakeWorkload()
    run([figure(plain, False), figure(encrypted)], rounds=2, names=(DEFAULT, US))
    assert plain.ran == [(DEFAULT, False), (US, False), (US, False), (DEFAULT, False)]
    assert encrypted.ran == [(DEFAULT, True), (US, True), (US, True), (DEFAULT, True)]


def test_a_figure_can_be_without_a_target() -> None:
    workload = FakeWorkload()
    (outcome,) = run([dataclasses.replace(figure(workload), without=(TUNED,))], 2, names=(DEFAULT, TUNED, US))
    assert workload.ran == [(DEFAULT, True), (US, True), (US, True), (DEFAULT, True)]
    assert outcome.samples.keys() == {DEFAULT, US}
    assert TUNED not in detail(outcome, PLAN)
    (outcome,) = run([dataclasses.replace(figure(workload), without=(TUNED,))], names=(TUNED,))
    assert outcome.samples == {}


def test_a_void_run_is_made_again_and_told() -> None:
    workload = FakeWorkload([Void("late"), Void("late again")])
    (outcome,) = run([figure(workload)])
    assert len(workload.ran) == 3
    assert outcome.values(US) == [3.0]
    assert outcome.failures == {}
    assert outcome.void == [f"{US}: late", f"{US}: late again"]
    assert "2 runs were void, and tried again: poolproxy: late; poolproxy: late again." in detail(
        outcome, PLAN
    )


def test_what_is_void_again_and_again_is_no_result() -> None:
    (outcome,) = run([figure(FakeWorkload([Void("late")] * 3))])
    assert outcome.values(US) == []
    assert (outcome.failures, outcome.void) == ({}, [f"{US}: late"] * 3)
    assert outcome.verdict() == "-"
    assert f"| {US} | - |" in detail(outcome, PLAN)


def test_what_fails_is_not_tried_again() -> None:
    workload = FakeWorkload([RuntimeError("broken")])
    (outcome,) = run([figure(workload)])
    assert len(workload.ran) == 1
    assert (outcome.failures, outcome.void) == ({US: "broken"}, [])


@pytest.mark.parametrize(
    ("stall", "bar", "verdict"),
    [(0.005, 5.0, "pass"), (0.01, 5.0, "miss"), (0.01, None, "pass"), (None, 5.0, "-")],
)
def test_the_longest_stall_has_a_bar_of_its_own(stall: float | None, bar: float | None, verdict: str) -> None:
    (outcome,) = run([figure(FakeWorkload(), stall=bar)], names=(DEFAULT, US), stall=stall)
    assert outcome.verdict() == verdict
    assert ("Bar of the longest stall: 5 ms." in detail(outcome, PLAN)) == (bar is not None)


def test_without_us_no_bar_of_ours_is_missed() -> None:
    (outcome,) = run([figure(FakeWorkload(), stall=5.0)], names=(DEFAULT,))
    assert outcome.verdict() == "-"


def test_the_bars_over_tls() -> None:
    programs = Clients(Path(), Path(), "")
    bars = {
        each.name: {bar.rival: bar.limit for bar in each.bars}
        for each in all_figures(programs, Plan())
        if each.tls
    }
    assert {name: limits.get(DEFAULT, limits.get(None)) for name, limits in bars.items()} == {
        "tls-simple-32": 1.3,
        "tls-rows": 1.0,
        "tls-login": 1.2,
        "tls-beside": 0.7,
        "tls-idle": 24.0,
    }


@pytest.mark.parametrize(
    ("arrivals", "queries", "said"),
    [(20.1, 0.1, "arrivals by 20.1 ms"), (0.1, 3.1, "steady queries by 3.1 ms")],
)
def test_a_late_generator_has_measured_itself(arrivals: float, queries: float, said: str) -> None:
    check_punctual(Plan(), 20.0, 3.0)
    with pytest.raises(Void, match=said):
        check_punctual(Plan(), arrivals, queries)
    check_punctual(PLAN, arrivals, queries)  # which only shows that it works


@pytest.mark.parametrize(
    ("free", "asked", "answered", "took", "late"),
    [
        (9.5, 10.0, 10.003, 3.0, 0.0),
        (9.5, 10.002, 10.005, 3.0, 2.0),  # we were late: that is not the server's
        (10.1, 10.1, 10.103, 103.0, 0.0),  # the answer before was late: that is
        (10.1, 10.101, 10.104, 103.0, 1.0),
    ],
)
def test_a_steady_query_counts_from_its_moment_without_our_own_lateness(
    free: float, asked: float, answered: float, took: float, late: float
) -> None:
    assert counted(10.0, free, asked, answered) == pytest.approx((10.0, took, late))
