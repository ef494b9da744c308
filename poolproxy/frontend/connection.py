"""One logged-in client as a connection: what is known of it, what the sweep asks of it, how it ends.

Must not know how it gets a server (client_session.py). Compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from poolproxy.backend.server import Server
from poolproxy.backend.sink import Sink
from poolproxy.errors import PoolproxyError
from poolproxy.frontend.discarding import Taken
from poolproxy.frontend.hearing import Hearing
from poolproxy.log import get_logger
from poolproxy.pool.pool import Pool
from poolproxy.protocol import messages
from poolproxy.protocol.framing import Framer, stop_table
from poolproxy.session.lifecycle import (
    CLIENT_ACTIVE,
    CLIENT_CLOSED,
    CLIENT_IDLE,
    CLIENT_LOGIN,
)
from poolproxy.session.parameters import (
    EMPTY,
    NOTHING_REPORTED,
    ParameterSet,
    Reported,
)
from poolproxy.session.prepared import ClientStatements
from poolproxy.session.unnamed import Unnamed
from poolproxy.transport.stream import Stream

_log = get_logger()

STATUS_IDLE = 0x49

#: Every message is looked at; while a server copies in, CopyData passes.
STOPS = stop_table(b"")
STOPS_COPYING = stop_table(b"d")

#: From (client, the end of its login, what is reported to it) to the bytes that end with ReadyForQuery.
Greeting: TypeAlias = "Callable[[ClientConnection, bytes, Reported], bytes]"


class ClientConnection(Sink):
    """See the module. Made by the login."""

    __slots__ = (
        "_greeting", "_prefix", "_proof", "address", "buffers", "cautious", "connected_at", "controls",
        "discarding", "drew", "framer", "hearing", "key", "last_active", "local", "name", "on_closed",
        "pid", "pool", "prepared", "resets", "server", "session", "startup", "stream", "taking", "unnamed",
        "vacated", "vanished",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        pool: Pool,
        startup: ParameterSet,
        name: bytes | None,
        address: object,
        key: bytes,
        now: float,
        on_closed: Callable[[ClientConnection], None],
    ) -> None:
        # What the classes above begin with, without a call of theirs: it is 1 us of every login.
        self._ahead = self._behind = None
        self.client_state = CLIENT_LOGIN
        self.waiting_since = 0.0
        self.overtaken = 0
        self.told = NOTHING_REPORTED
        self.holding = self.awaiting = self.listening = False
        self.hearing: Hearing | None = None  #: what it listens to; None = it never has
        self.stream = stream
        self.pool = pool
        if startup is not EMPTY:
            startup = pool.spellings.spelled(startup)
        self.startup = startup  #: what the startup message asked for
        self.name = name  #: the application_name it came with, as PostgreSQL reports it; None = none
        self.session = EMPTY  #: what SET has assigned since
        self.parameters = startup.over(pool.baseline)  #: what a server must hold for this client
        self.address = address  #: its str() is for people
        self.pid = 0  #: what the client believes its server's pid is
        self.key = key  #: its cancel key
        self.connected_at = now
        self.last_active = now
        self.on_closed = on_closed
        self.server: Server | None = None
        self.framer = Framer(STOPS)
        self.unnamed: Unnamed | None = None  #: its unnamed statement; None = it has had none
        self.prepared: ClientStatements | None = None  #: its named statements; None = it has had none
        self.local = False  #: its transaction under way may read texts in another way than its parameters say
        self.cautious = False  #: see statements.Scanner
        self.drew = False  #: its transaction under way may have drawn from a sequence
        self.controls = False  #: the exchange under way begins or ends a transaction, by its text
        self.buffers = 0  #: whether its server takes temp_buffers (see frontend/buffering.py)
        self.vacated: tuple[str, ...] = ()  #: databases that have been vacated for what it sends next
        self.vanished = False  #: its connection has ended without a Terminate
        self.discarding = False  #: its batch was refused: nothing counts before its Sync
        self.resets: tuple[str, ...] | None = None  #: settings that what is being forwarded resets
        self.taking: Taken | None = None  #: what is being read and done in another way than by forwarding it
        self._prefix = b""  #: goes out ahead of the next bytes
        self._proof = b""  #: goes ahead of its greeting
        self._greeting: Greeting | None = None

    def __repr__(self) -> str:
        server = f" on {self.server.pid}" if self.server is not None else ""
        route = self.pool.route
        return f"<Client {self.address} {route.database}/{route.user} state {self.client_state}{server}>"

    def _named(self) -> dict[str, str]:
        """Who this is, in a log line."""
        route = self.pool.route
        name = self.told.name()
        return {
            "client": str(self.address),
            "database": route.database,
            "user": route.user,
            "application_name": name,
        }

    # What the sweep asks.

    def idle_in_transaction(self) -> bool:
        """Whether it holds a server in an open transaction and has nothing under way."""
        if self.server is None or self.client_state != CLIENT_ACTIVE:
            return False
        pipeline = self.server.pipeline
        return (
            pipeline.owed() == 0
            and not pipeline.copying_in
            and not self.awaiting
            and (pipeline.open or pipeline.status != STATUS_IDLE)
        )

    def idle_too_long(self, now: float) -> bool:
        """Whether it holds no server, which would see to that itself, and says nothing for longer than its
        own idle_session_timeout (sessions.md, rule 20)."""
        return (
            self.client_state == CLIENT_IDLE
            and not (self.awaiting or self.holding or self.discarding)
            and now - self.last_active >= self.parameters.idle_limit
        )

    def idle_outside_transaction(self) -> bool:
        """Whether it holds no server, or (pinned, in session mode) one that does nothing for it and is in no
        transaction."""
        if self.server is None:
            return self.client_state == CLIENT_IDLE
        return (
            self.server.pipeline.quiet() and self.server.pipeline.status == STATUS_IDLE and not self.holding
        )

    def closed(self) -> bool:
        return self.client_state == CLIENT_CLOSED

    # The end.

    def on_lost(self, reason: str) -> None:
        self.vanished = True
        self.close("connection lost: " + reason)

    def fail(self, error: PoolproxyError) -> None:
        """End the session with an error, told as FATAL whatever its own severity."""
        self._end_with(
            messages.error_response_fields("FATAL", error.sqlstate, error.message, "", error.hint),
            error.sqlstate,
            error.message,
        )

    def _count(self, sqlstate: str) -> None:
        errors = self.pool.counters.errors
        errors[sqlstate[:2]] = errors.get(sqlstate[:2], 0) + 1

    def _end_with(self, error: bytes, sqlstate: str, reason: str) -> None:
        if self.client_state != CLIENT_CLOSED:
            self._count(sqlstate)
            if self.server is None or not self._in_answer(self.server):
                self.stream.send(error)
            self.stream.finish()
            self._leave(reason)

    def close(self, reason: str) -> None:
        """End the session without another word."""
        if self.client_state != CLIENT_CLOSED:
            self.stream.close()
            self._leave(reason)

    def _leave(self, reason: str) -> None:
        """Its stream has been told to end; `on_closed` sees whether it still has something to say."""
        self.pool.move_client(self, CLIENT_CLOSED)
        self.pool.idlers.discard(self)
        if self.hearing is not None:
            self.hearing.close()
        server, self.server = self.server, None
        if server is not None:
            server.abandon(self.framer.rest > 0, self.vanished)
        if _log.informs():
            seconds = round(self.stream.poller.now - self.connected_at, 3)
            _log.info("client disconnected", **self._named(), reason=reason, seconds=seconds)
        self.on_closed(self)

    def _in_answer(self, server: Server) -> bool:
        """Whether a message has been passed on to the client in part."""
        return server.framer.rest > 0 and not server.pipeline.skipping()
