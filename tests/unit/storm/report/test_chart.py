"""A small plot."""

from __future__ import annotations

import json
import math
import re
from xml.etree import ElementTree

import pytest

from benchmarks.storm.report import scales
from benchmarks.storm.report.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Plot,
    draw,
    hover_values,
    shortened,
    spaced,
)
from benchmarks.storm.report.series import Line

NAN = math.nan


def plot(*lines: Line, marks: list[tuple[float, str]] | None = None) -> Plot:
    def words(value: float) -> str:
        return f"{value:g} things"

    return Plot(
        "ramp-things",
        "Things",
        "how many",
        scales.span(0, 10, lambda v: f"{v:g} s"),
        scales.linear([0, 100], words),
        list(lines),
        {"poolproxy": 0, "stranger": 3},
        lambda v: f"{v:g} s",
        words,
        marks or [],
    )


FLAT = Line("poolproxy", [(0, 20, 20, 20), (5, 20, 20, 20), (10, 20, 20, 20)])
SPREAD = Line("stranger", [(0, 10, 50, 100), (4, NAN, NAN, NAN), (6, 0, 50, 90), (10, 40, 60, 80)])


def parsed(made: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(draw(made))


def by_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in root.iter() if name in element.get("class", "").split()]


def test_a_line_lies_where_its_values_are() -> None:
    (stroke,) = by_class(parsed(plot(FLAT)), "stroke")
    bottom, top = HEIGHT - BOTTOM, TOP
    y = bottom - 0.2 * (bottom - top)
    assert (
        stroke.get("d")
        == f"M{LEFT:.1f} {y:.1f}L{(LEFT + WIDTH - RIGHT) / 2:.1f} {y:.1f}L{WIDTH - RIGHT:.1f} {y:.1f}"
    )
    assert stroke.get("data-points") == "3"
    assert stroke.get("class") == "stroke t0"
    assert stroke.get("stroke-dasharray") is None
    assert by_class(parsed(plot(FLAT)), "band") == []  # without a spread there is none to draw


def test_a_gap_parts_the_line_and_its_band() -> None:
    root = parsed(plot(SPREAD))
    (stroke,), (band,) = by_class(root, "stroke"), by_class(root, "band")
    assert stroke.get("d", "").count("M") == 2
    assert stroke.get("data-points") == "3"
    assert stroke.get("stroke-dasharray") == "7 3"
    assert band.get("d", "").count("M") == 1  # one point alone spans no band


def test_lines_are_named_where_they_end_and_apart() -> None:
    near = Line("stranger", [(0, 0, 0, 0), (10, 21, 21, 21)])
    names = by_class(parsed(plot(FLAT, near)), "name")
    assert {name.text for name in names} == {"poolproxy", "stranger"}
    ys = sorted(float(name.get("y", "")) for name in names)
    assert ys[1] - ys[0] >= 14


def test_a_line_without_values_is_not_drawn() -> None:
    root = parsed(plot(FLAT, Line("stranger", [(0, NAN, NAN, NAN)])))
    assert [name.text for name in by_class(root, "name")] == ["poolproxy"]
    assert "stranger" not in hover_values(plot(FLAT, Line("stranger")))


def test_limits_are_drawn_and_named() -> None:
    root = parsed(plot(FLAT, marks=[(20.0, "pool size 20")]))
    assert [e.tag for e in by_class(root, "limit")] == ["line"]
    assert "pool size 20" in [e.text for e in root.iter("text")]


def test_axes_say_units() -> None:
    texts = [e.text for e in by_class(parsed(plot(FLAT)), "tick")]
    assert texts == ["0 things", "50 things", "100 things", "0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]


def test_it_can_be_heard() -> None:
    root = parsed(plot(FLAT, SPREAD))
    assert root.get("role") == "img"
    title = root.find("title")
    assert title is not None
    assert title.text == (
        "Things, how many. poolproxy: at most 20 things, 20 things at 10 s; "
        "stranger: at most 100 things, 60 things at 10 s."
    )


def test_hover_values_are_the_same_numbers_in_words() -> None:
    data = json.loads(hover_values(plot(FLAT, SPREAD)))
    assert data["names"] == ["poolproxy", "stranger"]
    assert data["slots"] == [0, 3]
    assert data["at"] == ["0 s", "4 s", "5 s", "6 s", "10 s"]
    assert data["x"][0] == LEFT
    assert data["x"][-1] == WIDTH - RIGHT
    assert data["values"][0] == ["20 things", "", "20 things", "", "20 things"]
    assert data["values"][1][:2] == ["50 things (10 things..100 things)", ""]


def test_hover_values_cannot_end_their_script() -> None:
    made = plot(Line("poolproxy", FLAT.points))
    made.lines[0].target = "</script>"
    made.slots["</script>"] = 1
    assert "</" not in hover_values(made)
    assert json.loads(hover_values(made))["names"] == ["</script>"]
    assert re.search("</script", draw(made)) is None


@pytest.mark.parametrize(
    ("places", "moved"),
    [
        ([], []),
        ([50.0], [50.0]),
        ([-5.0], [0.0]),
        ([120.0], [100.0]),
        ([50.0, 50.0], [50.0, 64.0]),
        ([99.0, 100.0], [86.0, 100.0]),
        ([10.0, 40.0, 90.0], [10.0, 40.0, 90.0]),
        ([90.0, 95.0, 100.0], [72.0, 86.0, 100.0]),
    ],
)
def test_names_are_moved_apart_within_the_plot(places: list[float], moved: list[float]) -> None:
    assert spaced(places, 0.0, 100.0) == moved


def test_a_long_name_is_shortened() -> None:
    assert shortened("poolproxy") == "poolproxy"
    assert shortened("my-own-database") == "my-own-data…"
    assert len(shortened("my-own-database")) == 12
