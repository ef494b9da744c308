"""From values to places on an axis, and which values are written beside it. Must not know what is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.storm.numbers import percentile

Written = Callable[[float], str]


@dataclass(slots=True, frozen=True)
class Scale:
    """An axis from `low` to `high`; `ticks` are values and what is written there."""

    low: float
    high: float
    ticks: list[tuple[float, str]]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0 at `low`, 1 at `high`; what lies beyond is put at the end."""
        if self.logarithmic:
            value, low, high = math.log10(max(value, self.low)), math.log10(self.low), math.log10(self.high)
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low)))


def linear(values: Iterable[float], written: Written, ticks: int = 4) -> Scale:
    """From 0 to a round number that is not below any of the values."""
    top = max((value for value in values if math.isfinite(value)), default=0.0) or 1.0
    step = _round_up(top / ticks)
    steps = math.ceil(top / step - 1e-9)
    return Scale(0.0, steps * step, [(n * step, written(n * step)) for n in range(steps + 1)])


def span(low: float, high: float, written: Written, ticks: int = 5) -> Scale:
    """Exactly from `low` to `high`, for time; round numbers are written."""
    high = max(high, low + 1)
    step = max(1.0, _round_up((high - low) / ticks))
    first = math.ceil(low / step)
    shown = [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]
    return Scale(low, high, [(value, written(value)) for value in shown])


def logarithmic(values: Iterable[float], written: Written) -> Scale:
    """Positive values between two of 1, 2, 5, 10, 20 ...; these are written, or of many the tens."""
    known = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    exponents = range(math.floor(math.log10(min(known))), math.ceil(math.log10(max(known))) + 2)
    marks = [float(f"{factor}e{exponent}") for exponent in exponents for factor in (1, 2, 5)]
    low = max(mark for mark in marks if mark <= min(known) * (1 + 1e-9))
    high = min((mark for mark in marks if mark >= max(known) * (1 - 1e-9)), default=marks[-1])
    if high <= low:
        high = low * 10
    inside = [mark for mark in marks if low <= mark <= high]
    tens = [mark for mark in inside if math.log10(mark) == round(math.log10(mark))]
    shown = inside if len(inside) <= 8 else tens
    every = math.ceil(len(shown) / 8)
    return Scale(low, high, [(mark, written(mark)) for mark in shown[::every]], logarithmic=True)


def nines(top: float) -> Scale:
    """Percentiles on the axis where each further nine takes the same room: 90, 99, 99.9 ... per cent."""
    high = max(1.0, top)
    marks = [-math.log10(0.5), *(float(n) for n in range(1, math.floor(high + 1e-9) + 1))]
    return Scale(0.0, high, [(mark, percentile(mark)) for mark in marks])


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 ..., for steps that read well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if value <= factor * power * (1 + 1e-9))
