"""What a storm is let loose on: PostgreSQL itself, PgBouncer, poolproxy, or whatever a DSN leads to.

The local ones are those of the other benchmarks (`benchmarks/targets.py`), with 20 servers, in front of a
PostgreSQL with `max_connections` 100; they are started anew for every trial. Of a DSN nobody knows how many
servers it has nor what it costs. Must not know scenarios.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import psutil

from benchmarks.certificate import Certificate
from benchmarks.process import anonymous_bytes, cpu_used
from benchmarks.storm.clients import SessionError, address, lean
from benchmarks.storm.results import UNKNOWN, TargetInfo
from benchmarks.storm.runtime.namespaces import BLOCK
from benchmarks.targets import (
    DATABASE,
    HBA,
    HOST,
    POOL_SIZE,
    SERVER_USER,
    USER,
    Direct,
    Login,
    PgBouncer,
    Poolproxy,
    Proxy,
    Target,
    over_tls,
)
from poolproxy.demo.postgres import LocalPostgres, PostgresFailed
from tools import postgres_with_tls

MAX_CONNECTIONS = 100
OPTIONS = {
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "256MB",
    "jit": "off",
    "listen_addresses": "*",  # environments in a namespace reach this machine by another address
}
#: Those come from there (see runtime/namespaces.py).
STORM_HBA = (*HBA, f"host all {USER} {BLOCK} scram-sha-256")
#: What a crash must not take away is what the ledger looks for.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
#: What is raised for a process that is not there: a database that restarts, a proxy that has crashed.
GONE = (PostgresFailed, psutil.Error, OSError, RuntimeError)
LOCAL = ("direct", "pgbouncer", "poolproxy")
#: What whoever is under test is compared with.
RIVALS = ("direct", "pgbouncer")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the two proxies are told alike. Seconds; 0 = off."""

    idle_transaction: float = 0
    keepalive_idle: int = 60
    keepalive_interval: int = 10
    keepalive_count: int = 3
    user_timeout: float = 30

    def for_pgbouncer(self) -> dict[str, str]:
        return {
            "idle_transaction_timeout": f"{self.idle_transaction:g}",
            "tcp_keepalive": "1",
            "tcp_keepidle": str(self.keepalive_idle),
            "tcp_keepintvl": str(self.keepalive_interval),
            "tcp_keepcnt": str(self.keepalive_count),
            "tcp_user_timeout": f"{self.user_timeout * 1000:.0f}",
        }

    def for_poolproxy(self) -> dict[str, float | int]:
        return {
            "idle_transaction_timeout": self.idle_transaction,
            "tcp_keepalive_idle": self.keepalive_idle,
            "tcp_keepalive_interval": self.keepalive_interval,
            "tcp_keepalive_count": self.keepalive_count,
            "tcp_user_timeout": self.user_timeout,
        }


#: Columns of PgBouncer's `SHOW POOLS` (pgbouncer.org, Usage): clients that have a server or want none, and
#: those that wait for one.
ACTIVE, WAITING = 2, 3


class Elsewhere(Exception):
    """A scenario cannot be let loose on an endpoint that is not on this machine; the message says why."""


class Endpoint(ABC):
    """Something at `url` that handlers connect to. `start` and `stop` may be repeated."""

    name: str
    url: str

    @abstractmethod
    def start(self, address: str = HOST) -> None:
        """Be there for clients that come to this address of the machine. Raises Elsewhere."""

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def info(self) -> TargetInfo: ...

    async def clients(self) -> int:
        """Connections of clients that it has, as it says itself; UNKNOWN where it does not say."""
        return UNKNOWN

    async def waiting(self) -> int:
        """Clients that wait for a server, likewise."""
        return UNKNOWN

    def cpu(self) -> float:
        """Seconds of CPU that it has used so far; UNKNOWN."""
        return UNKNOWN

    def memory(self) -> int:
        """Bytes of its own memory; UNKNOWN."""
        return UNKNOWN


