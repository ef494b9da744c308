"""What a storm looks like: panels that live on a terminal, a line per second everywhere else.

Reads `figures.Figures` and nothing else; must not know where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from poolproxy.demo.figures import INTERVAL, Figures

LABEL, BAR, WORDS = 12, 40, 51
"""Characters of a row's three columns; the bar is what gets shorter on a narrow terminal."""

MARGINS = 8
"""Characters of a panel around and between its columns."""

BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(slots=True, frozen=True)
class Stage:
    """One storm on display: `limit` is the number of servers it must keep to, None when nobody limits it."""

    title: str
    style: str
    figures: Figures
    limit: int | None


def seconds(value: float) -> str:
    """A duration in the unit that reads best; `-` when there is none, `never` when it is infinite."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "never"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def bar(parts: Sequence[tuple[int, str]], total: int, width: int) -> Text:
    """Counts of `total` side by side, each in its style; ends are rounded so that the sum stays true."""
    text, done, filled = Text(), 0, 0
    for count, style in parts:
        done += count
        end = round(min(done, total) * width / total) if total else 0
        text.append("█" * (end - filled), style)
        filled = max(filled, end)
    return text.append("─" * (width - filled), "bright_black")


def sparkline(values: Sequence[int], width: int) -> str:
    """The last `width` values as blocks, the highest of them full."""
    shown = values[-width:]
    top = max(shown, default=0)
    return "".join(BLOCKS[math.ceil(value * 8 / top)] if top else BLOCKS[0] for value in shown)


def panel(stage: Stage, max_connections: int, width: int = 120) -> Panel:
    """A storm in a frame, for a terminal of `width` characters."""
    figures = stage.figures
    long = max(1, min(BAR, width - LABEL - WORDS - MARGINS))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", width=LABEL)
    table.add_column(width=long)
    table.add_column(no_wrap=True)
    table.add_row(
        f"{figures.active} clients", bar(_states(figures), figures.clients, long), _states_text(figures)
    )
    table.add_row(
        f"{figures.servers} servers",
        bar([(figures.servers, stage.style)], max_connections, long),
        _servers_text(stage, max_connections),
    )
    table.add_row(
        f"{figures.rate:.0f} tps",
        Text(sparkline(figures.history(), long), stage.style),
        f"{figures.transactions} transactions  p50 {seconds(figures.latency(0.5))}  "
        f"p99 {seconds(figures.latency(0.99))}",
    )
    table.add_row(
        f"{figures.served} served",
        bar([(figures.served, "green")], figures.clients, long),
        _errors_text(figures),
    )
    return Panel(
        table,
        title=f"[bold]{stage.title}",
        title_align="left",
        subtitle=f"{figures.elapsed:.1f} s",
        subtitle_align="right",
        border_style=stage.style,
        width=min(width, LABEL + BAR + WORDS + MARGINS),
    )


def _states(figures: Figures) -> list[tuple[int, str]]:
    return [
        (figures.working, "green"),
        (figures.waiting, "yellow"),
        (figures.connecting, "blue"),
        (figures.resting, "red"),
    ]


def _states_text(figures: Figures) -> Text:
    if figures.over:
        return Text("all have left")
    names = ("busy", "waiting", "connecting", "retrying")
    parts = zip(_states(figures), names, strict=True)
    return Text("  ").join(
        Text(f"{count} {name}", style) for (count, style), name in parts if count or name != "retrying"
    )


def _errors_text(figures: Figures) -> Text:
    failures = figures.failures
    return Text(f"of {figures.clients} clients  ").append(
        f"{failures} error{'' if failures == 1 else 's'}", "bold red" if failures else "green"
    )


def _servers_text(stage: Stage, max_connections: int) -> str:
    peak = f"peak {stage.figures.peak_servers}"
    if stage.limit is None:
        return f"of PostgreSQL's {max_connections}  {peak}"
    return f"of at most {stage.limit}  {peak}  beside: {stage.figures.control} control"


def line(stage: Stage) -> str:
    """The panel's content in one line of plain text."""
    figures = stage.figures
    servers = f"{figures.servers} servers"
    if stage.limit is not None:
        servers = f"{figures.servers}/{stage.limit} servers + {figures.control} control"
    return (
        f"{stage.title}: {figures.elapsed:4.1f} s  {figures.active} clients  {figures.waiting} waiting  "
        f"{servers}  {figures.rate:.0f} tps  "
        f"p50 {seconds(figures.latency(0.5))}  p99 {seconds(figures.latency(0.99))}  "
        f"{figures.served} served  {figures.failures} errors"
    )


class Display(Protocol):
    """Shows storms one after the other. `tick` is called a few times a second while one is on."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def note(self, text: str) -> None: ...
    def follow(self, stage: Stage) -> None: ...
    def tick(self) -> None: ...


class LiveDisplay:
    """One panel per storm, the last of them alive."""

    def __init__(self, console: Console, max_connections: int) -> None:
        self._max_connections = max_connections
        self._stages: list[Stage] = []
        self._note = ""
        # Refreshed by `tick` alone: rich's own refresh would read the figures from another thread.
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._note = ""
        self.tick()
        self._live.stop()

    def note(self, text: str) -> None:
        self._note = text
        self.tick()

    def follow(self, stage: Stage) -> None:
        self._note = ""
        self._stages.append(stage)

    def tick(self) -> None:
        shown: list[Panel | Text] = [
            panel(stage, self._max_connections, self._live.console.width) for stage in self._stages
        ]
        if self._note:
            shown.append(Text(self._note, "bright_black"))
        self._live.update(Group(*shown), refresh=True)


class PlainDisplay:
    """A line for each note, and one per second of a storm."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage: Stage | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        self._print(text)

    def follow(self, stage: Stage) -> None:
        self._stage, self._next = stage, 2 * INTERVAL

    def tick(self) -> None:
        if self._stage is not None and self._stage.figures.elapsed >= self._next:
            self._next = math.floor(self._stage.figures.elapsed) + 1
            self._print(line(self._stage))

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)
