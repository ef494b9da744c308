"""Latencies of a trial, counted: HDR histograms of 1 us to 1 h with three significant digits.

A thin coat over `hdrhistogram`: in milliseconds outside, in whole microseconds inside. Must not know whose
latencies these are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

LOWEST, HIGHEST, DIGITS = 1, 3_600_000_000, 3
"""Microseconds, microseconds, significant digits."""

NINES_STEP = 0.05
"""The distance of a curve's points, in nines: 90 % is one nine, 99 % two."""


class BrokenHistogram(ValueError):
    """Text that is no histogram of ours: its encoding is damaged, or its range or precision are others."""


class Histogram:
    """How often each latency occurred. Two are equal when all their counts are."""

    __slots__ = ("_counts", "_found")

    def __init__(self) -> None:
        self._counts = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        # Percentiles since the last change: a pass over all counters takes 2 ms, and a report asks often.
        self._found: dict[float, float] = {}

    def __len__(self) -> int:
        return int(self._counts.total_count)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return bool(self._counts.counts[:] == other._counts.counts[:])

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if not len(self):
            return "<Histogram: empty>"
        p50, p99 = self.percentiles((50, 99))
        return f"<Histogram: {len(self)} values, p50 {p50:g} ms, p99 {p99:g} ms, max {self.max:g} ms>"

    def record(self, ms: float) -> None:
        """Count one latency of `ms` milliseconds.

        Below 0 (a clock that ticks coarsely woke somebody early) counts as 0, above an hour as an hour.
        Raises ValueError for NaN.
        """
        if math.isnan(ms):
            raise ValueError("a latency is a number of milliseconds, not NaN")
        self._found.clear()
        self._counts.record_value(round(min(max(ms * 1e3, 0.0), HIGHEST)))

    def percentile(self, p: float) -> float:
        """The latency in ms that `p` per cent (0..100) of the values do not exceed; NaN when it is empty."""
        return self.percentiles((p,))[0]

    def percentiles(self, wanted: Sequence[float]) -> list[float]:
        """The same for several at once, in one pass."""
        if not all(0 <= p <= 100 for p in wanted):
            raise ValueError(f"percentiles are 0..100, not {wanted}")
        if not len(self):
            return [math.nan] * len(wanted)
        if new := [p for p in wanted if p not in self._found]:
            found = self._counts.get_percentile_to_value_dict(new)
            self._found.update((p, us / 1e3) for p, us in found.items())
        return [self._found[p] for p in wanted]

    @property
    def max(self) -> float:
        """The highest latency in ms, to three digits; NaN when it is empty."""
        return self._counts.get_max_value() / 1e3 if len(self) else math.nan

    def merge(self, other: Histogram) -> None:
        """Add what the other has counted."""
        if len(other):
            self._found.clear()
            self._counts.add(other._counts)

    def curve(self) -> list[tuple[float, float]]:
        """Points (nines, ms) to draw, from 0 nines (the fastest) to as many as the number of values supports.

        `n` nines is the percentile 100 * (1 - 10 ** -n): the axis on which a tail can be seen. With 1,000
        values the curve ends at three nines. The points of two curves lie on the same grid.
        """
        if not len(self):
            return []
        steps = math.floor(math.log10(len(self)) / NINES_STEP + 1e-9)
        nines = [round(step * NINES_STEP, 2) for step in range(steps + 1)]
        values = self.percentiles([100 * (1 - 10**-n) for n in nines])
        return list(zip(nines, values, strict=True))

    def encode(self) -> str:
        """HDR's own encoding (V2, compressed, base64), which its other implementations read, too."""
        return str(self._counts.encode().decode("ascii"))

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """The histogram that `encode` wrote. Raises BrokenHistogram."""
        try:
            counts = HdrHistogram.decode(text.encode("ascii"))
        except Exception as error:  # binascii, zlib, struct and hdrh each raise their own
            raise BrokenHistogram(f"not an HDR histogram: {type(error).__name__}: {error}") from error
        settings = counts.lowest_trackable_value, counts.highest_trackable_value, counts.significant_figures
        if settings != (LOWEST, HIGHEST, DIGITS):
            raise BrokenHistogram(
                f"a histogram of {settings[0]}..{settings[1]} us with {settings[2]} digits; "
                f"ours have {LOWEST}..{HIGHEST} us and {DIGITS} digits"
            )
        histogram = cls()
        histogram._counts = counts
        return histogram
