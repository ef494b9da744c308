"""What session state costs: poolproxy beside itself, with it and without: `python -m benchmarks.sessions`.

--quick                 tiny runs that only show that everything works
--rounds N --seconds N  more or longer runs --write benchmarks/SESSIONS.md  keep the report
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import secrets
import shlex
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg

from benchmarks import machine, server
from benchmarks.micro.__main__ import nanoseconds
from benchmarks.micro.cases import NOT_SUSPECT, suspect_check
from benchmarks.process import cpu_used
from benchmarks.report import number, table
from benchmarks.rounds import say
from benchmarks.scram import stored_secret
from benchmarks.targets import DATABASE, HOST, POOL_SIZE, USER, Login, Poolproxy
from benchmarks.workloads import Clients, Pgbench, Plan
from poolproxy.demo.postgres import LocalPostgres

ROUNDS = 5

#: What each of many fresh clients prepares by name and runs, so many of them at the same time.
STATEMENTS = [f"SELECT abalance + {number} FROM pgbench_accounts WHERE aid = $1" for number in range(10)]
AT_ONCE = 50

#: As Rails sets them up, half of the clients with other values.
SETS = """\\if :fresh
SET client_min_messages TO warning;
SET standard_conforming_strings TO on;
SET intervalstyle TO iso_8601;
SET timezone TO 'UTC';
SET statement_timeout TO :limit;
SET app.half TO :half;
\\set fresh 0
\\endif
"""
SELECT = """\\set aid random(1, 100000)
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
"""
HALVES = """\\set half :client_id % 2
\\set limit 30000 + :half
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One run: us of CPU per transaction of the proxy and of PostgreSQL."""

    proxy: float
    postgres: float


def measure(target: Poolproxy, postgres: LocalPostgres, workload: Pgbench, plan: Plan) -> Figure:
    """PostgreSQL's CPU is over the whole run, logins and all; its transactions are those of the same time."""
    before, counted = cpu_used(postgres.pid), transactions(target)
    sample = workload.run(target, plan)
    used, done = cpu_used(postgres.pid) - before, transactions(target) - counted
    return Figure(sample.value, used.total / max(done, 1) * 1e6)


def transactions(target: Poolproxy) -> float:
    """How many the proxy has counted."""
    return target.metric("poolproxy_transactions_total")


