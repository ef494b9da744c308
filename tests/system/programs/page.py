"""The part of docs/drivers.md that is measured: a table of what the programs did, between two marks."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from pathlib import Path

from poolproxy._version import __version__
from tests.system.programs.catalogue import PROGRAMS
from tests.system.programs.running import CLIENTS, SERVERS, Report

BEGIN = "<!-- written by python -m tests.system.programs --write docs/drivers.md: begin -->"
END = "<!-- written by python -m tests.system.programs --write docs/drivers.md: end -->"


def measured(reports: Sequence[Report], postgres: str) -> str:
    """The table of figures, with what it was measured on."""
    today = datetime.datetime.now(datetime.UTC).date()
    where = f"PostgreSQL {postgres}, Python {platform.python_version()} on {platform.machine()}"
    how = f"{CLIENTS} clients at once, a pool of {SERVERS} servers (3 for `pg_dump -j 2`), transaction mode"
    lines = [
        f"Measured on {today} with poolproxy {__version__}, {where}: {how}.",
        "",
        "| program | versions | results | exchanges | of them pinned | pins | seconds pinned |",
        "|---|---|---|---:|---:|---|---:|",
    ]
    for report in reports:
        versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
        results = "as directly, but one" if report.different_steps else "as directly"
        pins = ", ".join(f"{number} {reason}" for reason, number in sorted(report.pins.items())) or "none"
        seconds = f"{sum(report.pin_seconds.values()):.2f}" if report.pins else "0"
        lines.append(
            f"| {report.program.name} | {versions} | {results} | {report.queries:,} | {report.share:.1%} | "
            f"{pins} | {seconds} |"
        )
    return "\n".join(lines)


def known() -> str:
    """What does not depend on a run: what each program does, what differs and pins, and how it is "
    "elsewhere."""
    lines = ["| program | what it does here | to set | RDS Proxy | PgBouncer |", "|---|---|---|---|---|"]
    lines += [
        f"| {p.name} | {p.does} | {p.settings} | {p.rds or '?'} | {p.pgbouncer or '?'} |" for p in PROGRAMS
    ]
    lines += ["", "What pins, and what differs:", ""]
    for program in PROGRAMS:
        lines += [f"- {program.name}, `{reason}`: {why}" for reason, why in program.pins.items()]
        lines += [f"- {program.name}: {why}." for why in program.differs.values()]
    return "\n".join(lines)


def written(page: str, part: str) -> str:
    """`page` with `part` between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"the page lacks its marks:\n{BEGIN}\n{END}")
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def write(page: Path, reports: Sequence[Report], postgres: str) -> None:
    """Put the tables into the page."""
    part = f"{measured(reports, postgres)}\n\n{known()}"
    page.write_text(written(page.read_text("utf-8"), part), "utf-8")
