"""The page as text; tests/system/test_storm_report.py looks at it in a browser."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest

from benchmarks.storm.compare import compare
from benchmarks.storm.report import page, picture, summary_markdown
from benchmarks.storm.report.panels import KINDS
from benchmarks.storm.results import Check, Run, Scenario, TargetInfo
from tests.unit.storm.fixture import make_run

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Outline(HTMLParser):
    """Complains when an element is not closed; keeps ids, plots and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.plots: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if found.get("data-plot"):
            self.plots.append(str(found["data-plot"]))
        self.addresses += [str(found[name]) for name in ("src", "href", "action", "data") if found.get(name)]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def run() -> Run:
    return make_run(rounds=2, seconds=8, names=("ramp", "neighbour"))


def test_it_is_whole_and_needs_nothing_else(run: Run) -> None:
    text = page(run)
    found = outline(text)
    assert found.ids.count("score") == 1
    assert len(found.ids) == len(set(found.ids))
    assert found.addresses == ["#ramp", "#neighbour"]
    assert not re.search(r"https?://|@import|url\(", text)
    assert found.plots == [f"{scenario}-{kind.name}" for scenario in ("ramp", "neighbour") for kind in KINDS]


def test_every_target_is_in_every_plot_that_knows_it(run: Run) -> None:
    figures = page(run).split("<figure")[1:]
    for figure in figures:
        name = re.search(r'data-plot="\w+-(\w+)"', figure)
        assert name is not None
        known = set(re.findall(r'data-target="(\w+)"', figure))
        unknown = {"direct"} if name[1] in ("waiting", "cpu", "memory") else set()
        assert known == set(run.targets) - unknown
        values = re.search(r'<script type="application/json">(.*?)</script>', figure)
        assert values is not None
        assert set(json.loads(values[1])["names"]) == known


def test_it_says_what_was_run_on_what_and_how(run: Run) -> None:
    text = unescape(page(run))
    for line in [run.command, run.version, *run.machine]:
        assert line in text
    for info in run.targets.values():
        assert info.version in text
        assert info.configuration in text
    assert summary_markdown(run) in text
    assert "FATAL: sorry, too many clients already" in text
    assert "12 trials, begun 2026-11-28 08:00 UTC" in text


def test_checks_that_were_missed_are_named_once_and_with_the_trial_that_missed(run: Run) -> None:
    broken = make_run(rounds=3, seconds=4, names=("ramp",))
    mine = [trial for trial in broken.trials if trial.target == "poolproxy"]
    mine[1].checks[0] = Check("servers at most", "21", "20", False)
    mine[2].generator_limited = "half of the arrivals were 300 ms late."
    text = unescape(page(broken))
    assert text.count("poolproxy: servers at most: 21 (bar: 20)") == 1
    assert "poolproxy: servers at most: 20 (bar: 20)" not in text
    assert "The generator was the limit. poolproxy: half of the arrivals were 300 ms late." in text
    assert "The generator was the limit" not in page(run)


def test_a_comparison_is_a_section_of_its_own(run: Run) -> None:
    assert 'id="comparison"' not in page(run)
    text = page(run, compare(run, run))
    outline(text)
    assert text.count("within the spread</td>") == 2 * (6 + 8 + 8)
    assert "Changes beyond the spread" not in text


def test_what_changed_beyond_the_spread_is_not_folded_away(run: Run) -> None:
    before = make_run(rounds=2, seconds=8, names=("ramp", "neighbour"))
    for trial in before.trials:
        trial.outcomes = {"succeeded": 2, "failed": 8} if trial.target == "poolproxy" else trial.outcomes
    shown = page(run, compare(before, run)).split('id="comparison"')[1].split("<details>")[0]
    assert shown.count("<td>better</td>") == 2
    assert shown.count("<td>poolproxy</td>") == 2


def test_names_from_outside_are_escaped() -> None:
    run = make_run(rounds=1, seconds=3, names=("ramp",))
    evil = '<script>alert("x")</script>'
    run.targets[evil] = TargetInfo(evil, evil)
    for trial in run.trials:
        if trial.target == "direct":
            trial.target = evil
        trial.examples = {"53300": evil}
    run.scenarios["ramp"] = Scenario(evil, evil)
    text = page(run)
    assert evil not in text
    outline(text)
    assert evil not in picture(run, "ramp")


def test_a_run_without_trials_is_still_a_page() -> None:
    text = page(Run("command", "version", [], "2026-01-01T00:00:00+00:00"))
    outline(text)
    assert "0 trials" in text


def test_a_single_sample_and_a_single_target_are_drawn() -> None:
    run = make_run(rounds=1, seconds=1, names=("ramp",))
    run.trials = [trial for trial in run.trials if trial.target == "poolproxy"]
    text = page(run)
    outline(text)
    assert "poolproxy ran alone" in text
