"""`python -m tests.suites NAME`: run a suite directly and through the proxy; see the package."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.suites import report, running
from tests.suites.definitions import SUITES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.suites", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument(
        "--direct-runs", type=int, default=1, help="only what passes in all of them is compared"
    )
    parser.add_argument("--folder", type=Path, help="keep outputs and logs here (a new folder)")
    parser.add_argument("selection", nargs="*", help="after --: further arguments of pytest's, such as -k")
    given = parser.parse_args()
    suite = SUITES[given.suite]()
    folder = given.folder or Path(tempfile.mkdtemp(prefix=f"suite-{suite.name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    comparison, figures = running.compare(suite, folder, given.direct_runs, given.selection)
    report.failures(comparison, folder)
    print(report.markdown(suite, comparison, figures, running.server_version()))
    wrong = comparison.verdict() + figures.verdict(suite.ceiling())
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    print(f"outputs: {folder}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
