"""One database on one server: its pools, the budget they share, and the question how large that may be.

The limit in percent needs PostgreSQL's own, which a control connection asks for at first use and now and then
again. Until the first answer one server serves all pools. Where the question fails, that stays so: clients
take turns, nobody waits for the answer, and PostgreSQL never sees more than it was promised. Only where all
of it may be used (100 percent) do servers come without an answer, because then PostgreSQL itself holds the
limit.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import Protocol, cast

from poolproxy.backend.connecting import describe
from poolproxy.backend.control import UNANSWERED, Control
from poolproxy.backend.grower import Grower
from poolproxy.backend.hub import Hub
from poolproxy.backend.server import Server
from poolproxy.backend.watching import Watch
from poolproxy.log import get_logger, repeated
from poolproxy.pool.budget import UNBOUNDED, Budget, database_limit
from poolproxy.pool.pool import Pool
from poolproxy.pool.snapshot import DatabaseSnapshot
from poolproxy.route import Route
from poolproxy.session.lifecycle import SERVER_RESETTING
from poolproxy.transport.poller import Poller

_log = get_logger()

#: Seconds between two questions for a database's max_connections: after a success, after a failure.
ASK_AGAIN = 300.0
ASK_SOON = 5.0

#: Seconds between two looks whether a place has become free for a connection of our own.
LOOK_FOR_PLACE = 0.02
#: Looks after which one more server that works is not to be used again.
LOOKS = 25


class Lodger(Protocol):
    """Whoever keeps a connection of our own to it."""

    def sweep(self, now: float) -> None:
        """See to what is due."""

    def leave(self) -> None:
        """End the connection as soon as may be."""

    async def close(self) -> None:
        """End it now."""


class Database:
    """See the module. `pools` is in the order in which they came."""

    def __init__(
        self, poller: Poller, control: Control, budget: Budget, grower: Grower, route: Route
    ) -> None:
        self.budget = budget
        self.grower = grower
        self.pools: list[Pool] = []
        self._hub_pools: list[Pool] = []  #: of them, those whose servers listen for others
        self.watch = Watch(poller, control, budget, route, self._retire, grower.room)
        grower.on_ready = self._look_first
        self.asking: asyncio.Task[None] | None = None
        self.lodger: Lodger | None = None
        self._lodged = False
        self._poller = poller
        self._control = control
        self._route = route  #: any route to it: settings see to it that all have the same limits
        self._pools_by_name: dict[str, int] = {}
        self._ask_at = 0.0
        self._rest_until = 0.0
        self._ask_when_back = False  #: the last question failed with no server open: the next one that is
        # open shows that another question is worth it

    def add(self, pool: Pool) -> None:
        """`pool` spends from the budget from now on."""
        self.pools.append(pool)
        self.watch.inform(pool)
        name = pool.route.database
        self._pools_by_name[name] = self._pools_by_name.get(name, 0) + 1

    def hub_pool(self, route: Route) -> Pool:
        """A pool of one, whose server listens for the clients of another pool."""
        plain = replace(route, pool_mode="transaction", pool_size=1, min_pool_size=0, init_query="")
        pool = Pool(plain, self.grower.need, self.spare)
        self.add(pool)
        self._hub_pools.append(pool)
        return pool

    def hub_room(self) -> bool:
        """Whether another one may have its server: most are for those who work."""
        limit = self.budget.limit or self.budget.unknown
        return 2 * (sum(pool.size() for pool in self._hub_pools) + 1) <= limit

    def remove(self, pool: Pool) -> None:
        """`pool` is no more."""
        self.pools.remove(pool)
        if pool in self._hub_pools:
            self._hub_pools.remove(pool)
        self.grower.forget(pool)
        name = pool.route.database
        self._pools_by_name[name] -= 1
        if not self._pools_by_name[name]:
            del self._pools_by_name[name]

    def spare(self, pool: Pool) -> int:
        """Servers that this pool could still get: places that are free or will be in a moment, and idle
        servers of others that would make way. While the limit is asked for, as many as it likes."""
        if not self.budget.limit:
            return pool.pool_size
        others = sum(len(other.idle) + other.returning for other in self.pools if other is not pool)
        return self.budget.room() + self.budget.control + others

    def idle_limit(self) -> int:
        """Idle servers that all pools together may keep."""
        most = self.budget.limit or sum(pool.pool_size for pool in self.pools)
        return max(1, most * self._route.max_idle_connections_percent // 100)

    # Asking PostgreSQL how many it takes.

    def look_and_ask_when_due(self) -> None:
        """Look at the catalogue, and ask for the limit, if it is time to."""
        if self._poller.now < self._rest_until:
            return
        self.ask_when_due()
        if self.asking is None:
            self.watch.look_when_due(self.pools)

    def _look_first(self) -> None:
        """Until the catalogue is known each hand-over costs more: as soon as there is a login that works. All
        other looks are the sweep's."""
        if not self.watch.informed() and self.asking is None and self._poller.now >= self._rest_until:
            self.watch.look_when_due(self.pools)

    def busy(self) -> bool:
        """Whether a connection of our own is under way."""
        return self.asking is not None or self.watch.looking is not None

    # A connection of our own that stays.

    async def lodge(self) -> None:
        """Have a place for it in the budget, which `leave` gives back. It may take a server's: whose client
        cannot log in needs none. The caller bounds the time."""
        while self.asking is not None and not self.budget.limit:
            # Until the limit is known there are one server and one connection of ours.
            await asyncio.wait([self.asking])
        self._lodged = True
        self.budget.control += 1
        try:
            for look in count():
                if not self.budget.limit or self.budget.servers + self.budget.control <= self.budget.limit:
                    break
                self._make_way(another=look % LOOKS == 0)
                await asyncio.sleep(LOOK_FOR_PLACE)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """It has been closed."""
        self._lodged = False
        self.budget.control -= 1
        self.grower.room()

    def crowded(self) -> bool:
        """Whether there is no place left for another server."""
        return bool(self.budget.limit) and not self.budget.room()

    def _make_way(self, another: bool) -> None:
        """An idle server makes way at once, or `another` one that works as soon as it is free."""
        rich = max((pool for pool in self.pools if pool.idle), key=lambda pool: len(pool.idle), default=None)
        if rich is not None:
            cast(Server, rich.idle[0]).close("evicted for a question of ours")
            return
        lasting = (each for pool in self.pools for each in pool.servers if cast(Server, each).expires != -1.0)
        server = next(lasting, None) if another else None
        if server is not None:
            cast(Server, server).expires = -1.0  # long ago

    def _retire(self, pool: Pool) -> None:
        """New servers have other defaults than those that are open (sessions.md, rule 20)."""
        for server in list(pool.servers):
            server.expires = self._poller.now
        for server in list(pool.idle):
            cast(Server, server).close("the defaults of its role or database have changed")

    # Nobody of ours may be in it for a while.

    def vacate(self, seconds: float) -> None:
        """Close its idle servers and its hubs, and open nothing for so long that no client waits for."""
        self.grower.rest_until = self._rest_until = self._poller.now + seconds
        if self.lodger is not None:
            self.lodger.leave()
        for pool in self.pools:
            for server in list(pool.idle):
                cast(Server, server).close("somebody drops, renames or copies its database")
            if pool.hub is not None:
                cast(Hub, pool.hub).rest(self._rest_until)

    def vacant(self) -> bool:
        """Whether no connection of ours to it is open, or about to be, but those that clients hold."""
        return not (self.busy() or self._lodged) and not any(
            pool.connecting or pool.idle or pool.server_counts[SERVER_RESETTING] for pool in self.pools
        )

    def ask_when_due(self) -> None:
        """Ask if it is time to. Absolute limits need no question."""
        if self._route.max_connections or self.busy() or not self.pools:
            return
        if self._lodged and not self.budget.limit:
            return  # asked on that connection: one more could be one too many
        back = self._ask_when_back and any(pool.servers for pool in self.pools)
        # A known limit leaves a place for the question, or it waits; an unknown one is asked for beside it.
        if (self._poller.now < self._ask_at and not back) or (self.budget.limit and not self.budget.room()):
            return
        self.asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        # As a user whose login works, where there is one: another's may be what is wrong.
        route = next((pool.route for pool in self.pools if pool.servers), self._route)
        self.budget.control += 1
        self._ask_when_back = False
        self._ask_at = self._poller.now + ASK_SOON  # whatever comes of it
        try:
            usable = await self._control.usable_connections(route.target, route.server_connect_timeout)
        except UNANSWERED as error:
            self.not_measured(describe(error))
        else:
            self.measured(usable)
        finally:
            self.budget.control -= 1
            self.asking = None
            self.grower.room()
        if any(pool.servers for pool in self.pools):
            self._look_first()

    def unmeasured(self) -> bool:
        """Whether PostgreSQL has to be asked how many connections it takes, and has not said it yet."""
        return not self.budget.limit and not self._route.max_connections

    def measured(self, usable: int) -> None:
        """PostgreSQL takes so many."""
        self._ask_at = self._poller.now + ASK_AGAIN
        self.budget.limit = database_limit(0, self._route.max_connections_percent, usable)

    def not_measured(self, reason: str) -> None:
        """It does not say."""
        self._ask_at = self._poller.now + ASK_SOON
        self._ask_when_back = not any(pool.servers for pool in self.pools)
        effect = "the limit known before holds"
        if not self.budget.limit:
            effect = "one server until it is answered"
            if self._route.max_connections_percent == 100:
                self.budget.unknown = UNBOUNDED
                effect = "PostgreSQL alone limits the servers"
        name = self._route.database
        repeated(
            _log, ("control", name), "control query failed", database=name, reason=reason, effect=effect
        )  # fmt: skip

    async def close(self) -> None:
        """End everything under way."""
        await self.grower.close()
        await self.watch.close()
        if self.lodger is not None:
            await self.lodger.close()
        if self.asking is not None:
            self.asking.cancel()
            await asyncio.gather(self.asking, return_exceptions=True)

    def snapshots(self) -> list[DatabaseSnapshot]:
        """The budget under each name that clients know this database by: the servers of that name's pools,
        so that sums over names are right, and the limit that all names share."""
        budget, names = self.budget, list(self._pools_by_name)
        if self.lodger is not None and not names:
            names = [self._route.database]
        servers = {names[0]: budget.servers} if len(names) == 1 else dict.fromkeys(names, 0)
        for pool in self.pools if len(names) > 1 else ():
            servers[pool.route.database] += pool.size()
        return [
            DatabaseSnapshot(name, servers[name], 0 if at else budget.control, budget.limit)
            for at, name in enumerate(names)
        ]
