"""The front door: accepts connections, lets logins in, knows every client, ends those that outstay a limit.

Must not know signals, HTTP or how servers are opened. Compiled: `accept`, `enter` and `left` run for every
client.
"""

from __future__ import annotations

import os
from collections import Counter
from ipaddress import ip_network

from poolproxy.auth.client_login import AuthMethod
from poolproxy.auth.credentials import Credentials, UserSecret
from poolproxy.auth.hba import Origin, Rules
from poolproxy.auth.randomness import RandomBytes
from poolproxy.backend.pools import Pools
from poolproxy.backend.server import Server
from poolproxy.errors import (
    CertificateMismatch,
    CertificateRequired,
    DatabaseDown,
    IdleClientTimeout,
    IdleSessionTimeout,
    IdleTransactionTimeout,
    InvalidParameterName,
    InvalidStartupOptions,
    MissingUser,
    NoHbaEntry,
    PoolFull,
    PoolproxyError,
    ProtocolViolation,
    RejectedByHba,
    ReplicationRefused,
    ServerLoginRefused,
    ShuttingDown,
    StartupOptionWithoutValue,
    TlsHandshakeFailed,
    TlsRequired,
    TooManyClients,
    UnknownParameter,
    UnsupportedProtocol,
    UsersNotLookedUp,
)
from poolproxy.frontend.client import Client
from poolproxy.frontend.client_session import ClientSession
from poolproxy.frontend.connection import ClientConnection
from poolproxy.frontend.directory import Directory
from poolproxy.frontend.encrypting import ClientEncryption, Encryption, check_channel
from poolproxy.frontend.login import Door, Login
from poolproxy.log import get_logger, repeated
from poolproxy.pool.janitor import overdue_waiters
from poolproxy.pool.pool import Pool
from poolproxy.protocol import messages
from poolproxy.protocol.codes import STATUS_IDLE
from poolproxy.protocol.messages import backend_key_data
from poolproxy.protocol.startup import StartupMessage
from poolproxy.router import Router
from poolproxy.session.lifecycle import SERVER_ACTIVE
from poolproxy.session.parameters import Reported
from poolproxy.session.startup_parameters import Wanted, application_name
from poolproxy.settings import LOGIN_ROOM, Settings
from poolproxy.transport.listener import Listener
from poolproxy.transport.poller import Poller
from poolproxy.transport.stream import Stream
from poolproxy.transport.tls_stream import TlsStream

_log = get_logger()

#: Seconds that a client which is being told an error has to read it.
FAREWELL = 5.0

#: Seconds a login may take while others wait for its place: enough for any honest one, and strangers who say
#: nothing must not keep everybody out for the whole of client_login_timeout.
CROWDED_LOGIN_TIMEOUT = 3.0


