"""Clients that ask at a steady rate, whatever happens beside them: `python -m benchmarks.steady --port N`.

One process each, with a blocking socket; they take turns at even distances. Prints a line when all have
logged in, goes on until its input ends, and then prints every query as JSON: the moment it was meant for
(seconds of CLOCK_MONOTONIC), the ms that its answer took, and the ms that we were late with it. A query that
comes late because the one before had no answer yet counts from its moment all the same: that is the server's
doing. What is our own lateness is not held against anybody, and told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier, Event
from typing import TypeAlias

from benchmarks.lean import LeanClient, Place

Query: TypeAlias = "tuple[float, float, float]"  #: moment, ms to its answer, ms that we were late

PRIORITY = -10  #: nice; where we may, who looks at the clock is not kept waiting by who makes the load
LOGIN_TIMEOUT = 60.0  #: seconds until all are in


@dataclass(frozen=True, slots=True)
class Pace:
    """How often each of so many asks what."""

    clients: int
    rate: float  #: queries a second, of one client
    sql: str


def counted(moment: float, free: float, asked: float, answered: float) -> Query:
    """A query that was meant for a `moment`. It could be asked then, or when the one before had its answer
    (`free`); what it was later than that is ours."""
    late = asked - max(moment, free)
    return moment, (answered - moment - late) * 1e3, late * 1e3


def ask_steadily(
    place: Place, pace: Pace, number: int, standing: Barrier, over: Event, results: Connection
) -> None:
    """The `number`th client, from its login on until it is `over`."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    client = LeanClient(place, number)
    client.query(pace.sql)
    standing.wait(LOGIN_TIMEOUT)
    period = 1 / pace.rate
    moment = time.monotonic() + period * number / pace.clients
    free = 0.0  # since when nothing is under way
    queries: list[Query] = []
    while not over.is_set():
        if (left := moment - time.monotonic()) > 0:
            time.sleep(left)
        before, asked = free, time.monotonic()
        client.query(pace.sql)
        free = time.monotonic()
        queries.append(counted(moment, before, asked, free))
        moment += period
    results.send(queries)
    client.close()


def run(place: Place, pace: Pace) -> list[Query]:
    """All of them, from their logins until standard input ends."""
    context = multiprocessing.get_context("fork")
    standing, over = context.Barrier(pace.clients + 1), context.Event()
    pipes = [context.Pipe(duplex=False) for _ in range(pace.clients)]
    clients = [
        context.Process(target=ask_steadily, args=(place, pace, number, standing, over, mine), daemon=True)
        for number, (_, mine) in enumerate(pipes)
    ]
    for client, (_, mine) in zip(clients, pipes, strict=True):
        client.start()
        mine.close()  # one that fails closes the last end of its pipe: that is heard
    standing.wait(LOGIN_TIMEOUT)
    print("standing", flush=True)
    sys.stdin.read()
    over.set()
    queries = [query for results, _ in pipes for query in results.recv()]
    for client in clients:
        client.join()
    return queries


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steady")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--sql", default="SELECT 1")
    parser.add_argument("--tls", action="store_true")
    chosen = parser.parse_args()
    password = os.environ["PGPASSWORD"]
    place = Place(chosen.host, chosen.port, chosen.user, chosen.database, password, chosen.tls)
    print(json.dumps(run(place, Pace(chosen.clients, chosen.rate, chosen.sql))))


if __name__ == "__main__":
    main()
