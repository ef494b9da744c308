"""A grower's surroundings: logins that end when the test says so, a clock it sets, servers played by hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from poolproxy.auth.server_login import ScramKeyCache, ServerGreeting, ServerRefusedLogin
from poolproxy.backend import grower as grower_module
from poolproxy.backend.dialing import Dialer
from poolproxy.backend.grower import Grower
from poolproxy.errors import ServerLoginRefused
from poolproxy.pool.budget import Budget
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member, Waiter
from poolproxy.route import Target
from poolproxy.session.lifecycle import CLIENT_IDLE
from poolproxy.transport.poller import Poller
from poolproxy.transport.stream import Handler, Stream
from tests.fakes.routes import route_of
from tests.support.polling import dialer_of


class Client(Waiter):
    """Waits for a server of its pool, and remembers the one it got."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.server: Any = None
        pool.move_client(self, CLIENT_IDLE)

    def ask(self) -> Client:
        self.server = self.pool.borrow(self, 0.0)
        return self

    def granted(self, server: Member) -> None:
        self.server = server

    def give_back(self) -> None:
        server, self.server = self.server, None
        self.pool.move_client(self, CLIENT_IDLE)
        self.pool.release(server, server.stream.poller.now)


def clients(pool: Pool, count: int) -> list[Client]:
    """So many who ask at once."""
    return [Client(pool).ask() for _ in range(count)]


class Attempt:
    """One login under way."""

    def __init__(self, poller: Poller, target: Target) -> None:
        self.poller = poller
        self.target = target
        self.outcome: asyncio.Future[tuple[Stream, ServerGreeting]] = (
            asyncio.get_running_loop().create_future()
        )
        self.far: socket.socket | None = None


class Timer:
    """What call_later returns."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.over = False

    def cancel(self) -> None:
        self.over = True


class Surroundings:
    """See the module. Replaces `log_in` and the grower's timer, the only one that uses call_later."""

    def __init__(self, poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
        self.poller = poller
        self.open: list[Attempt] = []  #: logins under way, in the order in which they began
        self.begun = 0
        self.delays: list[float] = []  #: of every retry that was planned
        self._timers: list[Timer] = []
        self._fars: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(grower_module, "log_in", self._log_in)
        monkeypatch.setattr(self._loop, "call_later", self._call_later)

    async def _log_in(self, dialer: Dialer, target: Target, *rest: object) -> tuple[Stream, ServerGreeting]:
        attempt = Attempt(dialer.poller, target)
        self.open.append(attempt)
        self.begun += 1
        try:
            return await attempt.outcome
        finally:
            if attempt in self.open:
                self.open.remove(attempt)

    def _call_later(self, delay: float, call: Callable[..., object], *arguments: object) -> Timer:
        self.delays.append(delay)
        self._timers.append(Timer(lambda: call(*arguments)))
        return self._timers[-1]

    async def rest(self) -> None:
        """Every task has had its turn, and every byte has arrived."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def succeed(self, attempt: Attempt | None = None) -> socket.socket:
        """The login (the oldest) works; the far end of the server it made."""
        attempt = attempt or self.open[0]
        self.open.remove(attempt)
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self._fars.append(far)
        stream = Stream(self.poller, near.detach(), Silent())
        stream.pause()
        attempt.outcome.set_result(
            (stream, ServerGreeting({b"server_version": b"18.1"}, self.begun, b"key!"))
        )
        await self.rest()
        return far

    async def fail(self, error: Exception | str, attempt: Attempt | None = None) -> None:
        """The login (the oldest) fails; a text is the SQLSTATE of PostgreSQL's refusal."""
        attempt = attempt or self.open[0]
        self.open.remove(attempt)
        attempt.outcome.set_exception(ServerRefusedLogin(error, "no") if isinstance(error, str) else error)
        await self.rest()

    def due(self) -> bool:
        """Whether a retry is planned."""
        return any(not timer.over for timer in self._timers)

    async def later(self) -> float:
        """The planned retry is due: let as much time pass. How long that was."""
        timer = next(timer for timer in self._timers if not timer.over)
        delay = self.delays[-1]
        self._timers.clear()
        self.poller.now += delay
        timer.call()
        await self.rest()
        return delay

    def close(self) -> None:
        for far in self._fars:
            far.close()


class Silent(Handler):
    """A handler before the server takes over."""

    def on_data(self, buffer: bytearray, end: int) -> None:
        raise AssertionError("a paused stream delivers nothing")

    def on_drained(self) -> None: ...

    def on_lost(self, reason: str) -> None: ...

    def fail(self, error: Exception) -> None: ...


class Stage:
    """One grower, its pools, and what becomes of its attempts."""

    def __init__(self, around: Surroundings, limit: int = 1000) -> None:
        self.around = around
        self.budget = Budget("shop", limit)
        self.refusals: list[tuple[Pool, ServerLoginRefused]] = []
        self.grower = Grower(
            dialer_of(around.poller), self.budget, ScramKeyCache(), lambda pool: False, self._refuse
        )

    def _refuse(self, pool: Pool, problem: ServerLoginRefused) -> None:
        """As the front door does it: whoever waits is told, and waits no more."""
        self.refusals.append((pool, problem))
        for client in list(pool.waiting):
            pool.move_client(client, CLIENT_IDLE)

    def pool(self, **differing: Any) -> Pool:
        return Pool(route_of(**differing), self.grower.need, lambda pool: self.budget.room())
