"""poolproxy, PgBouncer and PostgreSQL itself side by side: `python -m benchmarks.peers` (`make bench`).

--quick                 tiny runs that only show that everything works
--only simple-32,login  some figures        --targets direct,pgbouncer   some targets
--rounds N --seconds N  more or longer runs --write benchmarks/RESULTS.md  keep the report
--earlier FOLDER        beside another checkout of poolproxy, built there: how it was
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import machine, server
from benchmarks.certificate import Certificate, self_signed
from benchmarks.figures import DEFAULT, EARLIER, NO_WORSE, TUNED, Bar, Figure, all_figures
from benchmarks.process import raise_file_limit
from benchmarks.report import US, document
from benchmarks.rounds import Rounds, say
from benchmarks.scram import stored_secret
from benchmarks.sections import STORMS, replaced, section, titles
from benchmarks.targets import POOL_SIZE, Direct, Earlier, Login, PgBouncer, Poolproxy, Target
from benchmarks.workloads import Clients, Pgbench, Plan
from poolproxy.demo.postgres import LocalPostgres
from tools import postgres_with_tls

TARGETS = ("direct", DEFAULT, TUNED, US)
ROUNDS = 5


def make_targets(
    options: argparse.Namespace, postgres: LocalPostgres, plan: Plan, login: Login, directory: Path
) -> list[Target]:
    """The chosen targets, not started."""
    every: list[Target] = [
        Direct(postgres, min(plan.many_clients, plan.idle_clients)),
        PgBouncer(postgres, login, directory, DEFAULT),
        PgBouncer(postgres, login, directory, TUNED, pkt_buf="65536"),
        Poolproxy(postgres, login, directory),
    ]
    chosen = [target for target in every if target.name in options.targets]
    if options.earlier:
        chosen.append(Earlier(postgres, login, directory, options.earlier))
    return chosen


def make_encrypted(
    options: argparse.Namespace,
    stack: ExitStack,
    postgres: LocalPostgres,
    plan: Plan,
    login: Login,
    directory: Path,
) -> list[Target]:
    """The same for clients that come over TLS. What is behind the proxies is the same PostgreSQL."""
    certificate = self_signed(directory)
    directory = directory / "tls"
    directory.mkdir(mode=0o755)
    rest = (postgres, login, directory)
    every: dict[str, Target] = {
        DEFAULT: PgBouncer(*rest, DEFAULT, certificate),
        TUNED: PgBouncer(*rest, TUNED, certificate, pkt_buf="65536"),
        US: Poolproxy(*rest, certificate=certificate),
    }
    if "direct" in options.targets:
        every = {"direct": _direct_over_tls(stack, plan, login, directory, certificate), **every}
    return [target for name, target in every.items() if name in options.targets]


def _direct_over_tls(
    stack: ExitStack, plan: Plan, login: Login, directory: Path, certificate: Certificate
) -> Direct:
    bin_dir = postgres_with_tls.binaries()
    postgres = stack.enter_context(server.make_tls_postgres(plan, bin_dir, certificate))
    say(f"filling {postgres!r}, which has TLS")
    server.fill(postgres, plan, login, directory)
    return Direct(postgres, plan.many_clients, tls=True)


def run(options: argparse.Namespace) -> tuple[str, bool]:
    """(the report, everything ran)."""
    plan = Plan.quick() if options.quick else Plan()
    if options.seconds:
        plan = dataclasses.replace(plan, seconds=options.seconds)
    raise_file_limit(plan.idle_clients + 1_000)
    password = secrets.token_urlsafe(12)
    login = Login(password, stored_secret(password))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poolproxy-bench-")))
        directory.chmod(0o755)  # PgBouncer runs under an unprivileged account
        postgres = stack.enter_context(server.make_postgres(plan))
        say(f"filling {postgres!r}")
        server.fill(postgres, plan, login, directory)
        programs = Clients(postgres.bin_dir, directory, password)
        figures = chosen_figures(options.only, programs, plan)
        encrypted: list[Target] = []
        if any(figure.tls for figure in figures):
            programs = dataclasses.replace(programs, tls_bin_dir=postgres_with_tls.binaries())
            figures = chosen_figures(options.only, programs, plan)
            encrypted = make_encrypted(options, stack, postgres, plan, login, directory)
        if options.earlier:
            bar = Bar(NO_WORSE, EARLIER)
            figures = [
                figure if figure.tls else dataclasses.replace(figure, bars=(*figure.bars, bar))
                for figure in figures
            ]
        targets = make_targets(options, postgres, plan, login, directory)
        for target in [*targets, *encrypted]:
            stack.callback(target.stop)
            target.start()
        rounds = Rounds(targets, encrypted, plan, Pgbench(programs, ("-S",), POOL_SIZE))
        outcomes = rounds.run(figures, options.rounds)
        text = document(
            outcomes,
            plan,
            options.rounds,
            shlex.join(["python", "-m", "benchmarks.peers", *options.arguments]),
            machine.describe(),
            {target.name: target.version() for target in targets},
            {
                f"{target.name}, over TLS" if target.tls else target.name: target.configuration()
                for target in [*targets, *encrypted]
            },
        )
        return text, not any(outcome.failures for outcome in outcomes)


def chosen_figures(names: Sequence[str], programs: Clients, plan: Plan) -> list[Figure]:
    figures = all_figures(programs, plan)
    known = [figure.name for figure in figures]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no such figure: {', '.join(unknown)}; there are {', '.join(known)}")
    return [figure for figure in figures if not names or figure.name in names]


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=[], metavar="FIGURE,...", type=_words)
    parser.add_argument("--targets", default=list(TARGETS), metavar="TARGET,...", type=_words)
    parser.add_argument("--earlier", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each pgbench or login run")
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    options.arguments = list(arguments)
    if options.earlier:  # where it lies is nobody's business
        options.arguments = [word.replace(str(options.earlier), "FOLDER") for word in arguments]
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    return options


def _words(text: str) -> list[str]:
    return text.split(",")


def main() -> int:
    """Exit status: 0 when every run succeeded, whatever the bars say; 1 when one failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either leaves nothing running
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = read_options(sys.argv[1:])
    text, complete = run(options)
    print(text)
    if options.write:
        before = options.write.read_text("utf-8") if options.write.exists() else ""
        for title in titles(before):
            if title.startswith(STORMS):  # another bench's
                text = replaced(text, title, section(before, title))
        options.write.write_text(text, "utf-8")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
