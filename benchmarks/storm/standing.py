"""How the targets of a run stand: medians and spreads over the trials, and who wins by which rule.

The rule, the same for everybody: a target without a fault in the ledger beats one with a fault; of equals,
one that passed all its checks beats one that missed some, where both have checks; of equals, the one whose
share of invocations that succeeded is higher in every trial; of equals, the one whose p99 is lower in every
trial. Spreads that overlap are no difference. Must not know how a page or a table looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.storm.histogram import Histogram
from benchmarks.storm.numbers import milliseconds, number, share, times
from benchmarks.storm.results import UNKNOWN, Check, Run, Sample, Scenario, Trial

SUCCEEDED = "succeeded"
FIGURES = {"latency": "whole invocation", "connect": "connect + first answer"}


@dataclass(slots=True)
class Standing:
    """One target in one scenario: lists have a number per trial, NaN where it is not known."""

    target: str
    trials: list[Trial]
    figure: str  #: "latency" or "connect": what tells the winner

    @property
    def served(self) -> list[float]:
        """Shares (0..1) of invocations that succeeded."""
        return [succeeded(trial) for trial in self.trials]

    def percentiles(self, figure: str, p: float) -> list[float]:
        """A percentile of a histogram, ms."""
        return [histogram(trial, figure).percentile(p) for trial in self.trials]

    @property
    def p99(self) -> list[float]:
        """What the rule compares last, ms."""
        return self.percentiles(self.figure, 99)

    def most(self, pick: Callable[[Sample], int]) -> list[float]:
        """The highest value that a sample had."""
        peaks = [[v for sample in trial.samples if (v := pick(sample)) != UNKNOWN] for trial in self.trials]
        return [max(values) if values else math.nan for values in peaks]

    @property
    def cpu(self) -> list[float]:
        """Seconds of CPU from the first to the last sample."""
        return [_grown([s.cpu for s in trial.samples if s.cpu != UNKNOWN]) for trial in self.trials]

    @property
    def per_million(self) -> list[float]:
        """What a million of these invocations would cost, in dollars."""
        pairs = zip(self.billed("dollars"), self.billed("requests"), strict=True)
        return [dollars / requests * 1e6 if requests else math.nan for dollars, requests in pairs]

    def billed(self, key: str) -> list[float]:
        """A number of the bill."""
        return [float(trial.bill.get(key, math.nan)) for trial in self.trials]

    @property
    def faults(self) -> list[str]:
        """What the ledgers found wrong, one text for each trial that had a fault."""
        return [fault for trial in self.trials if (fault := trial.fault())]

    def booked(self, key: str) -> list[float]:
        """A number of the ledger."""
        return [float(trial.ledger.get(key, math.nan)) for trial in self.trials]

    @property
    def checked(self) -> bool:
        """Whether a trial had checks: who has none cannot miss any, and that is no merit."""
        return any(trial.checks for trial in self.trials)

    @property
    def missed(self) -> list[Check]:
        """Checks that did not pass, of all trials."""
        return [check for trial in self.trials for check in trial.checks if not check.passed]

    @property
    def limited(self) -> list[str]:
        """What the generator said when it was the limit."""
        return [trial.generator_limited for trial in self.trials if trial.generator_limited]


@dataclass(slots=True, frozen=True)
class Verdict:
    """Who won a scenario: one target, or several that cannot be told apart; and a sentence that says so."""

    winners: tuple[str, ...]
    sentence: str
    ratio: float = math.nan  #: p99 of the next best over the winner's, when that decided


def succeeded(trial: Trial) -> float:
    """The share (0..1) of a trial's invocations that succeeded; NaN without invocations."""
    total = sum(trial.outcomes.values())
    return trial.outcomes.get(SUCCEEDED, 0) / total if total else math.nan


def histogram(trial: Trial, figure: str) -> Histogram:
    """One of a trial's two histograms of latency by its name."""
    return trial.connect if figure == "connect" else trial.latency


def scenario_of(run: Run, name: str) -> Scenario:
    """What is known about a scenario: at least its name."""
    return run.scenarios.get(name) or Scenario(title=name)


def standings(run: Run) -> dict[str, list[Standing]]:
    """By scenario, in the order in which they ran; targets in the order of the run."""
    found: dict[str, dict[str, Standing]] = {}
    for trial in run.trials:
        targets = found.setdefault(trial.scenario, {})
        figure = scenario_of(run, trial.scenario).figure
        targets.setdefault(trial.target, Standing(trial.target, [], figure)).trials.append(trial)
    order = {name: at for at, name in enumerate(run.targets)}
    return {
        scenario: sorted(targets.values(), key=lambda standing: order.get(standing.target, len(order)))
        for scenario, targets in found.items()
    }


