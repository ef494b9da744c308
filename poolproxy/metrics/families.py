"""Every metric, declared once: name, kind, meaning, labels, and how it is read from a snapshot.

`docs/metrics.md` is generated from these declarations, and tests hold the dashboard and the alerts against
them. Nothing here may know about text formats, HTTP or live pools.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

from poolproxy import counters
from poolproxy._version import __version__
from poolproxy.pool.snapshot import DatabaseSnapshot, PoolSnapshot, ProcessSnapshot

Kind = Literal["counter", "gauge", "histogram", "info"]
Durations: TypeAlias = tuple[tuple[int, ...], float]  #: counts per log2 bucket, sum in seconds
Labels: TypeAlias = tuple[str, ...]
#: A plain number, a number per label value (or per tuple of them), durations, or None for "not known".
Value: TypeAlias = "float | Mapping[Any, float] | Durations | None"
S = TypeVar("S")

_STARTED: Final = time.time()
_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, eq=False, slots=True)
class Family(Generic[S]):
    """One metric: what is exported, what it means, and how it is read from a snapshot.

    `name` is without the suffixes that the format adds (`_total`, `_bucket`, `_info`, ...); `labels` come
    after the identity labels of the snapshot. `values` is the closed set of the last label where there is
    one; with a single label they are shown from the start, as 0, so that a rate sees the first event.
    """

    name: str
    kind: Kind
    meaning: str
    read: Callable[[S], Value]
    labels: Labels = ()
    values: tuple[str, ...] = ()

    def readings(self, snapshot: S) -> list[tuple[Labels, Any]]:
        """(label values after the identity, value) of each series."""
        value = self.read(snapshot)
        if value is None:
            return []
        if not isinstance(value, Mapping):
            return [((), value)]
        found: dict[Labels, Any] = {(name,): 0 for name in self.values} if len(self.labels) == 1 else {}
        for key, number in value.items():
            found[(key,) if isinstance(key, str) else key] = number
        return list(found.items())

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names that a query can use."""
        suffixes = {"counter": ("_total",), "info": ("_info",), "histogram": ("_bucket", "_count", "_sum")}
        return tuple(self.name + suffix for suffix in suffixes.get(self.kind, ("",)))

    def named_in(self, names: Set[str]) -> bool:
        """Whether it is among these, by its own name or by one of its samples'. No names: all are meant."""
        return not names or self.name in names or not names.isdisjoint(self.sample_names)


