"""What RESULTS.md gets of a run."""

from __future__ import annotations

from benchmarks.storm.report import section
from benchmarks.storm.report.tables import summary_markdown
from benchmarks.storm.results import REPORTED, Check
from tests.unit.storm.fixture import make_run


def test_it_has_the_table_the_machine_and_the_configurations() -> None:
    run = make_run(rounds=1, seconds=3, names=("ramp",))
    text = section(run)
    assert text.startswith(summary_markdown(run).strip())
    for line in run.machine:
        assert f"\n- {line}" in text
    for name, info in run.targets.items():
        assert f"### {name} in the storms\n\n{info.version}" in text
        assert info.configuration in text


def test_bars_are_told_with_their_verdict() -> None:
    run = make_run(rounds=1, seconds=3, names=("ramp",))
    run.checks = [Check("p50", "0.9", "at most 1.1", True), Check("p99", "1.2", "at most 1.1", False)]
    text = section(run)
    assert "| p50 | 0.9 | at most 1.1 | met |" in text
    assert "| p99 | 1.2 | at most 1.1 | missed |" in text


def test_what_has_no_bar_is_reported() -> None:
    run = make_run(rounds=1, seconds=3, names=("ramp",))
    for trial in run.trials:
        trial.checks = [Check("servers", "20", "at most 20", True)]
    assert "Reported" not in section(run)
    first = run.trials[0]
    first.checks.append(Check("p99 of the API, alone", "3.10 ms", REPORTED, True))
    line = f"- ramp, {first.target}, trial {first.number}: p99 of the API, alone: 3.10 ms"
    assert f"Reported, without a bar:\n\n{line}\n" in section(run)


def test_what_missed_is_told_by_name_and_nothing_where_nothing_did() -> None:
    run = make_run(rounds=1, seconds=3, names=("ramp",))
    for trial in run.trials:
        trial.checks = [Check("servers", "20", "at most 20", True)]
        trial.generator_limited = ""
    assert "What missed" not in section(run)
    assert "the generator" not in section(run)
    run.trials[0].checks.append(Check("servers", "97", "at most 20", False))
    run.trials[1].generator_limited = "It was late."
    first, second, *_ = run.trials
    text = section(run)
    assert f"- ramp, {first.target}, trial {first.number}: servers: 97 (bar: at most 20)" in text
    assert f"- ramp, {second.target}, trial {second.number}: It was late." in text
