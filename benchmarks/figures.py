"""Which figures there are, in which unit, and the bar that each must stay under."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.beside import STEADY, Beside
from benchmarks.memory import IdleClients, StalledReaders
from benchmarks.workloads import COPY_FILE, Clients, Copy, LeanLoop, Pgbench, Plan, Workload

DEFAULT, TUNED = "pgbouncer", "pgbouncer-64k"  #: the names of the two rivals
EARLIER = "poolproxy-earlier"  #: this project as it was
NO_WORSE = 1.05  #: times what it was


@dataclass(frozen=True, slots=True)
class Bar:
    """Our value must be at most `limit`: times a rival's, or in the figure's unit without a rival."""

    limit: float
    rival: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that is measured against every target."""

    name: str
    title: str
    unit: str  #: of its value
    per: str  #: what its rate counts
    workload: Workload
    bars: tuple[Bar, ...]
    fresh: bool = False  #: each run gets a process that has done nothing else
    tls: bool = False  #: clients come over TLS, to targets that take no others
    without: tuple[str, ...] = ()  #: targets that it is not measured against
    stall: float | None = None  #: ms: bar of the longest stall of our data-plane thread meanwhile


def _both(limit: float) -> tuple[Bar, ...]:
    return Bar(limit, DEFAULT), Bar(limit, TUNED)


_BULK = (Bar(0.6, DEFAULT), Bar(1.15, TUNED))


def all_figures(programs: Clients, plan: Plan) -> list[Figure]:
    """Every figure, in the order of the report. Names are the same whatever the plan."""

    def select(protocol: str, name: str, clients: int) -> Figure:
        return Figure(
            f"{protocol}-{name}",
            f"pgbench -S, {protocol} protocol, {clients} clients",
            "us CPU per transaction",
            "transactions",
            Pgbench(programs, ("-S", "-M", protocol), clients),
            _both(1.15),
        )

    def copy(direction: str, sql: str) -> Figure:
        title = f"COPY {direction} of {plan.copy_megabytes} MB"
        return Figure(f"copy-{direction}", title, "ms CPU per COPY", "COPYs", Copy(programs, sql), _BULK)

    return [
        select("simple", "32", 32),
        select("extended", "32", 32),
        select("simple", "500", plan.many_clients),
        select("extended", "500", plan.many_clients),
        Figure(
            "rows",
            f"SELECT of {plan.rows:,} rows of 100 bytes, 4 clients",
            "us CPU per query",
            "queries",
            Pgbench(programs, ("-M", "simple"), 4, "SELECT payload FROM bench_rows;"),
            _BULK,
        ),
        Figure(
            "rows-lean",
            "the same, clients that only read and discard",
            "us CPU per query",
            "queries",
            LeanLoop(programs, "read", 4, "SELECT payload FROM bench_rows"),
            _BULK,
        ),
        copy("out", "\\copy bench_copy TO '/dev/null'"),
        copy("in", f"\\copy bench_sink FROM '{COPY_FILE}' WHERE false"),
        Figure(
            "login",
            "connect, SCRAM login, one query, disconnect; 8 clients",
            "us CPU per connection",
            "connections",
            LeanLoop(programs, "login", 8, "SELECT 1"),
            _both(1.3),
        ),
        Figure(
            "idle",
            f"memory per idle logged-in client, {plan.idle_clients:,} of them",
            "KiB of anonymous memory per client",
            "",
            IdleClients(programs, plan.idle_clients),
            (Bar(4.0),),
            fresh=True,
        ),
        Figure(
            "stalled",
            f"memory while {plan.stalled_clients} clients stop reading {plan.stalled_megabytes:,} MB each",
            "MiB of anonymous memory, growth",
            "",
            StalledReaders(programs),
            (Bar(8.0),),
            fresh=True,
        ),
        *_over_tls(programs, plan),
    ]


def _over_tls(programs: Clients, plan: Plan) -> list[Figure]:
    """The tuned rival takes part where its buffer matters: in large results."""
    return [
        Figure(
            "tls-simple-32",
            "TLS: pgbench -S, simple protocol, 32 clients",
            "us CPU per transaction",
            "transactions",
            Pgbench(programs, ("-S", "-M", "simple"), 32),
            (Bar(1.3, DEFAULT),),
            tls=True,
            without=(TUNED,),
        ),
        Figure(
            "tls-rows",
            f"TLS: SELECT of {plan.rows:,} rows of 100 bytes, 4 clients that only read and discard",
            "us CPU per query",
            "queries",
            LeanLoop(programs, "read", 4, "SELECT payload FROM bench_rows"),
            (Bar(1.0, DEFAULT), Bar(1.15, TUNED)),
            tls=True,
        ),
        Figure(
            "tls-login",
            "TLS: connect, handshake, SCRAM login, one query, disconnect; 8 clients",
            "us CPU per connection",
            "connections",
            LeanLoop(programs, "login", 8, "SELECT 1"),
            (Bar(1.2, DEFAULT),),
            tls=True,
            without=(TUNED,),
        ),
        Figure(
            "tls-beside",
            f"TLS: {STEADY} steady clients while {plan.crowd:,} log in within {plan.crowd_seconds:g} s",
            "ms p99 of a steady client's query",
            "logins",
            Beside(programs),
            (Bar(0.7, DEFAULT),),
            tls=True,
            without=(TUNED,),
            stall=5.0,
        ),
        Figure(
            "tls-idle",
            f"TLS: memory per idle logged-in client, {plan.idle_tls_clients:,} of them",
            "KiB of anonymous memory per client",
            "",
            IdleClients(programs, plan.idle_tls_clients),
            (Bar(24.0),),
            fresh=True,
            tls=True,
            without=(TUNED,),
        ),
    ]