#: The last one is there only where servers start with settings that cannot be set later.
POOL_LABELS: Final = ("database", "user", "startup")
POOL: Final[tuple[Family[PoolSnapshot], ...]] = (
    Family(
        "poolproxy_clients",
        "gauge",
        "Logged-in clients: idle (no server attached), waiting (in the queue), active (one attached).",
        lambda pool: pool.clients,
        ("state",),
        ("idle", "waiting", "active"),
    ),
    Family(
        "poolproxy_longest_wait_seconds",
        "gauge",
        "How long the first client in the queue has waited; 0 when nobody waits.",
        lambda pool: pool.longest_wait,
    ),
    Family(
        "poolproxy_servers",
        "gauge",
        "Server connections: connecting (up to the end of their login), idle, active (attached to a client), "
        "resetting (being made ready for the next client).",
        lambda pool: pool.servers,
        ("state",),
        ("connecting", "idle", "active", "resetting"),
    ),
    Family(
        "poolproxy_servers_pinned",
        "gauge",
        "Active servers that stay with their client between transactions, by what pins them.",
        lambda pool: pool.pinned,
        ("reason",),
    ),
    Family(
        "poolproxy_pool_size",
        "gauge",
        "Servers the pool may have at most (pool_size).",
        lambda pool: pool.pool_size,
    ),
    Family(
        "poolproxy_server_up",
        "gauge",
        "1 when the last attempt to connect a server succeeded, or none was made yet; else 0.",
        lambda pool: pool.up,
    ),
    Family(
        "poolproxy_server_connects",
        "counter",
        "Attempts to connect a server: ok, refused by PostgreSQL, unreachable, auth (bad login), timeout.",
        lambda pool: pool.counters.server_connects,
        ("result",),
        ("ok", "refused", "unreachable", "auth", "timeout"),
    ),
    Family(
        "poolproxy_queries",
        "counter",
        "Exchanges answered: a simple query, or a batch up to its Sync.",
        lambda pool: pool.counters.queries,
    ),
    Family(
        "poolproxy_pinned_queries",
        "counter",
        "Those of poolproxy_queries_total that ran on a server which was pinned already.",
        lambda pool: pool.counters.pinned_queries,
    ),
    Family(
        "poolproxy_transactions",
        "counter",
        "Times a server returned to the state outside any transaction.",
        lambda pool: pool.counters.transactions,
    ),
    Family(
        "poolproxy_received_bytes",
        "counter",
        "Bytes received from clients.",
        lambda pool: pool.counters.bytes_received,
    ),
    Family(
        "poolproxy_sent_bytes",
        "counter",
        "Bytes sent to clients.",
        lambda pool: pool.counters.bytes_sent,
    ),
    Family(
        "poolproxy_borrow_duration_seconds",
        "histogram",
        "From a client's need of a server to its getting one.",
        lambda pool: pool.counters.borrow.snapshot(),
    ),
    Family(
        "poolproxy_query_duration_seconds",
        "histogram",
        "One exchange, from its forwarding to the server to the server's ReadyForQuery.",
        lambda pool: pool.counters.query.snapshot(),
    ),
    Family(
        "poolproxy_transaction_duration_seconds",
        "histogram",
        "From attaching a server to its being outside any transaction again.",
        lambda pool: pool.counters.transaction.snapshot(),
    ),
    Family(
        "poolproxy_audits",
        "counter",
        "Questions what a server holds, where a transaction may have left something: clean, pinned, failed.",
        lambda pool: pool.counters.audits,
        ("result",),
        ("clean", "pinned", "failed"),
    ),
    Family(
        "poolproxy_notifications",
        "counter",
        "Notifications passed on to clients.",
        lambda pool: pool.counters.notifications,
    ),
    Family(
        "poolproxy_hub_losses",
        "counter",
        "Times that the server which listens for clients was lost.",
        lambda pool: pool.counters.hub_losses,
    ),
    Family(
        "poolproxy_listening_clients",
        "gauge",
        "Clients that the pool's hub listens for.",
        lambda pool: pool.listeners,
    ),
    Family(
        "poolproxy_handover_resets",
        "counter",
        "Servers reset on their way from one client to another.",
        lambda pool: pool.counters.handover_resets,
    ),
    Family(
        "poolproxy_pins",
        "counter",
        "Pins begun, by what caused them.",
        lambda pool: pool.counters.pins,
        ("reason",),
    ),
    Family(
        "poolproxy_pinned_seconds",
        "counter",
        "Time servers were pinned, counted when the pin ends, by what caused it.",
        lambda pool: pool.counters.pin_seconds,
        ("reason",),
    ),
    Family(
        "poolproxy_errors",
        "counter",
        "Error responses to clients, by SQLSTATE class (its first two characters).",
        lambda pool: pool.counters.errors,
        ("sqlstate_class",),
    ),
    Family(
        "poolproxy_parses",
        "counter",
        "Named prepared statements that a server was made to parse.",
        lambda pool: pool.counters.parses,
    ),
    Family(
        "poolproxy_out_of_sync",
        "counter",
        "Servers closed because an answer was not the one expected. Should stay 0.",
        lambda pool: pool.counters.out_of_sync,
    ),
)

DATABASE_LABELS: Final = ("database",)
DATABASE: Final[tuple[Family[DatabaseSnapshot], ...]] = (
    Family(
        "poolproxy_database_servers",
        "gauge",
        "Servers open or being opened, of all pools of the database under this name.",
        lambda database: database.servers,
    ),
    Family(
        "poolproxy_database_control_connections",
        "gauge",
        "Connections of the proxy's own to the database, beside the pools.",
        lambda database: database.control,
    ),
    Family(
        "poolproxy_database_servers_limit",
        "gauge",
        "Servers allowed on the database now (max_connections, max_connections_percent), for all its names "
        "together; absent until known.",
        lambda database: database.limit or None,
    ),
)


def _build(_: ProcessSnapshot) -> Mapping[Labels, int]:
    compiled = "no" if (counters.__file__ or "").endswith(".py") else "yes"
    return {(__version__, platform.python_version(), compiled): 1}


