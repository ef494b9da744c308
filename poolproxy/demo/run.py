"""The demo from beginning to end: PostgreSQL, the proxy, two storms, the summary, and nothing left behind.

The composition root of this folder; everything it starts, it ends, also on Ctrl-C, SIGTERM and SIGHUP.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import asyncpg
from rich.console import Console

from poolproxy.demo.clients import Order
from poolproxy.demo.display import Display, LiveDisplay, PlainDisplay, Stage
from poolproxy.demo.figures import Figures
from poolproxy.demo.postgres import LocalPostgres, PostgresFailed
from poolproxy.demo.proxy import Proxy, ProxyFailed
from poolproxy.demo.storm import StormFailed, run_storm
from poolproxy.demo.summary import Promise, contrast, promises, verdict

MAX_CONNECTIONS = 100
"""PostgreSQL's `max_connections`: its default."""

MOST_SERVERS = 90
"""What a pool may have of these: the rest is for the superuser, for us and for the proxy's control
connections."""

TICK = 0.2
"""Seconds between two pictures of the live display."""

USER = "app"
DATABASE = "demo"

_FAILURES = (
    PostgresFailed,
    ProxyFailed,
    StormFailed,
    OSError,
    subprocess.SubprocessError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)
"""What ends the demo with a line in place of a traceback: the machine or the database is at fault."""

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the signal's number, as shells have it."""


@dataclass(slots=True, frozen=True)
class Plan:
    """What to run. `proxy_settings` are environment variables for the proxy, over the demo's own."""

    clients: int = 500
    pool_size: int = 20
    keep: bool = False
    seconds: float = 12.0
    proxy_settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.clients < 1:
            raise ValueError(f"a storm needs at least one client, not {self.clients}")
        if not 1 <= self.pool_size <= MOST_SERVERS:
            raise ValueError(
                f"a pool of {self.pool_size} does not fit: 1 to {MOST_SERVERS} of {MAX_CONNECTIONS}"
            )


def run(plan: Plan, console: Console) -> int:
    """0 when every promise was kept, 1 when one was broken or something failed, 130 after Ctrl-C."""
    with _terminable():
        try:
            with tempfile.TemporaryDirectory(prefix="poolproxy-demo-") as directory:
                return _run(plan, console, Path(directory))
        except KeyboardInterrupt:
            console.print("interrupted; everything is stopped and removed", style="yellow")
            return INTERRUPTED
        except _FAILURES as error:
            print(f"the demo failed: {error}", file=sys.stderr)
            return 1


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that closes, end us as an exception: so everything is cleaned up."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(plan: Plan, console: Console, directory: Path) -> int:
    proxied, direct = Figures(plan.clients), Figures(plan.clients)
    postgres = LocalPostgres(options={"max_connections": str(MAX_CONNECTIONS)})
    with contextlib.ExitStack() as stack:
        with _display(console) as display:
            display.note("Starting PostgreSQL ...")
            stack.enter_context(postgres)
            straight = _prepare(postgres, plan)
            settings = _proxy_settings(plan, postgres, straight)
            display.note("Starting poolproxy ...")
            with Proxy(settings, directory / "log") as proxy:
                through = replace(straight, host=proxy.host, port=proxy.port)
                stage = Stage("through poolproxy", "green", proxied, plan.pool_size)
                asyncio.run(_storm(through, postgres, stage, display))
                display.note("Draining poolproxy ...")
            stage = Stage("straight at PostgreSQL", "red", direct, None)
            asyncio.run(_storm(straight, postgres, stage, display))
        found = promises(proxied, plan.pool_size, proxy.status)
        _conclude(found, proxied, direct, console)
        kept = all(promise.kept for promise in found)
        if not kept:
            print(
                "The end of the proxy's log:", *proxy.log_text().splitlines()[-10:], sep="\n", file=sys.stderr
            )
        if plan.keep:
            _keep(settings, straight, directory / "log", console)
    return 0 if kept else 1


def _conclude(found: list[Promise], proxied: Figures, direct: Figures, console: Console) -> None:
    """The closing summary."""
    console.print()
    console.print(contrast(proxied, direct, plain=not console.is_terminal))
    console.print()
    console.print(*verdict(found, proxied), sep="\n", soft_wrap=True, highlight=False)


def _display(console: Console) -> Display:
    return LiveDisplay(console, MAX_CONNECTIONS) if console.is_terminal else PlainDisplay(console)


def _prepare(postgres: LocalPostgres, plan: Plan) -> Order:
    """The database of the storm, with a row for each client; returns the storm straight at PostgreSQL."""
    password = secrets.token_hex(12)
    postgres.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{password}'; CREATE DATABASE {DATABASE} OWNER {USER}")
    postgres.sql(
        f"""
        CREATE TABLE visits (client integer PRIMARY KEY, done integer NOT NULL) WITH (fillfactor = 50);
        INSERT INTO visits SELECT n, 0 FROM generate_series(0, {plan.clients - 1}) AS n;
        GRANT SELECT, UPDATE ON visits TO {USER};
        """,
        DATABASE,
    )
    return Order(
        host=postgres.host,
        port=postgres.port,
        user=USER,
        password=password,
        database=DATABASE,
        first=0,
        clients=plan.clients,
        seconds=plan.seconds,
    )


def _proxy_settings(plan: Plan, postgres: LocalPostgres, straight: Order) -> dict[str, str]:
    return {
        "DATABASE_URL": postgres.url(straight.database, straight.user, straight.password),
        "POOLPROXY_POOL_SIZE": str(plan.pool_size),
        "POOLPROXY_IDLE_TRANSACTION_TIMEOUT": "60",
        **plan.proxy_settings,
    }


async def _storm(order: Order, postgres: LocalPostgres, stage: Stage, display: Display) -> None:
    """One storm, shown while it lasts."""
    display.follow(stage)

    async def show() -> None:
        while True:
            display.tick()
            await asyncio.sleep(TICK)

    showing = asyncio.create_task(show())
    try:
        await run_storm(order, postgres, stage.figures)
    finally:
        showing.cancel()
        await asyncio.wait([showing])
    display.tick()


def _keep(settings: Mapping[str, str], straight: Order, log: Path, console: Console) -> None:
    """A fresh proxy in front of the same PostgreSQL, until Ctrl-C."""
    with Proxy(settings, log) as proxy:
        through = replace(straight, host=proxy.host, port=proxy.port)
        console.print()
        for name, text in (
            ("through poolproxy", _url(through)),
            ("straight", _url(straight)),
            ("metrics", f"http://{proxy.host}:{proxy.http_port}/metrics"),
            ("health", f"http://{proxy.host}:{proxy.http_port}/health"),
            ("ready", f"http://{proxy.host}:{proxy.http_port}/ready"),
            ("log", str(log)),
        ):
            console.print(f"{name:<18} {text}", soft_wrap=True, highlight=False, markup=False)
        console.print("\nCtrl-C stops and removes everything.")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                signal.pause()


def _url(order: Order) -> str:
    return f"postgres://{order.user}:{order.password}@{order.host}:{order.port}/{order.database}"
