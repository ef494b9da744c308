from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.storm.ledger import Verdict

CLEAN = Verdict(acknowledged=5, rows=9, clean=5, lost=0, duplicated=0, half=0, in_doubt=2, retried=1)


def test_a_verdict_without_faults() -> None:
    assert CLEAN.faults == 0
    counted = "5 acknowledged, 5 there exactly once; 0 lost, 0 duplicated, 0 half"
    assert str(CLEAN) == f"{counted}; 2 in doubt, 1 duplicates by retry"


@pytest.mark.parametrize("fault", ["lost", "duplicated", "half"])
def test_each_fault_counts(fault: str) -> None:
    counts: dict[str, Any] = {fault: 3}
    assert replace(CLEAN, **counts).faults == 3


def test_as_a_dictionary_for_the_results() -> None:
    assert replace(CLEAN, lost=1, examples=["lost: a attempt 1"]).to_dict() == {
        "acknowledged": 5,
        "rows": 9,
        "clean": 5,
        "lost": 1,
        "duplicated": 0,
        "half": 0,
        "in_doubt": 2,
        "retried": 1,
        "examples": ["lost: a attempt 1"],
        "faults": 1,
    }
