"""The picture for a README."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.storm.report import picture
from tests.unit.storm.fixture import make_run

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("columns", "rows"), [(1, 4), (2, 2), (4, 1)])
def test_the_plots_stand_in_columns_and_inside_the_sheet(columns: int, rows: int) -> None:
    root = ElementTree.fromstring(picture(make_run(rounds=2, seconds=6, names=("ramp",)), "ramp", columns))
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    groups = [g for g in root.findall(f"{SVG}g") if g.get("transform")]
    places = [
        tuple(float(n) for n in g.get("transform", "").removeprefix("translate(").rstrip(")").split())
        for g in groups
    ]
    assert len({x for x, _ in places}) == columns
    assert len({y for _, y in places}) == rows
    assert all(x + 360 <= width and y + 238 <= height for x, y in places)
    assert all(len(list(g.iter(f"{SVG}path"))) >= 3 for g in groups)


def test_it_says_who_wins_and_has_both_schemes() -> None:
    text = picture(make_run(rounds=2, seconds=6, names=("ramp",)), "ramp")
    assert "poolproxy wins" in text
    assert "Median and spread of 2 trials" in text
    assert "prefers-color-scheme:dark" in text
    assert "<script" not in text


def test_a_plot_that_is_not_there_leaves_no_hole() -> None:
    run = make_run(rounds=1, seconds=6, names=("ramp",))
    run.trials = [trial for trial in run.trials if trial.target != "direct"]  # nobody fails
    root = ElementTree.fromstring(picture(run, "ramp", 3))
    assert len([g for g in root.findall(f"{SVG}g") if g.get("transform")]) == 3


def test_another_scenario_is_an_error() -> None:
    with pytest.raises(KeyError):
        picture(make_run(rounds=1, seconds=2, names=("ramp",)), "kill")
