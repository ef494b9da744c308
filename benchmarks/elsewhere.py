"""How much of what steady clients feel beside a crowd is the proxy's doing, and how much the machine's.

    python -m benchmarks.elsewhere [--rounds 6] [--logins 1000] [--quick]

The crowd of `tls-beside` (benchmarks.peers) logs in at the steady clients' own proxy, or at another one on
the same machine: then theirs has nothing to do with it, and what they feel all the same no proxy can change.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import machine, server
from benchmarks.beside import Beside
from benchmarks.certificate import self_signed
from benchmarks.figures import DEFAULT
from benchmarks.process import raise_file_limit
from benchmarks.rounds import ATTEMPTS, say
from benchmarks.scram import stored_secret
from benchmarks.targets import POOL_SIZE, Login, PgBouncer, Poolproxy, Target
from benchmarks.workloads import Clients, Pgbench, Plan, Void
from tools import postgres_with_tls

HERE, ELSEWHERE = "at the same proxy", "at another"


def measure(beside: Beside, target: Target, crowded: Target, plan: Plan) -> float | None:
    """p99 in ms of the steady clients at `target`; None where the generators were late each time."""
    for _ in range(ATTEMPTS):
        try:
            return beside.apart(target, crowded, plan).value
        except Void as void:
            say(f"{target.name}: {void}")
    return None


def run(rounds: int, plan: Plan) -> dict[tuple[str, str], list[float]]:
    """p99 in ms, by target and by where the crowd was; a round may be missing."""
    password = secrets.token_urlsafe(12)
    login = Login(password, stored_secret(password))
    found: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poolproxy-bench-")))
        directory.chmod(0o755)  # PgBouncer runs under an unprivileged account
        postgres = stack.enter_context(server.make_postgres(plan))
        server.fill(postgres, plan, login, directory)
        rest = (postgres, login, directory)
        certificate = self_signed(directory)
        ours = Poolproxy(*rest, certificate=certificate)
        another = Poolproxy(*rest, name="another", certificate=certificate)
        targets: list[Target] = [PgBouncer(*rest, DEFAULT, certificate), ours]
        programs = Clients(postgres.bin_dir, directory, password, postgres_with_tls.binaries())
        for target in (*targets, another):
            stack.callback(target.stop)
            target.start()
            if plan.warm_seconds:
                Pgbench(programs, ("-S",), POOL_SIZE).run(target, plan.warming())
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            for target in targets:
                for where, crowded in ((HERE, target), (ELSEWHERE, another)):
                    p99 = measure(Beside(programs), target, crowded, plan)
                    if p99 is not None:
                        found.setdefault((target.name, where), []).append(p99)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--logins", type=int, help="of the crowd")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    plan = Plan.quick() if options.quick else Plan()
    if options.logins:
        plan = dataclasses.replace(plan, crowd=options.logins)
    raise_file_limit(plan.crowd + 1_000)
    found = run(options.rounds, plan)
    print("\n".join(machine.describe()))
    print(f"{plan.crowd:,} logins within {plan.crowd_seconds:g} s; ms p99 of a steady client's query")
    print("| steady clients' proxy | the crowd is | median | least..most |\n| --- | --- | ---: | ---: |")
    for (name, where), values in found.items():
        middle = statistics.median(values)
        print(f"| {name} | {where} | {middle:.2f} | {min(values):.2f}..{max(values):.2f} |")


if __name__ == "__main__":
    main()
