"""What passes directly must pass through the proxy; the list of exceptions must be exactly right."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.suites.definitions import SUITES
from tests.suites.outcomes import Comparison, Run, RunCutOff, read


def entry(test: str, outcome: str, phase: str = "call", text: str = "") -> str:
    return json.dumps({"test": test, "outcome": outcome, "phase": phase, "seconds": 0.1, "text": text})


END = json.dumps({"finished": 1})


def run(**outcomes: str) -> Run:
    return Run(outcomes, {})


def compare(direct: list[Run], proxied: Run, exceptions: Mapping[str, str] | None = None) -> Comparison:
    return Comparison(direct, proxied, exceptions or {})


def test_a_test_is_what_its_worst_phase_is() -> None:
    lines = [
        *(entry("a", "passed", phase) for phase in ("setup", "call", "teardown")),
        *(entry("b", outcome, phase) for phase, outcome in (("setup", "passed"), ("call", "failed"))),
        *(entry("c", outcome, phase) for phase, outcome in (("call", "passed"), ("teardown", "failed"))),
        entry("d", "failed", "setup", "why"),
        entry("e", "skipped", "setup"),
        entry("e", "passed", "teardown"),
        entry("f", "passed", "call"),
        entry("f", "failed", "call", "a part of it"),
        entry("g.py", "failed", "collect"),
        END,
    ]
    found = read(lines)
    assert found.outcomes == {
        "a": "passed",
        "b": "failed",
        "c": "error",
        "d": "error",
        "e": "skipped",
        "f": "failed",
        "g.py": "error",
    }
    assert found.texts == {"d": "why\n", "f": "a part of it\n"}
    assert found.counts() == {"passed": 1, "failed": 2, "error": 3, "skipped": 1}


def test_a_run_that_was_cut_off_is_none() -> None:
    with pytest.raises(RunCutOff, match="after 1 tests"):
        read([entry("a", "passed")])


def test_all_is_well() -> None:
    direct = run(a="passed", b="failed", c="skipped", d="passed")
    comparison = compare([direct], run(a="passed", b="failed", c="passed", d="failed"), {"d": "no proxy can"})
    assert comparison.verdict() == []
    assert comparison.steady() == {"a", "d"}
    assert comparison.kept() == {"a"}


@pytest.mark.parametrize("outcome", ["failed", "error", "skipped", None])
def test_what_passes_directly_must_pass(outcome: str | None) -> None:
    proxied = run(a="passed") if outcome is None else run(a="passed", b=outcome)
    (line,) = compare([run(a="passed", b="passed")], proxied).verdict()
    assert line == f"b: passes directly, {outcome or 'absent'} through the proxy"


@pytest.mark.parametrize(
    ("listed", "wrong"),
    [
        ("a", "a: listed as an exception, but passes: it must leave the list"),
        ("b", "b: listed as an exception, but does not pass directly either"),
        ("x", "x: listed as an exception, but there is no such test"),
    ],
)
def test_the_list_holds_nothing_else(listed: str, wrong: str) -> None:
    comparison = compare([run(a="passed", b="failed")], run(a="passed", b="failed"), {listed: "why"})
    assert comparison.verdict() == [wrong]


@pytest.mark.parametrize("proxied", ["passed", "failed"])
@pytest.mark.parametrize("direct", ["passed", "failed"])
def test_what_is_left_to_chance_may_pass(direct: str, proxied: str) -> None:
    runs = [run(a="passed", b=direct)], run(a="passed", b=proxied)
    assert Comparison(*runs, {"b": "why"}, frozenset("b")).verdict() == []


def test_what_fails_directly_now_and_then_is_not_compared() -> None:
    twice = [run(a="passed", b="passed"), run(a="passed", b="failed")]
    comparison = compare(twice, run(a="passed", b="failed"))
    assert comparison.verdict() == []
    assert comparison.flaky() == {"b"}


def test_what_is_lost_is_tried_directly_again() -> None:
    direct, proxied = run(a="passed", b="passed", c="passed"), run(a="passed", b="failed", c="failed")
    comparison = Comparison([direct], proxied, {}, again=run(b="failed", c="passed"))
    assert comparison.lost() == ["c"]
    assert comparison.flaky() == {"b"}


def test_nothing_to_compare_is_wrong() -> None:
    assert compare([run(a="failed")], run(a="failed")).verdict() == [
        "no test passes directly: there is nothing to compare"
    ]


@pytest.mark.parametrize("name", SUITES)
def test_the_lists_can_be_read(name: str) -> None:
    suite = SUITES[name]()
    assert all(len(reason) > 20 for reason in suite.exceptions().values())
    assert suite.chance() <= suite.exceptions().keys()
    assert 0 < suite.ceiling() < 0.5
