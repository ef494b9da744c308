"""One client's bytes on their way to its server, behind what must go ahead of them.

Must not know what they mean (texts.py, client.py). Compiled.
"""

from __future__ import annotations

from poolproxy.backend.server import Server
from poolproxy.frontend.client_session import ClientSession

#: More than this is not gathered with what goes ahead of it, but sent at once.
GATHERED = 16384


class ForwardingClient(ClientSession):
    """See the module."""

    __slots__ = ()

    def _forward(self, server: Server, buffer: bytearray, start: int, end: int) -> None:
        """Send buffer[start:end] to the server, behind what must go ahead of it; stop reading while it is
        full."""
        if start >= end and not self._prefix:
            return
        self.last_active = self.stream.poller.now
        self.pool.counters.bytes_received += end - start
        if self._prefix:
            data = self._prefix + self.stream.copy(start, end)
            self._prefix = b""
            taken = server.stream.write(data, 0, len(data))
        else:
            taken = server.stream.write(buffer, start, end)
        if not taken:
            self.stream.pause()

    def _gather(self, server: Server, buffer: bytearray, start: int, end: int) -> None:
        """buffer[start:end] goes out ahead of what will be put behind it, with it where it is little."""
        if end - start > GATHERED:
            self._forward(server, buffer, start, end)
        elif start < end:
            self.pool.counters.bytes_received += end - start
            self._prefix += self.stream.copy(start, end)

    def _gather_behind(self, server: Server, buffer: bytearray, start: int, end: int, ahead: int) -> None:
        """Only the first `ahead` bytes of what has been gathered go ahead of buffer[start:end]: the rest is
        for what comes then."""
        rest = self._prefix[ahead:]
        self._prefix = self._prefix[:ahead]
        self._gather(server, buffer, start, end)
        self._prefix += rest

    def _stop(self, server: Server, position: int, end: int) -> None:
        """The rest of what has been read waits until more answers have come."""
        self._forward(server, self.stream.poller.buffer, position, position)
        self.stream.keep(position, end)
        self.stream.pause()

    def _give_back(self, server: Server) -> None:
        """It waits for something else than this server, which may not be in use at all."""
        if self.awaiting and server.pipeline.quiet():
            server.review()
