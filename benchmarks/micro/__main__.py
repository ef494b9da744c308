"""Times every case and prints a table: the best of several repetitions, per unit of the case."""

from __future__ import annotations

import argparse
import timeit

from benchmarks.micro.cases import Case, all_cases
from benchmarks.report import number, table

REPEATS = 7


def nanoseconds(case: Case, seconds: float) -> float:
    """ns per unit: the best of REPEATS repetitions of `seconds` each. Others' work only ever adds."""
    timer = timeit.Timer(case.run)
    once = max(timer.timeit(3) / 3, 1e-9)
    count = max(int(seconds / once), 1)
    return min(timer.repeat(REPEATS, count)) / count / case.units * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each repetition")
    chosen = parser.parse_args()
    rows = []
    for case in all_cases():
        rows.append(
            (case.title, number(nanoseconds(case, chosen.seconds)), f"ns per {case.unit}", case.build)
        )
    print(table(("what", "time", "unit", "build"), rows))


if __name__ == "__main__":
    main()
