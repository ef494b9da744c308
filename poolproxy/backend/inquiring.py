"""auth_query: PostgreSQL is asked for the secrets of users whom the settings do not know.

One connection of our own, open while there is something to ask and for a while longer, in the budget of its
database. It starts with nothing that a client has said, its search_path is pg_catalog (CVE-2025-12819), and a
name reaches it as a bound parameter only. One question for each name, however many log in by it. Must not
know logins.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import asyncpg

from poolproxy.auth.credentials import UserSecret, is_stored, user_secret
from poolproxy.auth.lookups import Answer, Lookups, Mocks, OddAnswer, Row, password_of, time_of
from poolproxy.backend.aside import aside
from poolproxy.backend.connecting import describe
from poolproxy.backend.control import UNANSWERED, Control, usable
from poolproxy.backend.database import Database
from poolproxy.errors import PoolproxyError, UsersNotLookedUp
from poolproxy.log import get_logger, repeated
from poolproxy.protocol.scram import DEFAULT_ITERATIONS
from poolproxy.route import Route
from poolproxy.transport.poller import Poller

_log = get_logger()

#: Seconds for which the connection is kept though nobody asks.
IDLE: Final = 30.0
#: Seconds for which nobody is asked when no connection could be made.
REST: Final = 1.0
#: Names that wait to be asked for, at most.
MOST_WAITING: Final = 1000
#: Seconds that saying goodbye may take.
_PARTING: Final = 1.0

#: SQLSTATEs that say: nobody can have such a name (too long, or not to be written in the server's encoding).
_NOBODY: Final = ("42622", "22021", "22P05")

#: What is asked where the query has no third column; of names that are not found as well, as that takes time.
#: From the view that everybody may read.
_VALIDITY: Final = "SELECT rolvaliduntil FROM pg_catalog.pg_roles WHERE rolname = $1::text"

#: What PostgreSQL would make up a secret from, for a name that it does not know (scram_iterations: from 16).
_MADE_UP: Final = """
    SELECT current_setting('password_encryption'), current_setting('scram_iterations', true)::int4
"""

#: Hears the secret that has to be proved, or why there is none, in a turn of its own.
Tell = Callable[[UserSecret | None, PoolproxyError | None], None]


class UnusableQuery(Exception):
    """auth_query is not one that could be answered."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the settings say. Times are in seconds."""

    sql: str
    ttl: float
    timeout: float  #: for an answer, the making of the connection included
    route: Route  #: where it is asked, and as whom


@dataclass(slots=True)
class _Asked:
    """A name that waits, and who waits for it."""

    since: float
    deadline: float
    tell: list[Tell] = field(default_factory=list)


class Asker:
    """The connection, with the query prepared on it. `until`: when it is too old, by the poller's clock."""

    def __init__(self, connection: asyncpg.Connection, until: float) -> None:
        self.connection = connection
        self.until = until
        self._query: asyncpg.prepared_stmt.PreparedStatement | None = None
        self._validity: asyncpg.prepared_stmt.PreparedStatement | None = None

    async def prepare(self, sql: str) -> None:
        """Raises UnusableQuery, or one of UNANSWERED."""
        self._query = await self.connection.prepare(sql)
        columns = self._query.get_attributes()
        if len(self._query.get_parameters()) != 1:
            raise UnusableQuery("it has not one parameter, $1")
        if len(columns) not in (2, 3):
            raise UnusableQuery(f"it has {len(columns)} columns, not name, password and perhaps valid_until")
        if len(columns) == 2:
            self._validity = await self.connection.prepare(_VALIDITY)
        elif columns[2].type.name != "timestamptz":
            raise UnusableQuery("its third column, valid_until, is not a timestamp with time zone")

    def worn_out(self, error: Exception) -> bool:
        """Whether a new connection may do better: this one is lost, or what is prepared on it means something
        else by now."""
        return self.connection.is_closed() or isinstance(error, asyncpg.InvalidCachedStatementError)

    async def ask(self, user: str) -> tuple[list[Row], object]:
        """The rows of this name, and until when its password is valid."""
        assert self._query is not None
        try:
            rows: list[Row] = [tuple(row) for row in await self._query.fetch(user)]
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _NOBODY:
                raise
            rows = []
        if self._validity is not None:
            return rows, await self._validity.fetchval(user)
        return rows, rows[0][2] if rows else None


