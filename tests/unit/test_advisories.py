"""Every test that tests/advisories.md names exists, and every advisory in it has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
TABLE = (TESTS / "advisories.md").read_text("utf-8")
ROWS = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")]
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


def test_every_advisory_has_a_test() -> None:
    advisories = [row for row in ROWS if row[0] != "where"]
    assert len(advisories) > 20
    for row in advisories:
        assert len(row) == 3, row
        assert "`tests/" in row[2], row
