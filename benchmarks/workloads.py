"""What the clients do while a target's CPU is counted: each workload runs once and returns one sample.

Every workload keeps the target busy from one side only: it never looks at which target it is.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from benchmarks.process import Cpu, cpu_used
from benchmarks.targets import DATABASE, HOST, USER, Target

_ROOT = Path(__file__).parent.parent  #: where `benchmarks` can be imported
RUN_TIMEOUT = 120.0  #: seconds that no client program may take
Popen: TypeAlias = subprocess.Popen[str]

COPY_FILE = "bench_copy.data"  #: in the clients' directory
LOGINS_PER_SECOND = 100  #: that pgbench manages at the least: PBKDF2 for each
END_MARGIN = 0.3  #: seconds before the end of a pgbench run that are not looked at
LOGGED_SHARE = 0.05  #: of all transactions: enough for a p99, too few to slow pgbench down


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything: a full run, or a quick one that only shows that it works."""

    seconds: int = 5  #: measured time of a run that lasts as long as one likes
    scale: int = 10  #: pgbench's: 100,000 rows each
    rows: int = 20_000  #: of 100 bytes, in one SELECT
    copy_megabytes: int = 100  #: of one COPY
    copies: int = 8  #: COPYs in one run
    idle_clients: int = 5_000
    stalled_clients: int = 4
    stalled_megabytes: int = 1_000  #: of each stalled result
    many_clients: int = 500  #: the larger of the two numbers of pgbench clients
    quiet_seconds: float = 1.0  #: memory that has not moved for so long will not move any more
    warm_seconds: int = 1  #: of pgbench before a new process is measured; 0 for none
    idle_tls_clients: int = 2_000
    crowd: int = 1_000  #: clients that log in beside others
    crowd_seconds: float = 2.0  #: within which they come
    late_ms: tuple[float, float] = (
        20.0,
        3.0,
    )  #: p99 of the arrivals, of the steady queries: what is later is void

    @classmethod
    def quick(cls) -> Plan:
        return cls(1, 1, 2_000, 5, 2, 100, 4, 50, 50, 0.2, 0, 50, 50, 0.5, (math.inf, math.inf))

    def warming(self) -> Plan:
        return replace(self, seconds=self.warm_seconds)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run against one target. What a workload cannot tell is None."""

    value: float  #: what the figure is about, in the figure's unit
    rate: float | None = None  #: transactions (queries, COPYs, logins) per second
    latency: float | None = None  #: ms, mean
    p99: float | None = None  #: ms
    system: float | None = None  #: the kernel's share of the CPU, 0..1


class Void(RuntimeError):
    """A run that says nothing of its target; the message says why."""


class Workload(ABC):
    """One thing that clients do."""

    @abstractmethod
    def command(self, plan: Plan) -> str:
        """What was run, for RESULTS.md: without places and passwords."""

    @abstractmethod
    def run(self, target: Target, plan: Plan) -> Sample: ...


@dataclass(frozen=True, slots=True)
class Clients:
    """The client programs, the directory with their data, and the password they all use."""

    bin_dir: Path
    directory: Path
    password: str
    tls_bin_dir: Path | None = None  #: of programs that speak TLS, for targets that want it

    def start(self, target: Target, program: str, *arguments: str) -> AbstractContextManager[Popen]:
        """`psql` or `pgbench` on the way to `target`, for the length of a block."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment |= {"PGHOST": HOST, "PGPORT": str(target.port), "PGUSER": USER, "PGDATABASE": DATABASE}
        environment |= {"PGPASSWORD": self.password, "PGGSSENCMODE": "disable"}
        environment["PGSSLMODE"] = "require" if target.tls else "disable"
        bin_dir = self.tls_bin_dir if target.tls and self.tls_bin_dir else self.bin_dir
        command = [str(bin_dir / program), *arguments]
        return _running(command, environment, self.directory)

    def start_lean(
        self, target: Target, *arguments: str, module: str = "benchmarks.lean"
    ) -> AbstractContextManager[Popen]:
        """`python -m` one of our own clients on the way to `target`, for the length of a block."""
        place = ["--host", HOST, "--port", str(target.port), "--user", USER, "--database", DATABASE]
        if target.tls:
            place.append("--tls")
        command = [sys.executable, "-m", module, *arguments, *place]
        return _running(command, {**os.environ, "PGPASSWORD": self.password}, _ROOT)


