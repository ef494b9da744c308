"""The proxy as a process of its own, run as a user runs it: `poolproxy run`, a settings file, signals, its
log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prometheus_client.parser import text_string_to_metric_families

from tests.support import interpreted, sabotage
from tests.support.certificates import Certificates, Identity
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.waiting import eventually
from tests.support.wire import Address, Wire

ROOT = Path(__file__).resolve().parent.parent.parent
START_TIMEOUT = 30.0


class ProxyFailed(AssertionError):
    """The proxy did not start or did not end; the message holds its log."""


def toml(settings: Mapping[str, Any], prefix: str = "") -> str:
    """Settings as TOML: plain values first, then one table per mapping. Names are quoted."""
    lines: list[str] = []
    tables: list[str] = []
    for name, value in settings.items():
        key = f"{prefix}.{json.dumps(name)}" if prefix else json.dumps(name)
        if isinstance(value, Mapping):
            tables.append(f"\n[{key}]\n{toml(value, key)}")
        else:
            lines.append(f"{json.dumps(name)} = {json.dumps(value)}\n")
    return "".join(lines + tables)


def tls_settings(
    certificates: Certificates, mode: str = "prefer", identity: Identity | None = None, **more: Any
) -> dict[str, Any]:
    """Settings of a proxy that takes TLS, and certificates of clients."""
    shown = identity or certificates.server
    return {
        "tls_mode": mode,
        "tls_cert_file": str(shown.certificate),
        "tls_key_file": str(shown.key),
        "tls_ca_file": str(certificates.client_ca),
        **more,
    }


def bare_environment() -> dict[str, str]:
    """Our own environment without what the proxy or libpq would take for settings."""
    ours = ("POOLPROXY_", "PG", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}


class Metrics:
    """One scrape, parsed."""

    def __init__(self, exposition: str) -> None:
        self.samples = [s for f in text_string_to_metric_families(exposition) for s in f.samples]

    def value(self, metric: str, **labels: str) -> float:
        """The sum of the samples of `metric` that carry `labels`; 0 when there is none."""
        wanted = labels.items()
        return sum(s.value for s in self.samples if s.name == metric and wanted <= s.labels.items())

    def by(self, metric: str, label: str) -> dict[str, float]:
        """The samples of `metric`, summed by one label, without those that are 0."""
        sums: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == metric:
                sums[sample.labels[label]] = sums.get(sample.labels[label], 0) + sample.value
        return {value: number for value, number in sums.items() if number}


class ProxyProcess:
    """A running `poolproxy run`. Returns from the constructor when it listens; ports are the system's choice.

    `settings` becomes a settings file in `folder`; `environment` is added to the process's environment.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        self.settings = dict(settings)
        self.log: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._ended = False
        self._wires: list[Wire] = []
        self.host = "127.0.0.1"
        places = {
            "POOLPROXY_LISTEN_HOST": self.host,
            "POOLPROXY_LISTEN_PORT": "0",
            "POOLPROXY_HTTP_HOST": self.host,
            "POOLPROXY_HTTP_PORT": "0",
            "POOLPROXY_LOG_FORMAT": "json",
        }
        module = "tests.support.interpreted" if interpreted.wanted() else "poolproxy"
        if sabotage.VARIABLE in (environment or {}):
            module = "tests.support.sabotage"
        command = [sys.executable, "-m", module, "run"]
        if settings:
            file = folder / "poolproxy.toml"
            file.write_text(toml(settings), "utf-8")
            command += ["-c", str(file)]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**bare_environment(), **places, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        try:
            self.port = int(self.wait_log(lambda line: line.get("event") == "listening")["port"])
            self.http_port = int(self.wait_log(lambda line: line.get("event") == "http listening")["port"])
            self.base_descriptors = self.descriptors()
        except BaseException:
            self.kill()
            raise

    def __repr__(self) -> str:
        return f"<ProxyProcess pid {self.process.pid}, {self.settings}>"

    @property
    def address(self) -> Address:
        return self.host, self.port

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    # Its log.

    def _collect(self) -> None:
        stream = self.process.stderr
        assert stream is not None
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip("\n")
            try:
                entry = json.loads(text)
                if not isinstance(entry, dict):
                    raise ValueError
            except ValueError:
                # A traceback or a warning of Python's own: never what a healthy proxy prints.
                entry = {"event": text, "level": "unparsable"}
            with self._news:
                self.log.append(entry)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def log_text(self, since: int = 0) -> str:
        return "\n".join(json.dumps(line) for line in self.log[since:])

    def wait_log(
        self, wanted: Callable[[dict[str, Any]], bool], since: int = 0, timeout: float = START_TIMEOUT
    ) -> dict[str, Any]:
        """The first log line from number `since` on that `wanted` accepts."""
        deadline = time.monotonic() + timeout
        at = since
        with self._news:
            while True:
                while at < len(self.log):
                    if wanted(self.log[at]):
                        return self.log[at]
                    at += 1
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise ProxyFailed(f"no such log line from {self!r} in:\n{self.log_text(since)}")
                self._news.wait(left)

    def troubles(self, since: int = 0) -> list[dict[str, Any]]:
        """The log lines from number `since` on that are worse than `info`."""
        return [line for line in self.log[since:] if line.get("level") not in ("debug", "info")]

    # Clients.

    def login(
        self, user: str = "app", database: str = DATABASE, *, password: str | None = None, **options: Any
    ) -> Wire:
        """A logged-in wire client. `options` are startup parameters, and those of Wire.login."""
        secret = PASSWORDS[user] if password is None else password
        wire = Wire.login(self.address, user, secret, database, **options)
        self._wires.append(wire)
        return wire

    def close_wires(self) -> None:
        """Close what `login` gave: a test that failed may have left some open."""
        while self._wires:
            self._wires.pop().close()

    def url(self, user: str = "app", database: str = DATABASE) -> str:
        return f"postgres://{user}:{quote(PASSWORDS[user], safe='')}@{self.host}:{self.port}/{database}"

    # HTTP.

    def get(self, path: str) -> tuple[int, str]:
        """(status, body) of a GET."""
        url = f"http://{self.host}:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self) -> Metrics:
        status, body = self.get("/metrics")
        assert status == 200, body
        return Metrics(body)

    def wait_gauge(self, metric: str, value: float, timeout: float = 10.0, **labels: str) -> None:
        """Until `metric` is `value`."""
        eventually(
            lambda: self.metrics().value(metric, **labels) == value,
            f"{metric}{labels or ''} = {value:g}",
            timeout,
        )

    def wait_clients(self, state: str, count: int) -> None:
        """Until `count` clients are in `state`: idle, waiting or active."""
        self.wait_gauge("poolproxy_clients", count, state=state)

    # The process.

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 30.0) -> int:
        """The exit status, once it has ended and its log is read."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProxyFailed(f"still running after {timeout:g} s: {self!r}\n{self.log_text()}") from None
        self._reader.join(5)
        self._close_pipe()
        return status

    def stop(self) -> int:
        """SIGTERM, a second one for whoever hangs on, and the exit status."""
        if self.running:
            self.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.terminate()
        try:
            return self.wait(10)
        except ProxyFailed:
            self.kill()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process.stderr is not None:
            self.process.stderr.close()
