"""One scenario as one SVG file for the top of a README: light and dark, with all it needs inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap

from benchmarks.storm.numbers import counted
from benchmarks.storm.report import palette
from benchmarks.storm.report.chart import HEIGHT, WIDTH, Plot, draw
from benchmarks.storm.report.markup import Markup, tag
from benchmarks.storm.report.panels import plots
from benchmarks.storm.results import Run
from benchmarks.storm.standing import scenario_of, standings, verdict

PLOTS = ("servers", "failures", "connect", "p99")
MARGIN, GAP, CAPTION = 28, 28, 30
LETTER = 7.4
"""The width of a letter of 14 px, on the safe side: an SVG does not break lines by itself."""

STYLE = """\
.sheet{fill:var(--bg);stroke:var(--line)}
text{font-family:Inter,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
text{font-size:11.5px;fill:var(--soft)}
.title{font-size:21px;font-weight:650;fill:var(--ink);letter-spacing:-.01em}
.words{font-size:14px;fill:var(--ink)}
.small{font-size:12px}
.caption{font-size:14px;font-weight:640;fill:var(--ink)}
.caption tspan{font-weight:400;fill:var(--soft)}
.name{fill:var(--c);font-weight:600}
.grid{stroke:var(--line)}
.nick{stroke:var(--soft)}
line.limit{stroke:var(--soft);stroke-dasharray:2 3}
.band{fill:var(--c);opacity:.16}
.stroke{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.leader{fill:none;stroke:var(--c);opacity:.45}
.cursor{display:none}
"""


def picture(run: Run, scenario: str, columns: int = 2, names: Sequence[str] = PLOTS) -> str:
    """The scenario's verdict and some of its plots, side by side in so many columns.

    Raises KeyError when the run has no such scenario. Plots that the scenario does not have are left out.
    """
    ranked = standings(run)[scenario]
    slots = palette.slots(run.targets)
    found = {plot.name.removeprefix(f"{scenario}-"): plot for plot in plots(run, scenario, ranked, slots)}
    shown = [found[name] for name in names if name in found]
    width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP
    letters = int((width - 2 * MARGIN) / LETTER)
    trials = counted(max(len(standing.trials) for standing in ranked), "trial")
    small = f"Median and spread of {trials}. {run.version}, {run.began[:10]}."
    head = [
        *((34, "title", line) for line in wrap(scenario_of(run, scenario).title, letters * 3 // 5)),
        *((22, "words", line) for line in wrap(verdict(ranked).sentence, letters, break_on_hyphens=False)),
        *((20, "small", line) for line in wrap(small, letters)),
    ]
    texts, y = [], 18
    for height, cls, line in head:
        y += height
        texts.append(tag("text", line, cls=cls, x=MARGIN, y=y))
    top = y + 26
    height = top + math.ceil(len(shown) / columns) * (HEIGHT + CAPTION + 10) + MARGIN - 10
    placed = [_placed(plot, at, columns, top) for at, plot in enumerate(shown)]
    sheet = tag("rect", cls="sheet", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=12)
    return str(
        tag(
            "svg",
            tag("title", f"{scenario_of(run, scenario).title}. {verdict(ranked).sentence}"),
            tag("style", Markup(palette.css("svg") + STYLE)),
            sheet,
            *texts,
            *placed,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
            role="img",
        )
    )


def _placed(plot: Plot, at: int, columns: int, top: int) -> Markup:
    x = MARGIN + at % columns * (WIDTH + GAP)
    y = top + at // columns * (HEIGHT + CAPTION + 10)
    caption = tag("text", plot.title, tag("tspan", f" {plot.unit}"), cls="caption", x=0, y=14)
    inner = tag("svg", draw(plot), x=0, y=22, width=WIDTH, height=HEIGHT)
    return tag("g", caption, inner, transform=f"translate({x} {y})")
