"""The proxy's data plane on a table: a real front door, clients, servers, pools and poller over socket pairs.

No event loop and no sleep: `settle` drives the poller until nothing moves, `later` says what time it is.
Servers come logged in; who plays them, says all that PostgreSQL would.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any, cast

from poolproxy.auth.credentials import Credentials
from poolproxy.backend.server import Server
from poolproxy.errors import PoolproxyError
from poolproxy.frontend.client_session import ClientSession
from poolproxy.frontend.door import FrontDoor
from poolproxy.pool.pool import Pool
from poolproxy.route import Route
from poolproxy.router import Router
from poolproxy.session.audit import audit_query
from poolproxy.session.lifecycle import SERVER_ACTIVE, SERVER_CLOSED, SERVER_IDLE
from poolproxy.session.parameters import parameter_set, reported_set
from poolproxy.settings import Settings
from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.stream import Stream
from tests.dialogues import words
from tests.dialogues.peer import Peer, split
from tests.support import messages as m

PASSWORD = "correct horse"
REPORTED = {
    "server_version": "18.6",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "application_name": "",
}


class Canceller:
    """Remembers whom to cancel; the test says when that is over (`cancel_over`)."""

    def __init__(self) -> None:
        self.asked: list[Server] = []

    def cancel(self, server: Server) -> None:
        server.cancelling += 1
        self.asked.append(server)


class Pools:
    """Pools without growers: servers come when the test brings them."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, ...], Pool] = {}
        self.needs: list[Pool] = []
        self.canceller = Canceller()

    def pool(self, route: Route) -> Pool:
        key = route.key()
        if key not in self.known:
            pool = self.known[key] = Pool(route, self.needs.append, lambda pool: pool.pool_size)
            pool.always_reset = route.handover_reset == "always"  # its catalogue is harmless
        return self.known[key]

    def __iter__(self) -> Iterator[Pool]:
        return iter(list(self.known.values()))


class ClientPeer(Peer):
    """One who connects, and what it was told at login."""

    pid = 0
    key = b""
    parameters: dict[str, str]

    def greeted(self) -> ClientPeer:
        """Take the greeting: AuthenticationOk, the parameters, the cancel key, ReadyForQuery."""
        first, *rest = self.take_all()
        assert (first.letter, first.body) == ("R", b"\0\0\0\0"), first
        *parameters, key, last = rest
        assert m.letters([*parameters, key, last]) == "S" * len(parameters) + "KZ", rest
        assert last.status == "I"
        self.parameters = dict(p.pair for p in parameters)
        self.pid, self.key = int.from_bytes(key.body[:4], "big"), key.body[4:]
        return self


class ServerPeer(Peer):
    """The PostgreSQL behind one server of ours."""

    server: Server

    def learn(self, **reports: str) -> ServerPeer:
        """A client's parameters are tried out here for the first time: accept them, and report `reports`."""
        asked = self.take_all()
        assert m.letters(asked) in ("Q", "QQ"), asked
        told = b"".join(words.parameter(name, value) for name, value in reports.items())
        self >> words.done("SET") * (len(asked) - 1) + words.tag("SET") + told + words.ready()
        return self

    def audited(
        self, *found: tuple[str, str, str], role: str = "none", user: str = "app", ours: int | None = None
    ) -> ServerPeer:
        """It is asked what it holds: `found`, as rows of the audit, besides who it is, and `ours` of our
        statements: all that it should have."""
        self << m.query(audit_query(self.server.pool.custom_names))
        ours = len(self.server.prepared) if ours is None else ours
        prepared = [("ours", "", str(ours))] if ours else []
        rows = b"".join(words.row(*row) for row in (("role", role, user), *found, *prepared))
        self >> words.tag("SET") + words.DESCRIPTION + rows + words.tag("SELECT 1") + words.ready()
        return self

    def __repr__(self) -> str:
        return f"{super().__repr__()} of {self.server!r}"


