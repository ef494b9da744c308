"""What a storm looks like, on a terminal and without one."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from poolproxy.demo.display import LiveDisplay, PlainDisplay, Stage, bar, line, panel, seconds, sparkline
from poolproxy.demo.figures import Figures, Report


def storm() -> Figures:
    figures = Figures(clients=500)
    figures.begin(0.0)
    latencies = [0.004] * 98 + [1.25] * 2
    report = Report(50, 400, 20, 30, served=450, transactions=100, errors={"53300": 1}, latencies=latencies)
    figures.add_report(0, report, 2.0)
    figures.add_sample(20, 1)
    return figures


def proxied(figures: Figures) -> Stage:
    return Stage("through poolproxy", "green", figures, 20)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0004, "0 ms"),
        (0.0126, "13 ms"),
        (1.0, "1.00 s"),
        (12.345, "12.35 s"),
        (math.nan, "-"),
        (math.inf, "never"),
    ],
)
def test_seconds(value: float, shown: str) -> None:
    assert seconds(value) == shown


@pytest.mark.parametrize(
    ("counts", "total", "drawn"),
    [
        ((0,), 10, "──────────"),
        ((10,), 10, "██████████"),
        ((3, 3, 4), 10, "██████████"),
        ((1, 1, 1), 4, "████████──"),
        ((25,), 20, "██████████"),
        ((1,), 0, "──────────"),
    ],
)
def test_bar(counts: tuple[int, ...], total: int, drawn: str) -> None:
    assert bar([(count, "green") for count in counts], total, 10).plain == drawn


def test_sparkline_shows_the_last_values_and_something_for_the_least() -> None:
    assert sparkline([9, 0, 1, 4, 8], 4) == " ▁▄█"
    assert sparkline([0, 0], 4) == "  "
    assert sparkline([], 4) == ""


@pytest.mark.parametrize("width", [80, 100, 116, 200])
def test_panel_fits_and_tells_all(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(panel(proxied(storm()), 100, width))
    shown = out.getvalue()
    rows = shown.splitlines()
    assert len(rows) == 6
    assert max(map(len, rows)) <= width
    for words in (
        "through poolproxy",
        "500 clients",
        "20 busy  400 waiting  50 connecting  30 retrying",
        "20 servers",
        "of at most 20  peak 20  beside: 1 control",
        "50 tps",
        "p50 4 ms  p99 1.25 s",
        "450 served",
        "of 500 clients  1 error ",
        "2.0 s",
    ):
        assert words in shown


def test_panel_of_a_storm_that_is_over() -> None:
    figures = storm()
    figures.add_report(0, Report(served=500, transactions=900), 3.0)
    figures.end(900)
    out = io.StringIO()
    Console(file=out, width=100).print(panel(Stage("straight", "red", figures, None), 100, 100))
    assert "all have left" in out.getvalue()
    assert "of PostgreSQL's 100  peak 20" in out.getvalue()
    assert "300 tps" in out.getvalue()


def test_line() -> None:
    assert line(proxied(storm())) == (
        "through poolproxy:  2.0 s  500 clients  400 waiting  20/20 servers + 1 control  50 tps  "
        "p50 4 ms  p99 1.25 s  450 served  1 errors"
    )


def test_plain_display_writes_a_line_per_second() -> None:
    out = io.StringIO()
    figures = Figures(clients=1)
    figures.begin(0.0)
    with PlainDisplay(Console(file=out, width=40)) as display:
        display.note("Starting [it] ...")
        display.tick()
        display.follow(proxied(figures))
        for step in range(13):
            figures.add_report(0, Report(), step * 0.25)
            display.tick()
    lines = out.getvalue().splitlines()
    assert lines[0] == "Starting [it] ..."
    assert [text.split()[2] for text in lines[1:]] == ["1.0", "2.0", "3.0"]


def test_live_display_keeps_the_panels_and_drops_the_note() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None, legacy_windows=False)
    with LiveDisplay(console, 100) as display:
        display.note("Starting")
        display.follow(proxied(storm()))
        display.tick()
        display.note("Draining")
        display.follow(Stage("straight at PostgreSQL", "red", Figures(500), None))
        display.tick()
    last = out.getvalue().rpartition("through poolproxy")[2]
    assert "straight at PostgreSQL" in last
    assert "Draining" not in last
