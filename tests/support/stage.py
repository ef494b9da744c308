"""What an integration test stands on: a PostgreSQL, proxies in front of it, and the check of what it
leaves.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from poolproxy.demo.postgres import LocalPostgres
from tests.support import invariants
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.proxy import ProxyProcess


class Stage:
    """One PostgreSQL and the proxies in front of it. Starting a proxy costs a second: equal settings share
    one.
    """

    def __init__(self, postgres: LocalPostgres, folder: Path) -> None:
        self.postgres = postgres
        self.direct = Direct(postgres)
        self.folder = folder
        self._shared: dict[str, ProxyProcess] = {}
        self._given: set[ProxyProcess] = set()  #: of the shared ones, to the test that runs
        self._fresh: list[ProxyProcess] = []
        self._log_at: dict[ProxyProcess, int] = {}
        self._declared: list[re.Pattern[str]] = []
        self._made = 0

    def settings(self, **settings: Any) -> dict[str, Any]:
        """Full settings: the database `app` and all users of the cluster, unless `settings` differs."""
        url = f"postgres://{self.postgres.host}:{self.postgres.port}/{DATABASE}"
        defaults: dict[str, Any] = {
            "databases": {DATABASE: {"url": url}},
            "users": {user: {"password": password} for user, password in PASSWORDS.items() if password},
            "pool_size": 5,
            "failed_login_delay": 0,  # all tests come from one address, and many of them with wrong passwords
        }
        return {**defaults, **settings}

    def proxy(self, **settings: Any) -> ProxyProcess:
        """A proxy with these settings; one that runs already is used again."""
        full = self.settings(**settings)
        key = json.dumps(full, sort_keys=True)
        if key not in self._shared:
            self._shared[key] = self._start(full)
        self._given.add(self._shared[key])
        return self._shared[key]

    def fresh(
        self, environment: dict[str, str] | None = None, *, plain: bool = False, **settings: Any
    ) -> ProxyProcess:
        """A proxy of this test's own, for tests that stop it, break it or count from zero.

        `plain` leaves the default settings away: only `environment` and `settings` count.
        """
        proxy = self._start(settings if plain else self.settings(**settings), environment)
        self._fresh.append(proxy)
        return proxy

    def _start(self, settings: dict[str, Any], environment: dict[str, str] | None = None) -> ProxyProcess:
        self._made += 1
        folder = self.folder / f"proxy{self._made}"
        folder.mkdir()
        return ProxyProcess(folder, settings, environment)

    def expect_log(self, pattern: str) -> None:
        """Declare that warnings and errors whose JSON line matches `pattern` belong to this test."""
        self._declared.append(re.compile(pattern))

    # Around each test.

    def begin(self) -> None:
        self._declared.clear()
        self._given.clear()
        self._log_at = {proxy: len(proxy.log) for proxy in self._shared.values()}

    def end(self) -> None:
        """Check the invariants, then end this test's own proxies. A proxy that fails them is not used
        again.

        To come to rest is asked of those that the test had: a scrape of each of some forty would take longer
        than most tests. The others' turn is `check_shared`.
        """
        fresh, self._fresh = self._fresh, []
        try:
            for proxy in [*self._shared.values(), *fresh]:
                proxy.close_wires()
                if proxy.running:
                    if proxy in self._given or proxy in fresh:
                        invariants.check_at_rest(proxy)
                elif proxy in self._shared.values():
                    raise AssertionError(f"a shared proxy has ended: {proxy}\n{proxy.log_text()[-3000:]}")
            if self.postgres.running:
                invariants.check_sessions(self.direct)
            for proxy in fresh:
                if proxy.running:
                    assert proxy.stop() == 0, f"{proxy} ended badly:\n{proxy.log_text()}"
            for proxy in [*self._shared.values(), *fresh]:
                invariants.check_log(proxy, self._log_at.get(proxy, 0), self._declared)
        except BaseException:
            for proxy in fresh:
                proxy.kill()
            self._drop_shared()
            raise

    def check_shared(self) -> None:
        """After the last test of a module: all are at rest, whoever had them last."""
        try:
            for proxy in self._shared.values():
                invariants.check_at_rest(proxy)
        except BaseException:
            self._drop_shared()
            raise

    def _drop_shared(self) -> None:
        for proxy in self._shared.values():
            proxy.kill()
        self._shared.clear()

    def close(self) -> None:
        try:
            self.check_shared()
            for proxy in self._shared.values():
                assert proxy.stop() == 0, proxy.log_text()
        finally:
            self._drop_shared()
            self.direct.close()
            self.postgres.close()
