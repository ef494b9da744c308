"""Workloads whose value is memory: how much a target grows while clients hold connections or stop reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.process import anonymous_bytes, cpu_used
from benchmarks.targets import Target
from benchmarks.workloads import Clients, Plan, Sample, Workload, finish, until_standing

QUIET_CPU = 0.02  #: seconds of CPU in the quiet time that count as not moving (timers)
SETTLE_TIMEOUT = 30.0
WARM_CLIENTS = 20  #: before the first look at memory: what is allocated once is there already


@contextmanager
def standing(programs: Clients, target: Target, *arguments: str) -> Iterator[None]:
    """Lean clients from the moment they all stand until the end of the block."""
    with programs.start_lean(target, *arguments) as process:
        until_standing(process)
        yield
        finish(process)  # closes their input: they leave


def settled(target: Target, quiet: float, watch: Callable[[int], object] = lambda _: None) -> int:
    """Anonymous bytes of `target` after `quiet` seconds without a change. `watch` sees every look before."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    since, cpu, memory = time.monotonic(), cpu_used(target.pid).total, anonymous_bytes(target.pid)
    while time.monotonic() < deadline:
        watch(memory)
        time.sleep(0.05)
        now_cpu, now_memory = cpu_used(target.pid).total, anonymous_bytes(target.pid)
        if now_memory != memory or now_cpu - cpu > QUIET_CPU:
            since, cpu, memory = time.monotonic(), now_cpu, now_memory
        elif time.monotonic() - since > quiet:
            break
    return memory


def warm_up(programs: Clients, target: Target) -> None:
    """Let a few clients come, ask and go."""
    with standing(programs, target, "idle", "--clients", str(WARM_CLIENTS)):
        pass


@dataclass(frozen=True, slots=True)
class IdleClients(Workload):
    """Clients that have logged in and asked one query. The value: growth in KiB per client."""

    programs: Clients
    clients: int

    def command(self, plan: Plan) -> str:
        return f"python -m benchmarks.lean idle --clients {self.clients}"

    def run(self, target: Target, plan: Plan) -> Sample:
        count = min(self.clients, target.clients)
        warm_up(self.programs, target)
        before = settled(target, plan.quiet_seconds)
        with standing(self.programs, target, "idle", "--clients", str(count)):
            after = settled(target, plan.quiet_seconds)
        return Sample(max(after - before, 0) / count / 1024)


@dataclass(frozen=True, slots=True)
class StalledReaders(Workload):
    """Clients that stop reading a large result. The value: the highest growth of anonymous memory in MiB."""

    programs: Clients

    def command(self, plan: Plan) -> str:
        return f'python -m benchmarks.lean stall --clients {plan.stalled_clients} --sql "{self._sql(plan)}"'

    def run(self, target: Target, plan: Plan) -> Sample:
        warm_up(self.programs, target)
        before = settled(target, plan.quiet_seconds)
        highest = before

        def watch(memory: int) -> None:
            nonlocal highest
            highest = max(highest, memory)

        arguments = ["stall", "--clients", str(plan.stalled_clients), "--sql", self._sql(plan)]
        with standing(self.programs, target, *arguments):
            watch(settled(target, plan.quiet_seconds, watch))
        return Sample(max(highest - before, 0) / 2**20)

    @staticmethod
    def _sql(plan: Plan) -> str:
        # ProjectSet hands out rows as they are made; generate_series in FROM would gather them on disk first.
        return f"SELECT repeat('x', 1000), generate_series(1, {plan.stalled_megabytes * 1000})"
