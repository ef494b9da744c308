"""`python -m tests.fuzz [TARGET ...] --seconds 60`: see the package. Exit status 1 when an input broke
something."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version

from tests.fuzz import blind
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

CRASHES = ("crash-*", "timeout-*", "oom-*", "leak-*")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all unless given"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together (%(default)s)")
    parser.add_argument("--blind", action="store_true", help="without atheris, on the build that is loaded")
    parser.add_argument("--seed", type=int, default=None, help="of a blind run")
    asked = parser.parse_args()
    unknown = sorted(set(asked.targets) - set(TARGETS))
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    targets = [TARGETS[name] for name in asked.targets or TARGETS]
    guided = not asked.blind and importlib.util.find_spec("atheris") is not None
    how = f"atheris {version('atheris')}" if guided else "blind"
    print(
        f"Python {platform.python_version()}, {how}, {len(targets)} targets, {asked.seconds:g} s", flush=True
    )
    blind.quiet()
    seed = time.time_ns() if asked.seed is None else asked.seed
    broken = 0
    for target in targets:
        seconds = asked.seconds / len(targets)
        found = _guided(target, seconds) if guided else _blind(target, seconds, seed)
        print(f"  {target.name:15} {found}", flush=True)
        broken += "BROKEN" in found
    print(f"{broken} of {len(targets)} targets broken")
    return 1 if broken else 0


def _blind(target: Target, seconds: float, seed: int) -> str:
    outcome = blind.fuzz(target, seed, blind.seconds(seconds))
    if outcome.problem is None:
        return f"{outcome.inputs} inputs, seed {seed}"
    return f"BROKEN after {outcome.inputs} inputs, seed {seed}: {outcome.problem!r}, kept as {outcome.crash}"


def _guided(target: Target, seconds: float) -> str:
    before = _crashes(target)
    # Whole seconds, and at least one: to libFuzzer 0 means for ever.
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(max(1, round(seconds)))]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds + 120)
    new = sorted(_crashes(target) - before)
    if ran.returncode or new:
        return f"BROKEN, kept as {', '.join(new) or 'nothing'}:\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    figures = {
        name: re.search(rf"stat::{name}: *(\d+)", ran.stderr)
        for name in ("number_of_executed_units", "new_units_added", "peak_rss_mb")
    }
    runs, added, peak = (match[1] if match else "?" for match in figures.values())
    return f"{runs} inputs, {added} of them new coverage, {peak} MB at the peak"


def _crashes(target: Target) -> set[str]:
    return {str(path) for pattern in CRASHES for path in target.folder.glob(pattern)}


if __name__ == "__main__":
    sys.exit(main())
