"""A trial under way, on a terminal: a panel that lives, or a line every few seconds where there is none.

Fed by plain method calls with wall seconds since the start of the trial; must not know how the numbers arise.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from benchmarks.storm.histogram import Histogram
from benchmarks.storm.numbers import NARROW, NOTHING, counted, milliseconds, number, share
from benchmarks.storm.results import UNKNOWN, Trial
from benchmarks.storm.standing import SUCCEEDED, succeeded
from poolproxy.demo.display import sparkline

STYLES = {"poolproxy": "bright_blue", "pgbouncer": "dark_orange", "direct": "grey62"}
STRANGERS = "magenta"
HISTORY = 40
"""Seconds of the sparkline."""

LINE_EVERY = 2.0
"""Seconds between two plain lines."""

LONGEST_ERRORS = 3


@dataclass(slots=True)
class Progress:
    """What is known of the trial that runs. Times are wall seconds since its start."""

    scenario: str
    target: str
    number: int  #: which trial of this scenario and target it is
    of: int  #: of how many
    seconds: float = math.nan  #: how long it will take, when that is known
    now: float = 0.0
    clients: int = UNKNOWN
    servers: int = UNKNOWN
    waiting: int = UNKNOWN
    environments: int = UNKNOWN
    in_flight: int = UNKNOWN
    outcomes: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    connect: Histogram = field(default_factory=Histogram)
    _rates: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=HISTORY + 1))

    def counted(
        self, now: float, clients: int, servers: int, waiting: int, environments: int, in_flight: int
    ) -> None:
        """How things stand; `UNKNOWN` for what nobody could know."""
        self.now = now
        self.clients, self.servers, self.waiting = clients, servers, waiting
        self.environments, self.in_flight = environments, in_flight

    def settled(self, now: float, outcome: str, ms: float) -> None:
        """An invocation settled, `ms` after its intended start."""
        self.now = max(self.now, now)
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.latency.record(ms)
        second = math.floor(now)
        if self._rates and self._rates[-1][0] == second:
            self._rates[-1] = (second, self._rates[-1][1] + 1)
        else:
            self._rates.append((second, 1))

    def connected(self, ms: float) -> None:
        """A new connection gave its first answer after so many ms."""
        self.connect.record(ms)

    def failed(self, code: str, message: str) -> None:
        """An error: SQLSTATE or exception name. The first message of each is kept."""
        self.errors[code] = self.errors.get(code, 0) + 1
        self.examples.setdefault(code, message)

    @property
    def total(self) -> int:
        return sum(self.outcomes.values())

    def rates(self) -> list[int]:
        """Invocations that settled in each of the last whole seconds, the oldest first."""
        last = math.floor(self.now) - 1
        found = dict(self._rates)
        return [found.get(second, 0) for second in range(max(0, last - HISTORY + 1), last + 1)]


def panel(progress: Progress, width: int) -> Panel:
    """The trial in a frame, for a terminal of `width` characters."""
    style = STYLES.get(progress.target, STRANGERS)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    table.add_row("environments", _environments(progress))
    table.add_row("clients", _clients(progress))
    rates = progress.rates()
    table.add_row("settled", f"{number(progress.total)}, {number(rates[-1] if rates else 0)} per second")
    table.add_row("", Text(sparkline(rates, max(8, min(HISTORY, width - 24))), style))
    table.add_row("succeeded", _succeeded(progress))
    table.add_row("connect", _percentiles(progress.connect))
    table.add_row("invocation", _percentiles(progress.latency))
    for code, text in _errors(progress):
        table.add_row(Text(code, "red"), Text(text, "red"))
    whole = "" if math.isnan(progress.seconds) else f" of {progress.seconds:.0f}"
    return Panel(
        table,
        title=f"[bold]{progress.scenario} · {progress.target} · trial {progress.number} of {progress.of}",
        title_align="left",
        subtitle=f"{progress.now:.1f}{whole} s",
        subtitle_align="right",
        border_style=style,
        width=min(width, 100),
    )


def line(progress: Progress) -> str:
    """The panel's content in one line of plain text."""
    errors = sum(progress.errors.values())
    text = (
        f"{progress.scenario} {progress.target} {progress.number}/{progress.of} {progress.now:5.1f} s: "
        f"{_known(progress.environments)} environments, {_known(progress.clients)} clients, "
        f"{_known(progress.servers)} servers, {_known(progress.waiting)} waiting; "
        f"{number(progress.total)} settled, {_percent(progress)} succeeded; "
        f"connect {_percentiles(progress.connect)}; invocation {_percentiles(progress.latency)}; "
        f"{counted(errors, 'error')}"
    )
    return text.replace(NARROW, " ")


