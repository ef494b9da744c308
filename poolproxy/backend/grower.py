"""Opening servers for those who wait: how many at once, how soon again after a failure, and never above the
budget.

One grower per database (host, port, dbname). Failures back off with jitter, but never longer than a database
that is back would be kept waiting for: under a second. A login that is refused ends the waiting; a database
that is down does not.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from poolproxy.auth.server_login import ScramKeyCache, ServerGreeting, ServerRefusedLogin
from poolproxy.backend.connecting import describe
from poolproxy.backend.dialing import Dialer
from poolproxy.backend.passwords import NoPassword
from poolproxy.backend.proving import log_in
from poolproxy.backend.server import Server
from poolproxy.backend.server_session import ServerSession
from poolproxy.errors import (
    NoServerPassword,
    NoSuchDatabase,
    ServerLoginRefused,
    StartupParameterRefused,
    UnexpectedServerAnswer,
)
from poolproxy.log import get_logger, repeated
from poolproxy.pool.budget import Budget
from poolproxy.pool.pool import Pool
from poolproxy.route import Route
from poolproxy.session.audit import audit_query, read_audit
from poolproxy.session.custom import custom_names
from poolproxy.session.lifecycle import SERVER_IDLE
from poolproxy.session.parameters import EMPTY, Reported, reported_set
from poolproxy.transport.stream import Stream

_log = get_logger()

#: Seconds before the first retry and the longest between two; a failure doubles, each with up to a third of
#: jitter.
FIRST_RETRY = 0.05
LAST_RETRY = 0.6

#: SQLSTATE classes and codes of a refused login that trying again will not change.
_HOPELESS = ("28", "3D")
_NO_DATABASE = "3D000"
_TOO_MANY = "53300"
#: SQLSTATE classes of what passes: no room, or starting up and shutting down.
_PASSING = ("53", "57")


class Grower:
    """See the module."""

    def __init__(
        self,
        dialer: Dialer,
        budget: Budget,
        keys: ScramKeyCache,
        evict: Callable[[Pool], bool],
        on_waiter_failed: Callable[[Pool, ServerLoginRefused], None],
    ) -> None:
        self.budget = budget
        self._poller = dialer.poller
        self._dialer = dialer
        self._keys = keys
        self._evict = evict
        self._on_waiter_failed = on_waiter_failed
        self._wanting: deque[Pool] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._initialising: set[ServerSession] = set()
        # Pools whose login PostgreSQL refuses wait on their own: no reason to slow down others.
        self._refused: dict[Pool, asyncio.TimerHandle] = {}
        self._under_way = 0
        self._pumping = False
        self._failures = 0
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        self.on_ready: Callable[[], None] = lambda: None  #: called when a server has become ready
        self.rest_until = 0.0  #: before then only what a client waits for is opened

    def need(self, pool: Pool) -> None:
        """`pool` could use another server."""
        if pool not in self._wanting:
            self._wanting.append(pool)
        self._pump()

    def room(self) -> None:
        """There may be room in the budget that was not there before."""
        self._pump()

    def _pump(self) -> None:
        """Begin as many attempts as are allowed, pools in turn so that none starves."""
        if self._closed or self._retry is not None or self._pumping:
            return
        self._pumping = True  # evicting closes servers, and a closed server asks us to go on
        in_vain = 0
        try:
            while self._wanting and in_vain < len(self._wanting):
                pool = self._wanting.popleft()
                if not pool.missing():
                    continue
                in_vain = 0 if self._open_one(pool) else in_vain + 1
                self._wanting.append(pool)
        finally:
            self._pumping = False

    def _open_one(self, pool: Pool) -> bool:
        """Begin one attempt for this pool; False where it is not allowed now."""
        limit = 1 if self._failures else pool.route.max_parallel_connects
        if pool in self._refused or self._under_way >= limit:
            return False
        if self._poller.now < self.rest_until and not pool.waiting.size():
            return False
        # At the database's limit: an idle server of another pool makes way, so no user starves.
        if not self.budget.take() and not (self._evict(pool) and self.budget.take()):
            return False
        pool.connecting += 1
        self._under_way += 1
        task = asyncio.get_running_loop().create_task(self._connect(pool))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _attempt(self, route: Route) -> tuple[Stream, ServerGreeting]:
        """One connection and login, within server_connect_timeout; then it is no longer under way."""
        try:
            async with asyncio.timeout(route.server_connect_timeout):
                return await log_in(self._dialer, route.target, self._keys, route.at_start)
        finally:
            self._under_way -= 1

    async def _connect(self, pool: Pool) -> None:
        route = pool.route
        try:
            stream, greeting = await self._attempt(route)
        except (OSError, ServerRefusedLogin, UnexpectedServerAnswer) as error:
            self._failed(pool, error)
            return
        except BaseException:
            self._forget(pool)
            raise
        server = Server(
            pool, stream, greeting.pid, greeting.key, reported_set(greeting.parameters), self._gone
        )
        stream.handler = server
        server.born = self._poller.now
        server.expires = (
            self._poller.now + route.server_lifetime * random.uniform(0.9, 1.0)
            if route.server_lifetime
            else 0.0
        )
        self._count(pool, "ok")
        self._pardon(pool)
        self.budget.accepted()
        self._note_reported(pool, server.reported)
        _log.info("server connected", database=route.database, user=route.user, server_pid=greeting.pid)
        stream.resume()
        if route.init_query:
            self._initialise(pool, server, route.init_query)
        else:
            self._ready(pool, server)

    def _note_reported(self, pool: Pool, reported: Reported) -> None:
        """What servers of this pool report may have changed (a failover, an upgrade): then greetings are
        learnt anew."""
        if pool.reported is not reported:
            pool.greetings.clear()
            pool.reported = reported

    def _initialise(self, pool: Pool, server: Server, init_query: str) -> None:
        """init_query, then what it left: that is the pool's baseline (sessions.md, rule 10)."""

        self._initialising.add(server)

        def initialised(refusal: dict[str, str] | None) -> None:
            if refusal is not None:
                self._refused_query(pool, server, refusal)
            else:
                pool.custom_names.learn(custom_names(init_query.encode()))
                server.ask_rows(audit_query(pool.custom_names), found)

        def found(rows: list[list[str]], refusal: dict[str, str] | None) -> None:
            if refusal is not None:
                self._refused_query(pool, server, refusal)
                return
            audited = read_audit(rows, EMPTY, server.origin, server.reported)
            server.parameters = pool.baseline = audited.parameters
            self._note_reported(pool, server.reported)
            self._ready(pool, server)

        server.ask(init_query.encode(), initialised)

    def _refused_query(self, pool: Pool, server: Server, refusal: dict[str, str]) -> None:
        reason = f"init_query failed: {refusal.get('M', '')}"
        repeated(
            _log,
            ("init", pool.route),
            "init query failed",
            database=pool.route.database,
            sqlstate=refusal.get("C"),
            reason=reason,
        )
        pool.down_reason = reason
        server.close(reason)

    def _ready(self, pool: Pool, server: Server) -> None:
        self._initialising.discard(server)
        self._failures = 0
        pool.up = True
        pool.down_reason = ""
        pool.move_server(server, SERVER_IDLE)
        server.idle_since = self._poller.now
        pool.serve(self._poller.now)
        self._pump()
        self.on_ready()

    def _gone(self, server: ServerSession) -> None:
        """A server was closed, whoever closed it."""
        self.budget.give()
        if server in self._initialising:
            # It never became ready: a failure like any other, or init_query would have us connect without
            # end.
            self._initialising.discard(server)
            server.pool.up = False
            server.pool.down_reason = server.pool.down_reason or "the connection was lost during init_query"
            self._failures += 1
            self._schedule()
        if server.pool.size() == 0:
            server.pool.greetings.clear()
        self._pump()

    def _forget(self, pool: Pool) -> None:
        pool.connecting -= 1
        self.budget.give()

    def _count(self, pool: Pool, result: str) -> None:
        connects = pool.counters.server_connects
        connects[result] = connects.get(result, 0) + 1

    def _failed(self, pool: Pool, error: Exception) -> None:
        self._forget(pool)
        sqlstate = error.sqlstate if isinstance(error, ServerRefusedLogin) else ""
        reason = error.message if isinstance(error, ServerRefusedLogin) else describe(error)
        result = "timeout" if isinstance(error, TimeoutError) else "unreachable"
        if sqlstate == _TOO_MANY:
            # Feedback, not an outage: what we hold is what there is.
            self.budget.refused()
        if sqlstate:
            result = "auth" if sqlstate.startswith(_HOPELESS) else "refused"
        self._count(pool, result)
        pool.up = False
        pool.down_reason = reason
        repeated(
            _log, ("connect", pool.route.database, result), "server connect failed",
            database=pool.route.database, user=pool.route.user, result=result, sqlstate=sqlstate,
            reason=reason,
        )  # fmt: skip
        refusal = _refusal(pool.route, sqlstate, reason, isinstance(error, NoPassword))
        if refusal is not None:
            self._refused[pool] = asyncio.get_running_loop().call_later(LAST_RETRY, self._pardon, pool)
            if not pool.size():
                self._on_waiter_failed(pool, refusal)
        else:
            self._failures += 1
            self._schedule()
        self.need(pool)

    def _pardon(self, pool: Pool) -> None:
        """Its login may be tried again."""
        timer = self._refused.pop(pool, None)
        if timer is not None:
            timer.cancel()
            self._pump()

    def _schedule(self) -> None:
        if self._retry is None and not self._closed:
            delay = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(self._failures, 10)) * random.uniform(1.0, 1.33)
            self._retry = asyncio.get_running_loop().call_later(delay, self._again)

    def _again(self) -> None:
        self._retry = None
        if self.budget.refused_at:
            self.budget.refused_at += 1  # one more try: others may have left
        self._pump()

    def forget(self, pool: Pool) -> None:
        """`pool` is no more."""
        self._pardon(pool)
        self.budget.accepted()
        if pool in self._wanting:
            self._wanting.remove(pool)

    def stop(self) -> None:
        """Begin nothing any more."""
        self._closed = True
        for timer in [*self._refused.values(), *([self._retry] if self._retry is not None else [])]:
            timer.cancel()

    async def close(self) -> None:
        """End all attempts."""
        self.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _refusal(route: Route, sqlstate: str, reason: str, ours: bool) -> ServerLoginRefused | None:
    """What to tell those who wait for a server whose login was refused; None where it may succeed yet.
    `ours`: it was not even tried."""
    if ours:
        return NoServerPassword(database=route.database, user=route.user, reason=reason)
    if sqlstate.startswith(_HOPELESS):
        refused = NoSuchDatabase if sqlstate == _NO_DATABASE else ServerLoginRefused
        return refused(database=route.database, user=route.user, reason=reason)
    if route.at_start and sqlstate and not sqlstate.startswith(_PASSING):
        return StartupParameterRefused(sqlstate, reason)
    return None
