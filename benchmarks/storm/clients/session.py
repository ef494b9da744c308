"""A session as a handler sees it: the face that both clients have, and the metering of it.

Must not know which client it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from benchmarks.storm.clients.errors import CommitRefused, SessionError
from benchmarks.storm.clients.meter import METER

T = TypeVar("T")

Row: TypeAlias = "tuple[Any, ...]"


class Session(ABC):
    """One connection, logged in. One statement at a time; every statement is an exchange of its own.

    Statements have `$1`, `$2` as PostgreSQL has them, and raise SessionError: `ServerError` with its
    SQLSTATE, `ConnectionLost` when the connection ended without a word.
    """

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: float | None = None  # seconds towards the first answer; None once it has come

    def opened(self, seconds: float) -> None:
        """Its connect took so many seconds: the first answer is counted from there."""
        self._first = seconds

    async def execute(self, sql: str, *args: object) -> str:
        """Run a statement and drop its rows; returns the command tag, such as `INSERT 0 1`."""
        tag = await self._metered(self._execute, sql, args)
        if tag == "COMMIT" and (meter := METER.get()) is not None:
            meter.commits += 1
        return tag

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """Run a statement and return its rows."""
        return await self._metered(self._fetch, sql, args)

    async def _metered(
        self, ask: Callable[[str, Sequence[object]], Awaitable[T]], sql: str, args: Sequence[object]
    ) -> T:
        meter = METER.get()
        began = time.perf_counter()
        answered = False
        try:
            answer = await ask(sql, args)
            answered = True
            return answer
        except SessionError as error:
            if meter is not None:
                meter.failed(error)
            raise
        except asyncio.CancelledError:
            self._given_up()
            raise
        finally:
            seconds = time.perf_counter() - began
            if self._first is not None:
                self._first += seconds
                if answered:
                    if meter is not None:
                        meter.first_answers.append(self._first)
                    self._first = None
            if meter is not None:
                meter.statements += answered
                meter.statement_seconds += seconds

    @abstractmethod
    def _execute(self, sql: str, args: Sequence[object]) -> Awaitable[str]: ...

    @abstractmethod
    def _fetch(self, sql: str, args: Sequence[object]) -> Awaitable[list[Row]]: ...

    @abstractmethod
    def _given_up(self) -> None:
        """Whoever waited for the answer under way was cancelled."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether it is over, as far as this side knows. A cut that has not been read yet is not known."""

    @abstractmethod
    async def close(self) -> None:
        """Say goodbye (Terminate) and close. Harmless when repeated; raises nothing."""

    @abstractmethod
    def abort(self) -> None:
        """Close without a goodbye, mid-statement if need be, as the kernel does for a killed process."""

    @abstractmethod
    def freeze(self) -> None:
        """Do not read the socket until `thaw`."""

    @abstractmethod
    def thaw(self) -> None:
        """Read again."""


@contextlib.asynccontextmanager
async def transaction(session: Session) -> AsyncIterator[None]:
    """`BEGIN`, the body, `COMMIT`: each an exchange of its own. An exception in the body sends ROLLBACK.

    Left without an exception, the transaction is committed, and the server has said so. Raises CommitRefused
    where the server answers COMMIT by ROLLBACK, which it does without an error when a statement had failed.
    A task that is cancelled sends nothing: its environment is being killed.
    """
    await begin(session)
    async with begun(session):
        yield


@contextlib.asynccontextmanager
async def begun(session: Session) -> AsyncIterator[None]:
    """The same of a transaction that has begun: the body, `COMMIT`."""
    try:
        yield
    except Exception:
        if not session.closed:
            with contextlib.suppress(SessionError):  # what the body raised says more
                await session.execute("ROLLBACK")
        raise
    tag = await session.execute("COMMIT")
    if tag != "COMMIT":
        raise CommitRefused(f"COMMIT was answered by {tag}")


async def begin(session: Session) -> None:
    """Send BEGIN; the meter of the invocation knows how long that took."""
    began = time.perf_counter()
    try:
        await session.execute("BEGIN")
    finally:
        if (meter := METER.get()) is not None:
            meter.begin_seconds += time.perf_counter() - began
