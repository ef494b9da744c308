"""Two runs side by side: what changed per scenario and target, and whether that is more than the spread.

Must not know what a page looks like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.storm.numbers import change, count, counted, milliseconds, number, share, size, spread
from benchmarks.storm.results import Run
from benchmarks.storm.standing import FIGURES, Standing, overlap, standings

SAME, BETTER, WORSE, UNKNOWN = "within the spread", "better", "worse", "not known"


@dataclass(slots=True, frozen=True)
class Figure:
    """What is compared: a number per trial, and which way is better."""

    name: str
    values: Callable[[Standing], list[float]]
    written: Callable[[float], str]
    higher: bool = False  #: higher is better


def _latency(figure: str, p: float) -> Figure:
    name = f"{FIGURES[figure]}, p{p:g}"
    return Figure(name, lambda standing: standing.percentiles(figure, p), milliseconds)


FIGURES_COMPARED = (
    Figure("succeeded", lambda standing: standing.served, share, higher=True),
    _latency("connect", 50),
    _latency("connect", 99),
    _latency("latency", 50),
    _latency("latency", 99),
    Figure("servers, most", lambda standing: standing.most(lambda s: s.servers), count),
    Figure("CPU, s", lambda standing: standing.cpu, number),
    Figure("memory, most", lambda standing: standing.most(lambda s: s.memory), size),
)


@dataclass(slots=True, frozen=True)
class Change:
    """One figure of one target in one scenario, before and now: a number per trial."""

    scenario: str
    target: str
    figure: Figure
    before: tuple[float, ...]
    now: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Of the medians, now over before; NaN when either is not known or there was nothing before."""
        if not self.before or not self.now:
            return math.nan
        before, now = median(self.before), median(self.now)
        if before == 0:
            return 1.0 if now == 0 else math.nan
        return now / before

    @property
    def meaning(self) -> str:
        """Better or worse only when the spreads (lowest..highest) have nothing in common."""
        if not self.before or not self.now:
            return UNKNOWN
        if overlap(self.before, self.now):
            return SAME
        return BETTER if (median(self.now) > median(self.before)) == self.figure.higher else WORSE


@dataclass(slots=True, frozen=True)
class Comparison:
    """Every figure that both runs have, and what only one of them has."""

    HEADS = ("scenario", "target", "figure", "before", "now", "change", "meaning")

    before: str  #: version and time
    now: str
    changes: list[Change]
    missing: list[str]  #: in words

    def of(self, meaning: str) -> list[Change]:
        return [change for change in self.changes if change.meaning == meaning]

    @staticmethod
    def rows(changes: Sequence[Change]) -> list[list[str]]:
        """The cells of a table, in words."""
        return [
            [
                c.scenario,
                c.target,
                c.figure.name,
                spread(c.before, c.figure.written),
                spread(c.now, c.figure.written),
                change(c.ratio),
                c.meaning,
            ]
            for c in changes
        ]

    def sentence(self) -> str:
        """What it comes to."""
        better, worse, same = (len(self.of(meaning)) for meaning in (BETTER, WORSE, SAME))
        text = (
            f"Against {self.before}: of {counted(len(self.changes), 'figure')}, {number(better)} better, "
            f"{number(worse)} worse, {number(same)} within the spread."
        )
        return " ".join([text, *self.missing])


def compare(before: Run, now: Run) -> Comparison:
    """What changed from one run to another, for the scenarios and targets that both have."""
    old = {(scenario, s.target): s for scenario, ranked in standings(before).items() for s in ranked}
    new = {(scenario, s.target): s for scenario, ranked in standings(now).items() for s in ranked}
    changes = [
        Change(*key, figure, _known(figure.values(old[key])), _known(figure.values(new[key])))
        for key in new
        if key in old
        for figure in FIGURES_COMPARED
    ]
    return Comparison(
        _named(before),
        _named(now),
        [change for change in changes if change.before or change.now],
        [*_only(old.keys() - new.keys(), "before"), *_only(new.keys() - old.keys(), "now")],
    )


def _named(run: Run) -> str:
    return f"{run.version} of {run.began[:16].replace('T', ' ')} UTC"


def _known(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(value for value in values if not math.isnan(value))


def _only(keys: set[tuple[str, str]], when: str) -> list[str]:
    names = ", ".join(f"{scenario} against {target}" for scenario, target in sorted(keys))
    return [f"Only {when}: {names}."] if names else []
