"""One logged-in client apart from its messages: its greeting, its parameters, its place in the queue, its
end.

`Client` (client.py) adds the relay. What is here runs once per session or when something goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from poolproxy.backend.server import Server
from poolproxy.backend.sink import Sink
from poolproxy.errors import PoolproxyError, QueryCanceledInQueue, ServerLost, SettingsRefused
from poolproxy.frontend.authorizing import AUTHORIZATION, prove_authorization
from poolproxy.frontend.buffering import NOT_ASKED, take_another_server, used_before
from poolproxy.frontend.discarding import Taken
from poolproxy.frontend.hearing import Hearing
from poolproxy.log import get_logger
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member
from poolproxy.protocol import messages
from poolproxy.protocol.framing import Framer, stop_table
from poolproxy.protocol.notifications import notification, read_notification
from poolproxy.session.assignments import Assignment, literal
from poolproxy.session.lifecycle import (
    CLIENT_ACTIVE,
    CLIENT_CLOSED,
    CLIENT_IDLE,
    CLIENT_LOGIN,
    CLIENT_WAITING,
)
from poolproxy.session.parameters import (
    EMPTY,
    NOTHING_REPORTED,
    ParameterSet,
    Reported,
    apply_assignment,
)
from poolproxy.session.prepared import ClientStatements
from poolproxy.session.statements import Finding
from poolproxy.session.words import NO_WORDS, Words
from poolproxy.transport.stream import Stream

_log = get_logger()

STATUS_IDLE = 0x49

#: Every message is looked at; while a server copies in, CopyData passes.
STOPS = stop_table(b"")
STOPS_COPYING = stop_table(b"d")

#: Sets of startup parameters per pool whose effect is remembered.
MAX_GREETINGS = 1000

#: What a batch is, that a client had sent when it was to be refused (see `ClientSession.give_up`).
WHOLE, UNSYNCED, UNSAFE = range(3)

#: What became of a message (see Client._note).
UNKNOWN, NOTED, HELD, TAKEN = range(4)

#: From (client, the end of its login, what is reported to it) to the bytes that end with ReadyForQuery.
Greeting: TypeAlias = "Callable[[ClientSession, bytes, Reported], bytes]"


class ClientSession(Sink):
    """See the module. Made by the login; `begin` greets it."""

    __slots__ = (
        "_greeting", "_prefix", "_proof", "address", "buffers", "cautious", "connected_at", "controls",
        "discarding", "drew", "framer", "hearing", "key", "last_active", "local", "name", "on_closed",
        "pid", "pool", "prepared", "resets", "server", "session", "startup", "stream", "taking", "unnamed",
        "unnamed_controls", "unnamed_draws", "unnamed_finding", "unnamed_followed", "unnamed_large",
        "unnamed_number", "unnamed_ordinal", "unnamed_turn", "unnamed_words", "vacated", "vanished",
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
        on_closed: Callable[[ClientSession], None],
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
        self.unnamed: bytes | None = None  #: its Parse of the unnamed statement, whole
        self.unnamed_turn = -1  #: the exchange it was parsed in, on the server attached now (Pipeline.turn)
        self.unnamed_followed = -1  #: the exchange that its text was looked at for
        self.unnamed_number = 0  #: its number, also that of having none; 0 = none given
        self.unnamed_ordinal = 0  #: which of that exchange's Parses it was
        self.unnamed_draws = False  #: it may draw from a sequence
        self.unnamed_controls = False  #: it begins or ends a transaction
        self.unnamed_large = False  #: it is too large to be kept, and was not bound yet
        self.unnamed_finding: Finding | None = None  #: what is remarkable about it, by these words:
        self.unnamed_words: Words = NO_WORDS
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

    # Greeting.

    def begin(self, proof: bytes, greeting: Greeting) -> None:
        """Greet the client: at once where it is known what a server reports under its parameters, else when a
        server has told. `greeting(client, proof, reported)` gives the bytes from `proof`, which ends the
        login, to ReadyForQuery."""
        self.pool.move_client(self, CLIENT_IDLE)
        if self.parameters.idle_limit > 0:
            self.pool.idlers.add(self)
        self._proof = proof
        self._greeting = greeting
        if self.pool.session_mode or not self._greet_known():
            self.stream.pause()  # what it sends before it is greeted comes after
            server = self.pool.borrow(self, self.stream.poller.now)
            if server is None:
                self.wait()
            else:
                self.granted(server)

    def _greet_known(self) -> bool:
        known = self.pool.greetings.get(self._asked())
        if known is None:
            return False
        self._greet(known if self.name is None else known.named(self.name))
        return True

    def _asked(self) -> tuple[ParameterSet, bool]:
        """Its parameters but for application_name, which is never refused and differs for every client."""
        return self.parameters.assign("application_name", None), self.name is None

    def _greet(self, reported: Reported) -> None:
        greeting, self._greeting = self._greeting, None
        self.told = reported
        self.stream.eager = False
        if greeting is not None:
            self.stream.send(greeting(self, self._proof, reported))
        self.stream.resume()

    def _remember(self, reported: Reported) -> None:
        """Greet all who wait only to learn this, and all who come."""
        greetings = self.pool.greetings
        if len(greetings) >= MAX_GREETINGS:
            del greetings[next(iter(greetings))]
        asked = self._asked()
        greetings[asked] = reported
        for waiter in [
            w for w in self.pool.waiting if isinstance(w, ClientSession) and w._greeting is not None
        ]:
            waiter._settle_parameters()  # it may have come before anyone knew what init_query leaves
            if waiter._asked() == asked:
                self.pool.move_client(waiter, CLIENT_IDLE)
                waiter._greet_known()

    # With a server.

    def wait(self) -> None:
        """In the queue: nothing is read, but a client that leaves is noticed at once."""
        self.stream.eager = True
        self.stream.pause()

    def granted(self, server: Member) -> None:
        """The server this client waited for. What it had sent is delivered again in a turn of its own."""
        self.stream.eager = False
        self.attach(server)
        if self._greeting is not None:
            # Whoever came before the first server did not know what init_query leaves in it.
            self._settle_parameters()
            if AUTHORIZATION in self.startup.values:
                prove_authorization(self)
            else:
                self.apply_parameters()
        else:
            self.stream.resume()

    def attach(self, server: Member) -> None:
        """`server` is this client's now."""
        assert isinstance(server, Server)
        self.server = server
        self.unnamed_turn = self.unnamed_followed = -1
        self.awaiting = False
        self.buffers = NOT_ASKED
        if self.prepared is not None:
            self.prepared.detach()
        self.server.attach(self, self.stream.poller.now)

    def apply_parameters(self) -> None:
        """Have the attached server take this client's parameters, and wait for its answer."""
        assert self.server is not None
        self.holding = True
        self.server.apply(self.parameters, self._applied)

    def _applied(self, refusal: dict[str, str] | None) -> None:
        """A server holds this client's parameters now, or has refused them."""
        server = self.server
        if server is None:
            return  # it has left meanwhile: the server looks after itself
        if refusal is not None and used_before(refusal) and server.pin in ("", "session_mode"):
            take_another_server(self, server)
        elif refusal is not None:
            self.refuse(refusal)
        elif self._greeting is None:
            self.stream.resume()  # still holding: the exchange that waited for this begins in its own turn
        else:
            self.holding = False
            self._greet(server.reported)
            if not self.pool.session_mode:
                self._remember(server.reported)

    def refuse(self, refusal: dict[str, str]) -> None:
        """PostgreSQL does not take this client's parameters: its own error, as a failed login or session."""
        sqlstate = refusal.get("C", "22023")
        error = messages.error_response_fields(
            "FATAL",
            sqlstate,
            refusal.get("M", "refused without a word"),
            refusal.get("D", ""),
            refusal.get("H", ""),
        )
        self._end_with(error, sqlstate, "its parameters were refused")

    def assigned(self, assignments: tuple[Assignment, ...]) -> None:
        for assignment in assignments:
            self.session = apply_assignment(self.session, assignment)
        self._settle_parameters()

    def _settle_parameters(self) -> None:
        self.parameters = self.session.over(self.startup).over(self.pool.baseline)
        if self.parameters.idle_limit > 0:
            self.pool.idlers.add(self)
        else:
            self.pool.idlers.discard(self)

    def pinned(self, reason: str) -> None:
        if _log.debugs():
            _log.debug("pinned", **self._named(), reason=reason)

    def unpinned(self, reason: str, seconds: float) -> None:
        if _log.debugs():
            _log.debug("unpinned", **self._named(), reason=reason, seconds=round(seconds, 6))

    def hold(self) -> None:
        self.holding = True
        self.stream.pause()

    def let_go(self) -> None:
        self.holding = self.awaiting = False  # what it waited for may have come meanwhile: it looks again
        if self.listening:
            self.tell_heard()
        self.read_on()

    def audited(self, parameters: ParameterSet, role: str) -> None:
        if "role" in self.startup.values and "role" not in parameters.values:
            parameters = parameters.assign("role", literal(role, escape=True))  # it has laid down its own
        self.session = parameters
        self._settle_parameters()

    # Notifications.

    def notified(self, message: bytes) -> None:
        self.pool.counters.notifications += 1
        self.last_active = self.stream.poller.now
        if self.server is not None and self.server.pid != self.pid:
            pid, channel, payload = read_notification(message[5:])
            if pid == self.server.pid:
                message = notification(self.pid, channel, payload)  # its own
        self.write(message, 0, len(message))

    def took(self, channels: frozenset[str], exact: bool) -> bool:
        return self.hearing is not None and self.hearing.took(channels, exact)

    def hear_out(self) -> None:
        if self.hearing is not None:
            self.hearing.fence()

    def tell_heard(self) -> None:
        if self.hearing is not None:
            self.hearing.tell()

    def unlistened(self) -> None:
        if self.hearing is not None:
            self.hearing.forget()

    def statement_failed(self, turn: int, parses: int) -> None:
        # A Parse that failed, or was skipped, leaves no unnamed statement; an error behind it leaves it in
        # place.
        if self.server is not None and turn == self.unnamed_turn and parses <= self.unnamed_ordinal:
            self.forget_unnamed(self.server)

    def forget_unnamed(self, server: Server) -> None:
        """It has no unnamed statement any more, on this server or any other."""
        self.unnamed = None
        self.unnamed_number = server.unnamed_number = 0

    def server_lost(self, told: bool, refusal: dict[str, str] | None) -> None:
        server, self.server = self.server, None
        if server is None:
            return
        if self.hearing is not None:
            self.hearing.stop_sending()
        if self._greeting is not None and refusal is not None:
            self.refuse(refusal)
        elif told or self._in_answer(server):
            # It has had the last word, or is in the middle of one: anything added would be read as part of
            # it.
            self.stream.finish()
            self._leave(
                "its server ended the session" if told else "its server was lost in the middle of an answer"
            )
        elif refusal is None or refusal.get("C", "").startswith("57"):
            self.fail(ServerLost())
        else:
            self.parameters.refused = True
            self._answer_refusal(server, refusal)

    def _in_answer(self, server: Server) -> bool:
        """Whether a message has been passed on to the client in part."""
        return server.framer.rest > 0 and not server.pipeline.skipping()

    def _answer_refusal(self, server: Server, refusal: dict[str, str]) -> None:
        """Its settings were refused and nothing of its exchange was run: an error up to its Sync, where that
        is safe."""
        owed = sum(1 for unit in server.pipeline.units if not unit.skip)
        if owed != 1 or server.pipeline.open or self.controls or self.stream.kept or self.stream.pending:
            self.fail(SettingsRefused(reason=refusal.get("M", "refused without a word")))
            return
        self.pool.move_client(self, CLIENT_IDLE)
        sqlstate = refusal.get("C", "08006")
        self._answer(
            messages.error_response_fields("ERROR", sqlstate, refusal.get("M", "refused without a word")),
            sqlstate,
            WHOLE,
        )

    def read_on(self) -> None:
        """Read the client again, unless there is another reason not to: it waits for a server or for its
        parameters to be taken, or one of the two sockets is full."""
        if self.client_state == CLIENT_WAITING or self.stream.backlog or self.awaiting:
            return
        server = self.server
        if server is not None and (
            server.stream.backlog or (self.holding and (server.fencing or not server.pipeline.quiet()))
        ):
            return
        self.stream.resume()

    # In the queue.

    def waiting(self) -> bool:
        return self.client_state == CLIENT_WAITING

    def cancel_waiting(self) -> None:
        """A cancel request while it waits: it leaves the queue."""
        self.give_up(QueryCanceledInQueue())

    def give_up(self, error: PoolproxyError) -> None:
        """It has waited too long, or was cancelled: an ERROR up to its Sync where the session can go on, that
        is where nothing of what it has sent could run outside the transaction it was meant for (rule 16)."""
        if self._greeting is not None or error.severity == "FATAL":
            self.fail(error)
            return
        asked = self.read_ahead(self.stream.take_kept())
        if asked == UNSAFE or self.stream.pending:
            self.fail(error)
            return
        self.pool.move_client(self, CLIENT_IDLE)
        self._answer(messages.error_response(error), error.sqlstate, asked)

    def read_ahead(self, kept: bytes) -> int:
        """What has been sent and not forwarded: WHOLE (one exchange), UNSYNCED (a batch without its Sync), or
        UNSAFE."""
        raise NotImplementedError

    def _answer(self, error: bytes, sqlstate: str, asked: int) -> None:
        self._count(sqlstate)
        self.stream.eager = False
        self.last_active = self.stream.poller.now
        self.discarding = asked == UNSYNCED
        self.stream.send(error if self.discarding else error + messages.ready_for_query(STATUS_IDLE))
        self.read_on()

    # What the tick asks.

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
