"""CPU and memory of another process and its children, as the kernel counts them."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2  #: see clock_getcpuclockid(3): the scheduler's own count, user + system
_ATTEMPTS = 200  #: of 10 ms, to find a moment in which no child is just ending


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time in seconds that a process and all its children have used so far."""

    total: float  #: user + system
    system: float  #: the kernel's part, in steps of one clock tick

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(self.total - earlier.total, self.system - earlier.system)


def process_tree(pid: int) -> list[int]:
    """`pid` and all its living descendants."""
    children = psutil.Process(pid).children(recursive=True)
    return [pid, *(child.pid for child in children)]


def cpu_used(pid: int) -> Cpu:
    """User + system time of `pid` and its children, the dead ones included.

    The living are read from their CPU clock, which has nanoseconds where /proc/PID/stat has ticks of 10 ms
    (the same count: stat's two numbers are cut from it). Children that have ended are in their parent's stat,
    but only once it has taken note: a child caught in between is waited for.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _cpu_of(process_tree(pid))
        except _Ending:
            time.sleep(0.01)
    return _cpu_of(process_tree(pid))


class _Ending(RuntimeError):
    """A process has ended that its parent has not yet counted, or has just counted."""


def _cpu_of(members: list[int]) -> Cpu:
    total = system = 0.0
    for member in members:
        try:
            fields = _stat(member)
            own = time.clock_gettime_ns((~member << 3) | _CPUCLOCK_SCHED) / 1e9
        except OSError:
            raise _Ending from None
        if fields[0] in "ZX":
            raise _Ending
        total += own + (int(fields[13]) + int(fields[14])) * _TICK
        system += (int(fields[12]) + int(fields[14])) * _TICK
    return Cpu(total, system)


def anonymous_bytes(pid: int) -> int:
    """Anonymous memory of `pid` and its children: heap and stacks, not socket buffers."""
    total = 0
    for member in process_tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text("ascii").splitlines():
                if line.startswith("Anonymous:"):
                    total += int(line.split()[1]) * 1024
    return total


def raise_file_limit(needed: int) -> int:
    """Allow this process and those it starts `needed` open files, or as many as we may; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return soft
    if hard < needed:
        with contextlib.suppress(ValueError, OSError):  # only root may raise the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
            return needed
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
    return min(needed, hard)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: index 11 is utime (field 14 of proc(5))."""
    text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    return text[text.rindex(")") + 2 :].split()
