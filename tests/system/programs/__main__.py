"""Run the programs and print what they pinned; --write puts the tables into the page."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support.cluster import make_postgres
from tests.support.stage import Stage
from tests.system.programs import page
from tests.system.programs.catalogue import PROGRAMS
from tests.system.programs.running import Failed, Report, Runs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.programs", description=__doc__)
    parser.add_argument("names", nargs="*", help="only the programs whose names contain one of these")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="the page to write the tables into")
    asked = parser.parse_args()
    if asked.write and asked.names:
        parser.error("the page is about all programs")
    wanted = [p for p in PROGRAMS if not asked.names or any(n.lower() in p.name.lower() for n in asked.names)]
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(make_postgres(), Path(folder))
        try:
            runs = Runs(stage, Path(folder))
            version = stage.direct.value("select current_setting('server_version')")
            reports: list[Report] = []
            for program in wanted:
                stage.begin()
                reports.append(runs.measure(program))
                stage.end()
        except Failed as failed:
            print(failed)
            return 1
        finally:
            stage.close()
    print(page.measured(reports, version))
    faults = [fault for report in reports for fault in report.faults()]
    print("\n".join(faults))
    if asked.write and not faults:
        page.write(asked.write, reports, version)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
