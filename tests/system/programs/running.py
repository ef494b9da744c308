"""One program, once straight at PostgreSQL and once through the proxy: what it told, what is left in the
database, and what the proxy's metrics say of pins.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.cluster import PASSWORDS, Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage

CLIENTS = 20
SERVERS = 2
DATABASE = "shop"
USER = "app"
TIMEOUT = 120

#: Answers by client and step; versions apart, for they are not compared.
Answers = dict[tuple[int | None, str], Any]


@dataclass(frozen=True)
class Program:
    """A program and how to run it; the texts are for the page."""

    name: str
    does: str
    command: Callable[[Path], list[str]]  #: from an empty folder of its own
    environment: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)  #: reasons that it may pin for, and why
    most_pinned: float = 0.0  #: the share of exchanges that may run pinned
    differs: Mapping[str, str] = field(default_factory=dict)  #: step -> why its answer is another one
    settings: str = "none"  #: what to set in the driver
    rds: str = ""  #: what RDS Proxy is known to do with it
    pgbouncer: str = ""
    servers: int = SERVERS
    databases: tuple[str, ...] = (DATABASE,)  #: to be made new for it; the first is the one it is told of


@dataclass(frozen=True)
class Report:
    """What one program did through the proxy, and how it differed."""

    program: Program
    versions: dict[str, str]
    clients: int
    differences: list[str]
    different_steps: set[str]
    queries: int
    pinned: int
    pins: dict[str, int]
    pin_seconds: dict[str, float]
    direct_seconds: float
    proxied_seconds: float

    @property
    def share(self) -> float:
        """The share of exchanges that ran on a pinned server."""
        return self.pinned / self.queries if self.queries else 0.0

    def faults(self) -> list[str]:
        """What is not as the catalogue has it: a difference, a client that told nothing, a pin without need,
        and what is better than it says, too."""
        program = self.program
        faults = list(self.differences)
        if self.different_steps == set(program.differs):
            faults.clear()
        elif not faults:
            faults.append(f"{program.name} does not differ any more: {', '.join(program.differs)}")
        if self.clients != CLIENTS:
            faults.append(f"{self.clients} clients of {program.name} told something, not {CLIENTS}")
        if set(self.pins) != set(program.pins):
            faults.append(f"{program.name} pinned for {self.pins}, not {sorted(program.pins)}")
        if self.share > program.most_pinned:
            faults.append(f"{program.name}: {self.share:.1%} of its exchanges were pinned")
        return faults


class Failed(AssertionError):
    """The program ended badly; the message holds what it said."""


def bare_environment() -> dict[str, str]:
    """Our own environment without what a driver would take for settings."""
    ours = ("PG", "POOLPROXY_", "DATABASE_URL", "PYTHON", "DJANGO_", "ODBC")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def connection_environment(url: str) -> dict[str, str]:
    """An address in the forms that programs take."""
    parts = urlsplit(url)
    password = PASSWORDS[USER]
    place = f"{parts.hostname}:{parts.port}/{DATABASE}"
    return {
        "DATABASE_URL": url,
        "JDBC_URL": f"jdbc:postgresql://{place}?user={USER}&password={password.replace(' ', '%20')}",
        "PGHOST": str(parts.hostname),
        "PGPORT": str(parts.port),
        "PGDATABASE": DATABASE,
        "PGUSER": USER,
        "PGPASSWORD": password,
    }


def run_program(program: Program, url: str, folder: Path, bin_dir: Path) -> Answers:
    """Run it to the end; what it told. Raises Failed."""
    folder.mkdir()
    environment = {
        **bare_environment(),
        **connection_environment(url),
        "CLIENTS": str(CLIENTS),
        "POSTGRES_BIN": str(bin_dir),
        **program.environment,
    }
    try:
        done = subprocess.run(
            program.command(folder),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = [(part or b"").decode("utf-8", "replace")[-3000:] for part in (late.stdout, late.stderr)]
        raise Failed(f"{program.name} had not ended after {TIMEOUT} s:\n" + "\n".join(said)) from None
    if done.returncode:
        raise Failed(
            f"{program.name} exited {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        )
    answers: Answers = {}
    for line in done.stdout.splitlines():
        client, step, answer = json.loads(line)
        assert (client, step) not in answers, f"{program.name} told {step!r} of client {client} twice"
        answers[client, step] = answer
    return answers


def contents(direct: Direct) -> Answers:
    """Every row of every table, as another session sees it; without times, and without keys, which depend on
    who was first."""
    tables = direct.rows(
        "select quote_ident(nspname) || '.' || quote_ident(relname)"
        " from pg_class c join pg_namespace n"
        " on n.oid = relnamespace where relkind in ('r', 'p')"
        " and nspname !~ '^pg_|^information_schema$' order by 1"
    )
    found: Answers = {}
    for (table,) in tables:
        rows = direct.rows(
            "select coalesce(jsonb_agg(kept order by kept), '[]') from (select"
            " (select jsonb_object_agg(key, value) from jsonb_each(to_jsonb(t))"
            rf" where key !~ '(^|_)(id|at|applied)$') as kept from {table} t) kept"
        )
        found[None, f"table {table}"] = rows[0][0]
    return found


def compare(direct: Answers, proxied: Answers) -> list[tuple[str, str]]:
    """(step, what is different about it) of each answer that is not the same."""
    differences = []
    for key in {**direct, **proxied}:
        client, step = key
        answers = [json.dumps(found.get(key, "nothing told"))[:1500] for found in (direct, proxied)]
        if direct.get(key) != proxied.get(key) or (key in direct) != (key in proxied):
            differences.append(
                (step, f"client {client}, {step}:\n  direct  {answers[0]}\n  proxied {answers[1]}")
            )
    return differences


class Runs:
    """A PostgreSQL for the programs: each run finds a new database."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder

    def _new_database(self, program: Program) -> None:
        for database in program.databases:
            self.stage.direct.rows(f"drop database if exists {database} with (force)")
            self.stage.direct.rows(f"create database {database} owner {USER}")

    def _once(self, program: Program, url: str, name: str) -> tuple[Answers, float]:
        started = time.monotonic()
        try:
            answers = run_program(program, url, self.folder / name, self.stage.postgres.bin_dir)
        except Failed as failed:
            raise Failed(f"{name}: {failed}") from None
        seconds = time.monotonic() - started
        direct = Direct(self.stage.postgres, DATABASE)
        try:
            return {**answers, **contents(direct)}, seconds
        finally:
            direct.close()

    def measure(self, program: Program) -> Report:
        """Run it both ways. Raises Failed when it does not end well."""
        name = "".join(c if c.isalnum() else "-" for c in program.name)
        postgres = self.stage.postgres
        self._new_database(program)
        url = postgres.url(DATABASE, USER, PASSWORDS[USER])
        direct, direct_seconds = self._once(program, url, f"{name}-direct")
        self._new_database(program)
        place = f"postgres://{postgres.host}:{postgres.port}"
        databases = {name: {"url": f"{place}/{name}"} for name in program.databases}
        proxy = self.stage.fresh(databases=databases, pool_size=program.servers, pool_mode="transaction")
        proxied, proxied_seconds = self._once(program, proxy.url(USER, DATABASE), f"{name}-proxied")
        versions = proxied.pop((None, "versions"))
        direct.pop((None, "versions"))
        differences = compare(direct, proxied)
        return Report(
            program=program,
            versions=versions,
            clients=len({client for client, _ in proxied if client is not None}),
            differences=[text for _, text in differences],
            different_steps={step for step, _ in differences},
            **self._figures(proxy),
            direct_seconds=direct_seconds,
            proxied_seconds=proxied_seconds,
        )

    @staticmethod
    def _figures(proxy: ProxyProcess) -> dict[str, Any]:
        proxy.wait_gauge("poolproxy_clients_connected", 0)
        scrape = proxy.metrics()
        return {
            "queries": int(scrape.value("poolproxy_queries_total")),
            "pinned": int(scrape.value("poolproxy_pinned_queries_total")),
            "pins": {why: int(n) for why, n in scrape.by("poolproxy_pins_total", "reason").items()},
            "pin_seconds": scrape.by("poolproxy_pinned_seconds_total", "reason"),
        }
