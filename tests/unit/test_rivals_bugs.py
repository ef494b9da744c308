"""Every test that tests/rivals_bugs.md names exists, and every bug in it has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
TABLE = (TESTS / "rivals_bugs.md").read_text("utf-8")
ROWS = [line.split(" | ") for line in TABLE.splitlines() if line.startswith("| ") and "`tests/" in line]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+::[^`]+)`", TABLE)))


@pytest.mark.parametrize("named", NAMED)
def test_it_exists(named: str) -> None:
    match = re.fullmatch(r"(tests/[a-z_/]+\.py)::(test_[a-z_0-9]+)(?:\[(.+)\])?", named)
    assert match, named
    file, function, parameter = match.groups()
    source = (TESTS.parent / file).read_text("utf-8")
    assert re.search(rf"^ *(?:async )?def {function}\(", source, re.MULTILINE), named
    if parameter is not None:
        known = source + (TESTS / "support" / "exchanges.py").read_text("utf-8")
        assert f'"{parameter}"' in known, named


def test_every_bug_has_a_test() -> None:
    bugs = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| where")]
    assert len(ROWS) == len(bugs) > 50
    assert all(len(row) == 3 for row in ROWS)
