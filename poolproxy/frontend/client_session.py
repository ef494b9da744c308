"""One logged-in client apart from its messages: its greeting, its parameters, its place in the queue.

`Client` (client.py) adds the relay. What is here runs once per session or when something goes wrong.
"""

from __future__ import annotations

from poolproxy.backend.server import Server
from poolproxy.errors import PoolproxyError, QueryCanceledInQueue, ServerLost, SettingsRefused
from poolproxy.frontend.authorizing import AUTHORIZATION, prove_authorization
from poolproxy.frontend.buffering import NOT_ASKED, take_another_server, used_before
from poolproxy.frontend.connection import ClientConnection, Greeting
from poolproxy.log import get_logger
from poolproxy.pool.queue import Member
from poolproxy.protocol import messages
from poolproxy.protocol.notifications import notification, read_notification
from poolproxy.session.assignments import Assignment, literal
from poolproxy.session.lifecycle import (
    CLIENT_IDLE,
    CLIENT_WAITING,
)
from poolproxy.session.parameters import (
    ParameterSet,
    Reported,
    apply_assignment,
)

_log = get_logger()

STATUS_IDLE = 0x49

#: Sets of startup parameters per pool whose effect is remembered.
MAX_GREETINGS = 1000

#: What a batch is, that a client had sent when it was to be refused (see `ClientSession.give_up`).
WHOLE, UNSYNCED, UNSAFE = range(3)

#: What became of a message (see Client._note).
UNKNOWN, NOTED, HELD, TAKEN = range(4)


class ClientSession(ClientConnection):
    """See the module. Made by the login; `begin` greets it."""

    __slots__ = ()

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
        if self.unnamed is not None:
            self.unnamed.turn = self.unnamed.followed = -1
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
        pid, channel, payload = read_notification(message[5:])
        if self.hearing is not None and self.hearing.hears(channel):
            return  # so it did before its server had to listen for itself: the hub tells it
        self.pool.counters.notifications += 1
        self.last_active = self.stream.poller.now
        if self.server is not None and pid == self.server.pid != self.pid:
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
        unnamed, server = self.unnamed, self.server
        if unnamed is None or server is None:
            return
        if turn == unnamed.turn and parses <= unnamed.ordinal:
            self.forget_unnamed(server)

    def forget_unnamed(self, server: Server) -> None:
        """It has no unnamed statement any more, on this server or any other."""
        if self.unnamed is not None:
            self.unnamed.forget()
        server.unnamed_number = 0

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

    def on_lost(self, reason: str) -> None:
        """Whoever leaves frees its place in the queue. But what came together with its Terminate is run, as
        PostgreSQL runs it, whether anybody is there or not (sessions.md, rule 23)."""
        if self.client_state == CLIENT_WAITING and self.terminates(self.stream.look_at_kept()):
            self.stream.eager = False
        else:
            ClientConnection.on_lost(self, reason)

    def terminates(self, said: bytes) -> bool:
        """Whether these are whole messages, the last of several a Terminate."""
        raise NotImplementedError

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
