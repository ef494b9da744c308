"""The hub: one server connection that listens for all clients of a pool (sessions.md, rule 15).

Clients of a shared server cannot LISTEN on it. The hub listens in their stead, to every channel that one of
them listens to or is about to, and passes notifications on. It has a place in the database's budget like any
server, beside pool_size, while somebody listens. It works in turns, one Query each: all that was asked for
meanwhile. The answer to a turn is a fence as well: whatever was notified before is delivered before it. Must
not know clients but as listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, cast

from poolproxy.backend.server import Server
from poolproxy.backend.sink import Sink
from poolproxy.errors import PoolproxyError
from poolproxy.log import get_logger, repeated
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member
from poolproxy.protocol.notifications import read_notification
from poolproxy.session.assignments import literal
from poolproxy.session.channels import channel, decoded, listen_query, quoted
from poolproxy.session.lifecycle import CLIENT_IDLE, CLIENT_LOGIN
from poolproxy.transport.poller import Poller

_log = get_logger()

#: Seconds a LISTEN waits for the hub to be opened; then its client's own server listens, and is kept.
PATIENCE = 2.0

#: Seconds a hub without listeners is kept.
LINGER = 5.0


class Listener(Protocol):
    """What the hub must know of a client."""

    def answered(self, listening: bool) -> None:
        """To `Hub.ask_for`: whether the hub listens to all of it."""

    def hear(self, pid: int, name: str, body: tuple[bytes, bytes]) -> None:
        """A notification on a channel that it asked for. `pid`: its sender's, as clients know it, or else
        that of the server it came from. `body`: that channel and the payload in the server's encoding."""

    def fenced(self) -> None:
        """To `Hub.fence`: all that was notified before has been heard."""

    def lost(self, listening: bool) -> None:
        """Notifications may have been missed. `listening`: the hub is back; else it has forgotten this
        listener."""


@dataclass(slots=True)
class _Request:
    who: Listener
    spelled: tuple[str, ...]
    deadline: float
    names: frozenset[str] = frozenset()


