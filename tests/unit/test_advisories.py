"""Every test that tests/advisories.md names exists, and every advisory in it has one."""

from __future__ import annotations

import pytest

from tests.support import tables

TABLE = "advisories.md"


@pytest.mark.parametrize("test", tables.named(TABLE))
def test_it_exists(test: str) -> None:
    tables.check_it_exists(test)


def test_every_advisory_has_a_test() -> None:
    rows = tables.rows(TABLE)
    assert len(rows) > 20
    for row in rows:
        assert len(row) == 3, row
        assert "`tests/" in row[2], row
