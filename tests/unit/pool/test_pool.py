"""A pool's books: who is served, by which server, and which moves do not exist."""

from __future__ import annotations

import random

import pytest

from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import NEXT_FEW, OVERTAKEN
from poolproxy.session.lifecycle import (
    CLIENT_ACTIVE,
    CLIENT_CLOSED,
    CLIENT_IDLE,
    CLIENT_LOGIN,
    CLIENT_MOVES,
    CLIENT_WAITING,
    SERVER_ACTIVE,
    SERVER_CLOSED,
    SERVER_CONNECTING,
    SERVER_IDLE,
    SERVER_MOVES,
    SERVER_RESETTING,
    IllegalMove,
)
from poolproxy.session.parameters import EMPTY, ParameterSet, parameter_set
from tests.unit.pool.parties import Client, Server, arrived, connected, gives_back, pool_of, served

OTHERS = parameter_set({"work_mem": "'9MB'"})


def queued(pool: Pool, parameters: ParameterSet) -> Client:
    """A client that waits, and wants these settings."""
    client = arrived(pool)
    client.parameters = parameters
    assert pool.borrow(client, 0.0) is None
    return client


class TestServing:
    def test_an_idle_server_is_had_at_once(self) -> None:
        needs: list[Pool] = []
        pool = pool_of(needs)
        server = connected(pool)
        client = arrived(pool)
        assert pool.borrow(client, 1.0) is server
        assert (client.client_state, server.server_state) == (CLIENT_ACTIVE, SERVER_ACTIVE)
        assert pool.in_state(SERVER_ACTIVE) == [server]
        assert not pool.idle
        assert not needs
        assert client.server is None, "a server that is returned is not granted a second time"

    def test_the_server_that_came_back_last_goes_first(self) -> None:
        """A stack: few servers stay warm, and the others grow old enough to be closed."""
        pool = pool_of()
        for _ in range(3):
            connected(pool)
        clients = [served(pool, f"c{i}")[0] for i in range(3)]
        servers = [client.server for client in clients]
        for client in (clients[1], clients[2], clients[0]):
            gives_back(pool, client)
        assert [served(pool)[1] for _ in range(3)] == [servers[0], servers[2], servers[1]]

    def test_those_who_wait_are_served_in_order(self) -> None:
        pool = pool_of(pool_size=1)
        connected(pool)
        holder, server = served(pool)
        waiting = [arrived(pool, f"w{i}") for i in range(3)]
        for client in waiting:
            assert pool.borrow(client, 0.0) is None
        assert list(pool.waiting) == waiting
        for client in waiting:
            gives_back(pool, holder)
            assert client.server is server
            assert not pool.idle, "it never lies idle while someone waits"
            holder = client
        assert not pool.waiting

    def test_who_leaves_the_queue_is_not_served(self) -> None:
        pool = pool_of(pool_size=1)
        connected(pool)
        holder, server = served(pool)
        gone, next_one = arrived(pool, "gone"), arrived(pool, "next")
        pool.borrow(gone, 0.0)
        pool.borrow(next_one, 0.0)
        pool.move_client(gone, CLIENT_CLOSED)
        gives_back(pool, holder)
        assert gone.server is None
        assert next_one.server is server

    def test_a_server_goes_to_one_of_the_next_few_with_its_settings(self) -> None:
        """That saves the switch; but the first is not overtaken for ever."""
        pool = pool_of(pool_size=1)
        server = connected(pool)
        holder, _ = served(pool)
        server.parameters = OTHERS
        waiting = [queued(pool, OTHERS if number else EMPTY) for number in range(OVERTAKEN + 3)]
        order = []
        for _ in waiting:
            gives_back(pool, holder)
            (holder,) = [client for client in waiting if client.server is not None]
            order.append(waiting.index(holder))
        assert order == [*range(1, OVERTAKEN + 1), 0, OVERTAKEN + 1, OVERTAKEN + 2]

    def test_nobody_far_behind_is_looked_for(self) -> None:
        pool = pool_of(pool_size=1)
        server = connected(pool)
        holder, _ = served(pool)
        server.parameters = OTHERS
        waiting = [queued(pool, OTHERS if number == NEXT_FEW else EMPTY) for number in range(NEXT_FEW + 1)]
        gives_back(pool, holder)
        assert waiting[0].server is server

    def test_clients_of_two_kinds_hardly_ever_cause_a_switch(self) -> None:
        """200 clients in a loop, half of each kind, 20 servers; which is done next is chance. And each kind
        is served as often, as it would be without the courtesy."""
        chance = random.Random(1)
        pool = pool_of(pool_size=20)
        for _ in range(20):
            connected(pool)
        clients = [arrived(pool) for _ in range(200)]
        for number, client in enumerate(clients):
            client.parameters = (EMPTY, OTHERS)[number % 2]
            client.server = pool.borrow(client, 0.0)
        switches, transactions = 0, {EMPTY: 0, OTHERS: 0}
        for _ in range(10_000):
            client = chance.choice([client for client in clients if client.server is not None])
            server = client.server
            assert server is not None
            switches += server.parameters is not client.parameters
            server.parameters = client.parameters
            transactions[client.parameters] += 1
            gives_back(pool, client)
            pool.borrow(client, 0.0)
        assert switches < 200, "with 8 to choose from there are more than 1,000"
        assert min(transactions.values()) > 4_700

    def test_an_idle_server_with_the_clients_settings_is_taken(self) -> None:
        pool = pool_of(pool_size=3)
        servers = [connected(pool) for _ in range(3)]
        client = arrived(pool)
        client.parameters = servers[1].parameters = OTHERS
        assert pool.borrow(client, 0.0) is servers[1]

    def test_a_server_that_has_just_been_opened_goes_to_the_first(self) -> None:
        pool = pool_of()
        first, second = arrived(pool), arrived(pool)
        pool.borrow(first, 0.0)
        pool.borrow(second, 0.0)
        server = connected(pool)
        assert (first.server, second.server) == (server, None)

    def test_a_client_may_come_back_for_more_while_it_is_served(self) -> None:
        """A granted client may be through with its server before `granted` returns."""
        pool = pool_of(pool_size=1)

        class Hasty(Client):
            def granted(self, server: Server) -> None:  # type: ignore[override]
                super().granted(server)
                gives_back(pool, self)

        hasty, patient = Hasty("hasty"), Client("patient")
        for client in (hasty, patient):
            pool.move_client(client, CLIENT_IDLE)
            pool.borrow(client, 0.0)
        server = connected(pool)
        assert patient.server is server
        assert hasty.client_state == CLIENT_IDLE
        assert not pool.idle
        assert not pool.waiting

    def test_how_long_they_waited_is_counted(self) -> None:
        pool = pool_of(pool_size=1)
        connected(pool)
        holder, _ = served(pool)
        pool.borrow(arrived(pool), 10.0)
        gives_back(pool, holder, now=12.5)
        assert pool.counters.borrow.total == pytest.approx(2.5)
        assert sum(pool.counters.borrow.counts) == 2, "the one that did not wait counts as well"


