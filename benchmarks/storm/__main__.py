"""Let a Lambda storm loose on PostgreSQL endpoints, and say who stood it.

python -m benchmarks.storm ramp                              direct, PgBouncer and poolproxy, side by side
python -m benchmarks.storm ramp --dsn mine=postgres://...    on any endpoint
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from rich.console import Console

from benchmarks import machine
from benchmarks.process import raise_file_limit
from benchmarks.scram import stored_secret
from benchmarks.storm import compare, demands, ledger
from benchmarks.storm.bars import bars
from benchmarks.storm.clients import SessionError
from benchmarks.storm.endpoints import (
    LOCAL,
    Elsewhere,
    Endpoint,
    External,
    make_local,
    make_postgres,
    server_user,
)
from benchmarks.storm.live import Display, display
from benchmarks.storm.loading import HandlerNotFound
from benchmarks.storm.report import page, summary_markdown
from benchmarks.storm.results import Run, Trial, WrongSchema
from benchmarks.storm.runtime.forks import HostFailed
from benchmarks.storm.runtime.namespaces import Namespace, NamespaceFailed
from benchmarks.storm.scenarios import SCENARIOS, load
from benchmarks.storm.scenarios.load import Load
from benchmarks.storm.scenarios.scenario import Scenario, Unable
from benchmarks.storm.trials import Connection, Ground, Manner, run_trial
from benchmarks.targets import DATABASE, HOST, SERVER_USER, USER, Login
from poolproxy._version import __version__
from poolproxy.demo.postgres import LocalPostgres, PostgresFailed

TRIALS = 5
LEAVE_SECONDS = 10.0  #: a session that still holds a lock is not waited for any longer
FILES = 40_000  #: open ones: a socket for each client here and at the endpoint


class Failed(Exception):
    """The storm cannot be let loose; the message says why."""


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
    made.add_argument("--compare", type=Path, metavar="OLD.json", help="what has changed since")
    return made


def begun(arguments: Sequence[str]) -> Run:
    """A run that has no trial yet."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    command = without_passwords(shlex.join(["python", "-m", "benchmarks.storm", *arguments]))
    return Run(command, f"poolproxy {__version__}", list(machine.describe()), began)


async def storm(options: argparse.Namespace, show: Display, run: Run) -> None:
    """Every scenario against every target, as often as was asked for, never the same target first. Each trial
    is in `run` when it is over, whatever becomes of the next."""
    manner = Manner(options.client, options.statement_cache, options.seed, options.handler, options.isolation)
    names = demands.local_targets(options)
    trials = options.trials or (1 if options.quick else TRIALS)
    with ExitStack() as stack:
        directory = stack.enter_context(_directory())
        postgres, login = await _local_postgres(stack, show, options.setup) if names else (None, None)
        for name in demands.scenarios(options):
            scenario = _scenario(name, options)
            run.scenarios[name] = scenario.about
            endpoints: list[Endpoint] = [External(each, url) for each, url in options.dsn]
            if postgres is not None and login is not None:
                place = directory / name
                place.mkdir(mode=0o755)
                endpoints += [make_local(each, postgres, login, place, scenario.limits) for each in names]
            for turn in range(trials):
                shift = turn % len(endpoints)
                for endpoint in [*endpoints[shift:], *endpoints[:shift]]:
                    run.trials.append(await _on(endpoint, scenario, postgres, manner, show, turn + 1, trials))
                    run.targets.setdefault(endpoint.name, endpoint.info())


