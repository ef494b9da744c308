"""A run as data and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.storm.results import Run, Slice, Timeline, WrongSchema
from tests.unit.storm.fixture import make_run


@pytest.fixture(scope="module")
def text() -> str:
    return make_run(rounds=1, seconds=5, names=("ramp",)).to_json()


def test_round_trip(text: str) -> None:
    run = make_run(rounds=1, seconds=5, names=("ramp",))
    again = Run.from_json(text)
    assert again == run
    assert again.to_json() == text
    assert again.trials[0].latency.percentile(99) == run.trials[0].latency.percentile(99) > 0


def test_an_empty_run_and_numbers_that_are_none_survive() -> None:
    run = Run("command", "version", [], "2026-01-01T00:00:00+00:00")
    assert Run.from_json(run.to_json()) == run
    full = make_run(rounds=1, seconds=2, names=("ramp",))
    full.trials[0].timeline = [Slice(3, 0, math.nan, math.nan, math.nan, 0)]
    text = full.to_json()
    assert "NaN" not in text
    assert math.isnan(Run.from_json(text).trials[0].timeline[0].p99)


def test_the_schema_stands_first(text: str) -> None:
    assert next(iter(json.loads(text).items())) == ("schema", 1)
    assert text.lstrip("{\n ").startswith('"schema": 1')


def changed(text: str, change: Callable[[dict[str, Any]], Any]) -> str:
    data = json.loads(text)
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.update(schema=2), "this result has schema 2, and this version reads schema 1 alone"),
        (lambda d: d.update(schema="1"), "this result has schema '1'"),
        (lambda d: d.update(schema=True), "this result has schema True"),
        (lambda d: d.pop("schema"), "no result of a storm"),
        (lambda d: d.pop("command"), "the run has no 'command'"),
        (lambda d: d.update(speed=1), "the run has 'speed', which schema 1 does not know"),
        (lambda d: d["trials"][0].pop("ledger"), r"trials\[0\] has no 'ledger'"),
        (lambda d: d["trials"][0].update(number="1"), r"trials\[0\].number is str where int is expected"),
        (lambda d: d["trials"][0].update(number=True), r"trials\[0\].number is bool where int is expected"),
        (lambda d: d["trials"][1].update(latency="?"), r"trials\[1\].latency: not an HDR histogram"),
        (lambda d: d["trials"][2]["samples"][0].update(cpu="much"), r"samples\[0\].cpu is str where float"),
        (lambda d: d.update(trials={}), "trials is dict where list is expected"),
        (lambda d: d["targets"].update(direct=[]), "targets.direct is list where dict is expected"),
    ],
)
def test_what_is_no_run_of_schema_1_is_refused(
    text: str, change: Callable[[dict[str, Any]], Any], complaint: str
) -> None:
    with pytest.raises(WrongSchema, match=complaint):
        Run.from_json(changed(text, change))


@pytest.mark.parametrize(
    ("text", "complaint"), [("", "not JSON"), ("{", "not JSON"), ("[]", "no result of a storm")]
)
def test_other_text_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(WrongSchema, match=complaint):
        Run.from_json(text)


def test_a_ledger_says_its_faults_or_is_refused() -> None:
    trial = make_run(rounds=1, seconds=1, names=("ramp",)).trials[0]
    assert trial.fault() == ""
    trial.ledger["lost"], trial.ledger["half"] = 2, 1
    assert trial.fault() == "2 lost, 1 half"
    trial.ledger = {}
    assert trial.fault() == ""
    trial.ledger = {"lost": 0}
    with pytest.raises(KeyError, match="duplicated"):
        trial.fault()


def test_a_timeline_has_a_slice_for_every_second() -> None:
    timeline = Timeline()
    for value in range(1, 101):
        timeline.record(1.0 + value / 200, float(value), failed=value > 98)
    timeline.record(3.999, 7.0, failed=False)
    first, gap, last = timeline.slices()
    assert first == Slice(1, 100, 50.0, 99.0, 100.0, 2)
    assert (gap.at, gap.count, gap.failures) == (2, 0, 0)
    assert all(math.isnan(value) for value in (gap.p50, gap.p99, gap.max))
    assert last == Slice(3, 1, 7.0, 7.0, 7.0, 0)
    assert Timeline().slices() == []
