"""A run: every scenario against every endpoint, as often as was asked for, on ground that is made for it.

PostgreSQL is started, with roles, tables and what a user's own function needs; endpoints are started for each
trial and stopped behind it. Must not know how a run is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from benchmarks.certificate import Certificate, self_signed
from benchmarks.scram import stored_secret
from benchmarks.storm import demands, ledger
from benchmarks.storm.endpoints import Endpoint, External, make_local, make_postgres
from benchmarks.storm.live import Display
from benchmarks.storm.results import Run, Trial
from benchmarks.storm.runtime.namespaces import Namespace
from benchmarks.storm.scenarios import SCENARIOS
from benchmarks.storm.scenarios.load import Load
from benchmarks.storm.scenarios.scenario import Scenario
from benchmarks.storm.trials import Connection, Ground, Manner, Order, run_trial
from benchmarks.targets import DATABASE, HOST, SERVER_USER, USER, Login
from poolproxy.demo.postgres import LocalPostgres

TRIALS = 5
LEAVE_SECONDS = 10.0  #: a session that still holds a lock is not waited for any longer


class Failed(Exception):
    """The storm cannot be let loose; the message says why."""


class Back(NamedTuple):
    """What local endpoints have behind them, what they know of their clients, and what they show them."""

    postgres: LocalPostgres
    login: Login
    certificate: Certificate | None


async def storm(options: argparse.Namespace, show: Display, run: Run) -> None:
    """Every scenario against every target, as often as was asked for, never the same target first. Each trial
    is in `run` when it is over, whatever becomes of the next."""
    manner = Manner(options.client, options.statement_cache, options.seed, options.handler, options.isolation)
    names = demands.local_targets(options)
    trials = options.trials or (1 if options.quick else TRIALS)
    with ExitStack() as stack:
        directory = stack.enter_context(_directory())
        backs: dict[bool, Back] = {}  # what has TLS is another PostgreSQL, for those who want it alone
        for name in demands.scenarios(options):
            scenario = _scenario(name, options)
            run.scenarios[name] = scenario.about
            endpoints: list[Endpoint] = [External(each, url) for each, url in options.dsn]
            postgres: LocalPostgres | None = None
            if names:
                if scenario.encrypted not in backs:
                    backs[scenario.encrypted] = await _back(
                        stack, show, options.setup, directory if scenario.encrypted else None
                    )
                postgres, login, certificate = backs[scenario.encrypted]
                place = directory / name
                place.mkdir(mode=0o755)
                rest = (postgres, login, place, scenario.limits, certificate)
                endpoints += [make_local(each, *rest) for each in names]
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
        order = Order(scenario, endpoint, ground, manner, number, of, namespace)
        return await run_trial(order, show)
    finally:
        try:
            await asyncio.to_thread(endpoint.stop)
            if isinstance(endpoint, External):
                await _leave(endpoint)
        finally:
            if namespace is not None:
                await asyncio.to_thread(namespace.close)


async def _back(stack: ExitStack, show: Display, setup: Path | None, tls: Path | None) -> Back:
    """PostgreSQL with the roles, the database, the tables of the handlers, and what `setup` makes; with TLS,
    and its files in that folder."""
    show.note("starting PostgreSQL")
    password = secrets.token_urlsafe(12)
    login = Login(password, stored_secret(password))
    certificate = None if tls is None else await asyncio.to_thread(self_signed, tls)
    made = await asyncio.to_thread(make_postgres, certificate)
    postgres = await asyncio.to_thread(stack.enter_context, made)
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
    return Back(postgres, login, certificate)


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
