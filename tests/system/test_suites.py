"""asyncpg's own test suite, directly and through the proxy in transaction mode (see tests/suites)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.suites import report, running
from tests.suites.definitions import SUITES


@pytest.mark.long
@pytest.mark.timeout(900)
def test_asyncpg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = SUITES["asyncpg"]()
    comparison, figures = running.compare(suite, tmp_path)
    with capsys.disabled():
        # A worker's standard output leads nowhere.
        print(f"\n{report.markdown(suite, comparison, figures, running.server_version())}", file=sys.stderr)
    report.failures(comparison, tmp_path)
    wrong = comparison.verdict() + figures.verdict(suite.ceiling())
    assert not wrong, "\n".join(wrong) + "\n" + (tmp_path / "lost").read_text("utf-8")
    assert len(comparison.kept()) > 290  # of about 310: a run that tried nothing proves nothing
