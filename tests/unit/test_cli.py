"""The commands: exit codes, what they print and where, and that they import only what they need."""

from __future__ import annotations

import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from poolproxy import __version__, log
from poolproxy.cli import DEFAULT_HTTP_HOST, DEFAULT_HTTP_PORT, cli
from poolproxy.settings import InvalidSettings, Settings

URL = "postgres://app:hunter2@127.0.0.1:1/orders"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings from outside, and the log as it was."""
    import os

    for name in list(os.environ):
        if name.startswith("POOLPROXY_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    yield
    log.configure("warning")


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), env=environment)


@contextmanager
def web_server(status: int) -> Iterator[int]:
    """An HTTP server that answers everything with `status`, and its port."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
    assert asked == ["/health"]


class TestRun:
    @pytest.fixture
    def app(self, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
        """A stand-in for the app: what it was started with."""
        started: list[Settings] = []
        module: Any = types.ModuleType("poolproxy.app")
        module.run = lambda settings: started.append(settings) or 7
        monkeypatch.setitem(sys.modules, "poolproxy.app", module)
        monkeypatch.setattr("poolproxy.app", module, raising=False)
        return started

    def test_needs_nothing_but_a_url(self, app: list[Settings]) -> None:
        assert call("run", DATABASE_URL=URL).exit_code == 7
        assert list(app[0].databases) == ["orders"]

    def test_options_win_over_the_environment_and_the_file(self, app: list[Settings], tmp_path: Path) -> None:
        file = tmp_path / "pp.toml"
        file.write_text('pool_size = 1\nmax_pools = 5\n[databases.x]\nurl = "postgres://u:p@h"\n')
        result = call(
            *("run", "-c", str(file), "--pool-size", "9", "--listen-port", "0", "--pool-mode", "session"),
            *("--set", "drain_timeout=3", "--set", "databases.x.pool_size=4", "--log-level", "error"),
            POOLPROXY_POOL_SIZE="8",
            POOLPROXY_DRAIN_TIMEOUT="8",
        )
        assert result.exit_code == 7, result.output
        found = app[0]
        assert (found.pool_size, found.listen_port, found.pool_mode) == (9, 0, "session")
        assert (found.drain_timeout, found.log_level, found.max_pools) == (3, "error", 5)
        assert found.databases["x"].pool_size == 4

    def test_the_files_path_may_come_from_the_environment(self, app: list[Settings], tmp_path: Path) -> None:
        file = tmp_path / "pp.toml"
        file.write_text('[databases.x]\nurl = "postgres://u:p@h"\n')
        assert call("run", POOLPROXY_CONFIG=str(file)).exit_code == 7
        assert list(app[0].databases) == ["x"]

    def test_wrong_settings_end_with_2_and_no_value(self, app: list[Settings]) -> None:
        result = call("run", "--pool-size", "hunter2", DATABASE_URL=URL, POOLPROXY_MAX_POOLS="hunter2")
        assert result.exit_code == 2
        assert "poolproxy: POOLPROXY_MAX_POOLS: Input should be a valid integer" in result.stderr
        assert "poolproxy: pool_size (command line): Input should" in result.stderr
        assert "hunter2" not in result.output
        assert "Traceback" not in result.output
        assert not app

    def test_what_the_app_finds_wrong_ends_with_2(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(settings: Settings) -> int:
            raise InvalidSettings("too few open files")

        module: Any = types.ModuleType("poolproxy.app")
        module.run = refuse
        monkeypatch.setitem(sys.modules, "poolproxy.app", module)
        monkeypatch.setattr("poolproxy.app", module, raising=False)
        result = call("run", DATABASE_URL=URL)
        assert (result.exit_code, result.stderr) == (2, "poolproxy: too few open files\n")

    def test_set_without_a_value(self, app: list[Settings]) -> None:
        result = call("run", "--set", "pool_size", DATABASE_URL=URL)
        assert (result.exit_code, result.stderr) == (2, "poolproxy: --set needs NAME=VALUE\n")

    def test_trust_for_everyone_is_warned_about(
        self, app: list[Settings], capfd: pytest.CaptureFixture[str]
    ) -> None:
        call("run", "--auth-method", "trust", DATABASE_URL=URL)
        assert "auth_method is trust and 0.0.0.0 is not loopback" in capfd.readouterr().err


class TestCheck:
    def test_good_settings(self) -> None:
        result = call("check", DATABASE_URL=URL)
        assert (result.exit_code, result.stdout) == (0, "settings are good: 1 database, 1 user\n")

    def test_wrong_settings(self) -> None:
        result = call("check", DATABASE_URL=URL, POOLPROXY_POOL_SISE="1")
        assert result.exit_code == 2
        assert "did you mean POOLPROXY_POOL_SIZE?" in result.stderr

    def test_open_files_that_do_not_suffice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As `run` would refuse it."""
        monkeypatch.setattr("poolproxy.app.resource.getrlimit", lambda _: (1024, 20_000))
        result = call("check", DATABASE_URL=URL, POOLPROXY_MAX_CLIENT_CONNECTIONS="900000")
        assert result.exit_code == 2
        assert "900000 clients" in result.stderr
        assert "may open 20000 at most" in result.stderr
        assert result.stdout == ""

    def test_open_files_that_may_not_suffice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("poolproxy.app.resource.getrlimit", lambda _: (1024, 20_000))
        result = call("check", DATABASE_URL=URL, POOLPROXY_AUTH_METHOD="trust")
        assert result.exit_code == 0
        assert "warning: max_pools: 1000 pools may open 20000 servers" in result.stderr

    def test_advice_is_printed(self) -> None:
        result = call("check", DATABASE_URL=URL, POOLPROXY_AUTH_METHOD="trust")
        assert result.exit_code == 0
        assert result.stderr.startswith("warning: auth_method is trust")

    def test_a_database_that_refuses(self) -> None:
        result = call("check", "--connect", DATABASE_URL=URL)
        assert result.exit_code == 1
        assert "orders: 127.0.0.1:1 as app: FAILED: " in result.stderr
        assert "hunter2" not in result.output

    def test_a_database_that_says_nothing(self) -> None:
        with create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            result = call(
                "check",
                "--connect",
                DATABASE_URL=f"postgres://app:hunter2@127.0.0.1:{port}/orders",
                POOLPROXY_SERVER_CONNECT_TIMEOUT="0.1",
            )
        assert result.exit_code == 1
        assert f"orders: 127.0.0.1:{port} as app: FAILED: no answer within 0.1 s" in result.stderr

    def test_a_database_for_whoever_comes_is_not_tried(self) -> None:
        result = call(
            "check",
            "--connect",
            POOLPROXY_AUTH_METHOD="trust",
            POOLPROXY_DATABASES='{"*":{"url":"postgres://h"}}',
        )
        assert result.exit_code == 0
        assert "*: h:5432: not tried, its url names no user" in result.stdout


class TestHealthcheck:
    def test_alive(self) -> None:
        with web_server(200) as port:
            assert call("healthcheck", POOLPROXY_HTTP_PORT=str(port)).exit_code == 0

    def test_not_well(self) -> None:
        with web_server(500) as port:
            result = call("healthcheck", "--port", str(port))
        assert (result.exit_code, result.stderr) == (1, "poolproxy: /health answers 500\n")

    def test_nobody_there(self) -> None:
        result = call("healthcheck", "--port", "1")
        assert result.exit_code == 1
        assert "no answer from 127.0.0.1:1" in result.stderr

    def test_somebody_else_there(self) -> None:
        with create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            assert call("healthcheck", "--port", str(port), "--timeout", "0.1").exit_code == 1

    def test_port_from_the_file(self, tmp_path: Path) -> None:
        with web_server(200) as port:
            file = tmp_path / "pp.toml"
            file.write_text(f'http_port = {port}\nhttp_host = "127.0.0.1"\n')
            assert call("healthcheck", POOLPROXY_CONFIG=str(file)).exit_code == 0

    def test_settings_it_cannot_read(self, tmp_path: Path) -> None:
        assert call("healthcheck", "-c", str(tmp_path / "none")).exit_code == 2
        assert call("healthcheck", POOLPROXY_HTTP_PORT="x").exit_code == 2

    def test_its_defaults_are_the_settings(self) -> None:
        fields = Settings.model_fields
        assert fields["http_host"].default == DEFAULT_HTTP_HOST
        assert str(fields["http_port"].default) == DEFAULT_HTTP_PORT


class TestDemo:
    def test_arguments_and_exit_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called: list[dict[str, Any]] = []
        monkeypatch.setattr("poolproxy.demo.run_demo", lambda **given: called.append(given) or 1)
        assert call("demo", "--clients", "50", "--keep").exit_code == 1
        assert called == [{"clients": 50, "pool_size": 20, "keep": True}]

    def test_what_the_demo_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(**_: object) -> int:
            raise ValueError("too many clients")

        monkeypatch.setattr("poolproxy.demo.run_demo", refuse)
        result = call("demo")
        assert (result.exit_code, result.stderr) == (2, "poolproxy: too many clients\n")


def test_version() -> None:
    assert call("version").stdout == f"poolproxy {__version__}\n"


def test_as_a_module_and_with_few_imports() -> None:
    """The container's health check runs every few seconds: it must not load settings, log or event loop."""
    heavy = (
        "pydantic_settings",
        "structlog",
        "asyncpg",
        "uvloop",
        "prometheus_client",
        "poolproxy.settings",
    )
    program = (
        "import runpy, sys; sys.argv = ['poolproxy', 'version']\n"
        "try: runpy.run_module('poolproxy', run_name='__main__')\n"
        f"except SystemExit as end: print(end.code, [name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout == f"poolproxy {__version__}\n0 []\n"
