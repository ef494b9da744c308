"""Where a client's pool is and what its limits are: plain values, resolved once at login by the router."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal, Protocol

from poolproxy.protocol.auth_methods import ALL
from poolproxy.protocol.scram import ScramProof


class PasswordTrial(Protocol):
    """The passwords of one login, one after the other."""

    @property
    def password(self) -> str | ScramProof | None:
        """To be tried now; None: there is none, and the server may need none."""

    async def another(self, sqlstate: str, message: str) -> bool:
        """PostgreSQL has refused the login, by this. Whether `password` is another one now, to be tried on a
        new connection."""

    def accepted(self) -> None:
        """PostgreSQL has taken `password`."""


class PasswordProvider(Protocol):
    """Knows a password that may change. One that a client has brought, for one login, needs none: it is the
    `password` of a target of its own, `replace(target, password=..., provider=None)`."""

    def learn(self, proof: str | ScramProof | None) -> None:
        """A client of this user's has logged in by this, if it can be passed on."""

    async def trial(self) -> PasswordTrial:
        """For one login. Raises what says why there is no password to try (backend/passwords.py)."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How a server is reached, by libpq's names and with libpq's meaning (manual 32.1.2). Files; empty =
    none."""

    sslmode: str = "prefer"
    sslrootcert: str = ""
    sslcert: str = ""
    sslkey: str = ""
    sslnegotiation: str = "postgres"
    channel_binding: str = "prefer"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a pool's servers are, and who we are there."""

    host: str  #: name, address, or the directory of the Unix socket
    port: int
    unix_path: str | None  #: the socket's full path; None = TCP
    dbname: str
    user: str
    password: str | ScramProof | None = field(repr=False)
    methods: frozenset[str] = ALL  #: by which a server there may have us prove who we are
    tls: ServerTls = ServerTls()
    provider: PasswordProvider | None = None  #: knows the password, in place of `password`


@dataclass(frozen=True, slots=True)
class Route:
    """A pool's key (the names the client used, and what its servers start with), its target and its limits.
    Times are in seconds."""

    database: str
    user: str
    target: Target
    pool_mode: Literal["transaction", "session"]
    pool_size: int
    min_pool_size: int
    max_connections: int  #: of the whole database; 0 = max_connections_percent counts
    max_connections_percent: int
    max_idle_connections_percent: int
    max_parallel_connects: int
    connection_borrow_timeout: float
    idle_transaction_timeout: float
    server_connect_timeout: float
    server_lifetime: float
    server_idle_timeout: float
    server_rescue_timeout: float
    client_loss: Literal["finish", "cancel"]
    max_prepared_statements: int
    max_client_prepared_statements: int
    handover_reset: Literal["auto", "always"]
    session_pinning_filters: frozenset[str]
    pin_on: tuple[str, ...]
    catalogue_poll_interval: float
    listener_loss: Literal["disconnect", "warn"]
    init_query: str
    #: settings that only a starting session takes, with their values, sorted
    at_start: tuple[tuple[str, str], ...] = ()

    def key(self) -> tuple[str, ...]:
        """What tells its pool from others: (database, user), and behind it what its servers start with."""
        return (self.database, self.user, *chain.from_iterable(self.at_start))

    def starting_with(self, at_start: tuple[tuple[str, str], ...]) -> Route:
        """The same for servers that start with these, opened only for those who ask."""
        return replace(self, at_start=at_start, min_pool_size=0)
