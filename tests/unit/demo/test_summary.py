"""Which promises a storm keeps, and how the closing summary reads."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from poolproxy.demo.figures import Figures, Report
from poolproxy.demo.summary import contrast, errors_text, promises, verdict


def storm(
    *,
    served: int = 3,
    errors: dict[str, int] | None = None,
    peak: int = 2,
    recorded: int | None = 30,
) -> Figures:
    """A storm of three clients on at most two servers that keeps every promise, unless told otherwise."""
    figures = Figures(clients=3)
    figures.begin(0.0)
    report = Report(served=served, transactions=30, errors=errors or {}, latencies=[0.01] * 29 + [1.5])
    report.examples = {kind: f"about {kind}" for kind in report.errors}
    figures.add_report(0, report, 3.0)
    figures.add_sample(peak, 1)
    if recorded is not None:
        figures.end(recorded)
    return figures


def broken(figures: Figures, status: int | None = 0) -> list[int]:
    return [n for n, promise in enumerate(promises(figures, 2, status)) if not promise.kept]


def text(*renderables: object, terminal: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=terminal).print(*renderables, sep="\n")
    return out.getvalue()


def test_a_good_storm_keeps_all() -> None:
    assert broken(storm()) == []


@pytest.mark.parametrize(
    ("figures", "which"),
    [
        (storm(served=2), 0),
        (storm(errors={"XX000": 1}), 1),
        (storm(peak=3), 2),
        (storm(peak=0), 2),  # nothing was counted: that proves nothing
        (storm(recorded=29), 3),
        (storm(recorded=31), 3),
        (storm(recorded=None), 3),
    ],
)
def test_each_promise_can_be_broken(figures: Figures, which: int) -> None:
    assert broken(figures) == [which]


@pytest.mark.parametrize("status", [1, -9, None])
def test_a_proxy_that_does_not_end_well_breaks_one(status: int | None) -> None:
    assert broken(storm(), status) == [4]


def test_errors_are_named_the_most_frequent_first() -> None:
    assert errors_text(Counter()) == "none"
    assert (
        errors_text(Counter({"TimeoutError": 1, "53300": 12})) == "13 (12 too many clients, 1 TimeoutError)"
    )


def test_contrast_puts_both_storms_side_by_side() -> None:
    table = text(contrast(storm(), storm(served=2, errors={"53300": 40}, peak=97), plain=True))
    rows = {line[:29].strip(): line[29:].split() for line in table.splitlines() if line.strip()}
    assert rows["peak server connections"] == ["2", "97"]
    assert rows["errors"] == ["0", "40"]
    assert rows["too many clients"] == ["0", "40"]
    assert rows["clients served"] == ["3", "of", "3", "2", "of", "3"]
    assert rows["connect to commit, p50"] == ["10", "ms", "10", "ms"]
    assert rows["connect to commit, p99"] == ["1.50", "s", "1.50", "s"]
    assert rows["until every client was served"] == ["3.00", "s", "never"]
    assert table.isascii()


def test_verdict_names_what_broke_and_shows_a_message_of_each_kind() -> None:
    figures = storm(errors={"XX000": 1}, served=2)
    said = text(*verdict(promises(figures, 2, 0), figures))
    assert "BROKEN  every client was served: 2 of 3" in said
    assert "kept    at most 2 server connections: peak 2, and 1 for control beside" in said
    assert "XX000: about XX000" in said
    assert said.endswith("\n2 of 5 promises broken.\n")


def test_verdict_of_a_good_storm() -> None:
    said = text(*verdict(promises(storm(), 2, 0), storm()))
    assert said.count("kept    ") == 5
    assert said.endswith("\nAll promises kept: 3 clients on 2 server connections, and no error.\n")
