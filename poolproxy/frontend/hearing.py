"""What one client listens to through its pool's hub: from LISTEN to the notifications it gets.

The hub listens before a text with LISTEN is forwarded; the client is one of its listeners from the moment
its commit has shown the channel (the audit asks its server). What comes in between waits. Notifications go
out where PostgreSQL sends them: between exchanges, and ahead of a ReadyForQuery outside a transaction
(sessions.md, rule 15). Made for clients that listen only.
"""

from __future__ import annotations

from typing import Protocol

from poolproxy.backend.hub import Hub
from poolproxy.backend.server import Server
from poolproxy.errors import (
    ListeningServerLost,
    NotificationInconvertible,
    NotificationsUnread,
    PoolproxyError,
)
from poolproxy.pool.pool import Pool
from poolproxy.protocol import messages
from poolproxy.protocol.codes import STATUS_IDLE
from poolproxy.protocol.encodings import Inconvertible, convert
from poolproxy.protocol.notifications import notification
from poolproxy.session.channels import channel, decoded
from poolproxy.session.parameters import Reported
from poolproxy.transport.stream import Stream

#: Bytes of notifications that a client may leave unread, or that may wait for the end of its transaction.
MAX_BEHIND = 4 * 1024 * 1024

#: What a text without LISTEN listens to.
NOTHING = b""

#: The pid of no server.
NOBODY = -1

#: What stands between a client and its next exchange: nothing, a fence of the hub's, one that is passed.
OPEN, CLOSED, PASSED = range(3)

_MISSED = messages.notice_response_fields(
    "WARNING", "01000", "notifications may have been missed: the listening server was lost, and is back"
)


class HearingClient(Protocol):
    """What is asked of a client that listens (client_session.py says what these are)."""

    stream: Stream
    pool: Pool
    server: Server | None
    told: Reported
    pid: int
    last_active: float
    holding: bool
    awaiting: bool
    listening: bool

    def write(self, buffer: bytearray | bytes, start: int, end: int) -> bool:
        """To its socket."""

    def proceed(self) -> None:
        """Go on with what had to wait."""

    def fail(self, error: PoolproxyError) -> None:
        """End the session."""


