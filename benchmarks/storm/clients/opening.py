"""How a handler gets its session: the address and the choice of client come from the environment variables.

`DATABASE_URL` is where, as people do it; `STORM_CLIENT` is `asyncpg` (default) or `lean`;
`STORM_STATEMENT_CACHE` is how many named statements asyncpg may keep (default 0, for nothing is named then).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from benchmarks.storm.clients import address, full, lean
from benchmarks.storm.clients.errors import SessionError
from benchmarks.storm.clients.holdings import HOLDINGS
from benchmarks.storm.clients.meter import METER
from benchmarks.storm.clients.session import Session, begin, begun

CLIENTS = ("asyncpg", "lean")
TURNED_AWAY = ("53300", "57P03")  #: too_many_connections, cannot_connect_now


@dataclass(frozen=True, slots=True)
class Choice:
    """What the environment variables say."""

    url: str
    client: str
    statement_cache: int

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Choice:
        """Raises ValueError that says which variable is wrong."""
        url = variables.get("DATABASE_URL", "")
        if not url:
            raise ValueError("DATABASE_URL is not set")
        client = variables.get("STORM_CLIENT", "asyncpg")
        if client not in CLIENTS:
            raise ValueError(f"STORM_CLIENT is {client!r}, not one of {', '.join(CLIENTS)}")
        cache = variables.get("STORM_STATEMENT_CACHE", "0")
        if not cache.isdecimal():
            raise ValueError(f"STORM_STATEMENT_CACHE is {cache!r}, not a number of statements")
        return cls(url, client, int(cache))


async def connect() -> Session:
    """A new session, logged in; the meter of the invocation and the holdings of the environment know of it.

    Raises ServerError, ConnectFailed or ProtocolError, and ValueError for wrong variables.
    """
    choice = Choice.read(os.environ)
    meter = METER.get()
    began = time.perf_counter()
    try:
        session = await _open(choice)
    except SessionError as error:
        if meter is not None:
            meter.failed(error)
        raise
    finally:
        seconds = time.perf_counter() - began
        if meter is not None:
            meter.connect_seconds += seconds
    session.opened(seconds)
    if meter is not None:
        meter.connects += 1
    if (holdings := HOLDINGS.get()) is not None:
        holdings.add(session)
    return session


async def _open(choice: Choice) -> Session:
    if choice.client == "lean":
        return await lean.open_session(address.parse(choice.url))
    return await full.open_session(choice.url, choice.statement_cache)


class Held:
    """The one connection of an execution environment: opened when first wanted, anew when it was lost.

    What people keep in a global of their module. A loss that nobody has noticed is found by the statement.
    """

    __slots__ = ("_session",)

    def __init__(self) -> None:
        self._session: Session | None = None

    async def session(self) -> Session:
        """The open session. Raises as `connect` does."""
        if self._session is None or self._session.closed:
            self._session = await connect()
        return self._session

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """`clients.transaction` on the open session, which is another one where BEGIN finds it lost: nothing
        that does anything has been sent then. Once, and not where it was ended because there is no room: who
        asks again at once makes that worse."""
        session = await self.session()
        try:
            await begin(session)
        except SessionError as error:
            if not session.closed or error.sqlstate in TURNED_AWAY:
                raise
            session = await self.session()
            await begin(session)
        async with begun(session):
            yield session
