"""Whom the clients talk to: PostgreSQL itself, PgBouncer, or poolproxy. One class each, with the same face.

Every proxy is one process in transaction mode with 20 servers, reaches the same PostgreSQL over TCP without a
password, knows its client by the same stored SCRAM secret, and logs no connections. With a certificate it
takes clients in over TLS alone, with what OpenSSL prefers: TLS 1.3, AES-256-GCM, X25519. None gives tickets.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.certificate import NO_TICKETS, SHOWN, Certificate
from benchmarks.stalls import Stalls, read_stalls
from poolproxy.demo.postgres import LocalPostgres, drop_privileges, free_port, give_away

HOST = "127.0.0.1"
DATABASE = "bench"
USER = "bench"  #: logs in with SCRAM everywhere
SERVER_USER = "bench_pool"  #: whom the proxies log in as: PostgreSQL trusts it
POOL_SIZE = 20
MAX_CLIENTS = 10_000
HBA = (
    "local all all trust",
    f"host all {USER} 127.0.0.0/8 scram-sha-256",
    "host all all 127.0.0.0/8 trust",
)


def over_tls(hba: Sequence[str]) -> list[str]:
    """The same rules for who takes clients in over TLS alone."""
    return [line.replace(f"host all {USER} ", f"hostssl all {USER} ") for line in hba]


PUBLISHED_SETTINGS = ("shared_buffers", "max_connections", "fsync", "synchronous_commit", "jit", "autovacuum")
TLS_SETTINGS = ("ssl", "ssl_min_protocol_version", "ssl_groups", "ssl_tls13_ciphers")
START_TIMEOUT = 30.0  #: seconds

PGBOUNCER_PATH = "/usr/sbin"  #: where Debian has it, and a user's PATH does not lead


@dataclass(frozen=True, slots=True)
class Login:
    """The one login of all clients, and what the proxies know of it."""

    password: str
    secret: str  #: `SCRAM-SHA-256$...`, as PostgreSQL stores it


class Target(ABC):
    """Something that answers PostgreSQL clients on `port`. `start` and `stop` may be repeated."""

    name: str
    clients: int = MAX_CLIENTS  #: how many may be connected at once
    shares_memory: bool = True  #: one process serves all its clients
    tls: bool = False  #: clients come over TLS

    def __init__(self) -> None:
        self.port = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} port {self.port}>"

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process whose CPU and memory, with its children's, are counted."""

    @abstractmethod
    def start(self) -> None:
        """Return when clients can log in."""

    @abstractmethod
    def stop(self) -> None:
        """Return when the process has ended."""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def configuration(self) -> str:
        """What RESULTS.md publishes: complete, except for ports and the secret."""

    def stalls(self) -> Stalls | None:
        """The stalls of its event loop so far; None when it does not tell."""
        return None


class Direct(Target):
    """PostgreSQL without a proxy in between; its processes are counted in the proxy's place."""

    name = "direct"
    shares_memory = False

    def __init__(self, postgres: LocalPostgres, clients: int, tls: bool = False) -> None:
        super().__init__()
        self._postgres = postgres
        self.port = postgres.port
        self.clients = clients
        self.tls = tls

    @property
    def pid(self) -> int:
        return self._postgres.pid

    def start(self) -> None:
        """PostgreSQL runs already: it serves the proxies too."""

    def stop(self) -> None:
        """It is stopped when all is done."""

    def version(self) -> str:
        return "PostgreSQL " + self._postgres.sql("SHOW server_version")

    def configuration(self) -> str:
        names = (*PUBLISHED_SETTINGS, *TLS_SETTINGS) if self.tls else PUBLISHED_SETTINGS
        settings = [f"{name} = {self._postgres.sql(f'SHOW {name}')}" for name in names]
        rules = over_tls(HBA) if self.tls else HBA
        return "\n".join([*settings, "", "# pg_hba.conf", *rules])


