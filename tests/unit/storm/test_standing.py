"""Who wins, by which rule, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from benchmarks.storm.numbers import NARROW
from benchmarks.storm.results import UNKNOWN, Check, Run, Sample, Scenario, TargetInfo, Trial
from benchmarks.storm.standing import Standing, apart, compare, overlap, scenario_of, standings, verdict


def trial(target: str, ms: float, number: int = 1, failed: int = 0, lost: int = 0) -> Trial:
    made = Trial("ramp", target, number, "2026-01-01T00:00:00+00:00", 10.0)
    made.outcomes = {"succeeded": 100 - failed, "failed": failed}
    for _ in range(100):
        made.latency.record(ms)
    made.ledger = {"lost": lost, "duplicated": 0, "half": 0, "in_doubt": 7}
    return made


def stand(
    target: str, latencies: Sequence[float], failed: Sequence[int] | None = None, lost: int = 0
) -> Standing:
    failed = failed or [0] * len(latencies)
    trials = [
        trial(target, ms, at, missed, lost)
        for at, (ms, missed) in enumerate(zip(latencies, failed, strict=True))
    ]
    return Standing(target, trials, "latency")


def said(*standing: Standing) -> str:
    return verdict(standing).sentence.replace(NARROW, " ")


def test_the_faster_one_wins_when_every_trial_says_so() -> None:
    fast, slow = stand("a", [10, 11, 12]), stand("b", [20, 22, 24])
    assert compare(fast, slow) == (1, "p99")
    assert compare(slow, fast) == (-1, "p99")
    result = verdict([slow, fast])
    assert result.winners == ("a",)
    assert result.ratio == pytest.approx(2.0, rel=2e-3)
    assert said(slow, fast) == "a wins: p99 of whole invocation is 11.0 ms, b's is 2.00 × that."  # noqa: RUF001


def test_two_that_come_second_are_both_named() -> None:
    late, lossy = stand("b", [20, 24]), stand("c", [21, 23], failed=[1, 1])
    late.trials[0].outcomes = late.trials[1].outcomes = {}  # nobody counted: it cannot be told from c
    assert verdict([late, stand("a", [10, 11]), lossy]).winners == ("a",)
    assert said(late, stand("a", [10, 11]), lossy) == (
        "a wins: 100 % of its invocations succeeded, 99.0 % of c's; "
        "p99 of whole invocation is 10.5 ms, b's is 2.10 × that."  # noqa: RUF001
    )
    lossy.trials[0].outcomes = lossy.trials[1].outcomes = {"succeeded": 9}
    assert said(late, stand("a", [10, 11]), lossy) == (
        "a wins: p99 of whole invocation is 10.5 ms, b's is 2.10 × that, c's is 2.09 × that."  # noqa: RUF001
    )


def test_overlapping_spreads_are_a_tie() -> None:
    one, other = stand("a", [10, 11, 20]), stand("b", [19, 22, 24])
    assert compare(one, other) == (0, "p99")
    result = verdict([one, other, stand("c", [90])])
    assert result.winners == ("a", "b")
    assert math.isnan(result.ratio)
    assert said(one, other, stand("c", [90])) == (
        "a and b: no difference beyond the spread (p99 of whole invocation: 11.0 ms, 22.0 ms). Behind: c."
    )


def test_who_fails_fast_does_not_win() -> None:
    honest, hasty = stand("a", [100, 100]), stand("b", [1, 1], failed=[60, 50])
    assert compare(honest, hasty) == (1, "served")
    assert said(hasty, honest) == "a wins: 100 % of its invocations succeeded, 45.0 % of b's."


def test_a_missed_check_outweighs_invocations() -> None:
    good, bad = stand("a", [100], failed=[5]), stand("b", [1])
    bad.trials[0].checks = [Check("servers at most", "25", "20", False), Check("x", "1", "1", True)]
    assert compare(good, bad) == (-1, "served")  # who has no checks has not passed any
    good.trials[0].checks = [Check("servers at most", "20", "20", True)]
    assert compare(good, bad) == (1, "checks")
    assert said(good, bad) == "a wins: it passed all its checks, b missed 1 (servers at most: 25)."


def test_a_fault_in_the_ledger_outweighs_everything() -> None:
    good, bad = stand("a", [100], failed=[5]), stand("b", [1], lost=2)
    good.trials[0].checks = [Check("servers at most", "25", "20", False)]
    assert compare(good, bad) == (1, "ledger")
    assert said(good, bad) == "a wins: its ledger is clean, b's is not (2 lost)."


def test_a_circle_has_no_winner() -> None:
    missed, passed, unchecked = stand("a", [10]), stand("b", [10], failed=[2]), stand("c", [10], failed=[1])
    missed.trials[0].checks = [Check("servers at most", "25", "20", False)]
    passed.trials[0].checks = [Check("servers at most", "20", "20", True)]
    assert [compare(*pair)[0] for pair in ((passed, missed), (missed, unchecked), (unchecked, passed))] == [
        1
    ] * 3
    result = verdict([missed, passed, unchecked])
    assert result.winners == ()
    assert result.sentence == "Nobody wins: each target is beaten by another one."
    best = stand("d", [5])
    best.trials[0].checks = [Check("servers at most", "20", "20", True)]
    assert said(missed, passed, unchecked, best).startswith("d wins: it passed all its checks, a missed 1 (")


def test_one_target_alone_wins_nothing() -> None:
    result = verdict([stand("a", [10])])
    assert result.winners == ()
    assert result.sentence.replace(NARROW, " ") == "a ran alone: p99 of whole invocation is 10.0 ms."


def test_nobody_known_beats_nobody() -> None:
    silent, other = stand("a", [10]), stand("b", [20])
    silent.trials[0].outcomes, silent.figure, other.figure = {}, "connect", "connect"
    assert compare(silent, other)[0] == 0
    assert verdict([silent, other]).winners == ("a", "b")
    assert "unknown" in said(silent, other)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [([2, 3], [1, 1.9], 1), ([1], [2], -1), ([1, 2], [2, 3], 0), ([], [1], 0), ([math.nan], [1], 0)],
)
def test_apart(ours: list[float], theirs: list[float], found: int) -> None:
    assert apart(ours, theirs) == found
    assert overlap(ours, theirs) == (found == 0)


def test_what_a_standing_knows_of_its_trials() -> None:
    standing = stand("a", [10, 20])
    first, second = standing.trials
    first.samples = [Sample(0, 5, 3, 1, 9, 2, 1.0, 100), Sample(1, 7, 2, 0, 9, 2, 2.5, 300)]
    second.samples = [Sample(0, 5, UNKNOWN, 1, 9, 2, UNKNOWN, UNKNOWN)]
    first.bill = {"dollars": 0.5, "requests": 100_000}
    second.bill = {"dollars": 0.0, "requests": 0}
    second.generator_limited = "it was late"
    peaks = standing.most(lambda sample: sample.servers)
    assert peaks[0] == 3
    assert math.isnan(peaks[1])
    assert standing.cpu[0] == 1.5
    assert math.isnan(standing.cpu[1])
    assert standing.per_million[0] == 5.0
    assert math.isnan(standing.per_million[1])
    assert standing.limited == ["it was late"]
    assert standing.served == [1.0, 1.0]
    assert standing.p99 == pytest.approx([10, 20], rel=1e-3)


def test_targets_stand_in_the_order_of_the_run_and_scenarios_in_theirs() -> None:
    run = Run("c", "v", [], "b", {"b": TargetInfo("1"), "a": TargetInfo("2")})
    run.trials = [trial("a", 1), trial("b", 1), trial("a", 1, 2), trial("stranger", 1)]
    run.trials.append(Trial("kill", "a", 1, "", 1.0))
    run.scenarios["kill"] = Scenario("The kill", figure="connect")
    found = standings(run)
    assert list(found) == ["ramp", "kill"]
    assert [(s.target, len(s.trials)) for s in found["ramp"]] == [("b", 1), ("a", 2), ("stranger", 1)]
    assert found["kill"][0].figure == "connect"
    assert scenario_of(run, "ramp").title == "ramp"