def _resident_bytes(_: ProcessSnapshot) -> float | None:
    """Resident memory of the process; None where /proc is not mounted."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_SIZE
    except OSError:
        return None


PROCESS: Final[tuple[Family[ProcessSnapshot], ...]] = (
    Family(
        "poolproxy_build",
        "info",
        "Version, Python, and whether the hot path is compiled. Always 1.",
        _build,
        ("version", "python", "compiled"),
    ),
    Family("poolproxy_start_time_seconds", "gauge", "Start of the process, Unix time.", lambda _: _STARTED),
    Family(
        "poolproxy_cpu_seconds",
        "counter",
        "CPU time of the process, user and system.",
        lambda _: time.process_time(),
    ),
    Family("poolproxy_resident_memory_bytes", "gauge", "Resident memory of the process.", _resident_bytes),
    Family(
        "poolproxy_tasks",
        "gauge",
        "asyncio tasks alive: the main one, and one for each HTTP connection (this scrape's own among them), "
        "attempt to connect a server, cancel request and control query under way. Clients have none.",
        lambda process: process.tasks,
    ),
    Family(
        "poolproxy_clients_connected",
        "gauge",
        "All clients, whatever their state.",
        lambda process: process.clients_connected,
    ),
    Family(
        "poolproxy_clients_in_login",
        "gauge",
        "Clients that have not finished their login.",
        lambda process: process.clients_login,
    ),
    Family(
        "poolproxy_clients_encrypted",
        "gauge",
        "Clients logged in over TLS.",
        lambda process: process.clients_encrypted,
    ),
    Family(
        "poolproxy_clients_limit",
        "gauge",
        "Clients allowed at once (max_client_connections).",
        lambda process: process.client_limit,
    ),
    Family(
        "poolproxy_accepting",
        "gauge",
        "1 while new clients are accepted; 0 while draining, and while accepting is paused: they wait in the "
        "kernel then.",
        lambda process: process.accepting,
    ),
    Family(
        "poolproxy_draining",
        "gauge",
        "1 from SIGTERM to the end, else 0.",
        lambda process: process.draining,
    ),
    Family(
        "poolproxy_logins",
        "counter",
        "Logins ended, by method and result: ok, failed (wrong user or password), refused (right password, "
        "but not served: no such database, too many pools, an internal error), timeout, lost (the client "
        "left). Who is turned away is in poolproxy_rejections_total instead; a cancel request, and a "
        "connection that leaves without a word, are in neither.",
        lambda process: process.logins,
        ("method", "result"),
        ("ok", "failed", "refused", "timeout", "lost"),
    ),
    Family(
        "poolproxy_rejections",
        "counter",
        "Clients turned away whatever their password: too_many_clients, too_many_from_address "
        "(max_connections_per_address), protocol (not PostgreSQL, or "
        "malformed), startup_parameter (one that cannot be taken), replication, draining, hba (by a rule of "
        "auth_hba_file, or for want of one), peer (the operating system's user is somebody else), "
        "tls (a handshake failed, or TLS or a certificate was demanded in vain), auth_query (it could not be "
        "asked), "
        "iam (a token could not be tried).",
        lambda process: process.rejections,
        ("reason",),
        (
            "too_many_clients",
            "too_many_from_address",
            "protocol",
            "startup_parameter",
            "replication",
            "draining",
            "hba",
            "peer",
            "tls",
            "auth_query",
            "iam",
        ),
    ),
    Family(
        "poolproxy_tls_handshakes",
        "counter",
        "TLS handshakes with clients, by result: ok, failed.",
        lambda process: process.handshakes,
        ("result",),
        ("ok", "failed"),
    ),
    Family(
        "poolproxy_tls_handshakes_waiting",
        "gauge",
        "Steps of TLS handshakes, of either side, and passwords of clients (method password), that wait for "
        "one of the max_tls_handshakes threads.",
        lambda process: process.handshakes_waiting,
    ),
    Family(
        "poolproxy_auth_queries",
        "counter",
        "Names of users looked up by auth_query: found, unknown, expired (VALID UNTIL), failed (PostgreSQL "
        "could not be asked, or did not answer); cached counts logins that needed no question of their own.",
        lambda process: process.lookups,
        ("result",),
        ("found", "unknown", "expired", "failed", "cached"),
    ),
    Family(
        "poolproxy_accept_pauses",
        "counter",
        "Times that accepting was paused: clients (every place is taken, by clients or by logins), logins "
        "(max_logins are under way), descriptors (out of file descriptors).",
        lambda process: process.pauses,
        ("reason",),
        ("clients", "logins", "descriptors"),
    ),
    Family(
        "poolproxy_cancels",
        "counter",
        "Cancel requests: forwarded to PostgreSQL, queue (the client left the queue), idle (nothing ran), "
        "unknown (no client has this key), failed (PostgreSQL could not be reached).",
        lambda process: process.cancels,
        ("result",),
        ("forwarded", "queue", "idle", "unknown", "failed"),
    ),
    Family(
        "poolproxy_login_errors",
        "counter",
        "Error responses to clients of no pool (yet), by SQLSTATE class (its first two characters).",
        lambda process: process.errors,
        ("sqlstate_class",),
    ),
    Family(
        "poolproxy_stall_duration_seconds",
        "histogram",
        "How long the event loop was held by one turn.",
        lambda process: (process.stall_counts, process.stall_total),
    ),
    Family(
        "poolproxy_stall_longest_seconds",
        "gauge",
        "The longest of these turns since the start.",
        lambda process: process.stall_longest,
    ),
)


def families() -> Iterator[tuple[Labels, Family[Any]]]:
    """(identity labels, family) of every metric, in the order of a scrape."""
    for identity, group in (((), PROCESS), (DATABASE_LABELS, DATABASE), (POOL_LABELS, POOL)):
        for family in cast("tuple[Family[Any], ...]", group):
            yield cast(Labels, identity), family
