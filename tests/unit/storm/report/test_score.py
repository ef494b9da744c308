"""The top of the page."""

from __future__ import annotations

import math

import pytest

from benchmarks.storm.numbers import NARROW
from benchmarks.storm.report import palette
from benchmarks.storm.report.score import cards, details, headline, overall
from benchmarks.storm.results import Check
from benchmarks.storm.standing import Verdict
from tests.unit.storm.fixture import make_run


def won(*winners: str, ratio: float = math.nan) -> Verdict:
    return Verdict(winners, "", ratio)


@pytest.mark.parametrize(
    ("verdicts", "line"),
    [
        ([won("a")], "a wins"),
        ([won("a"), won("a")], "a wins all 2 scenarios"),
        ([won("a"), won("b"), won("a")], "a wins 2 of 3 scenarios"),
        ([won("b"), won("b"), won("a", "b")], "b wins 2 of 3 scenarios"),
        ([won("a"), won("b")], "a and b win 1 of 2 scenarios each"),
        ([won("a", "b")], "A storm without a winner"),
        ([won()], "A storm without a winner"),
    ],
)
def test_headline(verdicts: list[Verdict], line: str) -> None:
    assert headline({f"s{at}": verdict for at, verdict in enumerate(verdicts)}, ["a", "b"]) == line


def test_headline_of_one_target_and_of_none() -> None:
    assert headline({"ramp": won()}, ["a"]) == "a in a storm"
    assert headline({}, []) == "Nobody in a storm"


def test_details_say_where_and_by_how_much() -> None:
    verdicts = {
        "ramp": won("a", ratio=1.25),
        "spike": won("a", ratio=2.0),
        "kill": won("a", "b"),
        "freeze": won("b"),
    }
    assert details(verdicts).replace(NARROW, " ") == (
        "a wins ramp, spike; a and b tie in kill; b wins freeze. "
        "Where p99 decided, that of the next best was 1.25 × to 2.00 × the winner's."  # noqa: RUF001
    )
    assert details({"ramp": won("a", ratio=1.25)}).replace(NARROW, " ").endswith("was 1.25 × the winner's.")  # noqa: RUF001
    assert details({"ramp": won()}) == ""


def test_the_table_of_all_scenarios_adds_up() -> None:
    run = make_run(rounds=2, seconds=4, names=("ramp", "spike"))
    run.trials[0].ledger["lost"] = 1
    run.trials[1].checks.append(Check("servers at most", "25", "20", False))
    text = overall(run, palette.slots(run.targets)).replace(NARROW, " ")
    rows = text.split("<tr>")[2:]
    assert len(rows) == 3
    direct = [t for t in run.trials if t.target == "direct"]
    total = sum(sum(t.outcomes.values()) for t in direct)
    failed = sum(t.outcomes.get("failed", 0) for t in direct)
    assert f"<td>{total:,}</td>" in rows[0]
    assert f'<td class="bad">{failed:,} (' in rows[0]
    assert '<td class="bad">1</td><td>0</td>' in rows[0]
    assert '<td>0</td><td class="bad">1</td>' in rows[1]
    assert "<td>20</td>" in rows[2]


def test_a_card_marks_the_winner_and_those_that_fail() -> None:
    run = make_run(rounds=3, seconds=10, names=("ramp",))
    text = cards(run, palette.slots(run.targets))
    assert text.count("<article") == 1
    rows = text.split("<tr")[2:]
    assert [("hollow" in row, 'class="wins"' in row) for row in rows] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert "median and spread of 3 trials" in text
