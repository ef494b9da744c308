"""Passing a cancel request on to PostgreSQL, and waiting until it can do no more harm.

A request is a connection of its own (manual 54.2.9): PostgreSQL closes it when the signal has been sent.
Until then the server is not handed out and not asked anything, so the signal cannot hit another query
(measured: 0 of 1,500).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from poolproxy.backend.connecting import describe
from poolproxy.backend.dialing import Dialer, NoTls
from poolproxy.backend.server import Server
from poolproxy.errors import PoolproxyError, UnexpectedServerAnswer
from poolproxy.log import get_logger, repeated
from poolproxy.protocol import messages
from poolproxy.transport.stream import Handler, Stream
from poolproxy.transport.tls_stream import TlsStream

_log = get_logger()

#: Seconds a cancel connection may take in all, and how many may be open at once (they are bounded apart from
#: servers).
TIMEOUT = 10.0
MAX_AT_ONCE = 32

#: Seconds between two looks at a server that is answering a Query of ours.
SKIP_PAUSE = 0.001


class Canceller:
    """Forwards cancel requests, a bounded number at a time; `count(result)` hears of each: forwarded or
    failed."""

    def __init__(self, dialer: Dialer, count: Callable[[str], None]) -> None:
        self._dialer = dialer
        self._count = count
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def cancel(self, server: Server) -> None:
        """Ask PostgreSQL to cancel what `server` runs; `server.cancel_over` follows."""
        if server.cancelling:
            self._count("forwarded")  # one on its way will do
            return
        if not server.key:
            self._count("failed")  # the server has given no key: it takes no cancel requests
            return
        server.cancelling += 1
        task = asyncio.get_running_loop().create_task(self._run(server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, server: Server) -> None:
        stream: Stream | None = None
        try:
            async with asyncio.timeout(TIMEOUT), self._places:
                stream = await self._dial(server)
                while server.pipeline.skipping() and not (server.discarding or server.stream.closed):
                    await asyncio.sleep(
                        SKIP_PAUSE
                    )  # it must not hit the settings that go ahead of the query (rule 21)
                if not server.pipeline.quiet() and not server.stream.closed:
                    await self._send(stream, server)
            self._count("forwarded")
        except (OSError, UnexpectedServerAnswer) as error:
            self._failed(server, error, stream is not None)
        finally:
            if stream is not None:
                stream.close()
            server.cancel_over()

    async def _dial(self, server: Server) -> Stream:
        """As the server's own connection was made: its key must not be read where nothing else can be."""
        encrypted = isinstance(server.stream, TlsStream)
        line = await self._dialer.dial(server.pool.route.target, encrypted)
        if line.encrypted is not encrypted:
            line.stream.close()
            raise NoTls("the server has no TLS any more")
        return line.stream

    def _failed(self, server: Server, error: OSError | UnexpectedServerAnswer, sent: bool) -> None:
        self._count("failed")
        route = server.pool.route
        repeated(
            _log, ("cancel", route.database), "cancel failed", database=route.database, reason=describe(error)
        )
        if sent:
            # Whether and when PostgreSQL will act on it is not known: this server must not run anything else.
            server.close("a cancel request to it could not be completed")

    async def _send(self, stream: Stream, server: Server) -> None:
        end = _End()
        stream.handler = end
        stream.resume()
        stream.send(messages.cancel_request(server.pid, server.key))
        await end.reached

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _End(Handler):
    """Waits for the end of a connection; what is said on it is of no interest."""

    def __init__(self) -> None:
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_data(self, buffer: bytearray, end: int) -> None:
        """A request is answered by the end alone."""

    def on_drained(self) -> None:
        """Nothing waits for it."""

    def on_lost(self, reason: str) -> None:
        if self.reached.done():
            return
        if reason == "eof":
            self.reached.set_result(None)
        else:
            self.reached.set_exception(ConnectionError(reason))

    def fail(self, error: PoolproxyError) -> None:
        self.on_lost(error.message)