async def _parses(target: Poolproxy, password: str, clients: int) -> float:
    """How many Parse messages servers got while so many clients came, ran the statements, and left."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def client(number: int) -> None:
        async with turns:
            connection = await asyncpg.connect(
                host=HOST, port=target.port, user=USER, password=password, database=DATABASE
            )
            try:
                for statement in STATEMENTS:
                    await connection.fetchval(statement, number)
            finally:
                await connection.close()

    before = target.metric("poolproxy_parses_total")
    await asyncio.gather(*map(client, range(clients)))
    return target.metric("poolproxy_parses_total") - before


def run(options: argparse.Namespace) -> str:
    plan = Plan.quick() if options.quick else Plan()
    if options.seconds:
        plan = dataclasses.replace(plan, seconds=options.seconds)
    password = secrets.token_urlsafe(12)
    login = Login(password, stored_secret(password))
    few, many, fresh = (4, 8, 40) if options.quick else (32, 200, 1_000)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poolproxy-bench-")))
        directory.chmod(0o755)
        postgres = stack.enter_context(server.make_postgres(plan))
        server.fill(postgres, plan, login, directory)
        programs = Clients(postgres.bin_dir, directory, password)
        auto = Poolproxy(postgres, login, directory)
        always = Poolproxy(postgres, login, directory, "poolproxy-always", handover_reset="always")
        for target in (auto, always):
            stack.callback(target.stop)
            target.start()
        simple = Pgbench(programs, ("-S", "-M", "simple"), few)
        runs: dict[str, tuple[Poolproxy, Pgbench]] = {
            "simple": (auto, simple),
            "prepared": (auto, Pgbench(programs, ("-S", "-M", "prepared"), few)),
            "always": (always, simple),
            "plain": (auto, Pgbench(programs, ("-M", "simple"), many, HALVES + SELECT)),
            "sets": (
                auto,
                Pgbench(programs, ("-M", "simple", "-D", "fresh=1"), many, HALVES + SETS + SELECT),
            ),
        }
        found: dict[str, list[Figure]] = {name: [] for name in runs}
        for turn in range(options.rounds):
            say(f"round {turn + 1} of {options.rounds}")
            for name, (target, workload) in runs.items():
                found[name].append(measure(target, postgres, workload, plan))
                say(f"  {name}: {found[name][-1]}")
        parses = asyncio.run(_parses(auto, password, fresh))
        say(f"parses: {parses:.0f}")
        look = nanoseconds(suspect_check(), 0.2)
        say(f"suspect check: {look:.0f} ns")
        pins = auto.metric("poolproxy_pins_total") + always.metric("poolproxy_pins_total")
        resets = auto.metric("poolproxy_handover_resets_total")
        counts = Counts(pins, resets, many, parses, fresh, look)
        return report(found, counts, options)


@dataclass(frozen=True, slots=True)
class Counts:
    """What is not CPU per transaction."""

    pins: float
    resets: float
    many: int  #: clients with SETs
    parses: float
    fresh: int  #: clients whose statements were parsed
    look: float  #: ns of a look at a statement that is not suspect


def report(found: dict[str, list[Figure]], counts: Counts, options: argparse.Namespace) -> str:
    command = shlex.join(["python", "-m", "benchmarks.sessions", *options.arguments])
    rows = [
        ("pgbench -S -M prepared / simple, 32 clients", *_ratio(found, "prepared", "simple"), "1.25"),
        (
            f"{counts.many} clients with 6 SETs, half with other values / without",
            *_ratio(found, "sets", "plain"),
            "1.1",
        ),
        ("pgbench -S, handover_reset = always / auto", *_ratio(found, "always", "simple"), "shown"),
    ]
    medians = [
        (name, number(median(f.proxy for f in figures)), number(median(f.postgres for f in figures)))
        for name, figures in found.items()
    ]
    how = (
        f"Printed by `{command}`: poolproxy beside itself, {options.rounds} rounds. Ratios are of CPU per"
        " transaction, `median (min..max)` of the rounds."
    )
    counted = (
        f"Pins in all of these: {counts.pins:.0f}. Servers reset with `auto`: {counts.resets:.0f} (before the"
        " first look at the catalogue)."
    )
    simple = median(figure.proxy for figure in found["simple"])
    whose = f"{counts.fresh:,} fresh clients, {len(STATEMENTS)} named statements each, {POOL_SIZE} servers"
    others = [
        (
            f"Parse messages to servers: {whose}",
            f"{counts.parses:.0f}",
            f"{len(STATEMENTS) * POOL_SIZE}",
        ),
        (
            f"the suspect check of `{NOT_SUSPECT}`: {counts.look:.0f} ns, of our CPU per transaction",
            f"{counts.look / simple / 1e3:.1%}",
            "5%",
        ),
    ]
    parts = [
        "# What session state costs",
        how,
        "\n".join(f"- {line}" for line in machine.describe()),
        table(("compared", "CPU of poolproxy", "CPU of PostgreSQL", "bar, poolproxy"), rows),
        table(("", "found", "bar"), others),
        counted,
        "Medians, in us of CPU per transaction. PostgreSQL's are over whole runs, logins included.",
        table(("run", "poolproxy", "PostgreSQL"), medians),
        "The script with SETs:",
        f"```\n{HALVES}{SETS}{SELECT}```",
    ]
    return "\n\n".join(parts) + "\n"


def _ratio(found: dict[str, list[Figure]], one: str, other: str) -> tuple[str, str]:
    pairs = list(zip(found[one], found[other], strict=True))
    return _spread([a.proxy / b.proxy for a, b in pairs]), _spread(
        [a.postgres / b.postgres for a, b in pairs]
    )


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.3f} ({min(ratios):.3f}..{max(ratios):.3f})"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sessions", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    options.arguments = sys.argv[1:]
    text = run(options)
    print(text)
    if options.write:
        options.write.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
