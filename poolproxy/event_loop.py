"""asyncio's event loop, waiting where the data plane waits.

The data plane's epoll holds every socket of clients and servers, and one descriptor more: the epoll of
asyncio's own selector. So the thread sleeps in one place; a client's byte is served there, and asyncio has
its turn only when it has something to do: a descriptor of its own (HTTP, control queries, signals, threads
that have ended), a timer, or a call that the data plane asks for. ARCHITECTURE.md says what that saves.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

from poolproxy.transport.poller import Poller

Arguments = TypeVarTuple("Arguments")


class _Selector(selectors.EpollSelector):
    """Sleeps in the poller. `select` serves the data plane and returns what is ready for asyncio."""

    def __init__(self, poller: Poller) -> None:
        super().__init__()
        self._poller = poller
        poller.watch(self.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """`timeout` in seconds, None: no limit. May return early and empty, as `select` may."""
        if self._poller.wait(-1.0 if timeout is None else max(0.0, timeout)):
            return super().select(0)
        return []

    def close(self) -> None:
        super().close()
        self._poller.close()


class EventLoop(asyncio.SelectorEventLoop):
    """Serves `poller`, and closes it in the end.

    asyncio reckons how long to sleep before it does; whatever the data plane asks for meanwhile ends that
    sleep. Every way to ask, tasks and futures too, goes through `call_soon` and `call_at`;
    `call_soon_threadsafe` writes to a descriptor."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        super().__init__(_Selector(poller))

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's."""
        self._poller.interrupt()
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's."""
        self._poller.interrupt()
        return super().call_at(when, callback, *args, context=context)