class Hearing:
    """See the module. It is one of the hub's listeners."""

    __slots__ = (
        "_asked", "_behind", "_client", "_fence", "_heard", "_hub", "_joins", "_kept", "_sender", "_settling",
        "_taken", "channels",
    )  # fmt: skip

    def __init__(self, client: HearingClient, hub: Hub) -> None:
        self.channels: frozenset[str] = frozenset()  #: what it listens to
        self._client = client
        self._hub = hub
        self._asked: tuple[bytes, ...] = ()  #: what the hub has been asked for, as the text spells it
        self._taken: tuple[bytes, ...] = ()  #: what it has answered to
        self._kept: frozenset[str] = frozenset()  #: names in statements that it may run again
        self._heard: list[tuple[str, bytes]] = []  #: what waits for a ReadyForQuery: channels and messages
        self._behind = 0  #: bytes of it
        self._joins = False  #: its transaction under way may end with a channel that is new to it
        self._fence = OPEN  #: ahead of an exchange in such a transaction
        self._sender = 0  #: the pid of a server that notifies for this client alone
        self._settling = 0  #: that of one that will, once what it notified for others has been heard

    # LISTEN.

    def must_wait(self, spelled: tuple[bytes, ...], again: bool) -> bool:
        """Whether a text with LISTEN to these must wait until the hub listens, and all that was notified
        before has been heard. `again`: it may be run more than once. When it need not wait any more the
        client is asked to `proceed`."""
        if self._taken == spelled:
            self._taken = ()
            self._joins = True
            return False
        if self._asked != spelled:
            self._asked = spelled
            names = tuple(decoded(name, self.encoding()) for name in spelled if name != NOTHING)
            if again:
                self._kept |= {found for found in map(channel, names) if found}
            self._hub.ask_for(self, names)
            return self._taken != spelled or self.must_wait(spelled, again)
        return True

    def answered(self, listening: bool) -> None:
        self._taken, self._asked = self._asked, ()
        server = self._client.server
        if server is None or server.pipeline.idle():
            self.tell()
        self._client.proceed()

    def took(self, found: frozenset[str], exact: bool) -> bool:
        """Its server turned out to listen to these: `exact` if that is all there is, else they are new.
        Whether the hub listens in its stead from now on."""
        channels = found if exact else self.channels | found
        if self._hub.keep(self, channels, self._kept):
            self._listen_to(channels)
            return True
        if exact:
            self.forget()  # its server listens to everything
        return False

    def forget(self) -> None:
        """It listens to nothing any more, or its server does it."""
        self._listen_to(frozenset())
        self._hub.keep(self, self.channels, self._kept)

    def _listen_to(self, channels: frozenset[str]) -> None:
        self.channels = channels
        self._set_listening()

    def _set_listening(self) -> None:
        self._client.listening = bool(self.channels) or self._sender > 0

    # Notifications.

    def encoding(self) -> str:
        """The client's."""
        return self._client.told.value_of("client_encoding") or "UTF8"

    def hear(self, pid: int, name: str, body: tuple[bytes, bytes]) -> None:
        client = self._client
        server = client.server
        between = server is None or (
            server.pipeline.idle() and not (server.ready_kept or client.holding or client.awaiting)
        )
        if between and name not in self.channels:
            return
        if server is not None and server.pid == pid:
            pid = client.pid  # its own
        try:
            mine, payload = (convert(part, self._hub.encoding, self.encoding()) for part in body)
        except Inconvertible:
            client.fail(NotificationInconvertible(channel=name, encoding=self.encoding()))
            return
        message = notification(pid, mine, payload)
        if between:
            self._send(message)
        else:
            self._heard.append((name, message))
            self._behind += len(message)
        if self._behind + client.stream.backlog > MAX_BEHIND:
            client.fail(NotificationsUnread(limit=MAX_BEHIND))

    def _send(self, message: bytes) -> None:
        client = self._client
        client.pool.counters.notifications += 1
        client.last_active = client.stream.poller.now
        client.write(message, 0, len(message))

    def hears(self, name: bytes) -> bool:
        """Whether the hub listens to this channel, in the client's encoding, for it."""
        return bool(self.channels) and decoded(name, self.encoding()) in self.channels

    def begin_exchange(self) -> bool:
        """What was heard on channels that it does not listen to yet was not for it. False: not all of that
        has been heard; its exchange may be the one that ends the transaction of its LISTEN, and what was
        committed before is for those who listened before. `proceed` will follow."""
        server = self._client.server
        self._joins = self._joins and server is not None and server.pipeline.status != STATUS_IDLE
        if self._joins and self._fence != PASSED:
            if self._fence == OPEN:
                self._fence = CLOSED
                self._hub.fence(self)
            if self._fence == CLOSED:  # it may have been passed at once
                self._client.awaiting = True
                return False
        self._fence = OPEN
        if self._heard:
            self._heard = [each for each in self._heard if each[0] in self.channels]
            self._behind = sum(len(message) for _, message in self._heard)
        return True

    def tell(self) -> None:
        """Everything that waits goes out now, ahead of a ReadyForQuery."""
        heard, self._heard = self._heard, []
        self._behind = 0
        for name, message in heard:
            if name in self.channels:
                self._send(message)

    def fence(self) -> None:
        """`Server.heard` follows when everything notified before now has been heard."""
        self._hub.fence(self)

    def fenced(self) -> None:
        server = self._client.server
        settling, self._settling = self._settling, 0
        if settling:
            if server is not None and server.pid == settling:
                self._sender = settling
                self._hub.senders[settling] = self._client.pid
                self._set_listening()
            self._client.proceed()
        elif self._fence == CLOSED:
            self._fence = PASSED
            self._client.proceed()
        elif server is not None:
            self.stop_sending()
            server.heard()

    # NOTIFY.

    def sends_from(self, pid: int) -> bool:
        """Whether whatever the server with this pid notifies is this client's. If not, it will be when the
        client is asked to `proceed`, provided that it keeps the server."""
        if self._sender != pid and not self._settling:
            self._settling = pid
            self._hub.fence(self)
        return self._sender == pid

    def stop_sending(self) -> None:
        """All that it has notified has been heard, or its server is not its own any more."""
        if self._settling:
            self._settling = NOBODY
        if self._sender:
            self._hub.senders.pop(self._sender, None)
            self._sender = 0
            self._set_listening()

    def lost(self, listening: bool) -> None:
        if not self.channels:
            return
        if listening:
            self._client.write(_MISSED, 0, len(_MISSED))
        else:
            self._client.fail(ListeningServerLost())

    def close(self) -> None:
        """Its client has left."""
        self.stop_sending()
        self.channels = frozenset()
        self._heard.clear()
        self._hub.leave(self)
