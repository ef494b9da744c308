"""A source of snapshots with something in every field, so that a scrape of it shows every family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from poolproxy.counters import Histogram, PoolCounters
from poolproxy.pool.snapshot import DatabaseSnapshot, PoolSnapshot, ProcessSnapshot


def busy_counters() -> PoolCounters:
    """What a pool with some history has counted."""
    counters = PoolCounters()
    counters.queries = 120
    counters.transactions = 100
    counters.bytes_received = 10_000
    counters.bytes_sent = 2_000_000
    for histogram in (counters.borrow, counters.query, counters.transaction):
        for power in range(28):
            histogram.observe(2**power / 1e6)
    counters.server_connects = {"ok": 20, "unreachable": 2}
    counters.pins = {"prepared": 3, "unknown": 1}
    counters.pin_seconds = {"prepared": 1.5}
    counters.errors = {"22": 4, "57": 1}
    return counters


def busy_pool(database: str = "shop", user: str = "app") -> PoolSnapshot:
    return PoolSnapshot(
        database=database,
        user=user,
        clients={"idle": 470, "waiting": 10, "active": 20},
        servers={"connecting": 0, "idle": 0, "active": 20, "resetting": 0},
        pinned={"prepared": 2},
        longest_wait=0.25,
        pool_size=20,
        listeners=0,
        up=True,
        counters=busy_counters(),
    )


def busy_process(databases: tuple[DatabaseSnapshot, ...]) -> ProcessSnapshot:
    stalls = Histogram()
    stalls.observe(0.0003)
    counts, total = stalls.snapshot()
    return ProcessSnapshot(
        tasks=2,
        clients_login=3,
        clients_connected=503,
        client_limit=10_000,
        draining=False,
        accepting=True,
        logins={("scram-sha-256", "ok"): 500, ("scram-sha-256", "failed"): 1},
        rejections={"protocol": 2},
        pauses={"clients": 1},
        cancels={"forwarded": 5},
        handshakes={"ok": 3},
        handshakes_waiting=1,
        clients_encrypted=2,
        errors={"28": 1},
        lookups={"found": 4, "unknown": 1, "cached": 20},
        stall_counts=counts,
        stall_total=total,
        stall_longest=0.0003,
        databases=databases,
    )


@dataclass
class BusySource:
    """As many busy pools as asked for, one user each, in one database."""

    pools: int = 1

    def process_snapshot(self) -> ProcessSnapshot:
        return busy_process((DatabaseSnapshot("shop", servers=20 * self.pools, control=1, limit=97),))

    def pool_snapshots(self) -> Iterator[PoolSnapshot]:
        for number in range(self.pools):
            yield busy_pool(user=f"app{number}")