class Inquirer:
    """See the module. Everything is called on the thread of the event loop."""

    def __init__(
        self,
        poller: Poller,
        control: Control,
        database: Database,
        question: Question,
        process_key: bytes,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`process_key`: that of the other credentials (auth/credentials.py). `wall`: the time of day."""
        self.results: Counter[str] = Counter()  #: found, unknown, expired, failed; cached: without a question
        self._poller = poller
        self._control = control
        self._database = database
        self._question = question
        self._key = process_key
        self._wall = wall
        self._lookups = Lookups(question.ttl)
        self._mocks = Mocks(process_key)
        self._plain = False  #: the last password found was one itself, not what is stored of it
        self._waiting: dict[str, _Asked] = {}
        self._asker: Asker | None = None
        self._life: asyncio.Task[None] | None = None
        self._stirred = asyncio.Event()
        self._leave = False
        self._closed = False
        self._rest_until = 0.0

    def __repr__(self) -> str:
        state = "open" if self._asker is not None else "closed"
        return f"<Inquirer {state}, {len(self._waiting)} waiting, {len(self._lookups)} known>"

    def ask(self, user: str, tell: Tell) -> UserSecret | None:
        """What this one has to prove where that is known; else None, and `tell` hears it later.

        Raises UsersNotLookedUp where nobody can be asked for now."""
        now = self._poller.now
        answer = self._lookups.get(user, now)
        if answer is not None:
            self.results["cached"] += 1
            return answer.secret_at(self._wall())
        asked = self._waiting.get(user)
        if asked is not None:
            self.results["cached"] += 1
        elif self._closed or now < self._rest_until or len(self._waiting) >= MOST_WAITING:
            self.results["failed"] += 1
            raise UsersNotLookedUp
        else:
            asked = self._waiting[user] = _Asked(now, now + self._question.timeout)
        asked.tell.append(tell)
        self._leave = False
        self._stirred.set()
        if self._life is None:
            self._begin()
        return None

    def doubt(self, user: str) -> None:
        """Somebody has failed to log in as this one."""
        self._lookups.doubt(user)

    def sweep(self, now: float) -> None:
        """Forget what is too old, and make room where a client needs the place."""
        self._lookups.purge(now)
        if self._asker is not None and (self._database.crowded() or self._asker.connection.is_closed()):
            self.leave()

    def leave(self) -> None:
        """End the connection as soon as nobody waits for an answer."""
        self._leave = True
        self._stirred.set()

    # The life of a connection.

    def _begin(self) -> None:
        self._life = asyncio.get_running_loop().create_task(self._live())

    async def _live(self) -> None:
        try:
            while self._waiting or await self._stirred_again():
                await self._next()
        except (*UNANSWERED, UnusableQuery) as error:
            self._rest_until = self._poller.now + REST
            self._complain(error)
            self._fail_all()
        except Exception as error:
            _log.exception("internal error", handler=repr(self), exc_info=error)
            self._fail_all()
        finally:
            await self._part()
            self._life = None
            if self._waiting and not self._closed:  # came while we parted
                self._begin()

    async def _stirred_again(self) -> bool:
        """Wait for another name; False where there is none for so long, or somebody wants the place."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE):
                while not (self._waiting or self._unwanted()):
                    self._stirred.clear()
                    await self._stirred.wait()
        return bool(self._waiting)

    def _unwanted(self) -> bool:
        """Whether the connection is one no more, or others need its place."""
        return self._asker is None or self._leave or self._database.crowded()

    async def _next(self) -> None:
        """Answer the name that has waited for longest. Raises where nobody can be answered."""
        user, asked = next(iter(self._waiting.items()))
        try:
            async with asyncio.timeout(max(0.0, asked.deadline - self._poller.now)):
                answer = await self._answer(user, asked.deadline)
        except (TimeoutError, asyncpg.PostgresError) as error:
            if self._asker is None:
                raise  # there is no connection to ask anybody else on
            if isinstance(error, TimeoutError):
                self._hang_up()
            self._complain(error)
            self._tell(user, None)
        else:
            self._lookups.put(user, answer, asked.since)
            self._tell(user, answer)

    async def _answer(self, user: str, deadline: float) -> Answer:
        """On the connection that is open, or on a new one where that one is of no use any more."""
        if self._asker is not None and self._poller.now < self._asker.until:
            try:
                return await self._look_up(user)
            except UNANSWERED as error:
                if self._asker is None or not self._asker.worn_out(error):
                    raise
        self._hang_up()
        await self._connect(deadline)
        return await self._look_up(user)

    async def _look_up(self, user: str) -> Answer:
        assert self._asker is not None
        try:
            user.encode()
        except UnicodeEncodeError:  # no text at all
            return self._mocks.answer(user)
        rows, valid_until = await self._asker.ask(user)
        try:
            password = password_of(user, rows)
            if password is not None:
                self._plain = not is_stored(password)
            secret = await self._secret(user, password)
            if secret is not None:
                return Answer(secret, found=True, valid_until=time_of(valid_until))
        except OddAnswer as error:
            repeated(_log, "odd user", "auth_query answered oddly", user=user, reason=str(error))
        return self._mocks.answer(user)

    async def _secret(self, user: str, password: str | None) -> UserSecret | None:
        """What to prove. Where passwords are stretched here, that is done for nobody as well: it takes
        time."""
        if password is None or is_stored(password):
            if self._plain:
                await aside(partial(user_secret, user, "nobody's", self._key))
            if password is None:
                return None
        try:
            if is_stored(password):
                return user_secret(user, password, self._key)
            return await aside(partial(user_secret, user, password, self._key))
        except ValueError as error:
            raise OddAnswer(str(error)) from None

    async def _connect(self, deadline: float) -> None:
        """Have a connection. Every question on it ends by itself: one that hangs must not outlive us."""
        route = self._question.route
        await self._database.lodge()
        try:
            milliseconds = max(1, int(self._question.timeout * 1000))
            at_start = (("statement_timeout", str(milliseconds)),)
            left = max(0.001, deadline - self._poller.now)
            connection = await self._control.connect(route.target, left, at_start)
            try:
                # As servers of pools: its address may have become another server's.
                lifetime = route.server_lifetime or math.inf
                await self._settle(Asker(connection, self._poller.now + lifetime))
            except BaseException:
                connection.terminate()
                raise
        except BaseException:
            self._database.leave()
            raise

    async def _settle(self, asker: Asker) -> None:
        """What has to be known before the first question."""
        connection = asker.connection
        if self._database.unmeasured():
            try:
                self._database.measured(await usable(connection, self._question.timeout))
            except asyncpg.PostgresError as error:
                self._database.not_measured(describe(error))
        ((encryption, iterations),) = await connection.fetch(_MADE_UP)
        self._mocks.learn(encryption, iterations or DEFAULT_ITERATIONS)
        await asker.prepare(self._question.sql)
        self._asker = asker

    def _hang_up(self) -> None:
        """End the connection now."""
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.connection.terminate()
            self._database.leave()

    async def _part(self) -> None:
        """End the connection as one should."""
        if self._asker is not None:
            with contextlib.suppress(*UNANSWERED):
                await self._asker.connection.close(timeout=_PARTING)
            self._hang_up()

    async def close(self) -> None:
        """End everything under way; nobody is told any more."""
        self._closed = True
        self._waiting.clear()
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)

    # Telling.

    def _tell(self, user: str, answer: Answer | None) -> None:
        asked = self._waiting.pop(user)
        wall = self._wall()
        self.results[answer.outcome(wall) if answer is not None else "failed"] += 1
        secret = answer.secret_at(wall) if answer is not None else None
        for tell in asked.tell:
            try:
                tell(secret, None if secret is not None else UsersNotLookedUp())
            except Exception as error:  # that one's own trouble: others wait
                _log.exception("internal error", handler=repr(self), exc_info=error)

    def _fail_all(self) -> None:
        for user in list(self._waiting):
            self._tell(user, None)

    def _complain(self, error: Exception) -> None:
        route = self._question.route
        reason = describe(error)
        if isinstance(error, asyncpg.PostgresError):
            # Not its details, which may be of a row: those hold secrets.
            reason = f"{error.sqlstate}: {error.args[0] if error.args else ''}"
        repeated(
            _log, "auth_query", "auth_query failed", database=route.database, user=route.target.user,
            reason=reason,
        )  # fmt: skip
