"""Frozen views of the running proxy: what metrics, health and the log read instead of live objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolproxy.counters import PoolCounters


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool at one moment."""

    database: str
    user: str
    clients: Mapping[str, int]  #: by state: idle, waiting, active
    servers: Mapping[str, int]  #: by state: connecting, idle, active, resetting
    pinned: Mapping[str, int]  #: servers pinned now, by reason
    longest_wait: float  #: seconds the first in the queue has waited; 0 when nobody waits
    pool_size: int
    listeners: int
    up: bool  #: the last attempt to connect a server succeeded (True before the first)
    counters: PoolCounters  #: read at once, not kept
    at_start: str = ""  #: what its servers start with beyond that: name=value, separated by spaces


@dataclass(frozen=True, slots=True)
class DatabaseSnapshot:
    """The server connection budget of one database."""

    database: str
    servers: int  #: open or being opened, of all its pools
    control: int  #: of our own: control connections
    limit: int  #: servers allowed now; 0 = not known yet


@dataclass(frozen=True, slots=True)
class ProcessSnapshot:
    """What belongs to no pool."""

    tasks: int  #: asyncio tasks alive, the one that asks included
    clients_login: int  #: clients that have not finished their login
    clients_connected: int  #: all clients, whatever their state
    clients_encrypted: int  #: those that have logged in over TLS
    client_limit: int
    draining: bool
    accepting: bool
    logins: Mapping[tuple[str, str], int]  #: by (method, result); result: ok, failed, refused, timeout, lost
    rejections: Mapping[str, int]  #: by reason: too_many_clients, protocol, ...
    handshakes: Mapping[str, int]  #: TLS handshakes of clients, by result: ok, failed
    handshakes_waiting: int  #: steps of handshakes that wait for a thread
    pauses: Mapping[str, int]  #: of accepting, by reason: clients, descriptors
    cancels: Mapping[str, int]  #: by result: forwarded, queue, idle, unknown, failed
    errors: Mapping[str, int]  #: ErrorResponses of ours that belong to no pool, by SQLSTATE class
    lookups: Mapping[str, int]  #: auth_query by result: found, unknown, expired, failed, cached
    stall_counts: tuple[int, ...]  #: event-loop stall histogram, see counters.Histogram
    stall_total: float
    stall_longest: float  #: seconds, since the start
    databases: tuple[DatabaseSnapshot, ...] = field(default=())
