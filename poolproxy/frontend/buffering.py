"""temp_buffers: a server that has used temporary tables, whoever's, takes no other number of them (rule 18).

So a client that wants a number gets a server that takes it: one that refuses it is closed, and another one,
a new one in the end, has used none. Must not know messages.
"""

from __future__ import annotations

from typing import Final, Protocol, cast

from poolproxy.backend.server import Server
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member, Waiter
from poolproxy.session.lifecycle import CLIENT_IDLE
from poolproxy.session.parameters import TEMP_BUFFERS
from poolproxy.transport.stream import Stream

#: What is known of a server's answer to a text that has not been forwarded.
NOT_ASKED, ASKED, YES = range(3)

#: Refused where a number is fixed already: it cannot be both of these (guc_hooks: check_temp_buffers).
PROBE: Final = b"SET LOCAL temp_buffers = 100; SET LOCAL temp_buffers = 101"

_WHY: Final = "it has used temporary tables, and its next client wants another temp_buffers"


class BorrowingClient(Protocol):
    """What is asked of a client that may need another server (client_session.py says what these are)."""

    stream: Stream
    pool: Pool
    server: Server | None
    holding: bool
    awaiting: bool
    buffers: int
    _prefix: bytes

    def wait(self) -> None:
        """In the queue."""

    def granted(self, server: Member) -> None:
        """Its turn has come."""

    def proceed(self) -> None:
        """Go on with what had to wait."""


def buffers_probed(client: BorrowingClient, server: Server, refusal: dict[str, str] | None) -> None:
    """The answer to PROBE has come."""
    if client.server is not server:
        return  # it has left meanwhile
    if refusal is None:
        client.buffers = YES
        client.holding = True  # or the server would go to somebody else before the text is forwarded
        client.proceed()
    else:
        take_another_server(client, server)


def used_before(refusal: dict[str, str]) -> bool:
    """Whether a server has refused settings because it has used temporary tables."""
    return refusal.get("C") == "22023" and TEMP_BUFFERS in refusal.get("D", "")


def take_another_server(client: BorrowingClient, server: Server) -> None:
    """Nothing of its exchange has been forwarded: it begins anew, on another server."""
    client.server = None
    server.sink = None
    client.holding = client.awaiting = False
    client._prefix = b""
    server.close(_WHY)
    client.pool.move_client(cast(Waiter, client), CLIENT_IDLE)
    another = client.pool.borrow(cast(Waiter, client), client.stream.poller.now)
    if another is None:
        client.wait()
    else:
        client.granted(another)