class Hub(Sink):
    """See the module. `open_pool` makes the pool whose only server is the hub's; `may_open`: its database
    has a place for that. `insistent`: what is lost is opened again, and its listeners are warned; else they
    are told that it is lost."""

    def __init__(
        self,
        home: Pool,
        poller: Poller,
        open_pool: Callable[[], Pool],
        may_open: Callable[[], bool],
        insistent: bool,
    ) -> None:
        super().__init__()
        self.holding = True  # its server is its own
        self.encoding = "UTF8"  #: the server's
        self._home = home
        self._poller = poller
        self._open_pool = open_pool
        self._may_open = may_open
        self._insistent = insistent
        self.pool: Pool | None = None  #: of its server, once there has been one
        self._server: Server | None = None
        self._busy = False
        self._closing = False
        self._idle_since = 0.0
        self._rest_until = 0.0
        self._requests: list[_Request] = []
        self._asked: list[_Request] = []  #: of the turn under way
        self._fences: list[Listener] = []
        self._fenced: list[Listener] = []  #: likewise
        self._unwanted: set[str] = set()
        #: what it listens to -> for whom
        self._channels: dict[str, dict[Listener, None]] = {}
        self._wanted: dict[Listener, set[str]] = {}  #: the same by listener
        #: a server's pid -> its client's, for as long as all that it notifies is of that client
        self.senders: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Hub {self._home.route.database} channels {len(self._channels)} for {len(self._wanted)}>"

    # What listeners ask.

    def ask_for(self, who: Listener, spelled: Iterable[str]) -> None:
        """Listen to these names, as a text spells them. `who.answered` follows, perhaps at once."""
        self._requests.append(_Request(who, tuple(spelled), self._poller.now + PATIENCE))
        if self._server is None:
            self._open()
        self._turn()

    def keep(self, who: Listener, channels: frozenset[str], also: frozenset[str]) -> bool:
        """`who` listens to exactly these now, and `also` may be asked for again. False, and nothing is
        changed, where the hub has not listened to all of them."""
        if not channels <= self._channels.keys():
            return False
        self._forget(who, self._wanted.get(who, set()) - channels - also)
        for name in channels:
            self._channels[name][who] = None
        if channels:
            self._wanted.setdefault(who, set()).update(channels)
        self._turn()
        return True

    def leave(self, who: Listener) -> None:
        """It listens to nothing any more."""
        for requests in (self._requests, self._asked):
            requests[:] = [request for request in requests if request.who is not who]
        for fences in (self._fences, self._fenced):
            fences[:] = [each for each in fences if each is not who]
        self._forget(who, set(self._wanted.get(who, ())))
        self._turn()

    def _forget(self, who: Listener, names: set[str]) -> None:
        mine = self._wanted.get(who)
        if mine is None:
            return
        mine -= names
        if not mine:
            del self._wanted[who]
        for name in names:
            self._channels[name].pop(who, None)
            if not self._channels[name]:
                self._unwanted.add(name)

    def fence(self, who: Listener) -> None:
        """`who.fenced` follows when it has heard all that was notified before now."""
        if self._server is None:
            who.fenced()
        else:
            self._fences.append(who)
            self._turn()

    def listeners(self) -> int:
        """For how many it listens."""
        return len(self._wanted)

    def hears(self) -> bool:
        """Whether there is somebody to tell, and it can be."""
        return self._server is not None and bool(self._wanted)

    # Turns.

    def _turn(self) -> None:
        if self._busy or self._server is None or not (self._requests or self._fences or self._unwanted):
            return
        self._busy = True
        requests, self._requests = self._requests, []
        self._asked = requests
        hard = [name for request in requests for name in request.spelled if channel(name) is None]
        if hard:
            # In the order of asking; ::name cuts what is too long.
            parsed = ", ".join(
                f"(pg_catalog.parse_ident({literal(name, escape=True)}))[1]::pg_catalog.name" for name in hard
            )
            self._server.ask_rows(
                f"SET LOCAL client_encoding = 'UTF8'; SELECT {parsed}".encode("utf-8", "surrogateescape"),
                lambda rows, refusal: self._parsed(requests, hard, rows),
            )
        else:
            self._listen(requests, {})

    def _parsed(self, requests: list[_Request], hard: list[str], rows: list[list[str]]) -> None:
        """PostgreSQL has said what names those are."""
        found = rows[0] if rows else []
        self._listen(requests, dict(zip(hard, found, strict=False)))

    def _listen(self, requests: list[_Request], parsed: dict[str, str]) -> None:
        if self._server is None:
            return
        for request in requests:
            request.names = frozenset(channel(name) or parsed.get(name, "") for name in request.spelled)
        names = {name for request in requests for name in request.names if name}
        gone = {name for name in self._unwanted - names if not self._channels.get(name)}
        self._unwanted.clear()
        for name in gone:
            self._channels.pop(name, None)
        self._fenced, self._fences = self._fences, []
        texts = [b"UNLISTEN " + quoted(name, self.encoding) for name in sorted(gone)]
        if names:
            texts.append(listen_query(names, self.encoding))
        self._server.ask(b"; ".join(texts), self._over)

    def _over(self, refusal: dict[str, str] | None) -> None:
        """A turn has been answered."""
        self._busy = False
        requests, self._asked = self._asked, []
        fences, self._fenced = self._fenced, []
        for request in requests:
            listening = refusal is None and "" not in request.names
            for name in request.names if listening else ():
                self._channels.setdefault(name, {})[request.who] = None
                self._wanted.setdefault(request.who, set()).add(name)
            request.who.answered(listening)
        for who in fences:
            who.fenced()
        self._turn()

    def notified(self, message: bytes) -> None:
        pid, channel, payload = read_notification(message[5:])
        name = decoded(channel, self.encoding)
        pid = self.senders.get(pid, pid)
        for who in list(self._channels.get(name, ())):
            who.hear(pid, name, (channel, payload))

    # Its server.

    def _open(self) -> None:
        if self._poller.now < self._rest_until or not self._may_open():
            return
        if self.pool is None:
            self.pool = self._open_pool()
        if self.client_state == CLIENT_LOGIN:
            self.pool.move_client(self, CLIENT_IDLE)
        if self.client_state == CLIENT_IDLE and self._server is None:
            member = self.pool.borrow(self, self._poller.now)
            if member is not None:
                self.granted(member)

    def granted(self, server: Member) -> None:
        self._server = cast(Server, server)
        self._server.attach(self, self._poller.now)
        self._server.listens = True
        self._idle_since = self._poller.now
        self.encoding = self._server.reported.value_of("server_encoding") or "UTF8"
        # Or one payload that a client's encoding lacks would end it for all (async.c: ExitOnAnyError).
        self._server.ask(f"SET client_encoding = '{self.encoding}'".encode(), None)
        if self._channels:
            names = list(self._channels)
            self._busy = True
            self._server.ask(listen_query(names, self.encoding), lambda refusal: self._back(refusal))
        self._turn()

    def _back(self, refusal: dict[str, str] | None) -> None:
        """After a loss it listens again."""
        for who in list(self._wanted):
            who.lost(refusal is None)
        self._over(None)

    def give_up(self, error: PoolproxyError) -> None:
        """PostgreSQL refuses the login."""
        self._answer_in_vain()

    def _answer_in_vain(self) -> None:
        if self.pool is not None and self._server is None and self.client_state != CLIENT_IDLE:
            self.pool.move_client(self, CLIENT_IDLE)
        requests, self._requests = self._requests, []
        for request in requests:
            request.who.answered(False)

    def server_lost(self, told: bool, refusal: dict[str, str] | None) -> None:
        self._server = None
        self._busy = False
        self._unwanted.clear()
        self._requests = self._asked + self._requests
        self._fences = self._fenced + self._fences
        self._asked, self._fenced = [], []
        assert self.pool is not None
        self.pool.move_client(self, CLIENT_IDLE)
        if self._closing:
            return
        fences, self._fences = self._fences, []
        for who in fences:
            who.fenced()
        self._answer_in_vain()
        if not self._wanted:
            self._channels.clear()
            return
        self._home.counters.hub_losses += 1
        route = self._home.route
        repeated(
            _log, ("hub", route.database), "listening server lost", database=route.database,
            user=route.user, listeners=len(self._wanted),
            effect="warned when it is back" if self._insistent else "disconnected",
        )  # fmt: skip
        if self._insistent:
            self._open()
            return
        listeners = list(self._wanted)
        self._wanted.clear()
        self._channels.clear()
        for who in listeners:
            who.lost(False)

    def sweep(self, now: float) -> None:
        """End what waits in vain; close what nobody needs."""
        if self._server is None:
            if self._requests and now >= self._requests[0].deadline:
                self._answer_in_vain()
            if self._requests or self._wanted:
                self._open()
            if self.pool is not None and self.pool.missing():
                self.pool.on_need(self.pool)
        elif self._wanted or self._requests or self._busy:
            self._idle_since = now
        elif now - self._idle_since >= LINGER:
            self.close("nobody listens any more")

    def rest(self, until: float) -> None:
        """Give its server up, and open none before then: its database is to be left alone. Its listeners are
        told that it is lost, or warned when it is back."""
        self._rest_until = until
        if self._server is not None:
            self._server.close("somebody drops, renames or copies its database")

    def close(self, reason: str) -> None:
        """Close its server, without a word to anybody."""
        self._closing = True
        self._channels.clear()
        if self._server is not None:
            self._server.close(reason)
        self._closing = False

    # What else a server tells whoever it is attached to.

    def exchange_over(self, now: float) -> None:
        pass

    def statement_failed(self, turn: int, parses: int) -> None:
        pass

    def in_message(self) -> bool:
        return False

    def server_drained(self) -> None:
        pass

    def write(self, buffer: bytearray | bytes, start: int, end: int) -> bool:
        return True
