"""Which plots a scenario has, and what each draws: one line per target, the same in all of them.

A plot about which nobody knows a number is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.storm.numbers import count, milliseconds, number, percentile, seconds, shortest, size
from benchmarks.storm.report import scales
from benchmarks.storm.report.chart import Plot
from benchmarks.storm.report.series import Line, curve, sampled, sliced, used
from benchmarks.storm.results import UNKNOWN, Run, Trial
from benchmarks.storm.standing import Standing

MIB = 2**20
#: Below this nobody cares, and an axis of powers of ten must end somewhere, ms.
SHORTEST = 0.01


@dataclass(slots=True, frozen=True)
class _Kind:
    name: str
    title: str
    unit: str
    line: Callable[[str, list[Trial]], Line]
    written: scales.Written
    tick: scales.Written
    logarithmic: bool = False
    over: str = "time"  #: what is on the horizontal axis: "time" or "nines"


def _mebibytes(value: float) -> str:
    return size(value * MIB)


def _ms(name: str, title: str, unit: str, line: Callable[[str, list[Trial]], Line], over: str) -> _Kind:
    return _Kind(name, title, unit, line, milliseconds, shortest(milliseconds), True, over)


KINDS = (
    _ms(
        "connect",
        "Connect + first answer",
        "by percentile",
        lambda target, trials: curve(target, trials, "connect"),
        "nines",
    ),
    _ms(
        "latency",
        "Whole invocation",
        "from the intended start",
        lambda target, trials: curve(target, trials, "latency"),
        "nines",
    ),
    _ms(
        "p99",
        "p99 over time",
        "whole invocation",
        lambda target, trials: sliced(target, trials, lambda s: max(s.p99, SHORTEST)),
        "time",
    ),
    _Kind(
        "clients",
        "Clients",
        "open connections of environments",
        lambda target, trials: sampled(target, trials, lambda s: s.clients),
        count,
        count,
    ),
    _Kind(
        "servers",
        "Servers",
        "connections at PostgreSQL",
        lambda target, trials: sampled(target, trials, lambda s: s.servers),
        count,
        count,
    ),
    _Kind(
        "waiting",
        "Waiting",
        "clients that wait for a server",
        lambda target, trials: sampled(target, trials, lambda s: s.waiting),
        count,
        count,
    ),
    _Kind(
        "failures",
        "Failures",
        "per second",
        lambda target, trials: sliced(target, trials, lambda s: float(s.failures)),
        count,
        count,
    ),
    _Kind("cpu", "CPU of the target", "cores in use", used, number, shortest(number)),
    _Kind(
        "memory",
        "Memory of the target",
        "resident",
        lambda target, trials: sampled(
            target, trials, lambda s: s.memory / MIB if s.memory != UNKNOWN else UNKNOWN
        ),
        _mebibytes,
        shortest(_mebibytes),
    ),
)


def plots(run: Run, scenario: str, standings: Sequence[Standing], slots: dict[str, int]) -> list[Plot]:
    """The plots of one scenario."""
    found = []
    for kind in KINDS:
        lines = [kind.line(standing.target, standing.trials) for standing in standings]
        values = [value for line in lines for value in line.values()]
        if not values or (kind.name == "failures" and max(values) == 0):
            continue
        found.append(_plot(run, scenario, kind, lines, values, slots))
    return found


def _plot(
    run: Run, scenario: str, kind: _Kind, lines: list[Line], values: list[float], slots: dict[str, int]
) -> Plot:
    places = [x for line in lines for x, _, middle, _ in line.points if not math.isnan(middle)]
    marks = _limits(run, lines) if kind.name == "servers" else []
    reached = [*values, *(value for value, _ in marks)]
    y = (scales.logarithmic if kind.logarithmic else scales.linear)(reached, kind.tick)
    written: scales.Written
    if kind.over == "nines":
        x, written = scales.nines(max(places)), percentile
    else:
        x, written = scales.span(0.0, max(places), seconds), seconds
    return Plot(
        f"{scenario}-{kind.name}",
        kind.title,
        kind.unit,
        x,
        y,
        lines,
        slots,
        written,
        kind.written,
        marks,
    )


def _limits(run: Run, lines: list[Line]) -> list[tuple[float, str]]:
    """The size that pools were given, when all that have one agree."""
    sizes = {info.pool_size for name, info in run.targets.items() if info.pool_size}
    shown = {line.target for line in lines}
    if len(sizes) != 1 or not any(name in shown and run.targets[name].pool_size for name in run.targets):
        return []
    only = sizes.pop()
    return [(float(only), f"pool size {only}")]