def _scenario(name: str, options: argparse.Namespace) -> Scenario:
    scenario = demands.made(SCENARIOS[name], options)
    if isinstance(scenario, Load):
        scenario.rate, scenario.seconds, scenario.trace = options.rate, options.seconds, options.trace
        scenario.event = demands.event(options.event)
    return scenario


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """Where the endpoints have their files: they run under another account than ours."""
    with tempfile.TemporaryDirectory(prefix="poolproxy-storm-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


async def _on(
    endpoint: Endpoint,
    scenario: Scenario,
    postgres: LocalPostgres | None,
    manner: Manner,
    show: Display,
    number: int,
    of: int,
) -> Trial:
    """One trial on an endpoint that is started for it, and stopped behind it."""
    namespace = Namespace() if scenario.apart else None
    try:
        if namespace is not None:
            await asyncio.to_thread(namespace.open)
        await asyncio.to_thread(endpoint.start, namespace.host_address if namespace else HOST)
        if isinstance(endpoint, External) or postgres is None:
            ground = Ground(_connector(endpoint.url))
            try:
                await _prepare(ground)  # whoever makes the tables may work with them
            except Failed as error:
                raise Failed(f"{endpoint.name}: {error}") from error
        else:
            ground = Ground(_superuser(postgres), _superuser(postgres), _restarter(postgres))
        return await run_trial(
            scenario,
            endpoint,
            server_user(endpoint),
            ground,
            manner,
            show,
            number=number,
            of=of,
            namespace=namespace,
        )
    finally:
        try:
            await asyncio.to_thread(endpoint.stop)
            if isinstance(endpoint, External):
                await _leave(endpoint)
        finally:
            if namespace is not None:
                await asyncio.to_thread(namespace.close)


async def _local_postgres(stack: ExitStack, show: Display, setup: Path | None) -> tuple[LocalPostgres, Login]:
    """PostgreSQL with the roles, the database, the tables of the handlers, and what `setup` makes."""
    show.note("starting PostgreSQL")
    password = secrets.token_urlsafe(12)
    login = Login(password, stored_secret(password))
    postgres = await asyncio.to_thread(stack.enter_context, make_postgres())
    roles = f"CREATE ROLE {USER} LOGIN PASSWORD '{login.secret}'; CREATE ROLE {SERVER_USER} LOGIN"
    await asyncio.to_thread(postgres.sql, roles)
    await asyncio.to_thread(postgres.sql, f"CREATE DATABASE {DATABASE}")
    await _prepare(Ground(_superuser(postgres)), USER, SERVER_USER)
    if setup is not None:
        own = f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {USER}, {SERVER_USER}"
        sql = await asyncio.to_thread(setup.read_text, "utf-8")
        try:
            await asyncio.to_thread(postgres.sql, f"{sql};\n{own}", DATABASE)
        except subprocess.CalledProcessError as error:
            raise Failed(f"{setup}: {error.stderr.strip()}") from error
    return postgres, login


async def _prepare(ground: Ground, *roles: str) -> None:
    try:
        connection = await ground.connect()
        try:
            await ledger.prepare(connection, *roles)
        finally:
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ledger.SchemaTaken) as error:
        said = str(error) or type(error).__name__
        raise Failed(f"the tables of the handlers cannot be made: {said}") from error


async def _leave(endpoint: External) -> None:
    """Take our tables out of a database that is somebody else's. If that cannot be, the next run does it."""
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ledger.SchemaTaken):
        connection = await _connector(endpoint.url)()
        try:
            async with asyncio.timeout(LEAVE_SECONDS), connection.transaction():
                await ledger.remove(connection)
        finally:
            await connection.close(timeout=LEAVE_SECONDS)


def _connector(url: str) -> Callable[[], Awaitable[Connection]]:
    # Nothing named: there may be a pooler in between that loses it.
    return lambda: asyncpg.connect(url, statement_cache_size=0)


def _superuser(postgres: LocalPostgres) -> Callable[[], Awaitable[Connection]]:
    where: dict[str, Any] = {"host": postgres.host, "port": postgres.port, "database": DATABASE}
    return lambda: asyncpg.connect(**where, user=postgres.superuser, password=postgres.password, ssl=False)


def _restarter(postgres: LocalPostgres) -> Callable[[], Awaitable[None]]:
    async def restart() -> None:
        await asyncio.to_thread(postgres.stop, "fast")
        await asyncio.to_thread(postgres.start)

    return restart


def without_passwords(command: str) -> str:
    """A report is passed on."""
    command = re.sub(r"(://[^:@/\s]*):[^@\s]*@", r"\1:***@", command)
    return re.sub(r"([?&]password=)[^&\s'\"]*", r"\1***", command)


def passed(run: Run) -> bool:
    """Whether all holds that must. `direct` is there to be seen failing: of it the ledger alone counts."""
    faults = any(trial.ledger.get("faults") for trial in run.trials)
    missed = [
        check
        for trial in run.trials
        if trial.target != "direct"
        for check in trial.checks
        if not check.passed
    ]
    return not (faults or missed or [check for check in run.checks if not check.passed])


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


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