class FrontDoor(Door):
    """See the module. It is the door of all logins."""

    __slots__ = (
        "_balancers",
        "_credentials", "_exhausted", "_farewells", "_full", "_greet", "_limit", "_look_at", "_poller",
        "_room", "_router", "_rules", "_settings", "_when_closed",
        "cancels", "clients", "draining", "encrypted", "errors", "listeners", "login_results", "logins",
        "pauses", "pools", "rejections",
    )  # fmt: skip

    def __init__(
        self,
        poller: Poller,
        settings: Settings,
        router: Router,
        credentials: Credentials,
        rules: Rules | None = None,
        tls: ClientEncryption | None = None,
    ) -> None:
        """`rules`: who may come in and how; None: everybody by `auth_method`. `tls`: None, and there is
        none."""
        stock = RandomBytes()
        super().__init__(settings.auth_method, stock.take, tls, tls.workers if tls is not None else None)
        self.pools: Pools | None = None  #: set once, by the composition root
        self.clients = Directory(stock)
        self.logins: dict[Login, None] = {}
        self.listeners: list[Listener] = []
        self.draining = False
        self.encrypted = 0  #: clients that have logged in over TLS
        self.login_results: dict[tuple[str, str], int] = {}  #: by method and result; no Counter, for speed
        self.rejections: Counter[str] = Counter()
        self.pauses: Counter[str] = Counter()
        self.cancels: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._poller = poller
        self._settings = settings
        self._router = router
        self._credentials = credentials
        self._rules = rules
        self._balancers = tuple(ip_network(network) for network in settings.proxy_protocol_networks)
        self._limit = settings.max_client_connections
        self._room = self._limit + LOGIN_ROOM  #: connections at once, whether logged in or not
        self._farewells: list[tuple[float, Stream]] = []
        self._look_at = 0.0  #: when to look for idle clients again
        self._exhausted = False
        self._full = False
        # Bound once: every client gets them.
        self._greet = self._greeting
        self._when_closed = self._closed

    # Accepting.

    def accept(self, descriptor: int, address: object) -> None:
        """A connection was accepted; str(address) names its peer."""
        if self.draining:
            os.close(descriptor)
            self.rejections["draining"] += 1
            return
        login = Login(self, self._poller, descriptor, address)
        self.logins[login] = None
        if self._taken() >= self._room:
            self._fill()
        login.stream.look()  # its first packet is there already, as a rule

    def exhausted(self, listener: Listener) -> None:
        """There are no descriptors left: who is connected goes on, who is not waits in the kernel."""
        self._exhausted = True
        self.pauses["descriptors"] += 1
        repeated(_log, "descriptors", "accepting paused: out of file descriptors", clients=len(self.clients))

    def _taken(self) -> int:
        """Connections of clients that hold a descriptor now."""
        return len(self.logins) + len(self.clients) + len(self._farewells)

    def _fill(self) -> None:
        """Every place is taken, by whomever: the descriptors left are for servers and HTTP. Who comes now
        waits in the kernel until somebody leaves, or has not logged in within CROWDED_LOGIN_TIMEOUT."""
        self._cut_farewells_short()
        if not self._full and self._taken() >= self._room:
            self._full = True
            self.pauses["clients"] += 1
            for listener in self.listeners:
                listener.pause()
            repeated(
                _log, "full", "accepting paused: no room for more connections", clients=len(self.clients),
                logins=len(self.logins),
            )  # fmt: skip

    def _accept_again(self) -> None:
        """Go on accepting where there is room."""
        self._cut_farewells_short()
        self._full = self._taken() >= self._room
        if not self._full:
            self._exhausted = False
            for listener in self.listeners:
                listener.resume()

    def _cut_farewells_short(self) -> None:
        """Forget those that are over. Where places are short, who has been told everything is not waited
        for."""
        self._farewells = [each for each in self._farewells if not each[1].closed]
        if self._taken() >= self._room:
            for _, stream in self._farewells:
                if not stream.backlog:
                    stream.close()
            self._farewells = [each for each in self._farewells if not each[1].closed]

    # What logins ask (see login.Door).

    def secret(self, user: str) -> UserSecret:
        return self._credentials.lookup(user)

    def balanced(self, address: object) -> bool:
        if not self._balancers:
            return False
        return Origin.of(str(address), encrypted=False).within(self._balancers)

    def method_of(self, login: Login, startup: StartupMessage) -> AuthMethod:
        if self.tls is not None:
            self.tls.check(login.encryption, login.local(), startup.user)
            if login.encryption is not None:
                startup.database = self.tls.database(login.encryption, startup.database)
        if self._rules is not None:
            return self._by_rule(login, startup)
        if self.method in _TOLD_BY_TLS:
            check_channel(self.method, login.encryption, login.local(), startup.user)
        return self.method

    def _by_rule(self, login: Login, startup: StartupMessage) -> AuthMethod:
        assert self._rules is not None
        origin = Origin.of(str(login.address), encrypted=login.encryption is not None)
        rule = self._rules.find(origin, startup.database, startup.user)
        if rule is None or rule.method == "reject":
            error = NoHbaEntry if rule is None else RejectedByHba
            raise error(
                host=str(origin), user=startup.user, database=startup.database,
                encryption="SSL encryption" if origin.encrypted else "no encryption",
            )  # fmt: skip
        if rule.method in _TOLD_BY_TLS or rule.clientcert:
            check_channel(rule.method, login.encryption, login.local(), startup.user, rule, self._rules.maps)
        if rule.method == "md5" and self._credentials.lookup(startup.user).scram_only:
            return "scram-sha-256"  # as PostgreSQL does (manual 20.5: Password Authentication)
        return rule.method

    def inquire(self, login: Login) -> bool:
        assert self.inquirer is not None
        user = login.user()
        if login.method not in _BY_SECRET or user in self._credentials:
            return False
        secret = self.inquirer.ask(user, login.told)
        if secret is None:
            return True
        login.prove(secret)
        return False

    def admit(self) -> None:
        if self.draining:
            raise ShuttingDown
        if len(self.clients) >= self._limit:
            raise TooManyClients(limit=self._limit)

    def enter(self, login: Login, startup: StartupMessage, wanted: Wanted, proof: bytes) -> None:
        assert self.pools is not None
        self.admit()
        # Whom a pool serves, the router has let pass once: it need not be asked for everyone who comes.
        known = self.pools.known
        pool = known.get((startup.database, startup.user))
        if pool is None or wanted.at_start:
            route = self._router.route(startup.user, startup.database)
            pool = self.pools.pool(route.starting_with(wanted.at_start) if wanted.at_start else route)
        provider = pool.route.target.provider
        if provider is not None:
            provider.learn(login.proof())
        name = startup.parameters.get("application_name")
        client = Client(
            login.stream,
            pool,
            wanted.parameters,
            application_name(name).encode() if name is not None else None,
            login.address,
            self.clients.new_key(startup.minor),
            self._poller.now,
            self._when_closed,
        )
        self.clients.enlist(client)
        if login.encryption is not None:
            self.encrypted += 1
        login.stream.handler = client
        if _log.informs():
            _log.info(
                "client logged in", client=str(login.address), database=startup.database, user=startup.user,
                application_name=name or "", method=login.method, **_told_of(login.encryption),
            )  # fmt: skip
        client.begin(proof, self._greet)

    def _greeting(self, client: ClientConnection, proof: bytes, reported: Reported) -> bytes:
        """The end of the proof, AuthenticationOk, parameters, the cancel key, ReadyForQuery: one write."""
        if client.pool.session_mode and client.server is not None:
            self.clients.rename(client, client.server.pid)
        key = backend_key_data(client.pid, client.key)
        return b"".join((proof, _AUTHENTICATION_OK, _parameter_messages(reported), key, _READY))

    def left(self, login: Login, result: str, error: PoolproxyError | None) -> None:
        self.logins.pop(login, None)
        if self._full:
            self._accept_again()
        if result == "failed" and self.inquirer is not None:
            self.inquirer.doubt(login.user())
        if result == "cancel" or (result == "lost" and not login.user()):
            return  # health checks of load balancers connect and leave: not worth a line
        reason = _REJECTIONS.get(type(error))
        if reason is not None:
            self.rejections[reason] += 1
        else:
            results = self.login_results
            asked = (login.method, result)
            results[asked] = results.get(asked, 0) + 1
        if error is None:
            return
        self.errors[error.sqlstate[:2]] += 1
        self._say_farewell(login.stream)
        address = str(login.address)
        repeated(
            _log, ("login", address.rpartition(":")[0], error.sqlstate), "login refused", level="info",
            client=address, user=login.user(), sqlstate=error.sqlstate, reason=error.message,
        )  # fmt: skip

    def _say_farewell(self, stream: Stream) -> None:
        """Its last words are on their way, if they are not there yet: bound the time for them."""
        if not stream.closed:
            self._farewells.append((self._poller.now + FAREWELL, stream))

    def cancel(self, pid: int, key: bytes) -> None:
        assert self.pools is not None
        client = self.clients.find(pid, key)
        if client is None:
            self.cancels["unknown"] += 1
        elif client.waiting():
            self.cancels["queue"] += 1
            client.cancel_waiting()
        elif client.server is None or client.server.auditing or client.server.pipeline.quiet():
            self.cancels["idle"] += 1  # PostgreSQL ignores it, too
        else:
            self.pools.canceller.cancel(client.server)

    def count_cancel(self, result: str) -> None:
        self.cancels[result] += 1

    # What clients and pools tell.

    def _closed(self, client: ClientConnection) -> None:
        self.clients.remove(client)
        if isinstance(client.stream, TlsStream):
            self.encrypted -= 1
        self._say_farewell(client.stream)
        if self._full:
            self._accept_again()

    def fail_waiters(self, pool: Pool, error: ServerLoginRefused) -> None:
        """PostgreSQL refuses our own login: nobody need wait for that."""
        for client in list(pool.waiting):
            client.give_up(error)

    # The tick and the sweep.

    def tick(self, now: float) -> None:
        """End what has been waited for too long."""
        limit = self._settings.client_login_timeout
        if self._full:
            limit = min(limit, CROWDED_LOGIN_TIMEOUT)
        for login in list(self.logins):
            if now - login.began < limit:
                break
            login.time_out(limit)
        while self._farewells and self._farewells[0][0] <= now:
            self._farewells.pop(0)[1].close()
        if self.pools is not None:
            for pool in self.pools:
                if pool.waiting:
                    self._end_waits(pool, now)
        if self._exhausted or self._full:
            self._accept_again()

    def sweep(self, now: float) -> None:
        """End what has been idle for too long."""
        if self.pools is not None:
            for pool in self.pools:
                self._end_transactions(pool, now)
                for client in list(pool.idlers):
                    if isinstance(client, ClientSession) and client.idle_too_long(now):
                        client.fail(IdleSessionTimeout())
        self._end_idle(now)

    def _end_waits(self, pool: Pool, now: float) -> None:
        route = pool.route
        timeout = route.connection_borrow_timeout
        for client in overdue_waiters(pool, now, timeout):
            assert isinstance(client, ClientSession)
            if timeout == 0.0 and now - client.waiting_since < route.server_connect_timeout:
                continue  # a login that only learns what servers report; exchanges are not queued at all
            client.give_up(_in_vain(pool, round(now - client.waiting_since, 1)))

    def _end_transactions(self, pool: Pool, now: float) -> None:
        """Only who holds a server can be idle in a transaction: a look at the servers in use."""
        limit = pool.route.idle_transaction_timeout
        for server in pool.in_state(SERVER_ACTIVE) if limit else ():
            client = server.sink if isinstance(server, Server) else None
            if (
                isinstance(client, ClientSession)
                and now - client.last_active >= limit
                and client.idle_in_transaction()
            ):
                client.fail(IdleTransactionTimeout(seconds=limit))

    def _end_idle(self, now: float) -> None:
        """A look at every client now and then, so that logins and exchanges pay nothing for it, not even a
        place in a heap; it takes 20 us for a thousand. The limit is kept to within 2 %, or a sweep."""
        limit = self._settings.idle_client_timeout
        if limit and now >= self._look_at:
            self._look_at = now + limit / 50
            for client in self.clients.silent_since(now - limit):
                if client.idle_outside_transaction():
                    client.fail(IdleClientTimeout(seconds=limit))

    # Draining.

    def drain(self) -> None:
        """Accept nobody any more, and end logins."""
        self.draining = True
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()
        for login in list(self.logins):
            login.fail(ShuttingDown())

    def dismiss_idle(self) -> int:
        """End clients that are between transactions; how many are left."""
        for client in list(self.clients):
            if client.idle_outside_transaction():
                client.fail(ShuttingDown())
        return len(self.clients)

    def dismiss_all(self) -> None:
        """End every client, whatever it does."""
        for client in list(self.clients):
            client.fail(ShuttingDown())


