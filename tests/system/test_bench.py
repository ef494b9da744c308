"""`make bench` in small: every figure runs against every target and tells a number. No speed is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.long]

ROOT = Path(__file__).parent.parent.parent
TARGETS = {"direct", "pgbouncer", "pgbouncer-64k", "poolproxy"}
FIGURES = {
    "simple-32",
    "extended-32",
    "simple-500",
    "extended-500",
    "rows",
    "rows-lean",
    "copy-out",
    "copy-in",
    "login",
    "idle",
    "stalled",
    "tls-simple-32",
    "tls-rows",
    "tls-login",
    "tls-beside",
    "tls-idle",
}
#: Where the size of its buffer does not matter.
SMALL = {"tls-simple-32", "tls-login", "tls-beside", "tls-idle"}
GROWTH = {"idle", "stalled", "tls-idle"}  #: growth of memory may be nothing; a CPU time may not


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bench") / "RESULTS.md"
    command = [sys.executable, "-m", "benchmarks.peers", "--quick", "--write", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return path.read_text("utf-8")


def rows_of(section: str) -> dict[str, str]:
    """Target -> the figure's value (its median), from the table of one figure."""
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {row[0]: row[1] for row in cells if row[0] in TARGETS}


@pytest.mark.timeout(300)
def test_every_figure_has_a_number_for_every_target(report: str) -> None:
    figures = report.partition("## Figures")[2].partition("## Configurations")[0]
    found = set()
    for section in figures.split("\n### ")[1:]:
        name = re.search(r"^`([a-z0-9-]+)`: `", section, re.MULTILINE)
        assert name, section
        found.add(name[1])
        values = {
            target: float(text.split()[0].replace(",", "")) for target, text in rows_of(section).items()
        }
        left_out = {"pgbouncer-64k"} if name[1] in SMALL else set()
        assert values.keys() == TARGETS - left_out, name[1]
        for target, value in values.items():
            assert value > 0 or (value == 0 and name[1] in GROWTH), (name[1], target, value)
    assert found == FIGURES


def test_the_summary_judges_every_figure(report: str) -> None:
    summary = report.partition("## Summary")[2].partition("## Figures")[0]
    rows = [line.strip("| ").split(" | ") for line in summary.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(FIGURES)
    assert {row[-1] for row in rows} <= {"pass", "miss"}
    assert "Bar of the longest stall: 5 ms." in report
    assert "Longest stall of poolproxy's data-plane thread in all of these: at most" in summary


def test_configurations_are_published_without_secrets_and_places(report: str) -> None:
    configurations = report.partition("## Configurations")[2]
    assert {f"{target}, over TLS" for target in TARGETS} <= set(re.findall(r"(?m)^### (.+)$", configurations))
    for said in ("ssl = on", "client_tls_sslmode = require", 'tls_mode = "require"', "NumTickets = 0"):
        assert said in configurations
    assert "pkt_buf = 65536" in configurations
    assert "SCRAM-SHA-256$..." in configurations
    assert "SCRAM-SHA-256$4096" not in report
    assert "/tmp" not in configurations


@pytest.mark.timeout(120)
def test_another_checkout_stands_beside_this_one() -> None:
    """`--earlier`, with this very checkout in the place of an earlier one."""
    what = ["--quick", "--only", "simple-32", "--targets", "poolproxy", "--earlier", str(ROOT)]
    command = [sys.executable, "-m", "benchmarks.peers", *what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    row = re.search(
        r"^\| pgbench -S.*\| ([\d.]+) \([\d.]+\.\.[\d.]+\) \(1\.05\) \| (pass|miss) \|$", done.stdout, re.M
    )
    assert row is not None, done.stdout
    assert float(row[1]) > 0
    assert str(ROOT) not in done.stdout


@pytest.mark.timeout(300)
def test_what_session_state_costs_is_told(tmp_path: Path) -> None:
    """`python -m benchmarks.sessions` in small: every run has both figures, every pair a ratio."""
    path = tmp_path / "SESSIONS.md"
    command = [sys.executable, "-m", "benchmarks.sessions", "--quick", "--write", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    text = path.read_text("utf-8")
    for run in ("simple", "prepared", "always", "plain", "sets"):
        row = re.search(rf"^\| {run} \| ([\d.,]+) \| ([\d.,]+) \|$", text, re.MULTILINE)
        assert row is not None, text
        assert all(float(cell.replace(",", "")) > 0 for cell in row.groups()), row[0]
    assert len(re.findall(r"\d+\.\d{3} \(\d+\.\d{3}\.\.\d+\.\d{3}\)", text)) == 6
    assert "Pins in all of these: 0." in text
    parses = re.search(
        r"^\| Parse messages to servers: 40 fresh clients, .* \| (\d+) \| 200 \|$", text, re.MULTILINE
    )
    assert parses is not None, text
    assert 10 <= int(parses[1]) <= 200  # each statement at least once, and never more than once on a server
    assert re.search(r"the suspect check of `SELECT .*: \d+ ns, .* \| \d+\.\d% \| 5% \|", text)
