"""What the clients do while a target's CPU is counted: each workload runs once and returns one sample.

Every workload keeps the target busy from one side only: it never looks at which target it is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Cpu, cpu_used
from benchmarks.targets import DATABASE, HOST, USER, Target

_ROOT = Path(__file__).parent.parent  #: where `benchmarks` can be imported
RUN_TIMEOUT = 600.0  #: seconds that no client program may take
COPY_FILE = "bench_copy.data"  #: in the clients' directory
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

    @classmethod
    def quick(cls) -> Plan:
        return cls(1, 1, 2_000, 5, 2, 100, 4, 50, 50)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run against one target. What a workload cannot tell is None."""

    value: float  #: what the figure is about, in the figure's unit
    rate: float | None = None  #: transactions (queries, COPYs, logins) per second
    latency: float | None = None  #: ms, mean
    p99: float | None = None  #: ms
    system: float | None = None  #: the kernel's share of the CPU, 0..1


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

    def start(self, target: Target, program: str, *arguments: str) -> subprocess.Popen[str]:
        """`psql` or `pgbench` on the way to `target`; its output is text on pipes."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment |= {"PGHOST": HOST, "PGPORT": str(target.port), "PGUSER": USER, "PGDATABASE": DATABASE}
        environment |= {"PGPASSWORD": self.password, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
        command = [str(self.bin_dir / program), *arguments]
        return self._popen(command, environment, self.directory)

    def start_lean(self, target: Target, *arguments: str) -> subprocess.Popen[str]:
        """`python -m benchmarks.lean` on the way to `target`."""
        place = ["--host", HOST, "--port", str(target.port), "--user", USER, "--database", DATABASE]
        command = [sys.executable, "-m", "benchmarks.lean", *arguments, *place]
        return self._popen(command, {**os.environ, "PGPASSWORD": self.password}, _ROOT)

    @staticmethod
    def _popen(command: list[str], environment: dict[str, str], directory: Path) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=environment, cwd=directory, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a client program and return what it printed. RuntimeError with its complaint if it failed."""
    try:
        out, err = process.communicate(timeout=RUN_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError(f"{process.args!r} hung") from None
    if process.returncode:
        raise RuntimeError(f"a client failed: {err.strip()[-500:]}")
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
            process = self.programs.start(target, "pgbench", *arguments)
            window = _Window(target.pid, plan.seconds)
            for line in process.stderr or ():
                window.take(line)
            finish(process)
            return window.sample(_percentile99(Path(directory)))

    def _arguments(self, plan: Plan) -> list[str]:
        timing = ["-T", str(plan.seconds + 2), "-P", "1", "--progress-timestamp"]
        return ["-n", *self.arguments, "-c", str(self.clients), "-j", "1", *timing]


class _Window:
    """pgbench's progress lines of so many seconds after the first, and the CPU in between.

    A last line at the very end is left out: clients are leaving by then.
    """

    _LINE = re.compile(r"progress: ([0-9.]+) s, ([0-9.]+) tps, lat ([0-9.]+) ms .* ([0-9]+) failed")

    def __init__(self, pid: int, seconds: int) -> None:
        self._pid = pid
        self._wanted = seconds + 1
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
        if len(self._lines) < self._wanted:
            self._lines.append((float(found[1]), float(found[2]), float(found[3])))
            if len(self._lines) in (1, self._wanted):
                self._cpu.append(cpu_used(self._pid))

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
        finish(self.programs.start(target, "psql", "-Xq", "-v", "ON_ERROR_STOP=1", *arguments))
        elapsed, cpu = time.perf_counter() - began, cpu_used(target.pid) - before
        each = elapsed / plan.copies
        return Sample(cpu.total / plan.copies * 1e3, 1 / each, each * 1e3, None, _share(cpu))


@dataclass(frozen=True, slots=True)
class Logins(Workload):
    """Connect, SCRAM login, one query, disconnect, by lean clients. The value: CPU in us per connection."""

    programs: Clients
    workers: int = 8

    def command(self, plan: Plan) -> str:
        return f"python -m benchmarks.lean login --clients {self.workers} --seconds {plan.seconds}"

    def run(self, target: Target, plan: Plan) -> Sample:
        before = cpu_used(target.pid)
        arguments = ["login", "--clients", str(self.workers), "--seconds", str(plan.seconds)]
        done = json.loads(finish(self.programs.start_lean(target, *arguments)))
        cpu = cpu_used(target.pid) - before
        count = done["count"]
        rate = count / done["seconds"]
        return Sample(cpu.total / count * 1e6, rate, done["mean_ms"], done["p99_ms"], _share(cpu))
