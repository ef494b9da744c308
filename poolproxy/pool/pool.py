"""One pool: the servers of one (database, user) and the clients that share them.

Every server and every client is counted in exactly one state, and `move_server` and `move_client` are the
only movers. Idle servers are a stack, so that few stay warm; waiting clients are a queue, so that none is
overtaken, but for the courtesy that the queue tells of. An idle server and a waiting client never exist at
the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from poolproxy.counters import PoolCounters
from poolproxy.pool.queue import Member, Queue, Waiter
from poolproxy.pool.snapshot import PoolSnapshot
from poolproxy.route import Route
from poolproxy.session.custom import CustomNames
from poolproxy.session.lifecycle import (
    CLIENT_ACTIVE,
    CLIENT_IDLE,
    CLIENT_STATES,
    CLIENT_TABLE,
    CLIENT_WAITING,
    SERVER_ACTIVE,
    SERVER_CLOSED,
    SERVER_CONNECTING,
    SERVER_IDLE,
    SERVER_RESETTING,
    SERVER_STATES,
    SERVER_TABLE,
    IllegalMove,
)
from poolproxy.session.parameters import EMPTY, ParameterSet, Reported
from poolproxy.session.prepared import Registry
from poolproxy.session.spelling import Spellings
from poolproxy.session.words import NO_WORDS

#: How many of the warmest idle servers are as good as the warmest.
WARM = 8


class ListenHub(Protocol):
    """What a pool must know of what listens for its clients."""

    def listeners(self) -> int:
        """For how many."""


class Pool:
    """See the module. `on_need(pool)` is called when somebody waits and a server more could help.
    `spare(pool)` says how many its database could still give it, whatever pool_size is."""

    __slots__ = (
        "always_reset",
        "baseline",
        "client_counts",
        "connecting",
        "counters",
        "custom_names",
        "down_reason",
        "greetings",
        "hub",
        "idle",
        "idlers",
        "impatient",
        "on_need",
        "pins",
        "pool_size",
        "registry",
        "reported",
        "returning",
        "route",
        "sequences_asked",
        "server_counts",
        "servers",
        "session_mode",
        "spare",
        "spellings",
        "statements",
        "up",
        "vacate",
        "waiting",
        "words",
    )  # fmt: skip

    def __init__(self, route: Route, on_need: Callable[[Pool], None], spare: Callable[[Pool], int]) -> None:
        self.route = route
        self.session_mode = route.pool_mode == "session"
        self.pool_size = route.pool_size
        self.impatient = route.connection_borrow_timeout <= 0  #: nobody waits for a busy server
        self.on_need = on_need
        self.spare = spare
        self.counters = PoolCounters()
        self.idle: list[Member] = []
        self.servers: set[Member] = set()  #: all that are open
        self.server_counts: list[int] = [0] * 5  #: of them by state
        self.connecting = 0
        self.returning = 0  #: servers that are being reset on their way to the next client
        self.statements = 0  #: numbers given to unnamed statements so far
        self.custom_names = CustomNames()  #: of its database
        self.spellings = Spellings()  #: likewise
        self.always_reset = True  #: what clients leave cannot be seen
        self.sequences_asked = False  #: somebody has asked for the last number of a sequence
        self.words = NO_WORDS  #: names of routines that a text may call
        self.registry = Registry()  #: its clients' named statements
        self.hub: ListenHub | None = None  #: listens for its clients
        #: makes room for texts that need nobody in some databases (Pools.vacate); None: never needed
        self.vacate: Callable[[tuple[str, ...], Callable[[], None]], bool] | None = None
        self.waiting = Queue()
        self.client_counts: list[int] = [0] * 5
        self.idlers: set[Waiter] = set()  #: clients that have set themselves a limit for being idle
        self.pins: dict[str, int] = {}
        self.up = True
        self.down_reason = ""  #: why the last server did not become ready; empty since one did
        self.baseline: ParameterSet = EMPTY  #: what init_query leaves in every server
        self.reported: Reported | None = None  #: what its newest server reported at login
        #: startup parameters -> what a server then reports
        self.greetings: dict[tuple[ParameterSet, bool], Reported] = {}

    def __repr__(self) -> str:
        return (
            f"<Pool {self.route.database}/{self.route.user} servers {self.server_counts[SERVER_ACTIVE]}"
            f"/{len(self.idle)}/{self.server_counts[SERVER_RESETTING]}+{self.connecting}"
            f" of {self.pool_size} waiting {self.waiting.size()}>"
        )

    def size(self) -> int:
        """Servers that are open or being opened."""
        return len(self.servers) + self.connecting

    # Clients.

    def move_client(self, client: Waiter, state: int) -> None:
        """The one mover of clients."""
        old = client.client_state
        if not CLIENT_TABLE[5 * old + state]:
            raise IllegalMove(f"client {CLIENT_STATES[old]} -> {CLIENT_STATES[state]}")
        if old == CLIENT_WAITING:
            self.waiting.remove(client)
        self.client_counts[old] -= 1
        self.client_counts[state] += 1
        client.client_state = state

    def borrow(self, client: Waiter, now: float) -> Member | None:
        """A server for this client, attached at once; or None: the client is in the queue now."""
        if self.idle:
            server = self._idle_for(client)
            self.move_server(server, SERVER_ACTIVE)
            self.move_client(client, CLIENT_ACTIVE)
            self.counters.borrow.observe(0.0)
            return server
        self.move_client(client, CLIENT_WAITING)
        client.waiting_since = now
        self.waiting.push(client)
        if self.size() < self.pool_size and self.missing():
            self.on_need(self)
        return None

    def crowded(self) -> bool:
        """Whether more clients wait than servers are being opened, or could be."""
        openable = min(self.pool_size - self.size(), self.spare(self))
        return self.waiting.size() > openable + self.connecting + self.returning

    # Servers.

    def move_server(self, server: Member, state: int) -> None:
        """The one mover of servers."""
        old = server.server_state
        if not SERVER_TABLE[5 * old + state]:
            raise IllegalMove(f"server {SERVER_STATES[old]} -> {SERVER_STATES[state]}")
        if old == SERVER_IDLE:
            if self.idle[-1] is server:
                self.idle.pop()
            else:
                self.idle.remove(server)
        if state == SERVER_IDLE:
            self.idle.append(server)
        if old == SERVER_CONNECTING:
            self.connecting -= 1
            self.servers.add(server)
        else:
            self.server_counts[old] -= 1
        if state == SERVER_CLOSED:
            self.servers.discard(server)
        else:
            self.server_counts[state] += 1
        server.server_state = state

    def in_state(self, state: int) -> list[Member]:
        """The open servers in this state."""
        return [server for server in self.servers if server.server_state == state]

    def release(self, server: Member, now: float) -> None:
        """A server that any client may have now: it goes to the first that waits, else on the stack."""
        if server.server_state == SERVER_ACTIVE and self.waiting.first is not None:
            self._grant(server, self.waiting.next_for(server, self.waiting.first), now)
            return
        self.move_server(server, SERVER_IDLE)
        server.idle_since = now
        self.serve(now)

    def serve(self, now: float) -> None:
        """Give idle servers to waiting clients, first come first served."""
        while self.waiting.first is not None and self.idle:
            server = self.idle[-1]
            self.move_server(server, SERVER_ACTIVE)
            self._grant(server, self.waiting.next_for(server, self.waiting.first), now)

    def _idle_for(self, client: Waiter) -> Member:
        """The warmest idle server, or one as good that holds this client's settings."""
        count = len(self.idle)
        server = self.idle[count - 1]
        if server.parameters is not client.parameters:
            for index in range(max(0, count - WARM), count - 1):
                other = self.idle[index]
                if other.parameters is client.parameters:
                    return other
        return server

    def _grant(self, server: Member, client: Waiter, now: float) -> None:
        self.move_client(client, CLIENT_ACTIVE)
        self.counters.borrow.observe(now - client.waiting_since)
        client.granted(server)

    def close_server(self, server: Member) -> None:
        """A server that is gone, or about to be closed by the caller. Whoever waits may need another one."""
        self.move_server(server, SERVER_CLOSED)
        if self.waiting.first is not None:
            self.on_need(self)

    def missing(self) -> int:
        """How many more servers would be of use now, within pool_size alone."""
        room = self.pool_size - self.size()
        needed = self.waiting.size() - self.connecting - self.returning
        floor = self.route.min_pool_size - self.size()
        return max(0, min(room, max(needed, floor)))

    def number_statement(self) -> int:
        """A number for an unnamed statement, never 0: the server with this number holds that statement."""
        self.statements += 1
        return self.statements

    # Pins.

    def pinned(self, server: Member, reason: str, now: float) -> None:
        """`server` stays with its client from now on."""
        server.pin = reason
        server.pinned_at = now
        self.pins[reason] = self.pins.get(reason, 0) + 1
        self.counters.pins[reason] = self.counters.pins.get(reason, 0) + 1

    def unpinned(self, server: Member, now: float) -> None:
        """The pin has ended, by a reset or with the server."""
        if server.pin:
            self.pins[server.pin] -= 1
            seconds = self.counters.pin_seconds
            seconds[server.pin] = seconds.get(server.pin, 0.0) + now - server.pinned_at
            server.pin = ""

    def snapshot(self, now: float) -> PoolSnapshot:
        """This pool as metrics see it."""
        first = self.waiting.first
        return PoolSnapshot(
            database=self.route.database,
            user=self.route.user,
            clients={
                CLIENT_STATES[state]: self.client_counts[state]
                for state in (CLIENT_IDLE, CLIENT_WAITING, CLIENT_ACTIVE)
            },
            servers={
                "connecting": self.connecting,
                "idle": len(self.idle),
                "active": self.server_counts[SERVER_ACTIVE],
                "resetting": self.server_counts[SERVER_RESETTING],
            },
            pinned={reason: count for reason, count in self.pins.items() if count},
            longest_wait=now - first.waiting_since if first is not None else 0.0,
            pool_size=self.pool_size,
            up=self.up,
            listeners=self.hub.listeners() if self.hub is not None else 0,
            counters=self.counters,
            at_start=" ".join(f"{name}={value}" for name, value in self.route.at_start),
        )
