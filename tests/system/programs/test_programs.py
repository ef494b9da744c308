"""Each program works behind a pool of two as it does directly, and pins for nothing that it need not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stage import Stage
from tests.system.programs import page
from tests.system.programs.catalogue import PROGRAMS
from tests.system.programs.running import Program, Runs, compare
from tests.system.sources import ROOT

#: The first of a language installs what it needs.
pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(400)]


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name.replace(" ", "-") for program in PROGRAMS])
def test_as_on_a_direct_connection(stage: Stage, tmp_path: Path, program: Program) -> None:
    report = Runs(stage, tmp_path).measure(program)
    assert not report.faults(), "\n".join(report.faults())


def test_the_page_tells_of_each_program() -> None:
    text = (ROOT / "docs" / "drivers.md").read_text("utf-8")
    assert page.known() in text, "run python -m tests.system.programs --write docs/drivers.md"
    assert [program.name for program in PROGRAMS if text.count(f"| {program.name} |") < 2] == []


def test_a_difference_is_found() -> None:
    told = {(0, "sum"): 1, (1, "sum"): None, (None, "table t"): [{"n": 1}]}
    assert compare(told, dict(told)) == []
    for other in ({(0, "sum"): 2}, {(None, "table t"): []}, {(2, "sum"): None}):
        assert [step for step, _ in compare(told, {**told, **other})] == [next(iter(other))[1]]
    assert [step for step, _ in compare(told, {(0, "sum"): 1, (None, "table t"): [{"n": 1}]})] == ["sum"]
