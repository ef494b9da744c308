"""How numbers are written wherever a person reads them: the page, the tables, the terminal.

Everything goes through `number`; the others choose its unit. Must not know what the numbers are of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

NOTHING = "-"
"""What stands where there is no number."""

NARROW = "\u202f"
"""Between a number and its unit: a narrow space that does not break."""

TIMES = "\u00d7"


def number(value: float) -> str:
    """An int as it is, with a comma for thousands; a float with three significant digits, no power of ten.

    Zeros behind the point stay: they tell how far a measured number can be trusted. `NOTHING` for NaN.
    """
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "never"
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")  # 9.996 is 10.0, and not 10.00
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def milliseconds(value: float) -> str:
    """A duration given in ms, in the unit that reads best: us, ms, s or min."""
    for factor, unit, below in ((1e3, "µs", 0.9995), (1.0, "ms", 999.5), (1e-3, "s", 599_500.0)):
        if abs(value) < below and (value or unit != "µs"):
            return _with(float(value) * factor, unit)
    return _with(value / 60_000, "min")


def size(value: float) -> str:
    """Bytes, in the binary unit that reads best."""
    for power, unit in enumerate(("B", "KiB", "MiB")):
        if abs(value) < 999.5 * 1024**power:
            return _with(value if unit == "B" else value / 1024**power, unit)
    return _with(value / 1024**3, "GiB")


def share(value: float) -> str:
    """A share of one in per cent. Only what is all is 100 %, and only nothing is 0 %."""
    percent = float(value) * 100
    if 99.95 <= percent < 100:
        return f"{min(percent, 99.999):.3f}{NARROW}%"
    if 0 < percent < 0.01:
        return f"<{NARROW}0.01{NARROW}%"
    return _with(percent, "%")


def times(value: float) -> str:
    """A ratio: 1.25 times is `1.25 x`, with the sign for it."""
    return _with(float(value), TIMES)


def change(ratio: float) -> str:
    """What a ratio of new to old means as a signed percentage: 1.1 is `+10.0 %`."""
    percent = (ratio - 1) * 100
    if math.isnan(percent):
        return NOTHING
    if abs(percent) < 0.05:
        return f"0{NARROW}%"
    return f"{'+' if percent > 0 else '-'}{abs(percent):,.{1 if abs(percent) < 99.95 else 0}f}{NARROW}%"


def count(value: float) -> str:
    """A number of things: whole when it is, as medians of counts may not be."""
    return number(int(value)) if math.isfinite(value) and value == int(value) else number(value)


def shortest(written: Callable[[float], str]) -> Callable[[float], str]:
    """The same without zeros behind the point: for round numbers, as beside an axis. 10.0 ms is `10 ms`."""

    def short(value: float) -> str:
        digits, space, unit = written(value).partition(NARROW)
        return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}{space}{unit}"

    return short


def seconds(value: float) -> str:
    """A place on an axis of wall seconds: `12.5 s`."""
    return f"{value:,.1f}".removesuffix(".0") + f"{NARROW}s"


def percentile(nines: float) -> str:
    """The name of the percentile that has so many nines: 2 is `p99`, 0.3010 is `p50`."""
    percent = f"{100 * (1 - 10**-nines):.{max(0, math.ceil(nines - 1))}f}"
    return f"p{percent.rstrip('0').rstrip('.') if '.' in percent else percent}"


def counted(value: int, noun: str) -> str:
    """`1 server`, `20 servers`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def spread(values: Sequence[float], written: Callable[[float], str] = number) -> str:
    """`median (min..max) unit`; the median alone when all read the same; `NOTHING` without values."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return NOTHING
    low, middle, high = (written(value) for value in (min(known), median(known), max(known)))
    if low == high:
        return middle
    units = {text.partition(NARROW)[2] for text in (low, middle, high)}
    if len(units) > 1 or units == {""}:
        return f"{middle} ({low}..{high})"
    low, middle, high = (text.partition(NARROW)[0] for text in (low, middle, high))
    return f"{middle} ({low}..{high}){NARROW}{units.pop()}"


def _with(value: float, unit: str) -> str:
    return NOTHING if math.isnan(value) else f"{number(value)}{NARROW}{unit}"
