"""What the tick and the sweep close and whom it sends away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.pool.janitor import excess_servers, overdue_rescues, overdue_waiters, surplus_servers
from poolproxy.pool.pool import Pool
from poolproxy.session.lifecycle import SERVER_RESETTING
from tests.unit.pool.parties import Server, arrived, connected, pool_of, served

NEVER = 0.0


def resting(pool: Pool, *since: float) -> list[Server]:
    """Idle servers, the coldest first."""
    return [connected(pool, moment) for moment in since]


class TestOverdueWaiters:
    def test_those_who_have_waited_long_enough_in_order(self) -> None:
        pool = pool_of(pool_size=1)
        clients = [arrived(pool, f"c{i}") for i in range(4)]
        for client, since in zip(clients, (0.0, 1.0, 2.0, 3.0), strict=True):
            pool.borrow(client, since)
        assert overdue_waiters(pool, 6.0, 5.0) == clients[:2], "the timeout itself is long enough"
        assert overdue_waiters(pool, 4.9, 5.0) == []

    def test_nobody(self) -> None:
        assert overdue_waiters(pool_of(), 1e9, 1.0) == []


class TestSurplusServers:
    def test_nothing_is_too_old(self) -> None:
        pool = pool_of(pool_size=9)
        resting(pool, 0.0, 1.0)
        assert surplus_servers(pool, 5.0, 600.0, 0.0) == []

    def test_the_expired_go_even_below_the_floor(self) -> None:
        pool = pool_of(pool_size=9, min_pool_size=3)
        young, old, ageless = resting(pool, 0.0, 0.0, 0.0)
        young.expires, old.expires, ageless.expires = 11.0, 10.0, NEVER
        assert surplus_servers(pool, 10.0, 600.0, 0.0) == [old]

    def test_the_cold_go_down_to_the_floor(self) -> None:
        pool = pool_of(pool_size=9, min_pool_size=2)
        servers = resting(pool, 0.0, 0.0, 0.0, 0.0)
        assert surplus_servers(pool, 600.0, 600.0, 0.0) == servers[:2]

    def test_servers_at_work_count_for_the_floor(self) -> None:
        pool = pool_of(pool_size=9, min_pool_size=2)
        cold, _, _ = resting(pool, 0.0, 0.0, 0.0)
        served(pool)
        served(pool)
        assert surplus_servers(pool, 600.0, 600.0, 0.0) == [cold]

    def test_the_warm_stay(self) -> None:
        pool = pool_of(pool_size=9)
        cold, _ = resting(pool, 0.0, 500.0)
        assert surplus_servers(pool, 601.0, 600.0, 0.0) == [cold]

    def test_jitter_spreads_the_pools(self) -> None:
        pool = pool_of(pool_size=9)
        (cold,) = resting(pool, 0.0)
        assert surplus_servers(pool, 700.0, 600.0, 0.5) == []
        assert surplus_servers(pool, 900.0, 600.0, 0.5) == [cold]

    def test_no_idle_timeout(self) -> None:
        pool = pool_of(pool_size=9)
        resting(pool, 0.0)
        assert surplus_servers(pool, 1e9, NEVER, 0.0) == []

    def test_both_reasons_at_once(self) -> None:
        pool = pool_of(pool_size=9)
        cold, expired, warm = resting(pool, 0.0, 501.0, 502.0)
        expired.expires = 600.0
        assert surplus_servers(pool, 601.0, 600.0, 0.0) == [expired, cold]
        assert warm in pool.idle

    @given(
        since=st.lists(st.floats(0, 100), max_size=8).map(sorted),
        expired=st.sets(st.integers(0, 7)),
        busy=st.integers(0, 3),
        floor=st.integers(0, 8),
        timeout=st.sampled_from([NEVER, 10.0, 50.0]),
    )
    def test_what_goes_and_what_stays(
        self, since: list[float], expired: set[int], busy: int, floor: int, timeout: float
    ) -> None:
        pool = pool_of(pool_size=20, min_pool_size=floor)
        for _ in range(busy):
            connected(pool)
            served(pool)
        servers = resting(pool, *since)
        old = [server for place, server in enumerate(servers) if place in expired]
        for server in old:
            server.expires = 100.0
        found = surplus_servers(pool, 100.0, timeout, 0.0)
        stay = [server for server in servers if server not in found]
        assert len(set(found)) == len(found)
        assert set(old) <= set(found) <= set(servers)
        if len(found) > len(old):
            assert len(stay) + busy >= floor
        if timeout and len(stay) + busy > floor:
            assert all(100.0 - server.idle_since < timeout for server in stay)
        colder = [place for place, server in enumerate(servers) if server in found and server not in old]
        assert all(place < servers.index(server) for place in colder for server in stay)


class TestExcessServers:
    def test_the_coldest_of_all_pools_go(self) -> None:
        one, two = pool_of(pool_size=9), pool_of(pool_size=9)
        first, third, fifth = resting(one, 0.0, 2.0, 4.0)
        second, fourth = resting(two, 1.0, 3.0)
        assert excess_servers([one, two], 5) == []
        assert excess_servers([one, two], 3) == [first, second]
        assert excess_servers([one, two], 1) == [first, second, third, fourth]
        assert fifth in one.idle

    def test_servers_at_work_are_not_idle(self) -> None:
        pool = pool_of(pool_size=9)
        connected(pool)
        served(pool)
        resting(pool, 0.0, 1.0)
        assert excess_servers([pool], 2) == []

    def test_the_floor_outranks_the_limit(self) -> None:
        """And what one pool must keep is not taken from another beyond need."""
        floored, free = pool_of(pool_size=9, min_pool_size=3), pool_of(pool_size=9)
        coldest, *_ = resting(floored, 0.0, 1.0, 2.0, 3.0)
        (warmest,) = resting(free, 4.0)
        assert excess_servers([floored, free], 4) == [coldest]
        assert excess_servers([floored, free], 1) == [coldest, warmest]

    @given(
        pools=st.lists(
            st.tuples(
                st.lists(st.floats(0, 100), max_size=6).map(sorted), st.integers(0, 3), st.integers(0, 6)
            ),
            max_size=4,
        ),
        limit=st.integers(1, 12),
    )
    def test_what_goes_and_what_stays(self, pools: list[tuple[list[float], int, int]], limit: int) -> None:
        found: list[Pool] = []
        for since, busy, floor in pools:
            pool = pool_of(pool_size=20, min_pool_size=floor)
            for _ in range(busy):
                connected(pool)
                served(pool)
            resting(pool, *since)
            found.append(pool)
        closed = excess_servers(found, limit)
        assert len(set(closed)) == len(closed)
        assert len(closed) <= max(0, sum(len(pool.idle) for pool in found) - limit), "never more than must be"
        kept = 0
        for pool in found:
            stay = [server for server in pool.idle if server not in closed]
            assert pool.size() - (len(pool.idle) - len(stay)) >= min(pool.size(), pool.route.min_pool_size)
            spare = stay[: max(0, len(stay) + pool.size() - len(pool.idle) - pool.route.min_pool_size)]
            kept += len(stay)
            assert all(gone.idle_since <= server.idle_since for gone in closed for server in spare)
        if kept > limit:
            assert all(
                pool.size() - len([s for s in pool.idle if s in closed]) <= pool.route.min_pool_size
                for pool in found
                if any(server not in closed for server in pool.idle)
            )


@pytest.mark.parametrize(
    ("until", "overdue"), [(0.0, False), (9.0, True), (10.0, True), (11.0, False)], ids=str
)
def test_overdue_rescues(until: float, overdue: bool) -> None:
    pool = pool_of()
    connected(pool)
    connected(pool)
    _, left = served(pool)
    _, busy = served(pool)
    pool.move_server(left, SERVER_RESETTING)
    left.rescue_until = busy.rescue_until = until
    assert overdue_rescues(pool, 10.0) == ([left] if overdue else [])
