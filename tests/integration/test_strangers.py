"""The timing run that tells known names from unknown ones, in its shortest form: that it runs, not what
it finds."""

from __future__ import annotations

import subprocess
import sys

from tests.support.proxy import ROOT, bare_environment


def test_it_prints_both_steps() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.strangers", "--rounds", "3"],
        cwd=ROOT, env=bare_environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| to the challenge |" in done.stdout
    assert "| to the refusal |" in done.stdout
