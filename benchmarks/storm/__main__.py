"""Let a Lambda storm loose on PostgreSQL endpoints, and say who stood it.

python -m benchmarks.storm ramp                              direct, PgBouncer and poolproxy, side by side
python -m benchmarks.storm ramp --dsn mine=postgres://...    on any endpoint
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import uvloop
from rich.console import Console

from benchmarks import machine
from benchmarks.process import raise_file_limit
from benchmarks.sections import STORMS as SECTION
from benchmarks.sections import replaced
from benchmarks.storm import compare, demands
from benchmarks.storm.bars import bars
from benchmarks.storm.clients import SessionError
from benchmarks.storm.endpoints import LOCAL, RIVALS, Elsewhere
from benchmarks.storm.live import display
from benchmarks.storm.loading import HandlerNotFound
from benchmarks.storm.report import page, picture, section, summary_markdown
from benchmarks.storm.results import Run, WrongSchema
from benchmarks.storm.runs import TRIALS, Failed, storm
from benchmarks.storm.runtime.forks import HostFailed
from benchmarks.storm.runtime.namespaces import NamespaceFailed
from benchmarks.storm.scenarios import SCENARIOS, load
from benchmarks.storm.scenarios.scenario import Unable
from poolproxy._version import __version__
from poolproxy.demo.postgres import PostgresFailed

FILES = 40_000  #: open ones: a socket for each client here and at the endpoint

#: What a run can end with that is told in a line.
UNABLE = (
    Elsewhere,
    Failed,
    HandlerNotFound,
    HostFailed,
    NamespaceFailed,
    PostgresFailed,
    SessionError,
    Unable,
    WrongSchema,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    RuntimeError,  # a target that did not start
)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.storm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all")
    made.add_argument("--target", action="append", choices=LOCAL, help="a local one; repeat it; all")
    made.add_argument("--dsn", action="append", type=demands.dsn, default=[], metavar="NAME=URL")
    made.add_argument(
        "--trials",
        type=demands.positive,
        metavar="N",
        help=f"of each, alternated; {TRIALS}, and 1 with --quick",
    )
    made.add_argument("--quick", action="store_true", help="less of everything: at most a minute each")
    made.add_argument(
        "--environments", type=demands.positive, metavar="N", help="how many; 1,000, and 200 with --quick"
    )
    made.add_argument("--client", choices=("lean", "asyncpg"), default="lean", help="what handlers use")
    made.add_argument(
        "--statement-cache",
        type=demands.natural,
        default=0,
        metavar="N",
        help="named statements of asyncpg; its default 100",
    )
    made.add_argument(
        "--isolation", choices=("task", "process"), help="the scenario's own; with --handler: process"
    )
    made.add_argument("--handler", metavar="MODULE:FUNCTION", help="your own, instead of the scenario's")
    made.add_argument("--event", metavar="NAME|FILE.json", default="order", help="of `load`: what is sent")
    made.add_argument("--setup", type=Path, metavar="FILE.sql", help="run in the local database beforehand")
    made.add_argument("--rate", type=demands.amount, default=load.RATE, help="of `load`, per second")
    made.add_argument("--seconds", type=demands.amount, default=load.SECONDS, help="of `load`")
    made.add_argument("--trace", type=Path, metavar="FILE", help="of `load`: a line is a time, or time,count")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--html", type=Path, metavar="FILE", help="the report")
    made.add_argument("--json", type=Path, metavar="FILE", help="the results, for --compare")
    made.add_argument("--write", type=Path, metavar="FILE", help="put the tables into a section of it")
    made.add_argument("--section", default=SECTION, metavar="TITLE", help=f"which; {SECTION}")
    made.add_argument("--picture", type=Path, metavar="FILE.svg", help="of the first scenario")
    made.add_argument("--compare", type=Path, metavar="OLD.json", help="what has changed since")
    return made


def begun(arguments: Sequence[str]) -> Run:
    """A run that has no trial yet."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    command = without_passwords(shlex.join(["python", "-m", "benchmarks.storm", *arguments]))
    return Run(command, f"poolproxy {__version__}", list(machine.describe()), began)


def without_passwords(command: str) -> str:
    """A report is passed on."""
    command = re.sub(r"(://[^:@/\s]*):[^@\s]*@", r"\1:***@", command)
    return re.sub(r"([?&]password=)[^&\s'\"]*", r"\1***", command)


def passed(run: Run) -> bool:
    """Whether all holds that must: no fault in any ledger, no bar missed, and no check by those that are
    under test."""
    faults = any(trial.ledger.get("faults") for trial in run.trials)
    tested = under_test(trial.target for trial in run.trials)
    missed = any(not check.passed for trial in run.trials if trial.target in tested for check in trial.checks)
    return not (faults or missed or any(not check.passed for check in run.checks))


def under_test(targets: Iterable[str]) -> set[str]:
    """Those whose checks decide: poolproxy, and what came by --dsn. PgBouncer counts where it is tried alone;
    `direct` never: it is there to be seen failing."""
    tried = set(targets)
    return tried - set(RIVALS) or tried - {"direct"}


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    if options.handler and not options.isolation:
        options.isolation = "process"  # it may block, or run an event loop of its own
    try:
        demands.check(options)
    except demands.Impossible as error:
        parser().error(str(error))
    raise_file_limit(FILES)
    run, old, status = begun(given), None, 0
    try:
        old = Run.from_json(options.compare.read_text("utf-8")) if options.compare else None
        with display(Console(stderr=True)) as show:
            uvloop.run(storm(options, show, run))
    except UNABLE as error:
        print(f"storm: {str(error) or type(error).__name__}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    if run.trials:  # also where it was cut short: they took their time
        run.checks = bars(run)
        _tell(run, old, options)
    return status or (0 if passed(run) else 1)


def _tell(run: Run, old: Run | None, options: argparse.Namespace) -> None:
    """Print and write what was found."""
    comparison = compare.compare(old, run) if old is not None else None
    print(summary_markdown(run))
    for check in run.checks:
        print(f"{'passed' if check.passed else 'MISSED'}: {check.name}: {check.found} (bar: {check.bar})")
    if options.json:
        options.json.write_text(run.to_json(), "utf-8")
    if options.html:
        options.html.write_text(page(run, comparison), "utf-8")
    if options.write:
        text = options.write.read_text("utf-8") if options.write.exists() else "# Results\n"
        options.write.write_text(replaced(text, options.section, section(run)), "utf-8")
    if options.picture:
        options.picture.write_text(picture(run, run.trials[0].scenario), "utf-8")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