class Proxy(Target):
    """A program of its own, started from files in a directory of its own."""

    def __init__(
        self, postgres: LocalPostgres, login: Login, directory: Path, certificate: Certificate | None = None
    ) -> None:
        super().__init__()
        self.tls = certificate is not None
        self._certificate = certificate
        self.listen = HOST  #: the address that clients come to
        self._postgres = postgres
        self._login = login
        self._directory = directory / self.name
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        if self._process is not None:
            return
        self._directory.mkdir(exist_ok=True)
        give_away(self._directory)
        self.port = free_port(self.listen)
        self._write_files()
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._variables()},
                **self._privileges(),
            )
        for address in self._addresses():
            self._wait_listening(self._process, address)

    def _addresses(self) -> list[tuple[str, int]]:
        """All that it listens on once it is up."""
        return [(self.listen, self.port)]

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()  # PgBouncer 1.18: at once (SIGINT would wait for its clients)
        try:
            process.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @abstractmethod
    def _write_files(self) -> None: ...

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _privileges(self) -> dict[str, Any]:
        return drop_privileges()

    def _variables(self) -> dict[str, str]:
        """What it finds in its environment beside what we have."""
        return {}

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        path.write_text(text, "utf-8")
        give_away(path)
        return path

    def _wait_listening(self, process: subprocess.Popen[bytes], address: tuple[str, int]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(address, 1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        log = (self._directory / "log").read_text("utf-8", "replace")
        raise RuntimeError(f"{self.name} did not start:\n{log[-2000:]}")


def pgbouncer_program() -> str | None:
    """PgBouncer as it is installed; None where it is not."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{PGBOUNCER_PATH}")


class PgBouncer(Proxy):
    """PgBouncer with its defaults but for what all proxies share; `extra` settings make it another."""

    def __init__(
        self,
        postgres: LocalPostgres,
        login: Login,
        directory: Path,
        name: str,
        certificate: Certificate | None = None,
        **extra: str,
    ) -> None:
        self.name = name
        self._extra = extra
        super().__init__(postgres, login, directory, certificate)

    def version(self) -> str:
        done = subprocess.run([self._program(), "--version"], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[0]

    def configuration(self) -> str:
        text = self._ini("PORT", "PORT", "userlist.txt", SHOWN)
        text += f'\n; userlist.txt\n"{USER}" "SCRAM-SHA-256$..."'
        return f"{text}\n# openssl.cnf, which OPENSSL_CONF names\n{NO_TICKETS}".strip() if self.tls else text

    def _ini(self, port: object, server_port: object, userlist: object, certificate: Certificate) -> str:
        settings = {
            "listen_addr": self.listen,
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": userlist,
            "pool_mode": "transaction",
            "default_pool_size": POOL_SIZE,
            "max_client_conn": MAX_CLIENTS,
            "log_connections": 0,
            "log_disconnections": 0,
            "log_stats": 0,
            **self._extra,
        }
        if self.tls:
            settings["client_tls_sslmode"] = "require"
            settings["client_tls_cert_file"] = certificate.file
            settings["client_tls_key_file"] = certificate.key
        lines = [f"{name} = {value}".rstrip() for name, value in settings.items()]
        database = f"{DATABASE} = host={HOST} port={server_port} dbname={DATABASE} user={SERVER_USER}"
        return "\n".join(["[databases]", database, "", "[pgbouncer]", *lines])

    def _write_files(self) -> None:
        userlist = self._write("userlist.txt", f'"{USER}" "{self._login.secret}"\n')
        self._write(
            "pgbouncer.ini",
            self._ini(self.port, self._postgres.port, userlist, self._certificate or SHOWN) + "\n",
        )
        self._write("openssl.cnf", NO_TICKETS)

    def _variables(self) -> dict[str, str]:
        return {"OPENSSL_CONF": str(self._directory / "openssl.cnf")} if self.tls else {}

    def _command(self) -> list[str]:
        return [self._program(), str(self._directory / "pgbouncer.ini")]

    def _program(self) -> str:
        program = pgbouncer_program()
        if program is None:
            raise RuntimeError("pgbouncer is not installed")
        return program


class Poolproxy(Proxy):
    """This project, as this interpreter has it installed; `extra` settings make it another."""

    name = "poolproxy"

    def __init__(
        self,
        postgres: LocalPostgres,
        login: Login,
        directory: Path,
        name: str = "poolproxy",
        certificate: Certificate | None = None,
        **extra: str | int | float,
    ) -> None:
        self.name = name
        self._extra = extra
        super().__init__(postgres, login, directory, certificate)
        self._http_port = 0

    def version(self) -> str:
        from poolproxy._version import __version__

        return f"poolproxy {__version__}, Python {sys.version.split()[0]}"

    def configuration(self) -> str:
        return self._toml("PORT", "PORT", "PORT", "SCRAM-SHA-256$...", SHOWN)

    def stalls(self) -> Stalls | None:
        return read_stalls(self._metrics())

    def metric(self, name: str) -> float:
        """The sum of the samples of one metric."""
        return sum(self.samples(name).values())

    def samples(self, name: str) -> dict[str, float]:
        """The samples of one metric, by their labels as they are written."""
        page = self._metrics(f"?name[]={name}")
        lines = [line for line in page.splitlines() if line.startswith((name + "{", name + " "))]
        return {line[len(name) : line.rindex(" ")]: float(line.split()[-1]) for line in lines}

    def _metrics(self, query: str = "") -> str:
        with urllib.request.urlopen(f"http://{HOST}:{self._http_port}/metrics{query}", timeout=30) as answer:
            text: str = answer.read().decode("utf-8")
            return text

    def _toml(
        self, port: object, http_port: object, server_port: object, secret: str, certificate: Certificate
    ) -> str:
        tls = {
            "tls_mode": "require",
            "tls_cert_file": str(certificate.file),
            "tls_key_file": str(certificate.key),
        }
        extra = {**(tls if self.tls else {}), **self._extra}
        return "\n".join(
            [
                f'listen_host = "{self.listen}"',
                f"listen_port = {port}",
                f'http_host = "{HOST}"',
                f"http_port = {http_port}",
                f"pool_size = {POOL_SIZE}",
                f"max_client_connections = {MAX_CLIENTS}",
                'log_level = "warning"',
                *(f"{name} = {json.dumps(value)}" for name, value in extra.items()),
                "",
                f"[databases.{DATABASE}]",
                f'url = "postgres://{SERVER_USER}@{HOST}:{server_port}/{DATABASE}"',
                "",
                f"[users.{USER}]",
                f'password = "{secret}"',
            ]
        )

    def _write_files(self) -> None:
        self._http_port = free_port()
        shown = self._certificate or SHOWN
        text = self._toml(self.port, self._http_port, self._postgres.port, self._login.secret, shown)
        self._write("poolproxy.toml", text + "\n")

    def _addresses(self) -> list[tuple[str, int]]:
        return [(self.listen, self.port), (HOST, self._http_port)]

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "poolproxy", "run", "-c", str(self._directory / "poolproxy.toml")]

    def _privileges(self) -> dict[str, Any]:
        return {}  # an interpreter may lie where the unprivileged account cannot read

    def start(self) -> None:
        """As any proxy; its environment must not change the published settings."""
        leftover = [name for name in os.environ if name.startswith("POOLPROXY_") or name == "DATABASE_URL"]
        for name in leftover:
            del os.environ[name]
        super().start()


class Earlier(Poolproxy):
    """Another checkout of this project, built in place with an environment of its own (`make demo` there)."""

    name = "poolproxy-earlier"

    def __init__(self, postgres: LocalPostgres, login: Login, directory: Path, checkout: Path) -> None:
        super().__init__(postgres, login, directory, self.name)
        self._checkout = checkout.resolve()

    def version(self) -> str:
        git = ["git", "-C", str(self._checkout), "rev-parse", "--short", "HEAD"]
        done = subprocess.run(git, capture_output=True, text=True, check=True)
        return f"poolproxy at commit {done.stdout.strip()}"

    def stalls(self) -> Stalls | None:
        return None

    def _command(self) -> list[str]:
        program = self._checkout / ".venv" / "bin" / "poolproxy"
        return [str(program), "run", "-c", str(self._directory / "poolproxy.toml")]
