"""The front door: lets logins in, knows every client, ends those that outstay a limit.

Who gets as far as a login is entrance.py's. Must not know signals, HTTP or how servers are opened. Compiled:
`enter` and `left` run for every client.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

from poolproxy.auth.client_login import AuthMethod
from poolproxy.auth.credentials import Credentials, UserSecret
from poolproxy.auth.hba import Origin, Rules
from poolproxy.auth.randomness import RandomBytes
from poolproxy.backend.pools import Pools
from poolproxy.backend.trying import Trials
from poolproxy.errors import (
    AuthenticationFailed,
    CertificateMismatch,
    CertificateRequired,
    ChannelBindingFailed,
    IdleClientTimeout,
    IdleSessionTimeout,
    InvalidParameterName,
    InvalidStartupOptions,
    MissingUser,
    NoHbaEntry,
    PeerRefused,
    PoolproxyError,
    ProtocolViolation,
    RejectedByHba,
    ReplicationRefused,
    ServerLoginRefused,
    ShuttingDown,
    StartupOptionWithoutValue,
    TlsHandshakeFailed,
    TlsRequired,
    TokenNotTried,
    TooManyClients,
    TooManyFromAddress,
    UnknownDatabase,
    UnknownParameter,
    UnsupportedProtocol,
    UsersNotLookedUp,
)
from poolproxy.frontend.client import Client
from poolproxy.frontend.client_session import ClientSession
from poolproxy.frontend.connection import ClientConnection
from poolproxy.frontend.directory import Directory
from poolproxy.frontend.encrypting import ClientEncryption, Encryption, check_channel
from poolproxy.frontend.entrance import Entrance
from poolproxy.frontend.login import Login
from poolproxy.frontend.overdue import end_transactions, end_waits
from poolproxy.frontend.peering import check_peer
from poolproxy.log import get_logger, repeated
from poolproxy.pool.pool import Pool
from poolproxy.protocol import messages
from poolproxy.protocol.codes import STATUS_IDLE
from poolproxy.protocol.messages import backend_key_data
from poolproxy.protocol.startup import StartupMessage
from poolproxy.router import Router
from poolproxy.session.parameters import Reported
from poolproxy.session.startup_parameters import Wanted, application_name
from poolproxy.settings import Settings
from poolproxy.transport.poller import Poller
from poolproxy.transport.tls_stream import TlsStream

_log = get_logger()


class FrontDoor(Entrance):
    """See the module. It is the door of all logins."""

    __slots__ = (
        "_balancers", "_credentials", "_greet", "_limit", "_look_at", "_router", "_rules", "_when_closed",
        "cancels", "encrypted", "errors", "login_results", "pools", "trials",
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
        super().__init__(poller, settings, Directory(stock), stock.take, tls)
        self.pools: Pools | None = None  #: set once, by the composition root
        self.trials: Trials | None = None  #: likewise: who tries tokens
        self.encrypted = 0  #: clients that have logged in over TLS
        self.login_results: dict[tuple[str, str], int] = {}  #: by method and result; no Counter, for speed
        self.cancels: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._router = router
        self._credentials = credentials
        self._rules = rules
        self._balancers = tuple(ip_network(network) for network in settings.proxy_protocol_networks)
        self._limit = settings.max_client_connections
        self._look_at = 0.0  #: when to look for idle clients again
        # Bound once: every client gets them.
        self._greet = self._greeting
        self._when_closed = self._closed

    # What logins ask (see login.Door).

    def secret(self, user: str) -> UserSecret:
        return self._credentials.lookup(user)

    def balanced(self, address: object) -> bool:
        if not self._balancers:
            return False
        return Origin.of(str(address), encrypted=False).within(self._balancers)

    def method_of(self, login: Login, startup: StartupMessage) -> AuthMethod:
        if self.tls is not None:
            if self.tls.required and not login.local():
                self.tls.check(login.encryption, startup.user)
            if login.encryption is not None:
                startup.database = self.tls.database(login.encryption, startup.database)
        if self._rules is not None:
            return self._by_rule(login, startup)
        if self.method in _TOLD_BY_TLS:
            check_channel(self.method, login.encryption, login.local(), startup.user)
        return self._by_secret(startup.user) if self.method == "md5" else self.method

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
        if rule.method == "peer":
            check_peer(login.stream.fd, startup.user, rule.map, self._rules.maps)
        return self._by_secret(startup.user) if rule.method == "md5" else rule.method

    def _by_secret(self, user: str) -> AuthMethod:
        """Method md5 as PostgreSQL has it (manual 20.5, Password Authentication): SCRAM for whom that alone
        serves. Who is looked up will be known by then (`Login.prove`)."""
        if self.inquirer is not None and user not in self._credentials:
            return "md5"
        return "scram-sha-256" if self._credentials.lookup(user).scram_only else "md5"

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

    def try_out(self, login: Login, token: str) -> bool:
        startup = login.startup
        assert startup is not None
        assert self.trials is not None
        try:
            route = self._router.route(startup.user, startup.database)
        except UnknownDatabase:
            # Told after a login only: until then it is as good a name as any.
            raise AuthenticationFailed(user=startup.user) from None
        return self.trials.ask(route, token, login.tried)

    def admit(self, login: Login) -> None:
        if self.draining:
            raise ShuttingDown
        if len(self.clients) >= self._limit:
            raise TooManyClients(limit=self._limit)
        if login.excess and self.places.beyond(login):
            raise TooManyFromAddress(limit=self.places.limit)
        login.excess = False

    def enter(self, login: Login, startup: StartupMessage, wanted: Wanted, proof: bytes) -> None:
        assert self.pools is not None
        self.admit(login)
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
        if self._counting:
            self.places.move(login, client)
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
        if self._counting:
            self.places.give_back(login)
        if self._full:
            self._accept_again()
        if result == "failed" and self.inquirer is not None:
            self.inquirer.doubt(login.user())
        if result == "cancel":
            self._say_farewell(login.stream)
            return
        if result == "lost" and not login.user():
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
        if not login.held:
            self._say_farewell(login.stream)
        address = str(login.address)
        repeated(
            _log, ("login", address.rpartition(":")[0], error.sqlstate), "login refused", level="info",
            client=address, user=login.user(), sqlstate=error.sqlstate, reason=error.message,
            **_told_of(login.encryption),
        )  # fmt: skip

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
        if self._counting:
            self.places.give_back(client)
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
        self.end_overdue(now)
        if self.pools is not None:
            for pool in self.pools:
                if pool.waiting:
                    end_waits(pool, now)

    def sweep(self, now: float) -> None:
        """End what has been idle for too long."""
        if self.pools is not None:
            for pool in self.pools:
                end_transactions(pool, now)
                for client in list(pool.idlers):
                    if isinstance(client, ClientSession) and client.idle_too_long(now):
                        client.fail(IdleSessionTimeout())
        self._end_idle(now)

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
_TOLD_BY_TLS = frozenset(("password", "iam", "cert"))

#: What turns a client away whatever its password: a rejection, and not the result of a login.
_REJECTIONS: dict[type, str] = {
    TooManyClients: "too_many_clients",
    TooManyFromAddress: "too_many_from_address",
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
    PeerRefused: "peer",
    TlsHandshakeFailed: "tls",
    TlsRequired: "tls",
    CertificateRequired: "tls",
    CertificateMismatch: "tls",
    ChannelBindingFailed: "tls",
    UsersNotLookedUp: "auth_query",
    TokenNotTried: "iam",
    ShuttingDown: "draining",
}

#: Methods by which a client proves that it knows a secret, which auth_query may have to be asked for.
_BY_SECRET = ("scram-sha-256", "md5", "password")


def _parameter_messages(reported: Reported) -> bytes:
    if reported.messages is None:
        reported.messages = b"".join(
            messages.parameter_status(name, value) for name, value in reported.values.items()
        )
    return reported.messages
