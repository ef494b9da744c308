"""The watch over one database's catalogue: asks when it is time to, and tells the pools what follows.

Until the first answer, and from any DDL on until the next one, every hand-over is a reset. Nothing is asked
of a database that nobody uses. Must not know clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from poolproxy.backend.catalogue import Catalogue, read_catalogue
from poolproxy.backend.connecting import describe
from poolproxy.backend.control import UNANSWERED, Control
from poolproxy.log import get_logger, repeated
from poolproxy.pool.budget import Budget
from poolproxy.pool.pool import Pool
from poolproxy.route import Route
from poolproxy.session.custom import CustomNames
from poolproxy.session.prepared import Epoch
from poolproxy.session.spelling import Spellings
from poolproxy.transport.poller import Poller

_log = get_logger()

#: Seconds between two looks where something has changed or the last one has failed.
LOOK_SOON = 1.0
RETRY = 5.0


class Watch:
    """See the module. `retire(pool)` is called when new servers would have other defaults; `room` when a
    connection of ours has been given back."""

    def __init__(
        self,
        poller: Poller,
        control: Control,
        budget: Budget,
        route: Route,
        retire: Callable[[Pool], None],
        room: Callable[[], None],
    ) -> None:
        self.epoch = Epoch()  #: of the catalogue
        self.custom_names = CustomNames()
        self.spellings = Spellings()
        self.looking: asyncio.Task[None] | None = None
        self._poller = poller
        self._control = control
        self._budget = budget
        self._route = route
        self._retire = retire
        self._room = room
        self._known: Catalogue | None = None
        self._due = 0.0
        self._looked_at = -LOOK_SOON
        self._worked = -1  #: transactions, at the last look

    def inform(self, pool: Pool) -> None:
        """Tell a pool what is known."""
        pool.registry.epoch = self.epoch
        pool.custom_names = self.custom_names
        pool.spellings = self.spellings
        hazards = self._known.hazards if self._known is not None else None
        pool.always_reset = pool.route.handover_reset == "always" or hazards is None or hazards.hidden
        pool.words = pool.words.updated(hazards.names if hazards is not None else (), pool.route.pin_on)

    def informed(self) -> bool:
        """Whether it has had an answer."""
        return self._known is not None

    def look_when_due(self, pools: list[Pool]) -> None:
        """Look if it is time to."""
        now = self._poller.now
        if self.looking is not None or not pools or not self._route.catalogue_poll_interval:
            return
        if now < self._due and not (self.epoch.unsure and now >= self._looked_at + LOOK_SOON):
            return
        worked = sum(pool.counters.transactions for pool in pools)
        if worked == self._worked or (self._budget.limit and not self._budget.room()):
            return
        self._worked = worked
        self._looked_at = now
        self._due = now + self._route.catalogue_poll_interval
        # As a user whose login works, where there is one.
        route = next((pool.route for pool in pools if pool.servers), self._route)
        self.looking = asyncio.get_running_loop().create_task(self._look(route, pools))

    async def _look(self, route: Route, pools: list[Pool]) -> None:
        self._budget.control += 1
        age = self.epoch.value
        try:
            found = await read_catalogue(
                self._control, route.target, self._known, route.server_connect_timeout
            )
        except UNANSWERED as error:
            self._due = self._poller.now + RETRY
            self._worked = -1
            repeated(
                _log, ("catalogue", route.database), "catalogue not read", database=route.database,
                reason=describe(error), effect="servers are reset whenever they change hands",
            )  # fmt: skip
        else:
            self._learn(found, age, pools)
        finally:
            self._budget.control -= 1
            self.looking = None
            self._room()

    def _learn(self, found: Catalogue, age: int, pools: list[Pool]) -> None:
        known, self._known = self._known, found
        changed = known is not None and known.fingerprint.meaning != found.fingerprint.meaning
        unchanged_since = self.epoch.value == age
        if changed and not self.epoch.unsure:
            self.epoch.advance()
        if unchanged_since:
            self.epoch.unsure = False
        if known is None or known.hazards is not found.hazards:
            _log.info(
                "catalogue read", database=self._route.database, hazardous=len(found.hazards.names),
                hidden=found.hazards.hidden,
            )  # fmt: skip
        self.custom_names.learn(found.hazards.custom)
        self.spellings.learn(found.kinds)
        for pool in pools:
            self.inform(pool)
            if known is not None and known.fingerprint.defaults != found.fingerprint.defaults:
                self._retire(pool)

    async def close(self) -> None:
        """End what is under way."""
        if self.looking is not None:
            self.looking.cancel()
            await asyncio.gather(self.looking, return_exceptions=True)