def _told_of(encryption: Encryption | None) -> dict[str, str]:
    """What the log says of it."""
    if encryption is None:
        return {}
    return {"tls": encryption.version, "tls_name": encryption.server_name or ""}


_AUTHENTICATION_OK = messages.authentication_ok()
_READY = messages.ready_for_query(STATUS_IDLE)

#: Methods that TLS has a part in.
_TOLD_BY_TLS = frozenset(("password", "cert"))

#: What turns a client away whatever its password: a rejection, and not the result of a login.
_REJECTIONS: dict[type, str] = {
    TooManyClients: "too_many_clients",
    ProtocolViolation: "protocol",
    UnsupportedProtocol: "protocol",
    MissingUser: "protocol",
    InvalidStartupOptions: "startup_parameter",
    StartupOptionWithoutValue: "startup_parameter",
    UnknownParameter: "startup_parameter",
    InvalidParameterName: "startup_parameter",
    ReplicationRefused: "replication",
    NoHbaEntry: "hba",
    RejectedByHba: "hba",
    TlsHandshakeFailed: "tls",
    TlsRequired: "tls",
    CertificateRequired: "tls",
    CertificateMismatch: "tls",
    UsersNotLookedUp: "auth_query",
    ShuttingDown: "draining",
}

#: Methods by which a client proves that it knows a secret, which auth_query may have to be asked for.
_BY_SECRET = ("scram-sha-256", "md5", "password")


def _in_vain(pool: Pool, seconds: float) -> PoolproxyError:
    """What to tell a client that waited so long: the pool is full, or why it has no server at all."""
    route = pool.route
    if pool.servers or (pool.up and not pool.connecting):
        return PoolFull(database=route.database, user=route.user, seconds=seconds)
    reason = pool.down_reason or "the first one is still being opened"
    return DatabaseDown(database=route.database, user=route.user, seconds=seconds, reason=reason)


def _parameter_messages(reported: Reported) -> bytes:
    if reported.messages is None:
        reported.messages = b"".join(
            messages.parameter_status(name, value) for name, value in reported.values.items()
        )
    return reported.messages
