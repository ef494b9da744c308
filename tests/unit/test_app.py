"""What the app decides without serving anybody: its open files, its first snapshot, and starts that fail."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolproxy import app
from poolproxy.app import App, raise_file_limit
from poolproxy.settings import InvalidSettings, Settings, descriptors_needed
from poolproxy.transport.poller import Poller


def settings_of(**differing: Any) -> Settings:
    values: dict[str, Any] = {
        "databases": {"shop": {"url": "postgres://app:secret@127.0.0.1:1/shop", "pool_size": 20}},
        "listen_host": "127.0.0.1",
        "listen_port": 0,
        "http_host": "127.0.0.1",
        "http_port": 0,
        "max_client_connections": 1000,
    }
    return Settings.model_validate({**values, **differing})


class Kernel:
    """The limit of open files, as getrlimit and setrlimit know it."""

    def __init__(self, soft: int, hard: int) -> None:
        self.limits = (soft, hard)
        self.set: list[tuple[int, int]] = []

    def getrlimit(self, number: int) -> tuple[int, int]:
        assert number == resource.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, number: int, limits: tuple[int, int]) -> None:
        assert number == resource.RLIMIT_NOFILE
        self.limits = limits
        self.set.append(limits)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A soft limit of 1,024 below a hard one of 10,000."""
    kernel = Kernel(1024, 10_000)
    monkeypatch.setattr("poolproxy.app.resource.getrlimit", kernel.getrlimit)
    monkeypatch.setattr("poolproxy.app.resource.setrlimit", kernel.setrlimit)
    return kernel


class TestFileLimit:
    def test_the_soft_limit_is_raised_as_far_as_needed(self, kernel: Kernel) -> None:
        raise_file_limit(settings_of())
        assert kernel.set == [(descriptors_needed(1000, 20), 10_000)]

    def test_one_that_is_high_enough_is_left_alone(self, kernel: Kernel) -> None:
        kernel.limits = (5000, 10_000)
        raise_file_limit(settings_of())
        assert kernel.set == []

    def test_one_without_end_is_left_alone(self, kernel: Kernel) -> None:
        kernel.limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        raise_file_limit(settings_of())
        assert kernel.set == []

    def test_a_hard_limit_without_end_bounds_nothing(self, kernel: Kernel) -> None:
        kernel.limits = (1024, resource.RLIM_INFINITY)
        raise_file_limit(settings_of(max_client_connections=200_000))
        assert kernel.set == [(descriptors_needed(200_000, 20), resource.RLIM_INFINITY)]

    def test_a_hard_limit_that_is_too_low_is_said_with_its_numbers(self, kernel: Kernel) -> None:
        with pytest.raises(InvalidSettings, match="20000 clients") as caught:
            raise_file_limit(settings_of(max_client_connections=20_000))
        assert "10000" in str(caught.value)
        assert kernel.set == [], "nothing is changed by a start that fails"

    def test_exactly_the_hard_limit_will_do(self, kernel: Kernel) -> None:
        kernel.limits = (1024, descriptors_needed(1000, 20))
        raise_file_limit(settings_of())
        assert kernel.set == [(descriptors_needed(1000, 20),) * 2]

    def test_an_absolute_limit_of_servers_counts_in_place_of_pool_size(self, kernel: Kernel) -> None:
        databases = {
            "one": {"url": "postgres://app:secret@db/one", "pool_size": 400, "max_connections": 300},
            "two": {"url": "postgres://app:secret@db/two", "pool_size": 40},
        }
        raise_file_limit(settings_of(databases=databases))
        assert kernel.set == [(descriptors_needed(1000, 340), 10_000)]

    def test_every_user_has_a_pool_of_its_own(self, kernel: Kernel) -> None:
        users = {f"user{number}": {"password": "x"} for number in range(400)}
        raise_file_limit(settings_of(users=users))
        assert kernel.set == [(descriptors_needed(1000, 8020), 10_000)]

    def test_a_limit_that_may_not_do_is_warned_about(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = Log()
        monkeypatch.setattr(app, "_log", log)
        raise_file_limit(settings_of(auth_method="trust"))
        assert kernel.set == [(10_000, 10_000)]
        ((event, fields),) = log.warnings
        assert event == "settings"
        assert "max_pools" in fields["advice"]


@pytest.fixture
def poller() -> Iterator[Poller]:
    """One that nobody serves."""
    poller = Poller(lambda pollable, error: None)
    yield poller
    poller.close()


class TestSnapshots:
    async def test_before_anybody_came(self, poller: Poller) -> None:
        application = App(settings_of(), poller)
        seen = application.process_snapshot()
        assert (seen.clients_connected, seen.clients_login, seen.client_limit) == (0, 0, 1000)
        assert (seen.accepting, seen.draining) == (False, False), "it does not listen yet"
        assert seen.databases == ()
        assert list(application.pool_snapshots()) == []

    async def test_tasks_are_counted_while_they_live(self, poller: Poller) -> None:
        application = App(settings_of(), poller)
        before = application.process_snapshot().tasks
        task = asyncio.create_task(asyncio.Event().wait())
        assert application.process_snapshot().tasks == before + 1
        task.cancel()
        await asyncio.wait([task])
        assert application.process_snapshot().tasks == before

    async def test_pools_with_a_floor_are_there_from_the_start(self, poller: Poller) -> None:
        url = "postgres://app:secret@127.0.0.1:1/shop"
        database = {"url": url, "pool_size": 20, "min_pool_size": 3, "max_connections": 30}
        application = App(settings_of(databases={"shop": database}), poller)
        (pool,) = application.pool_snapshots()
        assert (pool.database, pool.user, pool.pool_size) == ("shop", "app", 20)
        (database_snapshot,) = application.process_snapshot().databases
        assert (database_snapshot.database, database_snapshot.limit) == ("shop", 30)


class Log:
    """Remembers warnings and errors."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, dict[str, Any]]] = []
        self.warnings: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None: ...

    def warning(self, event: str, **fields: Any) -> None:
        self.warnings.append((event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.errors.append((event, fields))


class TestRun:
    def test_a_port_that_is_taken_is_an_exit_code(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = Log()
        monkeypatch.setattr(app, "_log", log)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert app.run(settings_of(listen_port=port)) == 1
        ((event, fields),) = log.errors
        assert event == "cannot start"
        assert f"127.0.0.1:{port}" in fields["reason"]

    @pytest.mark.parametrize("taken_by", ["http", "unix socket"])
    def test_a_start_that_fails_half_way_leaves_nothing(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, taken_by: str
    ) -> None:
        log = Log()
        monkeypatch.setattr(app, "_log", log)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            if taken_by == "http":
                places = {"http_port": taken.getsockname()[1], "unix_socket_dir": str(tmp_path)}
            else:
                places = {"unix_socket_dir": str(tmp_path / "nowhere")}
            assert app.run(settings_of(**places)) == 1
        assert [event for event, _ in log.errors] == ["cannot start"]
        assert list(tmp_path.iterdir()) == []
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_the_file_limit_comes_first(self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
        kernel.limits = (100, 100)
        monkeypatch.setattr("poolproxy.app.Poller", lambda on_error: pytest.fail("it began"))
        with pytest.raises(InvalidSettings):
            app.run(settings_of())
