"""Many who log in within a short time, each at its moment: `python -m benchmarks.crowd --port N ...`.

Prints a line when it is ready, reads the moment of the first arrival from its input (seconds of
CLOCK_MONOTONIC), and tells as JSON how it went. Arrivals are at even distances and wait for nobody. Each logs
in, asks one query and stays until all have been served, as execution environments do. The clients are the
storm's lean ones, on one event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import uvloop

from benchmarks.process import raise_file_limit
from benchmarks.storm.clients.address import Address
from benchmarks.storm.clients.lean import LeanSession, open_session
from benchmarks.storm.garbage import rarely_collected

TIMEOUT = 60.0  #: seconds for one of them


@dataclass(frozen=True, slots=True)
class Served:
    """How it went. Times in ms, moments in seconds of CLOCK_MONOTONIC."""

    count: int
    ended: float  #: the moment when the last one had its answer
    mean_ms: float  #: of a login and its query, from its moment on
    p99_ms: float
    late_ms: float  #: p99 of how long after its moment one began: the generator's fault


async def crowd(address: Address, count: int, within: float, begin: float, sql: str) -> Served:
    """`count` of them from `begin` on. Raises what the first one raises that is not served."""
    sessions: list[LeanSession] = []
    try:
        arrivals = (_arrive(address, begin + n * within / count, sql, sessions) for n in range(count))
        times = await asyncio.gather(*arrivals)
    finally:
        for session in sessions:
            session.abort()
    served = sorted(end - moment for moment, _, end in times)
    late = sorted(began - moment for moment, began, _ in times)
    ended = max(end for _, _, end in times)
    return Served(count, ended, sum(served) / count * 1e3, percentile(served) * 1e3, percentile(late) * 1e3)


async def _arrive(
    address: Address, moment: float, sql: str, sessions: list[LeanSession]
) -> tuple[float, float, float]:
    """(when it was to begin, when it began, when it had its answer)."""
    await asyncio.sleep(moment - time.monotonic())
    began = time.monotonic()
    session = await open_session(address, TIMEOUT)
    sessions.append(session)
    await session.fetch(sql)
    return moment, began, time.monotonic()


def percentile(values: Sequence[float], share: float = 0.99) -> float:
    """Of values in their order."""
    return values[int(len(values) * share)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--within", type=float, default=2.0)
    parser.add_argument("--sql", default="SELECT 1")
    parser.add_argument("--tls", action="store_true")
    chosen = parser.parse_args()
    raise_file_limit(chosen.clients + 100)
    password = os.environ["PGPASSWORD"]
    sslmode = "require" if chosen.tls else ""
    address = Address(chosen.host, chosen.port, chosen.user, password, chosen.database, sslmode=sslmode)

    async def run() -> Served:
        await _rehearse(address, chosen.sql)
        print("standing", flush=True)
        begin = float(await asyncio.to_thread(sys.stdin.readline))
        return await crowd(address, chosen.clients, chosen.within, begin, chosen.sql)

    with rarely_collected():
        print(json.dumps(asdict(uvloop.run(run()))))


async def _rehearse(address: Address, sql: str) -> None:
    """The first login does what no other has to: PBKDF2, the TLS context."""
    session = await open_session(address, TIMEOUT)
    await session.fetch(sql)
    await session.close()


if __name__ == "__main__":
    main()
