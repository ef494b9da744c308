"""Tables."""

from __future__ import annotations

from benchmarks.storm.report.tables import COLUMNS, checks, ledger, markdown, markdown_table, summary_markdown
from benchmarks.storm.results import Check, Trial
from benchmarks.storm.standing import Standing, standings
from tests.unit.storm.fixture import make_run


def test_markdown_has_a_row_for_each_scenario_and_target() -> None:
    run = make_run(rounds=2, seconds=5, names=("ramp", "kill"))
    heads, rule, *rows = markdown(run).splitlines()
    assert len(rows) == 6
    assert {line.count("|") for line in (heads, rule, *rows)} == {heads.count("|")}
    assert [row.split("|")[1].strip() for row in rows] == ["ramp"] * 3 + ["kill"] * 3
    assert [row.split("|")[2].strip() for row in rows] == ["direct", "pgbouncer", "poolproxy"] * 2
    assert heads.startswith("| scenario | target | succeeded | connect + first answer, p50 |")
    assert rule.startswith("| --- | --- | ---: | ---: |")
    pool = standings(run)["ramp"][2]
    assert f"| {COLUMNS[2].cell(pool)} |".replace("\u202f", " ") in rows[2]
    assert "\u202f" not in summary_markdown(run)


def test_what_can_be_pasted_says_where_it_is_from() -> None:
    text = summary_markdown(make_run(rounds=2, seconds=5, names=("ramp",)))
    assert text.startswith("| scenario |")
    assert text.endswith(
        "Median (lowest..highest) of 2 trials. `ramp`: Ramp: 1,000 environments in 10 s. poolproxy 0.9.0, "
        "2026-11-28, `python -m benchmarks.storm --rounds 5`.\n"
    )


def test_a_cell_cannot_break_the_table() -> None:
    assert markdown_table(["a", "b"], [["x|y", "1"]]).splitlines()[2] == "| x\\|y | 1 |"


def test_ledger_and_checks_in_words() -> None:
    silent, clean, broken = (Trial("ramp", "a", n, "", 1.0) for n in range(3))
    clean.ledger = {"lost": 0, "duplicated": 0, "half": 0}
    broken.ledger = {"lost": 0, "duplicated": 1, "half": 2}
    assert ledger(Standing("a", [silent], "latency")) == "-"
    assert ledger(Standing("a", [silent, clean], "latency")) == "clean"
    assert ledger(Standing("a", [clean, broken, broken], "latency")) == "1 duplicated, 2 half"
    clean.checks = [Check("x", "1", "1", True), Check("y", "2", "1", False)]
    assert checks(Standing("a", [silent, clean], "latency")) == "1 of 2"
    assert checks(Standing("a", [silent], "latency")) == "-"