class TestNeed:
    def test_asked_for_when_somebody_waits_and_a_server_more_may_be_opened(self) -> None:
        needs: list[Pool] = []
        pool = pool_of(needs, pool_size=1)
        pool.borrow(arrived(pool), 0.0)
        assert needs == [pool]

    def test_not_asked_for_when_the_pool_is_full(self) -> None:
        needs: list[Pool] = []
        pool = pool_of(needs, pool_size=1)
        connected(pool)
        served(pool)
        pool.borrow(arrived(pool), 0.0)
        assert not needs

    def test_not_asked_for_twice_when_one_is_on_its_way(self) -> None:
        needs: list[Pool] = []
        pool = pool_of(needs)
        pool.connecting = 1
        pool.borrow(arrived(pool), 0.0)
        assert not needs
        pool.borrow(arrived(pool), 0.0)
        assert needs == [pool]

    def test_asked_for_when_a_server_is_lost_that_somebody_waits_for(self) -> None:
        needs: list[Pool] = []
        pool = pool_of(needs, pool_size=1)
        connected(pool)
        _, server = served(pool)
        pool.borrow(arrived(pool), 0.0)
        pool.close_server(server)
        assert needs == [pool]
        assert pool.missing() == 1

    def test_a_server_lost_while_nobody_waits_is_not_replaced(self) -> None:
        needs: list[Pool] = []
        pool = pool_of(needs)
        pool.close_server(connected(pool))
        assert not needs
        assert pool.size() == 0

    @pytest.mark.parametrize(
        ("size", "floor", "open_", "connecting", "waiting", "missing"),
        [
            (3, 0, 0, 0, 0, 0),  # nobody wants anything
            (3, 0, 0, 0, 2, 2),  # one for each who waits
            (3, 0, 0, 0, 9, 3),  # never above pool_size
            (3, 0, 2, 0, 9, 1),
            (3, 0, 3, 0, 9, 0),
            (3, 0, 0, 2, 2, 0),  # those under way are for those who wait
            (3, 0, 0, 2, 3, 1),
            (3, 2, 0, 0, 0, 2),  # the floor needs nobody who waits
            (3, 2, 1, 1, 0, 0),
            (3, 3, 2, 0, 0, 1),
            (3, 0, 0, 3, 0, 0),  # they left: what is under way is not wanted any more, and not negative
        ],
    )  # fmt: skip
    def test_missing(
        self, size: int, floor: int, open_: int, connecting: int, waiting: int, missing: int
    ) -> None:
        pool = pool_of(pool_size=size, min_pool_size=floor)
        for _ in range(open_):
            connected(pool)
        for _ in range(open_ if waiting else 0):
            served(pool)
        pool.connecting = connecting
        for _ in range(waiting):
            pool.borrow(arrived(pool), 0.0)
        assert pool.missing() == missing

    @pytest.mark.parametrize(
        ("busy", "connecting", "waiting", "crowded"),
        [
            (0, 0, 0, False),
            (0, 0, 3, False),  # three places, three who wait
            (0, 0, 4, True),
            (0, 3, 3, False),  # the places are taken, by servers that come for them
            (0, 3, 4, True),
            (2, 0, 1, False),
            (2, 1, 2, True),
            (3, 0, 0, False),
            (3, 0, 1, True),
        ],
    )
    def test_crowded(self, busy: int, connecting: int, waiting: int, crowded: bool) -> None:
        pool = pool_of(pool_size=3)
        for _ in range(busy):
            connected(pool)
            served(pool)
        pool.connecting = connecting
        for _ in range(waiting):
            pool.borrow(arrived(pool), 0.0)
        assert pool.crowded() is crowded

    @pytest.mark.parametrize(
        ("connecting", "waiting", "crowded"),
        [(0, 1, False), (0, 2, True), (1, 2, False), (1, 3, True)],
    )
    def test_crowded_by_others(self, connecting: int, waiting: int, crowded: bool) -> None:
        """The database has one place left, whatever pool_size promises."""
        pool = pool_of(pool_size=10, spare=1)
        pool.connecting = connecting
        for _ in range(waiting):
            pool.borrow(arrived(pool), 0.0)
        assert pool.crowded() is crowded


