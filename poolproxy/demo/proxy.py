"""The proxy of the demo: `poolproxy run` as a child process, as anyone would run it.

Set by environment variables alone, its ports left to the system and read from its log. Must not know what
comes through it. The calls block.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT = 30.0
"""Seconds the proxy may take until it listens."""

STOP_TIMEOUT = 30.0
"""Seconds it may take to drain after SIGTERM: a little over its own `drain_timeout` of 20."""


class ProxyFailed(Exception):
    """The proxy did not start; the message holds the end of its log."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our own environment with none of its settings of poolproxy's, and then `settings`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith(("POOLPROXY_", "PG"))
    }
    return {**kept, **settings}


def listening_ports(log: str) -> tuple[int, int] | None:
    """The ports for clients and for HTTP that a JSON log tells; None until both are there."""
    ports: dict[str, int] = {}
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line under way, or one that is not the logger's
        if isinstance(entry, dict) and "port" in entry:
            ports[str(entry.get("event")).replace("_", " ")] = int(entry["port"])
    if "listening" in ports and "http listening" in ports:
        return ports["listening"], ports["http listening"]
    return None


class Proxy:
    """A running proxy between `with` and its end. Raises ProxyFailed when it does not come up."""

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.host = "127.0.0.1"
        self.port = self.http_port = 0
        self.status: int | None = None
        """Its exit status, once it has ended."""
        self.log = log
        self._settings = {
            "POOLPROXY_LISTEN_HOST": self.host,
            "POOLPROXY_LISTEN_PORT": "0",
            "POOLPROXY_HTTP_HOST": self.host,
            "POOLPROXY_HTTP_PORT": "0",
            "POOLPROXY_LOG_FORMAT": "json",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "poolproxy", "run"],
                env=environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us alone: we let it drain
            )
        try:
            self._wait(self._process)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it drain and end; interrupted ones (Ctrl-C) do not wait for that."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM if error is None else signal.SIGKILL)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self.status = self._process.wait()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            if ports := listening_ports(self.log_text()):
                self.port, self.http_port = ports
                return
            time.sleep(0.02)
        raise ProxyFailed(f"the proxy did not start:\n{self.log_text()[-2000:]}")

    def log_text(self) -> str:
        return self.log.read_text("utf-8", "replace")
