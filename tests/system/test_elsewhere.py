"""The control of the bench's crowd runs, and has a figure for each place."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system


def test_it_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.elsewhere", "--quick", "--rounds", "1"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(
        r"^\| (pgbouncer|poolproxy) \| (at the same proxy|at another) \| ([\d.]+) ", done.stdout, re.M
    )
    assert len({found[:2] for found in rows}) == 4, done.stdout
    assert all(float(p99) > 0 for _, _, p99 in rows)