class TestMoves:
    @pytest.mark.parametrize("old", range(5))
    @pytest.mark.parametrize("new", range(5))
    def test_what_a_server_may_become(self, old: int, new: int) -> None:
        path = {
            SERVER_CONNECTING: [],
            SERVER_IDLE: [SERVER_IDLE],
            SERVER_ACTIVE: [SERVER_IDLE, SERVER_ACTIVE],
            SERVER_RESETTING: [SERVER_IDLE, SERVER_ACTIVE, SERVER_RESETTING],
            SERVER_CLOSED: [SERVER_CLOSED],
        }
        pool, server = pool_of(), Server()
        pool.connecting = 1
        for state in path[old]:
            pool.move_server(server, state)
        if new in SERVER_MOVES[old]:
            pool.move_server(server, new)
            assert server.server_state == new
            assert pool.size() == (new != SERVER_CLOSED)
        else:
            before = (
                pool.size(),
                list(pool.idle),
                list(pool.server_counts),
                set(pool.servers),
                pool.connecting,
            )
            with pytest.raises(IllegalMove, match=r"server \w+ -> "):
                pool.move_server(server, new)
            assert server.server_state == old
            assert before == (
                pool.size(),
                list(pool.idle),
                list(pool.server_counts),
                set(pool.servers),
                pool.connecting,
            )

    @pytest.mark.parametrize("old", range(5))
    @pytest.mark.parametrize("new", range(5))
    def test_what_a_client_may_become(self, old: int, new: int) -> None:
        pool, client = pool_of(), Client()
        if old in (CLIENT_IDLE, CLIENT_WAITING, CLIENT_ACTIVE):
            pool.move_client(client, CLIENT_IDLE)
        if old == CLIENT_WAITING:
            pool.borrow(client, 0.0)
        elif old == CLIENT_ACTIVE:
            connected(pool)
            pool.borrow(client, 0.0)
        elif old == CLIENT_CLOSED:
            pool.move_client(client, CLIENT_CLOSED)
        if new in CLIENT_MOVES[old]:
            pool.move_client(client, new)
            assert client.client_state == new
            assert pool.client_counts[new] == 1
            assert pool.waiting.size() == 0, "who is moved out of waiting is not in the queue"
        else:
            before = list(pool.client_counts), pool.waiting.size()
            with pytest.raises(IllegalMove, match=r"client \w+ -> "):
                pool.move_client(client, new)
            assert client.client_state == old
            assert before == (list(pool.client_counts), pool.waiting.size())

    def test_a_client_without_a_login_cannot_borrow(self) -> None:
        pool = pool_of()
        connected(pool)
        client = Client()
        with pytest.raises(IllegalMove):
            pool.borrow(client, 0.0)
        assert client.client_state == CLIENT_LOGIN

    def test_a_server_from_the_middle_of_the_stack(self) -> None:
        pool = pool_of()
        first, second, third = (connected(pool) for _ in range(3))
        pool.close_server(second)
        assert pool.idle == [first, third]

    def test_a_server_that_is_closed_is_released_to_nobody(self) -> None:
        pool = pool_of()
        server = connected(pool)
        pool.close_server(server)
        with pytest.raises(IllegalMove):
            pool.release(server, 0.0)


class TestPins:
    def test_they_are_counted_while_they_last_and_for_ever(self) -> None:
        pool = pool_of()
        connected(pool)
        _, server = served(pool)
        pool.pinned(server, "listen", 10.0)
        assert (server.pin, pool.pins, pool.counters.pins) == ("listen", {"listen": 1}, {"listen": 1})
        pool.unpinned(server, 12.0)
        assert (server.pin, pool.pins["listen"], pool.counters.pins) == ("", 0, {"listen": 1})
        assert pool.counters.pin_seconds == {"listen": 2.0}

    def test_ending_what_has_not_begun_counts_nothing(self) -> None:
        pool = pool_of()
        pool.unpinned(connected(pool), 1.0)
        assert not pool.pins
        assert not pool.counters.pin_seconds


def test_repr_reads_like_a_status_line() -> None:
    pool = pool_of(pool_size=4)
    connected(pool)
    connected(pool)
    served(pool)
    pool.connecting = 1
    assert repr(pool) == "<Pool shop/app servers 1/1/0+1 of 4 waiting 0>"


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_it_knows_its_mode(mode: str) -> None:
    assert pool_of(pool_mode=mode).session_mode is (mode == "session")