class External(Endpoint):
    """Whatever `--dsn name=URL` leads to: nobody's to start, stop or look into."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url

    def start(self, address: str = HOST) -> None:
        """It runs."""
        if address != HOST:
            raise Elsewhere(f"{self.name} is not on this machine: a link to it cannot be cut here")

    def stop(self) -> None:
        """It runs on."""

    def info(self) -> TargetInfo:
        parts = address.parse(self.url)
        return TargetInfo(f"{parts.host}:{parts.port}")


class Local(Endpoint):
    """A target of this machine."""

    def __init__(self, target: Target, login: Login, pool_size: int) -> None:
        self.target = target
        self.name = target.name
        self._login = login
        self._pool_size = pool_size

    def start(self, address: str = HOST) -> None:
        if isinstance(self.target, Proxy):
            self.target.listen = address
        self.target.start()
        user = f"{USER}:{quote(self._login.password, safe='')}"
        query = "?sslmode=require" if self.target.tls else ""
        self.url = f"postgres://{user}@{address}:{self.target.port}/{DATABASE}{query}"

    def stop(self) -> None:
        self.target.stop()

    def info(self) -> TargetInfo:
        return TargetInfo(self.target.version(), self.target.configuration(), self._pool_size)

    def cpu(self) -> float:
        try:
            return cpu_used(self.target.pid).total
        except GONE:
            return UNKNOWN

    def memory(self) -> int:
        try:
            return anonymous_bytes(self.target.pid)
        except GONE:
            return UNKNOWN

    async def clients(self) -> int:
        match self.target:
            case Poolproxy():
                return await self._at_poolproxy(self.target, "poolproxy_clients_connected")
            case PgBouncer():
                return await self._at_pgbouncer(ACTIVE, WAITING)
            case _:
                return UNKNOWN  # PostgreSQL's are its servers, which are counted there

    async def waiting(self) -> int:
        match self.target:
            case Poolproxy():
                return await self._at_poolproxy(self.target, "poolproxy_clients", 'state="waiting"')
            case PgBouncer():
                return await self._at_pgbouncer(WAITING)
            case _:
                return 0  # nobody waits at PostgreSQL: one is let in or refused

    async def _at_poolproxy(self, target: Poolproxy, name: str, label: str = "") -> int:
        """The sum of a metric's samples, of those with this label."""
        try:
            samples = await asyncio.to_thread(target.samples, name)
        except OSError:
            return UNKNOWN
        return int(sum(value for labels, value in samples.items() if label in labels))

    async def _at_pgbouncer(self, *columns: int) -> int:
        """The sum of these columns of `SHOW POOLS`."""
        try:
            console = await lean.open_session(replace(address.parse(self.url), database="pgbouncer"))
        except SessionError:
            return UNKNOWN
        try:
            rows = await console.fetch("SHOW POOLS")
        except SessionError:
            return UNKNOWN
        finally:
            await console.close()
        return sum(int(row[column]) for row in rows if row[0] == DATABASE for column in columns)


def make_postgres(certificate: Certificate | None = None) -> LocalPostgres:
    """The one behind all local endpoints. Not started yet. With a certificate it has TLS, and `direct`
    clients must come over it. Raises RuntimeError where such a PostgreSQL cannot be had."""
    options = {**OPTIONS, **DURABLE}
    if certificate is None:
        return LocalPostgres(hba=STORM_HBA, options=options)
    files = {"ssl_cert_file": str(certificate.file), "ssl_key_file": str(certificate.key)}
    return LocalPostgres(
        bin_dir=postgres_with_tls.binaries(),
        hba=over_tls(STORM_HBA),
        options={**options, **files, "ssl": "on"},
    )


def make_local(
    name: str,
    postgres: LocalPostgres,
    login: Login,
    directory: Path,
    limits: Limits,
    certificate: Certificate | None = None,
) -> Local:
    """One of LOCAL, not started yet; with a certificate for clients that come over TLS. Raises ValueError for
    another name."""
    if name == "direct":
        return Local(Direct(postgres, MAX_CONNECTIONS, certificate is not None), login, 0)
    if name == "pgbouncer":
        extra: Mapping[str, str] = {"stats_users": USER, **limits.for_pgbouncer()}
        return Local(PgBouncer(postgres, login, directory, name, certificate, **extra), login, POOL_SIZE)
    if name == "poolproxy":
        own = limits.for_poolproxy()
        return Local(Poolproxy(postgres, login, directory, name, certificate, **own), login, POOL_SIZE)
    raise ValueError(f"there is no target {name}: it is one of {', '.join(LOCAL)}, or comes by --dsn")


def server_user(endpoint: Endpoint) -> str:
    """Whom its connections to PostgreSQL are logged in as."""
    return USER if isinstance(endpoint, Local) and isinstance(endpoint.target, Direct) else SERVER_USER