def finished(trial: Trial) -> str:
    """What a trial came to, in one line of plain text."""
    missed = [check for check in trial.checks if not check.passed]
    parts = [
        f"{share(succeeded(trial))} of {counted(sum(trial.outcomes.values()), 'invocation')} succeeded",
        f"connect {_percentiles(trial.connect)}",
        f"invocation {_percentiles(trial.latency)}",
    ]
    if trial.ledger:
        parts.append(f"LEDGER: {fault}" if (fault := trial.fault()) else "ledger clean")
    parts += [f"MISSED {check.name}: {check.found} (bar: {check.bar})" for check in missed]
    if trial.checks and not missed:
        parts.append(f"{counted(len(trial.checks), 'check')} passed")
    if trial.generator_limited:
        parts.append(f"the generator was the limit: {trial.generator_limited}")
    text = f"{trial.scenario} · {trial.target} · trial {trial.number}: {'; '.join(parts)}"
    return text.replace(NARROW, " ")


class Display(Protocol):
    """Shows trials one after the other. `tick` is called a few times a second while one runs."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def note(self, text: str) -> None:
        """What is being done between trials: a database starts, a target warms up."""

    def begin(self, progress: Progress) -> None:
        """A trial starts: from now on it is what is shown."""

    def tick(self, now: float) -> None:
        """Draw what is known, `now` wall seconds after the trial's start."""

    def finish(self, trial: Trial) -> None:
        """The trial is over, and this is what it came to."""


class LiveDisplay:
    """The trial under way in a panel at the bottom; above it a line for each that is over."""

    def __init__(self, console: Console) -> None:
        self._progress: Progress | None = None
        self._note = ""
        # Refreshed by `tick` alone: rich's own refresh would read the numbers from another thread.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        self._note = text
        self._draw()

    def begin(self, progress: Progress) -> None:
        self._progress, self._note = progress, ""
        self._draw()

    def tick(self, now: float) -> None:
        if self._progress is not None:
            self._progress.now = max(self._progress.now, now)
        self._draw()

    def finish(self, trial: Trial) -> None:
        self._progress = None
        self._draw()  # first, or the panel would be drawn once more below the line
        self._live.console.print(Text(finished(trial), STYLES.get(trial.target, STRANGERS)))

    def _draw(self) -> None:
        shown: list[RenderableType] = []
        if self._progress is not None:
            shown.append(panel(self._progress, self._live.console.width))
        if self._note:
            shown.append(Text(self._note, "bright_black"))
        self._live.update(Group(*shown), refresh=True)


class PlainDisplay:
    """A line for each note, each trial that is over, and one every two seconds of a trial."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._next = LINE_EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        self._print(text)

    def begin(self, progress: Progress) -> None:
        self._progress, self._next = progress, LINE_EVERY

    def tick(self, now: float) -> None:
        if self._progress is not None and now >= self._next:
            self._progress.now = max(self._progress.now, now)
            self._next = LINE_EVERY * (math.floor(now / LINE_EVERY) + 1)
            self._print(line(self._progress))

    def finish(self, trial: Trial) -> None:
        self._progress = None
        self._print(finished(trial))

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


def display(console: Console) -> Display:
    """The panel on a terminal, plain lines elsewhere."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


def _known(value: int) -> str:
    return NOTHING if value == UNKNOWN else number(value)


def _environments(progress: Progress) -> str:
    return f"{_known(progress.environments)}, {_known(progress.in_flight)} invocations in flight"


def _clients(progress: Progress) -> str:
    clients, servers, waiting = map(_known, (progress.clients, progress.servers, progress.waiting))
    return f"{clients} on {servers} servers, {waiting} waiting"


def _percent(progress: Progress) -> str:
    total = progress.total
    return share(progress.outcomes.get(SUCCEEDED, 0) / total) if total else NOTHING


def _succeeded(progress: Progress) -> Text:
    others = [f"{number(n)} {outcome}" for outcome, n in progress.outcomes.items() if outcome != SUCCEEDED]
    text = Text(_percent(progress), "green" if not others else "")
    return text.append(f"  {', '.join(others)}", "red") if others else text


def _percentiles(histogram: Histogram) -> str:
    p50, p99 = histogram.percentiles((50, 99))
    return f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"


def _errors(progress: Progress) -> Sequence[tuple[str, str]]:
    """The most frequent errors, with how often and what they said."""
    most = sorted(progress.errors.items(), key=lambda item: -item[1])[:LONGEST_ERRORS]
    return [(code, f"{number(n)}: {progress.examples.get(code, '')}") for code, n in most]
