"""From the trials of one target to a line with its spread: what the plots draw.

Every point is the median over the trials, with the lowest and the highest beside it. Must not know how a plot
looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from benchmarks.storm.results import UNKNOWN, Sample, Slice, Trial
from benchmarks.storm.standing import histogram

MOST_POINTS = 120
"""As many as a small plot can show."""


@dataclass(slots=True)
class Line:
    """One target's: points (x, low, median, high), x rising. A gap is where a point's numbers are NaN."""

    target: str
    points: list[tuple[float, float, float, float]] = field(default_factory=list)

    def values(self) -> list[float]:
        """Every number it reaches, without NaN."""
        return [value for _, *values in self.points for value in values if not math.isnan(value)]


def sampled(target: str, trials: list[Trial], pick: Callable[[Sample], float]) -> Line:
    """Of the samples. The highest in each bin counts, so that no peak is lost."""
    return _binned(
        target,
        [[(s.at, v) for s in trial.samples if (v := pick(s)) != UNKNOWN] for trial in trials],
        _bin([trial.seconds for trial in trials], 0.5),
    )


def used(target: str, trials: list[Trial]) -> Line:
    """CPU: how many cores the target used, between two samples."""
    rates = []
    for trial in trials:
        known = [(sample.at, sample.cpu) for sample in trial.samples if sample.cpu != UNKNOWN]
        rates.append(
            [(end, (after - before) / (end - start)) for (start, before), (end, after) in pairwise(known)]
        )
    return _binned(target, rates, _bin([trial.seconds for trial in trials], 1.0))


def sliced(target: str, trials: list[Trial], pick: Callable[[Slice], float]) -> Line:
    """Of the timeline, which has one slice per second."""
    values = [[(float(s.at), v) for s in trial.timeline if not math.isnan(v := pick(s))] for trial in trials]
    return _binned(target, values, _bin([trial.seconds for trial in trials], 1.0))


def curve(target: str, trials: list[Trial], figure: str) -> Line:
    """A histogram's percentiles: x is in nines. As far as every trial's number of values supports it."""
    curves = [points for trial in trials if (points := histogram(trial, figure).curve())]
    columns = zip(*curves, strict=False)
    return Line(target, [(column[0][0], *_spread(ms for _, ms in column)) for column in columns])


def _bin(seconds: list[float], least: float) -> float:
    """The width of a bin in seconds: `least`, or a whole multiple of it when that is too fine for a plot."""
    return least * max(1, math.ceil(max(seconds, default=0.0) / least / MOST_POINTS))


def _binned(target: str, trials: list[list[tuple[float, float]]], width: float) -> Line:
    bins: dict[int, dict[int, float]] = {}
    for number, points in enumerate(trials):
        for at, value in points:
            highest = bins.setdefault(math.floor(at / width + 1e-6), {})
            highest[number] = max(value, highest.get(number, value))
    line = Line(target)
    for at in range(min(bins, default=0), max(bins, default=-1) + 1):
        found = bins.get(at, {}).values()
        spread = _spread(found) if found else (math.nan, math.nan, math.nan)
        line.points.append((at * width, *spread))
    return line


def _spread(values: Iterable[float]) -> tuple[float, float, float]:
    known = list(values)
    return min(known), float(median(known)), max(known)
