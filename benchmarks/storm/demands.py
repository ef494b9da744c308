"""What a command line asks for, looked at before anything starts: an hour later is too late to hear of it.

Must not know how anything is done.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.storm.clients import address
from benchmarks.storm.endpoints import LOCAL
from benchmarks.storm.events import EVENTS, Event
from benchmarks.storm.loading import HandlerNotFound, HandlerSource
from benchmarks.storm.model.arrivals import trace
from benchmarks.storm.runtime import forks, namespaces
from benchmarks.storm.scenarios import SCENARIOS, STORMS
from benchmarks.storm.scenarios.load import Load
from benchmarks.storm.scenarios.scenario import Scenario
from benchmarks.targets import pgbouncer_program


class Impossible(Exception):
    """It cannot be had; the message says why, and what could."""


def positive(text: str) -> int:
    """A number of things, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def natural(text: str) -> int:
    """The same where there may be none."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return int(text)


def amount(text: str) -> float:
    """More than nothing of what can be divided, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def dsn(text: str) -> tuple[str, str]:
    """`name=URL`, for argparse."""
    name, equals, url = text.partition("=")
    if not equals or not name or "://" not in url:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=postgres://user:password@host:port/database")
    return name, url


def event(text: str) -> Callable[[int, float], Event]:
    """What is sent: a built-in handler's event by its name, or always the same from a JSON file. Raises
    Impossible."""
    if text in EVENTS:
        return EVENTS[text]
    try:
        read: Event = json.loads(Path(text).read_text("utf-8"))
    except (OSError, ValueError) as error:
        names = ", ".join(EVENTS)
        raise Impossible(f"--event {text} is neither of {names} nor a file with JSON: {error}") from error
    return lambda number, when: read


def local_targets(options: argparse.Namespace) -> list[str]:
    """Each once; none where a DSN was given instead."""
    if options.dsn and not options.target:
        return []
    return list(dict.fromkeys(options.target or LOCAL))


def scenarios(options: argparse.Namespace) -> list[str]:
    """Each once, in the order they were asked for. Those that were not asked for by name are left out where
    they cannot be had: with a database that is not ours."""
    if options.scenarios:
        return list(dict.fromkeys(options.scenarios))
    return [each.name for each in STORMS if not options.dsn or _at(options.dsn, each)]


def _at(dsns: Sequence[tuple[str, str]], scenario: type[Scenario]) -> bool:
    """Whether it can be had on these."""
    return not needs_ours(scenario) and not (scenario.encrypted and any(map(_plain, dsns)))


def _plain(dsn: tuple[str, str]) -> bool:
    """Whether its URL does not say that clients come over TLS. One that cannot be read says nothing."""
    try:
        return not address.parse(dsn[1]).sslmode
    except ValueError:
        return True


def needs_ours(scenario: type[Scenario]) -> bool:
    """Whether it does to a database what can be done to one of our own alone."""
    return scenario.apart or scenario.restarts


def check(options: argparse.Namespace) -> None:
    """Raises Impossible."""
    for name in options.scenarios:
        if name not in SCENARIOS:
            raise Impossible(f"there is no scenario {name}: it is one of {', '.join(SCENARIOS)}")
    wanted = [SCENARIOS[name] for name in scenarios(options)]
    _check_dsns(options.dsn, wanted)
    if "pgbouncer" in local_targets(options) and pgbouncer_program() is None:
        raise Impossible(
            "pgbouncer is not installed: install it, or name the other targets,"
            " --target direct --target poolproxy"
        )
    _check_files(options)
    for scenario in wanted:
        _check_scenario(scenario, options)


def _check_dsns(dsns: Sequence[tuple[str, str]], wanted: Iterable[type[Scenario]]) -> None:
    for name, times in Counter(name for name, _ in dsns).items():
        if times > 1:
            raise Impossible(f"there are {times} endpoints named {name}: give each --dsn a name of its own")
        if name in LOCAL:
            raise Impossible(f"{name} is the name of a local target: give the --dsn another one")
    for name, url in dsns:
        try:
            address.parse(url)
        except ValueError as error:
            raise Impossible(f"--dsn {name}: {error}") from None
    for scenario in wanted:
        if dsns and needs_ours(scenario):
            does = "cuts the link to" if scenario.apart else "restarts"
            raise Impossible(f"{scenario.name} {does} the database, which is not ours with --dsn")
        for each in filter(_plain, dsns if scenario.encrypted else ()):
            raise Impossible(
                f"{scenario.name}: say in the URL of {each[0]} how TLS is meant: ?sslmode=require"
            )


def made(scenario: type[Scenario], options: argparse.Namespace) -> Scenario:
    """In the form that was asked for. `load` takes as many environments as there can be, where nobody has
    said how many."""
    environments = options.environments
    if environments is None and scenario is Load and options.isolation == "process":
        environments = forks.MOST
    return scenario(options.quick, environments)


def _check_scenario(scenario: type[Scenario], options: argparse.Namespace) -> None:
    if scenario.apart:
        try:
            namespaces.demand()
        except namespaces.NamespaceFailed as error:
            raise Impossible(f"{scenario.name}: {error}") from None
        if options.isolation == "task":
            raise Impossible(f"{scenario.name}: the link of processes can be cut, that of tasks cannot")
    count = made(scenario, options).environments
    if count > scenario.most:
        raise Impossible(f"{scenario.name}: at most {scenario.most:,} environments, not {count:,}")
    if (options.isolation or scenario.isolation) == "process" and count > forks.MOST:
        raise Impossible(
            f"{scenario.name}: at most {forks.MOST} environments can be processes, not {count:,}:"
            f" ask for fewer, --environments {forks.MOST}"
        )


def _check_files(options: argparse.Namespace) -> None:
    if options.handler is not None:
        try:
            HandlerSource.find(options.handler)
        except HandlerNotFound as error:
            raise Impossible(f"--handler: {error}") from None
    event(options.event)
    if options.setup is not None and not options.setup.is_file():
        raise Impossible(f"--setup: there is no file {options.setup}")
    if options.trace is not None:
        try:
            for _ in trace(options.trace):
                pass
        except (OSError, ValueError) as error:
            raise Impossible(f"--trace: {error}") from None
    for written in (options.html, options.json, options.write, options.picture):
        if written is not None and (written.is_dir() or not _folder(written).is_dir()):
            raise Impossible(f"{written} cannot be written: there is no such folder, or it is one")


def _folder(path: Path) -> Path:
    return path.absolute().parent
