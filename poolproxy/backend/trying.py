"""Whether PostgreSQL takes what a client has brought - a token of IAM, say - by trying it there, once.

A client shows its token over TLS and we log in with it as that user. What a server has taken is believed
until it expires, by a hash of it: then a storm of clients with one token costs one login. Must not know
clients.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

from poolproxy.auth.server_login import RefusedByUs, ScramKeyCache, ServerRefusedLogin
from poolproxy.backend.connecting import describe, log_in
from poolproxy.backend.dialing import Dialer
from poolproxy.errors import AuthenticationFailed, PoolproxyError, TokenNotTried, UnexpectedServerAnswer
from poolproxy.log import get_logger, repeated
from poolproxy.protocol.auth_methods import NONE
from poolproxy.route import Route, Target

_log = get_logger()

#: Logins under way at once, and clients that may wait for one of theirs: they are bounded apart from servers.
MAX_AT_ONCE: Final = 8
MAX_WAITING: Final = 1000

#: Tokens believed at the same time.
MAX_KNOWN: Final = 10_000

#: Seconds for which what says nothing of its end is believed, and the most of what does: RDS signs for 15
#: minutes.
PLAIN_LIFETIME: Final = 60.0
LONGEST_LIFETIME: Final = 900.0

#: When a token was signed, and for how many seconds (AWS Signature Version 4: query parameters).
_SIGNED: Final = re.compile(r"[?&]X-Amz-Date=(\d{8}T\d{6}Z)(?:&|$)")
_LASTS: Final = re.compile(r"[?&]X-Amz-Expires=(\d{1,6})(?:&|$)")

#: What a server says of a wrong password, and of a role or a database that is not there.
_WRONG: Final = ("28", "3D")

#: None: it is taken.
Done = Callable[[PoolproxyError | None], None]

#: Where and as whom, and a hash of the token.
_Index = tuple[Target, bytes]


class Trials:
    """See the module."""

    def __init__(self, dialer: Dialer, clock: Callable[[], float] = time.time) -> None:
        self._dialer = dialer
        self._clock = clock
        self._key = os.urandom(32)
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._believed: OrderedDict[_Index, float] = OrderedDict()  #: until when, wall clock
        self._waiting: dict[_Index, list[Done]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Trials {len(self._believed)} believed, {len(self._waiting)} under way>"

    def ask(self, route: Route, token: str, done: Done) -> bool:
        """Whether this user's token is known to be good. If not, it is tried, and `done` is told. Raises
        TokenNotTried where too many wait already."""
        index = self._index(route, token)
        until = self._believed.get(index)
        if until is not None and self._clock() < until:
            return True
        waiting = self._waiting.get(index)
        if waiting is not None:
            waiting.append(done)
            return False
        if len(self._waiting) >= MAX_WAITING:
            raise TokenNotTried(reason="too many logins are waiting for theirs")
        self._waiting[index] = [done]
        task = asyncio.get_running_loop().create_task(self._try(index, route, token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return False

    def _index(self, route: Route, token: str) -> _Index:
        """Of this user's token on this server, reached and asked just so: what a server has taken that need
        prove nothing is not believed where it must. No token, and nobody else's."""
        digest = blake2b(token.encode("utf-8", "surrogateescape"), key=self._key, digest_size=32)
        return replace(route.target, user=route.user, password=None, provider=None), digest.digest()

    async def _try(self, index: _Index, route: Route, token: str) -> None:
        problem: PoolproxyError | None = None
        try:
            async with asyncio.timeout(route.server_connect_timeout), self._places:
                await self._log_in(route, token)
        except ServerRefusedLogin as refusal:
            problem = self._refused(route, refusal)
        except (OSError, UnexpectedServerAnswer) as error:
            problem = self._not_tried(route, describe(error))
        else:
            self._believe(index, token)
        finally:
            waiting = self._waiting.pop(index, [])
        for done in waiting:  # each in a turn of its own: what one raises is no affair of the others
            asyncio.get_running_loop().call_soon(done, problem)

    async def _log_in(self, route: Route, token: str) -> None:
        # As the client's own user, whoever pools log in as: it is his token. A server that asks for nothing
        # has taken nothing. A cache of its own: tokens pass by.
        target = replace(
            route.target,
            user=route.user,
            password=token,
            provider=None,
            methods=route.target.methods - {NONE},
        )
        stream, _ = await log_in(self._dialer, target, ScramKeyCache(1))
        stream.close()

    def _refused(self, route: Route, refusal: ServerRefusedLogin) -> PoolproxyError:
        if not refusal.sqlstate.startswith(_WRONG):
            return self._not_tried(route, refusal.message)
        if isinstance(refusal, RefusedByUs):
            # The client hears what it hears of a wrong one: whom PostgreSQL asks how is not its affair.
            self._not_tried(route, refusal.message)
        return AuthenticationFailed(user=route.user)

    def _not_tried(self, route: Route, reason: str) -> PoolproxyError:
        repeated(_log, ("token", route.database), "token not tried", database=route.database, reason=reason)
        return TokenNotTried(reason="PostgreSQL cannot be asked now")

    def _believe(self, index: _Index, token: str) -> None:
        now = self._clock()
        self._believed[index] = min(expiry(token, now), now + LONGEST_LIFETIME)
        self._believed.move_to_end(index)
        if len(self._believed) > MAX_KNOWN:
            self._believed.popitem(last=False)

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def expiry(token: str, now: float) -> float:
    """Until when it is worth something, Unix time."""
    signed, lasts = _SIGNED.search(token), _LASTS.search(token)
    if signed is None or lasts is None:
        return now + PLAIN_LIFETIME
    try:
        begun = datetime.strptime(signed[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return now + PLAIN_LIFETIME
    return begun + int(lasts[1])
