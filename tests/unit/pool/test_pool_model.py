"""A pool under any order of events: every object in one collection, counts that agree, nobody forgotten.

The model is a list of who waits and a set of who holds what; the clock only goes forward.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poolproxy.pool.janitor import excess_servers, overdue_waiters, surplus_servers
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member, Waiter
from poolproxy.session.lifecycle import (
    CLIENT_ACTIVE,
    CLIENT_CLOSED,
    CLIENT_IDLE,
    CLIENT_STATES,
    CLIENT_WAITING,
    SERVER_ACTIVE,
    SERVER_CLOSED,
    SERVER_IDLE,
    SERVER_RESETTING,
)
from tests.unit.pool.parties import Client, Server, connected, gives_back, pool_of


class Served(Client):
    """A client whose turn the model checks."""

    def __init__(self, name: str, turns: list[Waiter]) -> None:
        super().__init__(name)
        self._turns = turns

    def granted(self, server: Member) -> None:
        super().granted(server)
        assert self._turns.pop(0) is self, "someone was overtaken"


class PoolModel(RuleBasedStateMachine):
    """See the module."""

    @initialize(size=st.integers(1, 4), floor=st.integers(0, 2))
    def begin(self, size: int, floor: int) -> None:
        self.now = 1.0
        self.needs: list[Pool] = []
        self.pool = pool_of(self.needs, pool_size=size, min_pool_size=min(floor, size))
        self.clients: list[Served] = []
        self.servers: list[Server] = []
        self.queue: list[Waiter] = []
        self.connecting = 0
        self.arrivals = 0

    def some(self, draw: st.DataObject, state: int) -> Served:
        return draw.draw(st.sampled_from([c for c in self.clients if c.client_state == state]))

    def any_client(self, state: int) -> bool:
        return any(client.client_state == state for client in self.clients)

    def any_server(self, state: int) -> bool:
        return any(server.server_state == state for server in self.servers)

    # Clients.

    @precondition(lambda self: len(self.clients) < 12)
    @rule()
    def a_client_logs_in(self) -> None:
        self.arrivals += 1
        client = Served(f"client {self.arrivals}", self.queue)
        self.pool.move_client(client, CLIENT_IDLE)
        self.clients.append(client)

    @precondition(lambda self: self.any_client(CLIENT_IDLE))
    @rule(draw=st.data())
    def a_client_asks(self, draw: st.DataObject) -> None:
        client = self.some(draw, CLIENT_IDLE)
        idle = list(self.pool.idle)
        room = self.pool.size() < self.pool.route.pool_size
        under_way = self.pool.connecting
        self.needs.clear()
        server = self.pool.borrow(client, self.now)
        if idle:
            assert server is idle[-1], "the warmest server goes first"
            client.server = server
        else:
            assert server is None
            self.queue.append(client)
            below_floor = self.pool.size() < self.pool.route.min_pool_size
            assert bool(self.needs) == (room and (len(self.queue) > under_way or below_floor))

    @precondition(lambda self: self.any_client(CLIENT_ACTIVE))
    @rule(draw=st.data())
    def a_transaction_ends(self, draw: st.DataObject) -> None:
        gives_back(self.pool, self.some(draw, CLIENT_ACTIVE), self.now)

    @precondition(lambda self: self.any_client(CLIENT_ACTIVE))
    @rule(draw=st.data())
    def a_client_vanishes_in_a_transaction(self, draw: st.DataObject) -> None:
        client = self.some(draw, CLIENT_ACTIVE)
        assert client.server is not None
        self.pool.move_server(client.server, SERVER_RESETTING)
        self.pool.move_client(client, CLIENT_CLOSED)
        self.clients.remove(client)

    @precondition(lambda self: self.any_client(CLIENT_WAITING))
    @rule(draw=st.data(), state=st.sampled_from([CLIENT_IDLE, CLIENT_CLOSED]))
    def a_client_leaves_the_queue(self, draw: st.DataObject, state: int) -> None:
        client = self.some(draw, CLIENT_WAITING)
        self.pool.move_client(client, state)
        self.queue.remove(client)
        if state == CLIENT_CLOSED:
            self.clients.remove(client)

    @rule(seconds=st.floats(0.001, 5.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(timeout=st.floats(0.5, 5.0))
    def the_overdue_are_sent_away(self, timeout: float) -> None:
        overdue = overdue_waiters(self.pool, self.now, timeout)
        assert overdue == [c for c in self.queue if self.now - c.waiting_since >= timeout]
        for client in overdue:
            self.pool.move_client(client, CLIENT_IDLE)
            self.queue.remove(client)

    # Servers.

    @precondition(lambda self: self.pool.missing())
    @rule()
    def an_attempt_begins(self) -> None:
        self.pool.connecting += 1
        self.connecting += 1

    @precondition(lambda self: self.connecting)
    @rule(works=st.booleans())
    def an_attempt_ends(self, works: bool) -> None:
        self.connecting -= 1
        self.pool.connecting -= 1
        if works:
            self.servers.append(connected(self.pool, self.now))

    @precondition(lambda self: self.any_server(SERVER_RESETTING))
    @rule(draw=st.data())
    def a_reset_is_over(self, draw: st.DataObject) -> None:
        self.pool.release(
            draw.draw(st.sampled_from(sorted(self.pool.in_state(SERVER_RESETTING), key=id))), self.now
        )

    @precondition(lambda self: self.servers)
    @rule(draw=st.data(), client_stays=st.booleans())
    def a_server_is_lost(self, draw: st.DataObject, client_stays: bool) -> None:
        server = draw.draw(st.sampled_from(self.servers))
        self.needs.clear()
        self.pool.close_server(server)
        self.servers.remove(server)
        assert bool(self.needs) == bool(self.queue)
        for client in [client for client in self.clients if client.server is server]:
            client.server = None
            self.pool.move_client(client, CLIENT_IDLE if client_stays else CLIENT_CLOSED)
            if not client_stays:
                self.clients.remove(client)

    @rule(patience=st.floats(0.0, 5.0), limit=st.integers(0, 4))
    def the_surplus_is_closed(self, patience: float, limit: int) -> None:
        floor = min(self.pool.size(), self.pool.route.min_pool_size)
        for server in surplus_servers(self.pool, self.now, patience, 0.0):
            self._close(server)
        for server in excess_servers([self.pool], limit):
            self._close(server)
        assert self.pool.size() >= floor

    def _close(self, server: Member) -> None:
        self.pool.close_server(server)
        self.servers.remove(server)  # type: ignore[arg-type]

    # What holds at all times.

    @invariant()
    def every_server_is_in_one_collection(self) -> None:
        pool = self.pool
        assert pool.servers == set(self.servers)
        places = {state: set(pool.in_state(state)) for state in (SERVER_ACTIVE, SERVER_RESETTING)}
        places[SERVER_IDLE] = set(pool.idle)
        for server in self.servers:
            homes = [state for state, members in places.items() if server in members]
            assert homes == [server.server_state]
        assert len(pool.idle) == len(places[SERVER_IDLE]), "nobody is on the stack twice"
        assert pool.size() == len(self.servers) + self.connecting <= pool.route.pool_size
        assert pool.connecting == self.connecting

    @invariant()
    def every_client_is_counted_once(self) -> None:
        for state in (CLIENT_IDLE, CLIENT_WAITING, CLIENT_ACTIVE):
            found = sum(client.client_state == state for client in self.clients)
            assert self.pool.client_counts[state] == found, CLIENT_STATES[state]
        assert list(self.pool.waiting) == self.queue

    @invariant()
    def who_is_active_has_a_server_of_its_own(self) -> None:
        held = [client.server for client in self.clients if client.client_state == CLIENT_ACTIVE]
        assert set(held) == set(self.pool.in_state(SERVER_ACTIVE))
        assert len(held) == len(set(held))

    @invariant()
    def nobody_waits_beside_an_idle_server(self) -> None:
        assert not (self.pool.idle and self.pool.waiting)

    @invariant()
    def the_snapshot_says_the_same(self) -> None:
        seen = self.pool.snapshot(self.now)
        assert sum(seen.servers.values()) == self.pool.size()
        assert seen.clients["waiting"] == len(self.queue)
        assert seen.longest_wait == (self.now - self.queue[0].waiting_since if self.queue else 0.0)

    def teardown(self) -> None:
        """Everyone leaves: nothing is left over."""
        for client in list(self.clients):
            self.pool.move_client(client, CLIENT_CLOSED)
        for server in self.servers:
            self.pool.move_server(server, SERVER_CLOSED)
        self.pool.connecting -= self.connecting
        assert self.pool.size() == 0
        assert self.pool.client_counts[CLIENT_IDLE : CLIENT_ACTIVE + 1] == [0, 0, 0]


TestPoolModel = PoolModel.TestCase
TestPoolModel.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
