"""One small plot as SVG: lines with a band of their spread, named where they end. Must not know what of.

Sizes are in CSS pixels of a plot that is as wide as it is made; pages show it at about that size, so that its
text stays as large as it is meant to be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.storm.numbers import spread
from benchmarks.storm.report.markup import Markup, join, tag
from benchmarks.storm.report.palette import SLOTS
from benchmarks.storm.report.scales import Scale, Written
from benchmarks.storm.report.series import Line

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 50, 92, 12, 30
LINE_HEIGHT = 14
LONGEST_NAME = 12


@dataclass(slots=True)
class Plot:
    """What a small plot shows. `name` is unique on a page."""

    name: str
    title: str
    unit: str  #: what is on the vertical axis, in words
    x: Scale
    y: Scale
    lines: list[Line]
    slots: dict[str, int]
    x_written: Written
    y_written: Written
    marks: list[tuple[float, str]] = field(default_factory=list)  #: horizontal lines: a limit and its name

    @property
    def drawn(self) -> list[Line]:
        """Lines that have a point."""
        return [line for line in self.lines if line.values()]

    def across(self, value: float) -> float:
        return LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)

    def down(self, value: float) -> float:
        return HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)


def draw(plot: Plot) -> Markup:
    """The whole `<svg>`."""
    return tag(
        "svg",
        tag("title", _spoken(plot)),
        _grid(plot),
        *(_mark(plot, value, name) for value, name in plot.marks),
        *(_band(plot, line) for line in plot.drawn),
        *(_stroke(plot, line) for line in sorted(plot.drawn, key=lambda line: -plot.slots[line.target])),
        _names(plot),
        tag("line", cls="cursor", y1=float(TOP), y2=float(HEIGHT - BOTTOM), x1=0.0, x2=0.0),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        cls="plot",
    )


def hover_values(plot: Plot) -> str:
    """What a pointer over the plot reads, as JSON: for each place the x in words and a text per line."""
    places = sorted({x for line in plot.drawn for x, *_ in line.points})
    at = [{x: values for x, *values in line.points} for line in plot.drawn]
    return json.dumps(
        {
            "width": WIDTH,
            "slots": [plot.slots[line.target] for line in plot.drawn],
            "names": [shortened(line.target) for line in plot.drawn],
            "x": [round(plot.across(x), 1) for x in places],
            "at": [plot.x_written(x) for x in places],
            "values": [[_hover_text(plot, found.get(x)) for x in places] for found in at],
        },
        separators=(",", ":"),
        ensure_ascii=False,
    ).replace("<", "\\u003c")


def _hover_text(plot: Plot, values: list[float] | None) -> str:
    return spread(values, plot.y_written) if values and not math.isnan(values[1]) else ""


def _spoken(plot: Plot) -> str:
    """The plot for those who do not see it: where each line ends and how high it gets."""
    parts = []
    for line in plot.drawn:
        last = next(point for point in reversed(line.points) if not math.isnan(point[2]))
        parts.append(
            f"{line.target}: at most {plot.y_written(max(line.values()))}, "
            f"{plot.y_written(last[2])} at {plot.x_written(last[0])}"
        )
    return f"{plot.title}, {plot.unit}. {'; '.join(parts)}."


def _grid(plot: Plot) -> Markup:
    right, bottom = float(WIDTH - RIGHT), float(HEIGHT - BOTTOM)
    parts = []
    for value, text in plot.y.ticks:
        y = plot.down(value)
        parts.append(tag("line", cls="grid", x1=float(LEFT), x2=right, y1=y, y2=y))
        parts.append(tag("text", text, cls="tick", x=LEFT - 7.0, y=y + 3.8, text_anchor="end"))
    for value, text in plot.x.ticks:
        x = plot.across(value)
        parts.append(tag("line", cls="nick", x1=x, x2=x, y1=bottom, y2=bottom + 4))
        parts.append(tag("text", text, cls="tick", x=x, y=bottom + 16, text_anchor="middle"))
    return tag("g", *parts, cls="axes")


def _mark(plot: Plot, value: float, name: str) -> Markup:
    y = plot.down(value)
    return join(
        tag("line", cls="limit", x1=float(LEFT), x2=float(WIDTH - RIGHT), y1=y, y2=y),
        tag("text", name, cls="tick", x=WIDTH - RIGHT - 2.0, y=y - 5, text_anchor="end"),
    )


def _band(plot: Plot, line: Line) -> Markup:
    """From the lowest to the highest of the trials."""
    shapes = []
    for run in _runs(line):
        if len(run) < 2 or all(low == high for _, low, _, high in run):
            continue
        upper = [(plot.across(x), plot.down(high)) for x, _, _, high in run]
        lower = [(plot.across(x), plot.down(low)) for x, low, _, _ in reversed(run)]
        shapes.append(f"M{_path([*upper, *lower])}Z")
    return tag("path", cls=f"band t{plot.slots[line.target]}", d="".join(shapes)) if shapes else Markup()


def _stroke(plot: Plot, line: Line) -> Markup:
    slot = plot.slots[line.target]
    parts = []
    for run in _runs(line):
        places = [(plot.across(x), plot.down(middle)) for x, _, middle, _ in run]
        # A line of one point would have no length: its round cap makes a dot of it.
        parts.append(f"M{_path(places if len(places) > 1 else places * 2)}")
    return tag(
        "path",
        cls=f"stroke t{slot}",
        d="".join(parts),
        stroke_dasharray=SLOTS[slot].dashes or None,
        data_target=line.target,
        data_points=str(sum(map(len, _runs(line)))),
    )


def _names(plot: Plot) -> Markup:
    """Each line's name where it ends, moved apart where they would cover each other."""
    ends = []
    for line in plot.drawn:
        x, _, middle, _ = next(point for point in reversed(line.points) if not math.isnan(point[2]))
        ends.append((plot.down(middle), plot.across(x), line.target))
    ends.sort()
    parts = []
    for (y, x, target), place in zip(
        ends, spaced([y for y, _, _ in ends], TOP + 2.0, float(HEIGHT - BOTTOM)), strict=True
    ):
        slot, left = plot.slots[target], WIDTH - RIGHT + 14.0
        leader = f"M{x + 2:.1f} {y:.1f}L{left - 9:.1f} {y:.1f}L{left - 3:.1f} {place:.1f}"
        parts.append(tag("path", cls=f"leader t{slot}", d=leader))
        parts.append(tag("text", shortened(target), cls=f"name t{slot}", x=left, y=place + 3.8))
    return tag("g", *parts, cls="names")


def shortened(name: str) -> str:
    """A name that fits beside a plot."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def spaced(places: Sequence[float], low: float, high: float, gap: float = LINE_HEIGHT) -> list[float]:
    """Rising places, moved as little as needed to be `gap` apart and between `low` and `high` if they fit."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, low, moved[-1] + gap if moved else low))
    limit = high
    for at in range(len(moved) - 1, -1, -1):
        moved[at] = min(moved[at], limit)
        limit = moved[at] - gap
    return moved


def _runs(line: Line) -> list[list[tuple[float, float, float, float]]]:
    """The line without its gaps."""
    runs: list[list[tuple[float, float, float, float]]] = [[]]
    for point in line.points:
        if not math.isnan(point[2]):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
