"""A poller inside a test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from poolproxy.backend.dialing import Dialer
from poolproxy.errors import PoolproxyError
from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.sockets import TcpOptions
from poolproxy.transport.stream import Stream
from poolproxy.transport.workers import Workers


def _broken(pollable: Pollable, error: Exception) -> None:
    """As the app does it; what is not an error of ours shows as its text."""
    assert isinstance(pollable, Stream)
    pollable.handler.fail(error if isinstance(error, PoolproxyError) else PoolproxyError())


@contextlib.asynccontextmanager
async def served_poller() -> AsyncIterator[Poller]:
    """Served by the loop whenever it has something to do, and only then: tests set its clock."""
    poller = Poller(_broken)
    loop = asyncio.get_running_loop()

    def turn() -> None:
        poller.wait(0.0)

    async def serve_pending() -> None:
        while True:
            if poller.pending:
                turn()
            await asyncio.sleep(0)  # no timer: tests play those of the code under test

    loop.add_reader(poller.fileno(), turn)
    serving = asyncio.create_task(serve_pending())
    try:
        yield poller
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        loop.remove_reader(poller.fileno())
        poller.close()


def dialer_of(poller: Poller) -> Dialer:
    """What connects to servers in this loop."""
    workers = Workers(2, asyncio.get_running_loop().call_soon_threadsafe)
    return Dialer(poller, TcpOptions(), workers)
