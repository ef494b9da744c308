"""A trial under way, as a terminal and a log see it."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from benchmarks.storm.live import LiveDisplay, PlainDisplay, Progress, display, finished, line, panel
from benchmarks.storm.numbers import NARROW
from benchmarks.storm.results import Check
from tests.unit.storm.fixture import make_run


def under_way() -> Progress:
    progress = Progress("ramp", "poolproxy", 2, 5, seconds=30)
    for tenth in range(100):
        for _ in range(12):
            progress.settled(tenth / 10, "succeeded", 12.0)
    for _ in range(40):
        progress.settled(9.95, "throttled", 0.5)
    for _ in range(60):
        progress.connected(21.0)
    for message in ("FATAL: sorry, too many clients already", "something later"):
        progress.failed("53300", message)
    progress.failed("ConnectionResetError", "Connection reset by peer")
    progress.counted(10.02, 1000, 20, 312, 1100, 640)
    return progress


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_panel_fits_and_tells_all(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(panel(under_way(), width))
    shown = out.getvalue().replace(NARROW, " ")
    assert max(map(len, shown.splitlines())) <= width
    for words in (
        "ramp · poolproxy · trial 2 of 5",
        "1,100, 640 invocations in flight",
        "1,000 on 20 servers, 312 waiting",
        "1,240, 160 per second",
        "96.8 %  40 throttled",
        "p50 21.0 ms, p99 21.0 ms",
        "p50 12.0 ms, p99 12.0 ms",
        "2: FATAL: sorry, too man",
        "1: Connection reset by peer",
        "10.0 of 30 s",
    ):
        assert words in shown


def test_what_nobody_knows_yet_is_a_dash() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(panel(Progress("kill", "stranger", 1, 1), 100))
    shown = out.getvalue()
    assert "- on - servers, - waiting" in shown
    assert "p50 -, p99 -" in shown
    assert "0, 0 per second" in shown
    assert re.search(r"succeeded\s+- ", shown)


def test_the_line() -> None:
    assert line(under_way()) == (
        "ramp poolproxy 2/5  10.0 s: 1,100 environments, 1,000 clients, 20 servers, 312 waiting; "
        "1,240 settled, 96.8 % succeeded; connect p50 21.0 ms, p99 21.0 ms; "
        "invocation p50 12.0 ms, p99 12.0 ms; 3 errors"
    )


def test_rates_are_of_whole_seconds_and_gaps_are_zero() -> None:
    progress = Progress("ramp", "direct", 1, 1)
    assert progress.rates() == []
    for at in (0.1, 0.9, 2.5, 3.2):
        progress.settled(at, "succeeded", 1.0)
    assert progress.rates() == [2, 0, 1]  # the fourth second is not over
    progress.counted(200.0, 1, 1, 1, 1, 1)
    assert progress.rates() == [0] * 40


def test_a_finished_trial_says_what_it_came_to() -> None:
    good, *_ = [t for t in make_run(rounds=1, seconds=4, names=("ramp",)).trials if t.target == "poolproxy"]
    text = finished(good)
    assert re.fullmatch(
        r"ramp · poolproxy · trial 1: 100 % of \d+ invocations succeeded; "
        r"connect p50 [\d.]+ ms, p99 [\d.]+ ms; "
        r"invocation p50 [\d.]+ ms, p99 [\d.]+ ms; ledger clean; 2 checks passed",
        text,
    )
    good.checks.append(Check("servers at most", "25", "20", False))
    good.ledger["lost"] = 1
    good.generator_limited = "it was 200 ms late"
    text = finished(good)
    assert "LEDGER: 1 lost; MISSED servers at most: 25 (bar: 20)" in text
    assert text.endswith("the generator was the limit: it was 200 ms late")
    assert "checks passed" not in text


def test_live_display_shows_the_trial_and_keeps_a_line_of_it() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, force_interactive=True)
    trial = make_run(rounds=1, seconds=3, names=("ramp",)).trials[0]
    with LiveDisplay(console) as shown:
        shown.note("PostgreSQL starts")
        assert "PostgreSQL starts" in out.getvalue()
        progress = under_way()
        shown.begin(progress)
        shown.tick(12.5)
        assert "12.5 of 30 s" in out.getvalue()
        assert "1,000 on 20 servers" in out.getvalue()
        shown.finish(trial)
    assert "ramp · direct · trial 1" in out.getvalue()
    after = out.getvalue().rpartition("ramp · direct · trial 1")[2]
    assert "1,000 on 20 servers" not in after


def test_plain_display_writes_a_line_every_two_seconds() -> None:
    out = io.StringIO()
    with PlainDisplay(Console(file=out, width=40)) as shown:
        shown.note("warming [up]")
        shown.tick(1.0)
        progress = Progress("ramp", "direct", 1, 5)
        shown.begin(progress)
        for tick in range(1, 11):
            shown.tick(tick / 2)
        shown.finish(make_run(rounds=1, seconds=3, names=("ramp",)).trials[0])
        shown.tick(9.0)
    lines = out.getvalue().splitlines()
    assert lines[0] == "warming [up]"
    assert [text[:24] for text in lines[1:3]] == ["ramp direct 1/5   2.0 s:", "ramp direct 1/5   4.0 s:"]
    assert lines[3].startswith("ramp · direct · trial 1: ")
    assert len(lines) == 4


def test_which_display_depends_on_the_terminal() -> None:
    assert isinstance(display(Console(file=io.StringIO(), force_terminal=True)), LiveDisplay)
    assert isinstance(display(Console(file=io.StringIO())), PlainDisplay)