class Stage:
    """See the module. `bytewise`: everything is said one byte at a time."""

    def __init__(self, bytewise: bool = False, **settings: Any) -> None:
        defaults: dict[str, Any] = {
            "databases": {"app": {"url": "postgres://db:5432/app"}},
            "users": {"app": {"password": PASSWORD}},
            "auth_method": "trust",
            "failed_login_delay": 0,  # each dialogue about anything else hears at once
        }
        self.settings = Settings.model_validate({**defaults, **settings})
        self.bytewise = bytewise
        self.internal_errors: list[Exception] = []
        self.out_of_sync = 0  #: how many servers this dialogue makes talk nonsense
        self.poller = Poller(self._broken)
        self._ready = select.poll()
        self._ready.register(self.poller.fileno(), select.POLLIN)
        self._router = Router(self.settings)
        credentials = Credentials.from_passwords(self.settings.user_passwords(), b"k" * 32)
        self.door = FrontDoor(self.poller, self.settings, self._router, credentials)
        self.pools = cast(Any, Pools())
        self.door.pools = self.pools
        self.ever_paced = False  #: whether a stream was ever taken for bulky
        self.peers: list[Peer] = []
        self.servers: list[ServerPeer] = []

    def _broken(self, pollable: Pollable, problem: Exception) -> None:
        """As the app does it; what is not an error of ours fails the dialogue."""
        assert isinstance(pollable, Stream)
        if not isinstance(problem, PoolproxyError):
            self.internal_errors.append(problem)
            problem = PoolproxyError()
        pollable.handler.fail(problem)

    # Time.

    def settle(self) -> None:
        """Let the proxy do all that it can do, and everybody listen."""
        for _ in range(50_000):
            moved = self.poller.pending or bool(self._ready.poll(0))
            self.ever_paced = self.ever_paced or self.poller.paced > 0
            if not moved and self.poller.paced:
                moved = bool(self._ready.poll(1000))  # the pacer's timer
            if moved:
                self.poller.wait(0.0)
            for peer in self.peers:
                moved |= peer.listen()
            if not moved:
                return
        raise AssertionError("the proxy does not come to rest")

    def later(self, seconds: float) -> None:
        """So many seconds have passed: the tick and the sweep."""
        self.poller.now += seconds
        self.door.tick(self.poller.now)
        self.door.sweep(self.poller.now)
        for pool in self.pools:
            for server in pool.in_state(SERVER_ACTIVE):
                server.audit_again(self.poller.now)
        self.settle()

    # Who takes part.

    def pool(self, user: str = "app", database: str = "app") -> Pool:
        pool: Pool = self.pools.pool(self._router.route(user, database))
        return pool

    def _pair(self, kind: int, buffer: int) -> tuple[socket.socket, int]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        if buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        return theirs, ours.detach()

    def server(
        self,
        pool: Pool | None = None,
        *,
        packets: bool = False,
        buffer: int = 0,
        baseline: dict[str, str] | None = None,
        **reported: str,
    ) -> ServerPeer:
        """A server that has just logged in; whoever waits gets it.

        `packets`: `writes` has each write of the proxy's.
        `baseline`: what init_query has left in it, name -> SQL.
        """
        theirs, descriptor = self._pair(socket.SOCK_SEQPACKET if packets else socket.SOCK_STREAM, buffer)
        peer = ServerPeer(f"server {len(self.servers) + 1}", theirs, self.settle, self.bytewise)
        pool = pool or self.pool()
        reports = {name.encode(): value.encode() for name, value in {**REPORTED, **reported}.items()}
        pool.connecting += 1
        stream = Stream(self.poller, descriptor, cast(Any, None))
        pid = 1000 + len(self.servers)
        peer.server = server = Server(pool, stream, pid, b"skey", reported_set(reports), lambda _: None)
        server.stream.handler = server
        if baseline is not None:
            server.parameters = pool.baseline = parameter_set(baseline)
        self.peers.append(peer)
        self.servers.append(peer)
        pool.move_server(server, SERVER_IDLE)
        pool.serve(self.poller.now)
        self.settle()
        return peer

    def knock(self, *, buffer: int = 0, address: str = "") -> ClientPeer:
        """A connection that says nothing yet, from `address`, if that matters."""
        theirs, descriptor = self._pair(socket.SOCK_STREAM, buffer)
        number = sum(isinstance(peer, ClientPeer) for peer in self.peers) + 1
        peer = ClientPeer(f"client {number}", theirs, self.settle, self.bytewise)
        self.peers.append(peer)
        self.door.accept(descriptor, address or f"client:{number}")
        self.settle()
        return peer

    def client(
        self,
        *,
        version: int = m.PROTOCOL_3_0,
        buffer: int = 0,
        address: str = "",
        reports: dict[str, str] | None = None,
        **asked: str,
    ) -> ClientPeer:
        """One who has logged in. Its parameters are new: an idle server tries them and `reports`."""
        peer = self.knock(buffer=buffer, address=address)
        peer >> m.startup({"user": "app", "database": "app", **asked}, version)
        for server in self.servers:
            if not peer.heard and server.heard:
                server.learn(**(reports or {}))
        return peer.greeted()

    def of(self, peer: ClientPeer) -> ClientSession:
        """The proxy's object of this client."""
        found = self.door.clients.find(peer.pid, peer.key)
        assert found is not None
        return found

    def ask(self, client: ClientPeer, server: ServerPeer, sql: str, *before: bytes) -> None:
        """One query and its answer. `before`: what `server` hears ahead of it, and answers."""
        client >> m.query(sql)
        for ahead in before:
            server << ahead
            server >> words.done("SET")
        server << m.query(sql)
        server >> words.answer("x")
        client << words.answer("x")

    def pin(self, client: ClientPeer, server: ServerPeer, reason: str = "listen") -> None:
        """What makes `server` stay with `client`."""
        client >> m.query("listen x")
        server << m.query("listen x")
        server >> words.done("LISTEN")
        server.audited(("channel", "x", "") if reason == "listen" else ("left", reason, ""))
        client << words.done("LISTEN")
        assert server.server.pin == reason

    def ask_unnamed(self, client: ClientPeer, server: ServerPeer, sql: str) -> None:
        """One statement by the unnamed statement and portal, which leaves it parsed on `server`."""
        batch = m.parse(sql) + m.bind() + m.execute() + m.SYNC
        client >> batch
        server << batch
        server >> words.PARSED + words.BOUND + words.done(sql.split()[0].upper())
        client << words.PARSED + words.BOUND + words.done(sql.split()[0].upper())

    # What must be.

    def nothing_more(self) -> None:
        """Nobody has heard anything that was not asserted, and nobody was hung up on."""
        self.settle()
        for peer in self.peers:
            assert not peer.heard, f"{peer.name} also heard {split(bytes(peer.heard))}"
            assert not peer.ended, f"{peer.name} was hung up on"

    def check(self) -> None:
        """The books of every pool are right, and nothing went wrong inside."""
        assert not self.internal_errors, self.internal_errors
        clients = list(self.door.clients)
        for pool in self.pools:
            members = [peer.server for peer in self.servers if peer.server.pool is pool]
            alive = [server for server in members if server.server_state != SERVER_CLOSED]
            assert pool.size() == len(alive), pool
            assert pool.connecting == 0, pool
            assert pool.servers == set(alive), pool
            states = [server.server_state for server in alive]
            assert pool.server_counts == [states.count(state) for state in range(5)], pool
            assert sum(pool.pins.values()) == sum(bool(server.pin) for server in alive), pool.pins
            assert not (pool.idle and pool.waiting), pool
            assert sum(pool.client_counts[1:4]) == sum(client.pool is pool for client in clients), pool
            assert pool.counters.out_of_sync == self.out_of_sync, f"{pool.counters.out_of_sync} out of sync"

    def close(self) -> None:
        for peer in self.peers:
            peer.hang_up()
        for client in list(self.door.clients):
            client.stream.close()
        for login in list(self.door.logins):
            login.stream.close()
        for server in self.servers:
            server.server.stream.close()
        self.poller.wait(0.0)  # streams that were saying farewell see that nobody listens
        self.poller.close()
