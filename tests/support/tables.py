"""Tables in Markdown that name a test for each row: whether the tests are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent


def rows(table: str) -> list[list[str]]:
    """The cells of each row of a file beside the tests, but for heads and rules."""
    lines = (TESTS / table).read_text("utf-8").splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return [row for row in cells if row[0] != "where"]


def named(table: str) -> list[str]:
    """The tests that it names: `FILE::FUNCTION`, or with a parameter."""
    return sorted(set(re.findall(r"`(tests/[^`]+::[^`]+)`", (TESTS / table).read_text("utf-8"))))


def check_it_exists(test: str) -> None:
    """AssertionError where nobody has written it."""
    match = re.fullmatch(r"(tests/[a-z_/]+\.py)::(test_[a-z_0-9]+)(?:\[(.+)\])?", test)
    assert match, test
    file, function, parameter = match.groups()
    source = (TESTS.parent / file).read_text("utf-8")
    assert re.search(rf"^ *(?:async )?def {function}\(", source, re.MULTILINE), test
    if parameter is not None:
        known = source + (TESTS / "support" / "exchanges.py").read_text("utf-8")
        assert f'"{parameter}"' in known, test
