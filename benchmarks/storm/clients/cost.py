"""What one client of the generator costs its process: CPU for a connect and a statement, memory while idle.

    python -m benchmarks.storm.clients.cost [--clients 10000] [--client lean|asyncpg] [--url URL]

Without a URL it starts a PostgreSQL and a poolproxy of its own and talks to the latter. CPU is user + system
time of this process alone; memory is its anonymous memory and says nothing of the kernel's socket buffers.
The clients are opened 50 at a time, and all are open when the memory is read.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import uvloop

from benchmarks.process import raise_file_limit
from benchmarks.scram import stored_secret
from benchmarks.storm.clients.opening import CLIENTS, connect
from benchmarks.storm.clients.session import Session
from benchmarks.targets import DATABASE, HBA, HOST, SERVER_USER, USER, Login, Poolproxy
from poolproxy.demo.postgres import LocalPostgres

T = TypeVar("T")

AT_ONCE = 50
WARM_UP = 50  #: clients that come and go before anything is counted


@dataclass(frozen=True, slots=True)
class Cost:
    """What one of so many clients costs."""

    client: str
    clients: int
    connect_us: float  #: CPU, microseconds
    statement_us: float  #: CPU of `SELECT 1` as a simple Query, microseconds
    idle_bytes: float  #: memory of an idle client that has had an answer


async def measure(clients: int) -> Cost:
    """Open so many clients at what the environment variables say, ask each once, and close them."""
    for session in await _in_parallel(connect, [()] * WARM_UP):
        await session.close()
    bytes_before = _own_memory()
    began = time.process_time()
    sessions = await _in_parallel(connect, [()] * clients)
    try:
        connected = time.process_time()
        await _in_parallel(_ask, [(session,) for session in sessions])
        asked = time.process_time()
        bytes_idle = _own_memory() - bytes_before
    finally:
        await _in_parallel(_close, [(session,) for session in sessions])
    return Cost(
        client=os.environ["STORM_CLIENT"],
        clients=clients,
        connect_us=(connected - began) / clients * 1e6,
        statement_us=(asked - connected) / clients * 1e6,
        idle_bytes=bytes_idle / clients,
    )


async def _ask(session: Session) -> None:
    await session.fetch("SELECT 1")


async def _close(session: Session) -> None:
    await session.close()


async def _in_parallel(do: Callable[..., Awaitable[T]], each: Iterable[tuple[object, ...]]) -> list[T]:
    """`do` with the arguments of each, so many at once; the first error ends it."""
    waiting = iter(each)
    done: list[T] = []

    async def work() -> None:
        for arguments in waiting:
            done.append(await do(*arguments))

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return done


def _own_memory() -> int:
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


@contextlib.contextmanager
def own_target() -> Iterator[str]:
    """A PostgreSQL and a poolproxy in front of it: the URL of the latter."""
    password = secrets.token_urlsafe(12)
    login = Login(password, stored_secret(password))
    with LocalPostgres(hba=HBA) as postgres, tempfile.TemporaryDirectory() as folder:
        postgres.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{login.secret}'; CREATE ROLE {SERVER_USER} LOGIN")
        postgres.sql(f"CREATE DATABASE {DATABASE}")
        target = Poolproxy(postgres, login, Path(folder))
        target.start()
        try:
            yield f"postgres://{USER}:{password}@{HOST}:{target.port}/{DATABASE}"
        finally:
            target.stop()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm.clients.cost")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--client", choices=CLIENTS, default="lean")
    parser.add_argument("--url")
    chosen = parser.parse_args(arguments)
    if raise_file_limit(chosen.clients + 200) < chosen.clients + 200:
        raise SystemExit(f"cannot open {chosen.clients} connections: the limit on open files is too low")
    with contextlib.nullcontext(chosen.url) if chosen.url else own_target() as url:
        os.environ.update(DATABASE_URL=url, STORM_CLIENT=chosen.client)
        print(json.dumps(asdict(uvloop.run(measure(chosen.clients)))))


if __name__ == "__main__":
    main()