@contextmanager
def _running(command: list[str], environment: dict[str, str], directory: Path) -> Iterator[Popen]:
    """A client program with text on pipes. It ends with the block, and after RUN_TIMEOUT in any case."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(RUN_TIMEOUT, process.kill)
    watchdog.start()
    try:
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
    finally:
        watchdog.cancel()


def until_standing(process: Popen) -> None:
    """Wait for the line that says so. RuntimeError with its complaint if it failed instead."""
    assert process.stdout is not None
    if process.stdout.readline() != "standing\n":
        finish(process)
        raise RuntimeError("the clients left too early")


def finish(process: Popen) -> str:
    """Wait for a client program and return what it printed. RuntimeError with its complaint if it failed."""
    out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a client failed ({process.returncode}): {err.strip()[-500:]}")
    return out


def _share(cpu: Cpu) -> float:
    return min(cpu.system / cpu.total, 1.0) if cpu.total > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Pgbench(Workload):
    """pgbench in a closed loop. The value: CPU in us per transaction, without logins and the first second."""

    programs: Clients
    arguments: tuple[str, ...]
    clients: int
    script: str | None = None

    def command(self, plan: Plan) -> str:
        shown = " ".join(["pgbench", *self._arguments(plan)])
        return shown if self.script is None else f"{shown} -f script.sql, which is: {self.script}"

    def run(self, target: Target, plan: Plan) -> Sample:
        with tempfile.TemporaryDirectory(prefix="poolproxy-bench-") as directory:
            arguments = self._arguments(plan)
            arguments += ["-l", f"--sampling-rate={LOGGED_SHARE}", f"--log-prefix={directory}/log"]
            if self.script is not None:
                path = Path(directory) / "script.sql"
                path.write_text(self.script, "utf-8")
                arguments += ["-f", str(path)]
            window = _Window(target.pid, time.time() + self._duration(plan) - END_MARGIN)
            with self.programs.start(target, "pgbench", *arguments) as process:
                for line in process.stderr or ():
                    window.take(line)
                finish(process)
            return window.sample(_percentile99(Path(directory)))

    def _arguments(self, plan: Plan) -> list[str]:
        timing = ["-T", str(self._duration(plan)), "-P", "1", "--progress-timestamp"]
        return ["-n", *self.arguments, "-c", str(self.clients), "-j", "1", *timing]

    def _duration(self, plan: Plan) -> int:
        """What pgbench counts as its time: the logins, a first and a last second, and the time measured."""
        return plan.seconds + 2 + self.clients // LOGINS_PER_SECOND


class _Window:
    """pgbench's progress lines from the first one to the last before `end`, and the CPU in between.

    At the very end the clients leave, so that a line from then tells too much CPU for its transactions.
    """

    _LINE = re.compile(r"progress: ([0-9.]+) s, ([0-9.]+) tps, lat ([0-9.]+) ms .* ([0-9]+) failed")

    def __init__(self, pid: int, end: float) -> None:
        self._pid = pid
        self._end = end
        self._cpu: list[Cpu] = []
        self._lines: list[
            tuple[float, float, float]
        ] = []  # time in s, tps since the last, mean latency in ms
        self._complaints: list[str] = []

    def take(self, line: str) -> None:
        found = self._LINE.search(line)
        if found is None:
            self._complaints.append(line)
            return
        if found[4] != "0":
            raise RuntimeError(f"transactions failed: {line}")
        if time.time() < self._end:
            self._cpu.append(cpu_used(self._pid))
            self._lines.append((float(found[1]), float(found[2]), float(found[3])))

    def sample(self, p99: float) -> Sample:
        if len(self._cpu) < 2:
            raise RuntimeError(f"pgbench did not get going: {''.join(self._complaints)[-500:]}")
        cpu = self._cpu[-1] - self._cpu[0]
        count = weighted = 0.0
        for (began, _, _), (ended, rate, latency) in zip(self._lines, self._lines[1:], strict=False):
            count += rate * (ended - began)
            weighted += rate * (ended - began) * latency
        seconds = self._lines[-1][0] - self._lines[0][0]
        return Sample(cpu.total / count * 1e6, count / seconds, weighted / count, p99, _share(cpu))


def _percentile99(directory: Path) -> float:
    """p99 in ms of the transactions that pgbench has logged (third column: us)."""
    durations = sorted(int(line.split()[2]) for line in _log_lines(directory))
    return durations[int(len(durations) * 0.99)] / 1e3 if durations else 0.0


def _log_lines(directory: Path) -> Iterator[str]:
    for path in directory.glob("log*"):
        yield from path.read_text("ascii").splitlines()


@dataclass(frozen=True, slots=True)
class Copy(Workload):
    """COPY by psql, several times on one connection. The value: CPU in ms per COPY."""

    programs: Clients
    sql: str

    def command(self, plan: Plan) -> str:
        return f'psql -X {plan.copies} times -c "{self.sql}"'

    def run(self, target: Target, plan: Plan) -> Sample:
        arguments = [part for _ in range(plan.copies) for part in ("-c", self.sql)]
        before, began = cpu_used(target.pid), time.perf_counter()
        with self.programs.start(target, "psql", "-Xq", "-v", "ON_ERROR_STOP=1", *arguments) as process:
            finish(process)
        elapsed, cpu = time.perf_counter() - began, cpu_used(target.pid) - before
        each = elapsed / plan.copies
        return Sample(cpu.total / plan.copies * 1e3, 1 / each, each * 1e3, None, _share(cpu))


@dataclass(frozen=True, slots=True)
class LeanLoop(Workload):
    """Lean clients that do one thing over and over. The value: CPU in us for each time."""

    programs: Clients
    what: str  #: `login` or `read`, see benchmarks.lean
    clients: int
    sql: str

    def command(self, plan: Plan) -> str:
        return f"python -m benchmarks.lean {shlex.join(self._arguments(plan))}"

    def run(self, target: Target, plan: Plan) -> Sample:
        before = cpu_used(target.pid)
        with self.programs.start_lean(target, *self._arguments(plan)) as process:
            done = json.loads(finish(process))
        cpu = cpu_used(target.pid) - before
        count = done["count"]
        rate = count / done["seconds"]
        return Sample(cpu.total / count * 1e6, rate, done["mean_ms"], done["p99_ms"], _share(cpu))

    def _arguments(self, plan: Plan) -> list[str]:
        return [self.what, "--clients", str(self.clients), "--seconds", str(plan.seconds), "--sql", self.sql]
