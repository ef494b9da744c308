"""One run of a suite, on a new PostgreSQL: directly, or through `poolproxy run` in transaction mode."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from poolproxy.demo.postgres import LocalPostgres, embedded_bin_dir
from tests.suites import environment, outcomes
from tests.suites.definitions import HERE, Place, Suite
from tests.suites.figures import Figures
from tests.support.proxy import ProxyProcess

POOL_SIZE = 5
#: What the suites need beyond the defaults; two-phase commit is tested by psycopg2 and SQLAlchemy.
POSTGRES_OPTIONS = {"max_prepared_transactions": "10", "jit": "off"}
#: The superuser's password. Suites put it into URLs and connection strings that they build themselves.
PASSWORD = "suites"


def postgres_for(suite: Suite) -> LocalPostgres:
    """A cluster of its own for each run: what one leaves behind must not change the next."""
    postgres = LocalPostgres(password=PASSWORD, options=POSTGRES_OPTIONS)
    postgres.start()
    try:
        for database, statements in suite.statements.items():
            if database != "postgres":
                postgres.sql(f'create database "{database}"')
            postgres.sql(statements, database)
    except BaseException:
        postgres.close()
        raise
    return postgres


def server_version() -> str:
    """Of the PostgreSQL that all runs use."""
    said = subprocess.run(
        [embedded_bin_dir() / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return said.stdout.split()[-1]


def command(suite: Suite, place: Place, selection: Sequence[str] = ()) -> list[str]:
    """What runs the suite, in the folder with its tests."""
    options = ["-p", "recorder", "-p", "no:cacheprovider", "--quiet", "--tb=short", "--timeout=600"]
    options.append("--continue-on-collection-errors")
    return [
        *(str(environment.interpreter(suite)), "-m", "pytest"),
        *options,
        *suite.arguments(place),
        *selection,
    ]


def run(
    suite: Suite, place: Place, folder: Path, selection: Sequence[str] = (), only: Sequence[str] = ()
) -> outcomes.Run:
    """Run the suite's tests, or `only` some, in a new `folder`. What pytest said stays there, in `output`."""
    folder.mkdir()
    environment.unpack(suite, folder)
    plugins = folder / "plugins"
    plugins.mkdir()
    shutil.copy(HERE / "recorder.py", plugins)
    written = folder / "outcomes"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "POOLPROXY_"))}
    variables = {"PYTHONPATH": str(plugins), "OUTCOMES_FILE": str(written), **suite.environment(place)}
    if only:
        (folder / "only").write_text("\n".join(only), "utf-8")
        variables["ONLY_FILE"] = str(folder / "only")
    with (folder / "output").open("wb") as output:
        subprocess.run(
            command(suite, place, selection),
            cwd=folder,
            env={**kept, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=suite.timeout,
            check=False,  # failing tests are what is counted; a crash leaves the outcomes without an end
        )
    if not written.exists():
        raise outcomes.RunCutOff(f"no test ran:\n{(folder / 'output').read_text('utf-8', 'replace')[-3000:]}")
    return outcomes.read(written.read_text("utf-8").splitlines())


def run_directly(
    suite: Suite, folder: Path, selection: Sequence[str] = (), only: Sequence[str] = ()
) -> outcomes.Run:
    with postgres_for(suite) as postgres:
        place = Place(postgres.host, postgres.port, postgres.superuser, postgres.password)
        return run(suite, place, folder, selection, only)


def run_proxied(suite: Suite, folder: Path, selection: Sequence[str] = ()) -> tuple[outcomes.Run, Figures]:
    """The same through the proxy, with what the proxy counted meanwhile."""
    with postgres_for(suite) as postgres:
        settings_folder = folder.with_name(folder.name + "-proxy")
        settings_folder.mkdir()
        proxy = ProxyProcess(settings_folder, settings(suite, postgres))
        try:
            with Watch(proxy) as watch:
                place = Place(proxy.host, proxy.port, postgres.superuser, postgres.password)
                done = run(suite, place, folder, selection)
            watch.figures.broken = [line for line in proxy.log if line.get("level") == "unparsable"]
        finally:
            (settings_folder / "log").write_text(proxy.log_text(), "utf-8")
            proxy.stop()
        return done, watch.figures


def compare(
    suite: Suite, folder: Path, direct_runs: int = 1, selection: Sequence[str] = ()
) -> tuple[outcomes.Comparison, Figures]:
    """All runs. What is lost to the proxy is tried directly once more: some tests fail now and then."""
    direct = [
        run_directly(suite, folder / f"direct{number}", selection) for number in range(1, direct_runs + 1)
    ]
    proxied, figures = run_proxied(suite, folder / "proxied", selection)
    comparison = outcomes.Comparison(direct, proxied, suite.exceptions(), suite.chance(), whole=not selection)
    lost = comparison.lost()
    if lost:
        again = run_directly(suite, folder / "again", selection, only=lost)
        comparison = dataclasses.replace(comparison, again=again)
    return comparison, figures


def settings(suite: Suite, postgres: LocalPostgres) -> dict[str, object]:
    """Any database, each client as the user that it logged in as; all else by default."""
    users = {postgres.superuser: postgres.password, **suite.users}
    return {
        "pool_mode": "transaction",
        "pool_size": POOL_SIZE,
        "databases": {"*": {"url": f"postgres://{postgres.host}:{postgres.port}"}},
        "users": {user: {"password": password} for user, password in users.items()},
    }


class Watch:
    """Reads the proxy's metrics now and then: gauges have peaks, and counters of unused pools go away."""

    INTERVAL = 0.5  #: seconds

    def __init__(self, proxy: ProxyProcess) -> None:
        self.figures = Figures()
        self._proxy = proxy
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(30)
        # Pin-seconds are counted when a pin ends: the last clients have to be gone.
        self._proxy.wait_gauge("poolproxy_servers_pinned", 0)
        self.figures.take(self._proxy.metrics().samples)

    def _watch(self) -> None:
        while not self._over.wait(self.INTERVAL):
            self.figures.take(self._proxy.metrics().samples)
