"""A pytest plugin that writes each test's outcome as a line of JSON, at once, into `OUTCOMES_FILE`.

It runs in the suites' own environments: it must import nothing of ours, and work on any pytest since 7.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

_OUTCOMES = Path(os.environ["OUTCOMES_FILE"])


def _write(**entry: Any) -> None:
    with _OUTCOMES.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": time.time(), **entry}) + "\n")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Where only some tests are wanted, the others are as if they were not there."""
    if "ONLY_FILE" in os.environ:
        wanted = set(Path(os.environ["ONLY_FILE"]).read_text("utf-8").split("\n"))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]


def pytest_runtest_logreport(report: Any) -> None:
    """One of the three phases of a test; what it adds up to is decided by whoever reads the file."""
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    text = report.longreprtext if report.failed else ""
    _write(test=report.nodeid, phase=report.when, outcome=outcome, seconds=report.duration, text=text)


def pytest_collectreport(report: Any) -> None:
    """A module that cannot be imported has tests that nobody sees: it counts as one that failed."""
    if report.failed:
        _write(test=report.nodeid, phase="collect", outcome="failed", seconds=0.0, text=report.longreprtext)


def pytest_sessionfinish(exitstatus: int) -> None:
    """The last line: without it the run was cut off."""
    _write(finished=int(exitstatus))