def verdict(standing: Sequence[Standing]) -> Verdict:
    """Who won a scenario among these, and by how much."""
    if len(standing) == 1:
        only = standing[0]
        return Verdict((), f"{only.target} ran alone: p99 of {_of(only)} is {_middle(only.p99)}.")
    best = leaders(standing)
    names = tuple(one.target for one in best)
    if not best:
        return Verdict((), "Nobody wins: each target is beaten by another one.")
    if len(best) > 1:
        return Verdict(names, _tie(best, standing))
    # Second are those whom the winner alone beats; when these beat each other in a circle, all whom it beats.
    others = [one for one in standing if one is not best[0]]
    rest = [one for one in leaders(others) or others if compare(best[0], one)[0] > 0]
    ratios = [_ratio(best[0], other) for other in rest if compare(best[0], other)[1] == "p99"]
    return Verdict(names, _won(best[0], rest), min(ratios, default=math.nan))


def leaders(standing: Sequence[Standing]) -> list[Standing]:
    """Those whom none of the others beats. Nobody, when they beat each other in a circle: A by a check that C
    does not have, C by what only counts when there is no such check."""
    return [one for one in standing if not any(compare(other, one)[0] > 0 for other in standing)]


def compare(one: Standing, other: Standing) -> tuple[int, str]:
    """1 when `one` beats the other, -1 when it is beaten, else 0; and which part of the rule said it."""
    if bool(one.faults) != bool(other.faults):
        return (1 if other.faults else -1), "ledger"
    if one.checked and other.checked and bool(one.missed) != bool(other.missed):
        return (1 if other.missed else -1), "checks"
    if more := apart(one.served, other.served):
        return more, "served"
    return -apart(one.p99, other.p99), "p99"


def apart(ours: Iterable[float], theirs: Iterable[float]) -> int:
    """1 when all of ours are above all of theirs, -1 when below; 0 when spreads overlap or are unknown."""
    ours, theirs = _known(ours), _known(theirs)
    if not ours or not theirs:
        return 0
    return (min(ours) > max(theirs)) - (max(ours) < min(theirs))


def overlap(ours: Iterable[float], theirs: Iterable[float]) -> bool:
    """Whether the two spreads (min..max) have a value in common, or one of them is not known."""
    return apart(ours, theirs) == 0


def _won(best: Standing, rest: Sequence[Standing]) -> str:
    """What the winner has that those who come second have not."""
    parts, slower = [], []
    for other in rest:
        reason = compare(best, other)[1]
        if reason == "ledger":
            parts.append(f"its ledger is clean, {other.target}'s is not ({other.faults[0]})")
        elif reason == "checks":
            first = f"{other.missed[0].name}: {other.missed[0].found}"
            missed = number(len(other.missed))
            parts.append(f"it passed all its checks, {other.target} missed {missed} ({first})")
        elif reason == "served":
            ours, theirs = share(median(best.served)), share(median(other.served))
            parts.append(f"{ours} of its invocations succeeded, {theirs} of {other.target}'s")
        else:
            slower.append(f"{other.target}'s is {times(_ratio(best, other))} that")
    if slower:
        parts.append(f"p99 of {_of(best)} is {_middle(best.p99)}, {', '.join(slower)}")
    return f"{best.target} wins: {'; '.join(parts) or 'it alone is beaten by nobody'}."


def _tie(best: Sequence[Standing], everybody: Sequence[Standing]) -> str:
    names = " and ".join(one.target for one in best)
    p99 = ", ".join(_middle(one.p99) for one in best)
    text = f"{names}: no difference beyond the spread (p99 of {_of(best[0])}: {p99})."
    behind = [one.target for one in everybody if one not in best]
    return f"{text} Behind: {', '.join(behind)}." if behind else text


def _middle(values: Sequence[float]) -> str:
    known = _known(values)
    return milliseconds(median(known)) if known else "unknown"


def _ratio(best: Standing, other: Standing) -> float:
    return median(_known(other.p99)) / median(_known(best.p99))


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _of(standing: Standing) -> str:
    return FIGURES[standing.figure]


def _grown(values: Sequence[float]) -> float:
    return values[-1] - values[0] if values else math.nan
