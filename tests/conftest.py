"""The whole suite: which build runs, and the interpreted one when it is asked for."""

from __future__ import annotations

from pathlib import Path

from tests.support import interpreted

ROOT = Path(__file__).resolve().parent.parent

if interpreted.wanted():
    interpreted.install()


def pytest_report_header() -> str:
    """Say in the header which build the results are about."""
    return interpreted.described(ROOT)
