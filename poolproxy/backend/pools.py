"""All pools, and the databases whose connection budgets they share: made at first use, dropped when nobody
needs them.

Wires the pure decisions of `poolproxy.pool` to growers, servers and the sweep. Must not know clients but as
waiters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import cast

from poolproxy.auth.server_login import ScramKeyCache
from poolproxy.backend.cancelling import Canceller
from poolproxy.backend.control import Control
from poolproxy.backend.database import Database
from poolproxy.backend.dialing import Dialer
from poolproxy.backend.grower import Grower
from poolproxy.backend.hub import Hub
from poolproxy.backend.inquiring import Inquirer, Question
from poolproxy.backend.server import Server
from poolproxy.backend.vacating import leave
from poolproxy.errors import ServerLoginRefused, TooManyPools
from poolproxy.pool.budget import Budget
from poolproxy.pool.janitor import excess_servers, overdue_rescues, surplus_servers
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member
from poolproxy.pool.snapshot import DatabaseSnapshot
from poolproxy.route import Route, Target
from poolproxy.session.lifecycle import SERVER_ACTIVE

#: Seconds an empty pool is kept: its metrics and its greetings are worth something to the next client.
EMPTY_POOL_LIFETIME = 300.0

DatabaseKey = tuple[str, int, str]


class Pools:
    """See the module."""

    def __init__(
        self,
        dialer: Dialer,
        max_pools: int,
        count_cancel: Callable[[str], None],
        fail_waiters: Callable[[Pool, ServerLoginRefused], None],
    ) -> None:
        self._poller = dialer.poller
        self._dialer = dialer
        self._max_pools = max_pools
        self._keys = ScramKeyCache()
        self._control = Control(dialer, self._keys)
        self._fail_waiters = fail_waiters
        self.known: dict[tuple[str, ...], Pool] = {}  #: Route.key() -> its pool; most by (database, user)
        self._databases: dict[DatabaseKey, Database] = {}
        self._unused_since: dict[Pool, float] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self.canceller = Canceller(dialer, count_cancel)

    def __iter__(self) -> Iterator[Pool]:
        return iter(list(self.known.values()))

    def pool(self, route: Route) -> Pool:
        """The pool of a route, made if need be; TooManyPools where max_pools are in use."""
        pool = self.known.get(route.key())
        if pool is None:
            if len(self.known) >= self._max_pools and not self._drop_unused():
                raise TooManyPools(limit=self._max_pools)
            database = self._database(route)
            pool = Pool(route, database.grower.need, database.spare)
            pool.vacate = partial(self._vacate, route.target)
            self.known[route.key()] = pool
            database.add(pool)
            if not pool.session_mode:
                pool.hub = Hub(
                    pool,
                    self._poller,
                    partial(database.hub_pool, route),
                    database.hub_room,
                    route.listener_loss == "warn",
                )
            database.ask_when_due()
        return pool

    def _database(self, route: Route) -> Database:
        key = _database_key(route.target)
        database = self._databases.get(key)
        if database is None:
            budget = Budget(route.database, route.max_connections)
            grower = Grower(self._dialer, budget, self._keys, self._evict, self._refused)
            database = self._databases[key] = Database(self._poller, self._control, budget, grower, route)
        return database

    def inquirer(self, question: Question, process_key: bytes) -> Inquirer:
        """Who asks for the secrets of users whom the settings do not know."""
        database = self._database(question.route)
        inquirer = Inquirer(self._poller, self._control, database, question, process_key)
        database.lodger = inquirer
        return inquirer

    def _evict(self, needy: Pool) -> bool:
        """Close one idle server of another pool of the same database; True when a place became free."""
        siblings = self._databases[_database_key(needy.route.target)].pools
        rich = max(
            (pool for pool in siblings if pool is not needy and pool.idle),
            key=lambda pool: len(pool.idle),
            default=None,
        )
        if rich is None:
            return False
        _server(rich.idle[0]).close("evicted for another pool of this database")
        return True

    def _refused(self, pool: Pool, error: ServerLoginRefused) -> None:
        """PostgreSQL lets nobody in: whoever waits need not. Where the reason is what a client wants its
        server to start with, nobody else need hear of it."""
        self._fail_waiters(pool, error)
        if pool.route.at_start and _unused(pool):
            self._drop(pool)

    def _vacate(self, target: Target, names: tuple[str, ...], done: Callable[[], None]) -> bool:
        """Leave these databases of the same PostgreSQL. False where nobody of ours can be in any of them;
        else `done` follows."""
        keys = [_database_key(replace(target, dbname=name)) for name in names]
        found = [self._databases[key] for key in keys if key in self._databases]
        if not found:
            return False
        task = asyncio.get_running_loop().create_task(leave(found, done))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return True

    def _drop_unused(self) -> bool:
        """Drop the pool that has been without clients for longest, with its idle servers."""
        for pool in list(self._unused_since):
            if _unused(pool):
                self._drop(pool)
                return True
        return False

    def _drop(self, pool: Pool) -> None:
        self._unused_since.pop(pool, None)
        del self.known[pool.route.key()]
        key = _database_key(pool.route.target)
        database = self._databases[key]
        database.remove(pool)
        hub = _hub(pool)
        if hub is not None:
            hub.close("its pool was dropped")
            if hub.pool is not None:
                database.remove(hub.pool)
        for server in list(pool.idle):
            _server(server).close("its pool was dropped")
        self._drop_database(key)

    def _drop_database(self, key: DatabaseKey) -> None:
        """Forget a database without pools; one that is being asked something is left to the sweep."""
        database = self._databases[key]
        if not database.pools and not database.busy() and database.lodger is None:
            database.grower.stop()
            del self._databases[key]

    # The sweep.

    def sweep(self, now: float) -> None:
        """Close what is too old or too much, end what takes too long, open what is missing."""
        for pool in self:
            self._close_surplus(pool, now)
            for server in overdue_rescues(pool, now):
                self._end_rescue(_server(server), now)
            if any(pool.pins.values()):
                for member in pool.in_state(SERVER_ACTIVE):
                    _server(member).audit_again(now)
            if pool.missing():
                self._databases[_database_key(pool.route.target)].grower.need(pool)
            hub = _hub(pool)
            if hub is not None:
                hub.sweep(now)
            self._note_use(pool, now)
        for key, database in list(self._databases.items()):
            for member in excess_servers(database.pools, database.idle_limit()):
                _server(member).close("above max_idle_connections_percent")
            database.look_and_ask_when_due()
            if database.lodger is not None:
                database.lodger.sweep(now)
            self._drop_database(key)

    def _close_surplus(self, pool: Pool, now: float) -> None:
        # The pid is as good a jitter as any: it spreads the pools, and stays the same from sweep to sweep.
        jitter = (id(pool) // 64 % 16) / 64
        for server in surplus_servers(pool, now, pool.route.server_idle_timeout, jitter):
            _server(server).close("idle or old")

    def _end_rescue(self, server: Server, now: float) -> None:
        """Cancel what an absent client's server still runs; close it when that did not help either."""
        if server.cancelling:
            return
        if server.rescue_cancelled:
            server.close("what its client left running did not end")
            return
        server.rescue_cancelled = True
        server.rescue_until = now + server.pool.route.server_rescue_timeout
        self.canceller.cancel(server)

    def _note_use(self, pool: Pool, now: float) -> None:
        if not _unused(pool) or pool.route.min_pool_size:
            self._unused_since.pop(pool, None)
        elif now - self._unused_since.setdefault(pool, now) > EMPTY_POOL_LIFETIME and not pool.size():
            self._drop(pool)

    def databases(self) -> tuple[DatabaseSnapshot, ...]:
        """The budgets of all databases in use."""
        return tuple(found for database in self._databases.values() for found in database.snapshots())

    async def close(self) -> None:
        """Close every server, and end everything under way."""
        for task in list(self._leaving):
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        for database in self._databases.values():
            await database.close()
        await self.canceller.close()
        for pool in self:
            hub = _hub(pool)
            if hub is not None:
                hub.close("shutting down")
            for server in list(pool.servers):
                _server(server).close("shutting down")


def _server(member: Member) -> Server:
    """What a pool of ours holds: it is generic, and these are its members."""
    return cast(Server, member)


def _hub(pool: Pool) -> Hub | None:
    return cast("Hub | None", pool.hub)


def _unused(pool: Pool) -> bool:
    """No client, and no server but idle ones."""
    return not any(pool.client_counts[1:4]) and pool.size() == len(pool.idle)


def _database_key(target: Target) -> DatabaseKey:
    return target.host, target.port, target.dbname
