"""A run that nobody measured: seeded, shaped like real ones, for the tests of everything that shows results.

Ramp-like scenarios with three targets; never written anywhere but into the folder of a test.
"""

from __future__ import annotations

import math
import random

from benchmarks.storm.results import (
    UNKNOWN,
    Check,
    Run,
    Sample,
    Scenario,
    TargetInfo,
    Timeline,
    Trial,
)

TARGETS = {
    "direct": TargetInfo("PostgreSQL 18.1", "max_connections = 100", 0),
    "pgbouncer": TargetInfo(
        "PgBouncer 1.18.0", "pool_mode = transaction\ndefault_pool_size = 20\nmax_client_conn = 11000", 20
    ),
    "poolproxy": TargetInfo("poolproxy 0.9.0", "pool_size = 20\nmax_clients = 11000", 20),
}
SCENARIOS = {
    "ramp": Scenario(
        "Ramp: 1,000 environments in 10 s",
        "A function nobody called for an hour gets 1,000 callers in ten seconds; each runs an order "
        "transaction of five statements.",
        "connect",
    ),
    "spike": Scenario(
        "Spike: 1,000 arrivals in 1 s",
        "Everybody at once: a thousand events land within one second.",
        "connect",
    ),
    "kill": Scenario(
        "Kill: the timeout wall, mid-transaction",
        "200 clients are killed in the middle of their transactions; nobody says goodbye.",
    ),
    "neighbour": Scenario(
        "Neighbour: a poller's flood beside an API",
        "An event source mapping works off a full queue while a synchronous function wants its answers.",
    ),
}
#: median latency of a transaction in ms, its spread (sigma of the lognormal), and connecting
SPEED = {"direct": (9.0, 0.5, 21.0), "pgbouncer": (13.0, 0.45, 15.0), "poolproxy": (12.0, 0.38, 14.0)}
HEAVY = {"ramp": 1.0, "spike": 6.0, "kill": 1.6, "neighbour": 2.3}


def make_run(
    seed: int = 1,
    rounds: int = 5,
    seconds: int = 30,
    rate: int = 120,
    names: tuple[str, ...] = tuple(SCENARIOS),
) -> Run:
    """`rate` invocations per second at most for so many seconds, `rounds` times per scenario and target."""
    dice = random.Random(seed)
    run = Run(
        "python -m benchmarks.storm --rounds 5",
        "poolproxy 0.9.0",
        [
            "date: 2026-11-28 08:00 UTC",
            "commit: 0123abc",
            "processor: Example CPU @ 2.50GHz, 2 cores",
            "memory: 8 GiB",
            "system: Debian GNU/Linux 12 (bookworm), Linux 6.1 x86_64",
        ],
        "2026-11-28T08:00:00+00:00",
        dict(TARGETS),
        scenarios={name: SCENARIOS[name] for name in names},
        checks=[
            Check("ramp: p99 of connect + first answer, poolproxy / pgbouncer", "0.91", "at most 1.1", True)
        ],
    )
    for name in names:
        for number in range(1, rounds + 1):
            for target in TARGETS:
                run.trials.append(_trial(dice, name, target, number, seconds, rate))
    return run


def _trial(dice: random.Random, scenario: str, target: str, number: int, seconds: int, rate: int) -> Trial:
    trial = Trial(scenario, target, number, f"2026-11-28T08:{number:02}:00+00:00", float(seconds))
    middle, sigma, connecting = SPEED[target]
    drift = dice.uniform(0.95, 1.06) * HEAVY[scenario]
    timeline, counts, cpu = Timeline(), {"succeeded": 0, "failed": 0, "timed out": 0}, 0.4
    for half in range(2 * seconds):
        at = half / 2
        load = _load(scenario, at, seconds)
        clients = round(1000 * load * dice.uniform(0.97, 1.0))
        crowded = target == "direct" and clients > 100
        queue = 1 + 3 * load**2
        for _ in range(round(rate / 2 * max(load, 0.05))):
            whole = middle * drift * queue * math.exp(dice.gauss(0, sigma))
            failed = crowded and dice.random() < 1 - 100 / clients
            timeline.record(at, whole, failed)
            counts["failed" if failed else "succeeded"] += 1
            trial.latency.record(whole)
            trial.lateness.record(abs(dice.gauss(0, 0.4)))
            if failed:
                trial.errors["53300"] = trial.errors.get("53300", 0) + 1
            else:
                trial.connect.record(connecting * drift * queue * math.exp(dice.gauss(0, sigma)))
        cpu += 0.5 * (0.1 + 0.5 * load) * (1.1 if target == "poolproxy" else 0.9)
        direct = target == "direct"
        trial.samples.append(
            Sample(
                at,
                min(clients, 100) if direct else clients,
                min(clients, 100) if direct else min(20, clients),
                UNKNOWN if direct else max(0, round((clients - 20) * 0.4 * load)),
                clients,
                round(clients * 0.6),
                float(UNKNOWN) if direct else cpu,
                UNKNOWN if direct else 18_000_000 + 3_600 * clients,
            )
        )
    if scenario == "kill":
        counts["timed out"] = 200
    trial.outcomes = {outcome: found for outcome, found in counts.items() if found}
    trial.timeline = timeline.slices()
    if trial.errors:
        trial.examples["53300"] = "FATAL: sorry, too many clients already"
    trial.ledger = {
        "acknowledged": counts["succeeded"],
        "rows": 5 * counts["succeeded"],
        "clean": counts["succeeded"],
        "lost": 0,
        "duplicated": 0,
        "half": 0,
        "in_doubt": 3,
        "retried": 0,
        "examples": [],
        "faults": 0,
    }
    trial.bill = {
        "requests": sum(counts.values()),
        "gb_seconds": 41.2,
        "dollars": 0.00123 * drift,
        "waiting_share": min(0.9, 0.12 * drift),
    }
    servers = max(sample.servers for sample in trial.samples)
    if target != "direct":
        trial.checks = [
            Check("servers at most", str(servers), "20", servers <= 20),
            Check("failed invocations", str(counts["failed"]), "0", counts["failed"] == 0),
        ]
    return trial


def _load(scenario: str, at: float, seconds: int) -> float:
    """How much of the storm's full strength (0..1) there is."""
    if scenario == "spike":
        return math.exp(-((at - 3) ** 2) / 8) if at > 3 else max(0.02, at / 3 - 0.3)
    rising = min(1.0, at / (seconds / 3))
    return rising if at < seconds * 0.8 else max(0.1, (seconds - at) / (seconds * 0.2))
