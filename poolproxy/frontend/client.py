"""One logged-in client: forwards what it asks to a server it borrows, and takes answers as that server's sink.

The first message of an exchange borrows a server; the pool takes it back when nothing is owed. What the client sends
is told to the server's pipeline, and each statement's text is looked at once (session.statements): a plain SET is
followed, anything else that may leave state pins the server. Compiled: `on_data` runs once per chunk.
"""

from __future__ import annotations

from collections.abc import Callable

from poolproxy.backend.server import Server, Sink
from poolproxy.errors import (
    PoolFull,
    PoolproxyError,
    ProtocolViolation,
    QueryCanceledInQueue,
    ServerLost,
    SettingsRefused,
)
from poolproxy.log import get_logger
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member
from poolproxy.protocol import messages
from poolproxy.protocol.framing import NOTHING, PARTIAL, Framer, stop_table, string_end
from poolproxy.session.assignments import Assignment
from poolproxy.session.lifecycle import CLIENT_ACTIVE, CLIENT_CLOSED, CLIENT_IDLE, CLIENT_WAITING
from poolproxy.session.parameters import EMPTY, ParameterSet, Reported, apply_assignment, fragment_of
from poolproxy.session.statements import Finding, Scanner
from poolproxy.transport.stream import KEEP_LIMIT, Stream

_log = get_logger()

STATUS_IDLE = 0x49

# Message types (protocol/codes.py has them all; compiled code needs them as C integers).
QUERY = 0x51
PARSE = 0x50
BIND = 0x42
DESCRIBE = 0x44
EXECUTE = 0x45
CLOSE = 0x43
SYNC = 0x53
FLUSH = 0x48
FUNCTION_CALL = 0x46
COPY_DATA = 0x64
COPY_DONE = 0x63
COPY_FAIL = 0x66
TERMINATE = 0x58

_STOPS = stop_table(b"d")
_STOPS_DETACHED = stop_table(b"")

#: Enough of a Bind to read the names it begins with.
BIND_HEAD = 1024

#: Sets of startup parameters per pool whose effect is remembered.
MAX_GREETINGS = 1000

#: Functions that a FunctionCall may call without leaving session state: large objects (pg_proc.dat: lo_*).
_HARMLESS_FUNCTIONS = frozenset({715, 764, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460})

#: Pins under which the server's settings are the client's own business: nothing is replayed.
_UNTRACKED = frozenset({"setting", "role", "code", "function_call", "large_text", "unclear"})

_scanner = Scanner()


class Client(Sink):
    """See the module. Made by the login; `begin` greets it."""

    __slots__ = (
        "_greeting", "_prefix", "address", "connected_at", "controls", "framer", "key", "last_active", "on_closed", "parameters", "pid",
        "name", "pool", "server", "session", "startup", "stream", "unnamed",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        pool: Pool,
        startup: ParameterSet,
        name: bytes | None,
        address: str,
        key: bytes,
        now: float,
        on_closed: Callable[[Client], None],
    ) -> None:
        super().__init__()
        self.stream = stream
        self.pool = pool
        self.startup = startup  #: what the startup message asked for
        self.name = name  #: the application_name it came with, as PostgreSQL reports it; None = none
        self.session = EMPTY  #: what SET has assigned since
        self.parameters = startup.over(pool.baseline)  #: what a server must hold for this client
        self.address = address
        self.pid = 0  #: what the client believes its server's pid is
        self.key = key  #: its cancel key
        self.connected_at = now
        self.last_active = now
        self.on_closed = on_closed
        self.server: Server | None = None
        self.framer = Framer(_STOPS_DETACHED)
        self.unnamed: bytes | None = None  #: its last Parse of the unnamed statement, whole
        self.controls = False  #: the exchange under way begins or ends a transaction, as far as its text shows
        self._prefix = b""  #: goes out ahead of the next bytes
        self._greeting: Callable[[Client, Reported], bytes] | None = None

    def __repr__(self) -> str:
        server = f" on {self.server.pid}" if self.server is not None else ""
        return f"<Client {self.address} {self.pool.route.database}/{self.pool.route.user} state {self.client_state}{server}>"

    # Login.

    def begin(self, greeting: Callable[[Client, Reported], bytes]) -> None:
        """Greet the client: at once where it is known what a server reports under its parameters, else when a server
        has told. `greeting(client, reported)` gives the bytes from AuthenticationOk to ReadyForQuery."""
        self.pool.move_client(self, CLIENT_IDLE)
        self._greeting = greeting
        if self.pool.session_mode or not self._greet_known():
            server = self.pool.borrow(self, self.stream.poller.now)
            if server is None:
                self._wait()
            else:
                self.granted(server)

    def _greet_known(self) -> bool:
        known = self.pool.greetings.get(self._asked())
        if known is None:
            return False
        self._greet(known if self.name is None else known.named(self.name))
        return True

    def _asked(self) -> tuple[ParameterSet, bool]:
        """Its parameters but for application_name, which is never refused and differs from client to client."""
        return self.parameters.assign("application_name", None), self.name is None

    def _greet(self, reported: Reported) -> None:
        greeting, self._greeting = self._greeting, None
        self.told = reported
        self.stream.eager = False
        if greeting is not None:
            self.stream.send(greeting(self, reported))
        self.stream.resume()

    def _applied(self, refusal: dict[str, str] | None) -> None:
        """A server holds this client's parameters now, or has refused them."""
        server = self.server
        if server is None:
            return
        if refusal is not None:
            server.pin_down("setting")  # what it holds is not known: DISCARD ALL when it is released
            self._refuse(refusal)
        elif self._greeting is None:
            self.stream.resume()  # still holding: the exchange that waited for this begins in its own turn
        else:
            self.holding = False
            if not self.pool.session_mode:
                self._remember(server.reported)
            self._greet(server.reported)

    def _remember(self, reported: Reported) -> None:
        """Greet all who wait only to learn this, and all who come."""
        greetings = self.pool.greetings
        if len(greetings) >= MAX_GREETINGS:
            del greetings[next(iter(greetings))]
        asked = self._asked()
        greetings[asked] = reported
        for waiter in [w for w in self.pool.waiting if isinstance(w, Client) and w._greeting is not None]:
            if waiter._asked() == asked:
                self.pool.move_client(waiter, CLIENT_IDLE)
                waiter._greet_known()

    def _refuse(self, refusal: dict[str, str]) -> None:
        """PostgreSQL does not take this client's parameters: its own error, as a failed login or session."""
        self._end_with(
            messages.error_response_fields(
                "FATAL", refusal.get("C", "22023"), refusal.get("M", ""), refusal.get("D", ""), refusal.get("H", "")
            ),
            refusal.get("C", "22023"),
            "its parameters were refused",
        )

    # From the client.

    def on_data(self, buffer: bytearray, end: int) -> None:
        """A chunk of requests."""
        framer = self.framer
        server = self.server
        start = 0
        position = 0
        while True:
            position = framer.scan(buffer, position, end)
            kind = framer.kind
            if kind == NOTHING or kind == PARTIAL:
                break
            following = position + framer.size
            if following > end and (framer.size <= KEEP_LIMIT or (kind == BIND and end - position < BIND_HEAD)):
                break
            if server is None:
                if kind == TERMINATE:
                    self.close("terminated")
                    return
                if kind == COPY_DATA or kind == COPY_DONE or kind == COPY_FAIL or kind == FLUSH:
                    # Late messages of a failed COPY, or a Flush of nothing: PostgreSQL ignores them, too (rule 22).
                    start = position = framer.skip(position, end)
                    continue
                server = self._borrow(kind)
                if server is None:
                    self.stream.keep(position, end)
                    if self.pool.route.connection_borrow_timeout <= 0:
                        self.give_up(PoolFull(database=self.pool.route.database, user=self.pool.route.user, seconds=0))
                    return
                start = position
            if server.pipeline.quiet():
                self._forward(server, buffer, start, position)
                start = position
                if not self._begin(server):
                    self.stream.keep(position, end)
                    self.stream.pause()
                    return
            if kind == SYNC:
                self._sync(server)
            elif kind == QUERY:
                self._query(server, buffer, position, following, end)
            elif kind == PARSE:
                self._parse(server, buffer, position, following, end)
            elif kind == BIND or kind == DESCRIBE:
                server.pipeline.extended()
                if server.pipeline.parses == 0 and server.unnamed_owner is not self and _names_unnamed(buffer, position, min(following, end)):
                    self._forward(server, buffer, start, position)
                    start = position
                    self._parse_again(server)
            elif kind == EXECUTE:
                server.pipeline.executes += 1
                server.pipeline.extended()
            elif kind == CLOSE:
                server.pipeline.close()
            elif kind == COPY_DONE or kind == COPY_FAIL:
                server.pipeline.copy_ended()
            elif kind == TERMINATE:
                self._forward(server, buffer, start, position)
                self.close("terminated")
                return
            elif kind == FUNCTION_CALL:
                self._function_call(server, buffer, position, following, end)
            elif kind != FLUSH:
                raise ProtocolViolation(what=f"invalid frontend message type {kind}")
            position = following if following <= end else framer.skip(position, end)
        if server is not None:
            self._forward(server, buffer, start, position)
        self.stream.keep(position, end)

    def _borrow(self, kind: int) -> Server | None:
        """A server for the exchange that begins with a message of this type; None: the client waits now."""
        if kind != QUERY and kind != PARSE and kind != BIND and kind != DESCRIBE and kind != EXECUTE and kind != CLOSE and kind != SYNC and kind != FUNCTION_CALL:
            raise ProtocolViolation(what=f"invalid frontend message type {kind}")
        member = self.pool.borrow(self, self.stream.poller.now)
        if member is None:
            self._wait()
            return None
        self._attach(member)
        return self.server

    def _wait(self) -> None:
        self.stream.eager = True
        self.stream.pause()

    def _attach(self, server: Server) -> None:
        self.server = server
        self.framer.stops = _STOPS
        server.attach(self, self.stream.poller.now)

    def granted(self, server: Member) -> None:
        """The server this client waited for. What it had sent is delivered again in a turn of its own."""
        self.stream.eager = False
        self._attach(server)
        if self._greeting is not None:
            self.holding = True
            self.server.apply(self.parameters, self._applied)
        else:
            self.stream.resume()

    def _begin(self, server: Server) -> bool:
        """An exchange begins on an attached server that owes nothing. False: not yet, `resume` will follow."""
        if server.cancelling:
            self.holding = True
            return False
        server.began(self.stream.poller.now)
        self.controls = False
        if server.parameters is not self.parameters and server.pipeline.status == STATUS_IDLE and server.pin not in _UNTRACKED:
            if self.parameters.refused and not self.holding:
                self.holding = True
                server.apply(self.parameters, self._applied)
                return False
            self._prefix = server.settle(self.parameters)
        self.holding = False
        return True

    def _forward(self, server: Server, buffer: bytearray, start: int, end: int) -> None:
        """Send buffer[start:end] to the server, behind what must go ahead of it; stop reading while it is full."""
        if start >= end:
            return
        self.pool.counters.bytes_received += end - start
        if self._prefix:
            data = self._prefix + self.stream.copy(start, end)
            self._prefix = b""
            taken = server.stream.write(data, 0, len(data))
        else:
            taken = server.stream.write(buffer, start, end)
        if not taken:
            self.stream.pause()

    def _query(self, server: Server, buffer: bytearray, position: int, following: int, end: int) -> None:
        server.unnamed_owner = None
        if following > end:
            server.pin_down("large_text")
            server.pipeline.query(())
            return
        _scanner.cautious = self.told.cautious
        finding = _scanner.look(buffer, position + 5, following - 1)
        self.controls = self.controls or _scanner.controls
        if finding is None:
            server.pipeline.query(())
        elif finding.reason or server.pipeline.open:
            server.pin_down(finding.reason or "setting")
            server.pipeline.query(())
        else:
            server.pipeline.query(finding.assignments)

    def _parse(self, server: Server, buffer: bytearray, position: int, following: int, end: int) -> None:
        finding: Finding | None = None
        named = buffer[position + 5] != 0
        if following > end:
            server.pin_down("large_text")
        else:
            begin = string_end(buffer, position + 5, following) + 1
            stop = string_end(buffer, begin, following)
            if begin > 0 and stop > 0:
                _scanner.cautious = self.told.cautious
                finding = _scanner.look(buffer, begin, stop)
                self.controls = self.controls or _scanner.controls
        if named:
            server.pin_down("named_statement")
        else:
            server.unnamed_owner = self
            self.unnamed = self.stream.copy(position, following) if following <= end else None
        if finding is not None and finding.reason:
            server.pin_down(finding.reason)
            finding = None
        server.pipeline.parse(finding.assignments if finding is not None else ())

    def _sync(self, server: Server) -> None:
        if not server.pipeline.certain():
            server.pin_down("setting")
        server.pipeline.sync()

    def _parse_again(self, server: Server) -> None:
        """The unnamed statement is meant, and this server holds another one's: put it right, right here (rule 9)."""
        again = self._prefix + server.replace_unnamed(self, self.unnamed)
        self._prefix = b""
        if not server.stream.write(again, 0, len(again)):
            self.stream.pause()

    def _function_call(self, server: Server, buffer: bytearray, position: int, following: int, end: int) -> None:
        oid = int.from_bytes(buffer[position + 5 : position + 9], "big") if following - position >= 9 else 0
        if oid not in _HARMLESS_FUNCTIONS:
            server.pin_down("function_call")
        server.pipeline.query(())

    # From the server.

    def write(self, buffer: bytearray | bytes, start: int, end: int) -> bool:
        self.pool.counters.bytes_sent += end - start
        if self.stream.write(buffer, start, end):
            return True
        # Not reading answers, it is not asked for more questions: its backlog stays at one chunk.
        self.stream.pause()
        return False

    def exchange_over(self, now: float) -> None:
        self.last_active = now
        if self.holding and self.server is not None and not self.server.cancelling:
            self._read_on()

    def assigned(self, assignments: tuple[Assignment, ...], reported: Reported) -> None:
        for assignment in assignments:
            value = reported.value_of(assignment.name) if assignment.fragment is not None else None
            if value is not None:
                # The server's own word for it: DateStyle, for one, depends on what was set before (rule 11).
                assignment = Assignment(assignment.name, fragment_of(assignment.name, value))
            self.session = apply_assignment(self.session, assignment)
        self.parameters = self.session.over(self.startup).over(self.pool.baseline)

    def detached(self, now: float) -> None:
        self.server = None
        self.framer.stops = _STOPS_DETACHED
        self.last_active = now
        self.pool.move_client(self, CLIENT_IDLE)
        if self.stream.paused:
            self._read_on()

    def server_drained(self) -> None:
        self._read_on()

    def _read_on(self) -> None:
        """Read the client again, unless there is another reason not to."""
        if self.client_state == CLIENT_WAITING or self.stream.backlog:
            return
        if self.server is not None and self.server.stream.backlog:
            return
        self.stream.resume()

    def on_drained(self) -> None:
        if self.server is not None:
            self.server.stream.resume()
        self._read_on()

    def server_lost(self, told: bool, refusal: dict[str, str] | None) -> None:
        server, self.server = self.server, None
        if told:
            self.close("its server ended the session")
        elif refusal is None or server is None:
            self.fail(ServerLost())
        else:
            self.parameters.refused = True
            self._answer_refusal(server, refusal)

    def _answer_refusal(self, server: Server, refusal: dict[str, str]) -> None:
        """Its settings were refused and nothing of its exchange was run: an error up to its Sync, where that is safe."""
        owed = sum(1 for unit in server.pipeline.units if not unit.skip)
        if owed != 1 or server.pipeline.open or self.controls or self.stream.kept or self.stream.pending:
            self.fail(SettingsRefused(reason=refusal.get("M", "")))
            return
        self.pool.move_client(self, CLIENT_IDLE)
        self.framer.stops = _STOPS_DETACHED
        self._answer(messages.error_response_fields("ERROR", refusal.get("C", ""), refusal.get("M", "")), refusal.get("C", "08006"))

    # In the queue.

    def give_up(self, error: PoolproxyError) -> None:
        """It has waited too long, or was cancelled: an ERROR up to its Sync where the session can go on (rule 16)."""
        if self._greeting is not None or self.stream.pending or not _is_one_exchange(self.stream.take_kept(), self.told.cautious):
            self.fail(error)
            return
        self.pool.move_client(self, CLIENT_IDLE)
        self._answer(messages.error_response(error), error.sqlstate)

    def _answer(self, error: bytes, sqlstate: str) -> None:
        self._count(sqlstate)
        self.stream.eager = False
        self.last_active = self.stream.poller.now
        self.stream.send(error + messages.ready_for_query(STATUS_IDLE))
        self.stream.resume()

    def waiting(self) -> bool:
        return self.client_state == CLIENT_WAITING

    def cancel_waiting(self) -> None:
        """A cancel request while it waits: it leaves the queue."""
        self.give_up(QueryCanceledInQueue())

    # The end.

    def idle_in_transaction(self) -> bool:
        """Whether it holds a server in an open transaction and has nothing under way."""
        return self.server is not None and self.server.pipeline.quiet() and self.server.pipeline.status != STATUS_IDLE

    def idle_outside_transaction(self) -> bool:
        """Whether it holds no server, or (pinned, in session mode) one that does nothing for it and is in no transaction."""
        if self.server is None:
            return self.client_state == CLIENT_IDLE
        return self.server.pipeline.quiet() and self.server.pipeline.status == STATUS_IDLE and not self.holding

    def closed(self) -> bool:
        return self.client_state == CLIENT_CLOSED

    def on_lost(self, reason: str) -> None:
        self.close("connection lost: " + reason)

    def fail(self, error: PoolproxyError) -> None:
        """End the session with an error, told as FATAL whatever its own severity."""
        hint = error.hint
        self._end_with(messages.error_response_fields("FATAL", error.sqlstate, error.message, "", hint), error.sqlstate, error.message)

    def _count(self, sqlstate: str) -> None:
        errors = self.pool.counters.errors
        errors[sqlstate[:2]] = errors.get(sqlstate[:2], 0) + 1

    def _end_with(self, error: bytes, sqlstate: str, reason: str) -> None:
        if self.client_state != CLIENT_CLOSED:
            self._count(sqlstate)
            self.stream.send(error)
            self._leave(reason)
            self.stream.finish()

    def close(self, reason: str) -> None:
        """End the session without another word."""
        if self.client_state != CLIENT_CLOSED:
            self._leave(reason)
            self.stream.close()

    def _leave(self, reason: str) -> None:
        self.pool.move_client(self, CLIENT_CLOSED)
        server, self.server = self.server, None
        if server is not None:
            server.abandon(self.framer.rest > 0)
        if _log.enabled("info"):
            _log.info(
                "client disconnected", client=self.address, database=self.pool.route.database, user=self.pool.route.user,
                application_name=self.told.name() if self.told is not None else "", reason=reason,
                seconds=round(self.stream.poller.now - self.connected_at, 3),
            )  # fmt: skip
        self.on_closed(self)


def _names_unnamed(buffer: bytearray, position: int, end: int) -> bool:
    """Whether a Bind or Describe is about the unnamed prepared statement."""
    if buffer[position] == DESCRIBE:
        return end - position >= 7 and buffer[position + 5] == 83 and buffer[position + 6] == 0
    statement = string_end(buffer, position + 5, end) + 1
    return 0 < statement < end and buffer[statement] == 0


def _is_one_exchange(kept: bytes, cautious: bool) -> bool:
    """Whether these are exactly the messages of one exchange, up to its end, that opens or ends no transaction."""
    buffer = bytearray(kept)
    framer = Framer(_STOPS_DETACHED)
    _scanner.cautious = cautious
    position, size = 0, len(buffer)
    while position < size:
        position = framer.scan(buffer, position, size)
        following = position + framer.size
        if framer.kind in (NOTHING, PARTIAL) or following > size:
            return False
        begin = position + 5 if framer.kind == QUERY else string_end(buffer, position + 5, following) + 1
        if framer.kind in (QUERY, PARSE):
            _scanner.look(buffer, begin, max(begin, string_end(buffer, begin, following)))
            if _scanner.controls:
                return False
        if framer.kind in (QUERY, SYNC, FUNCTION_CALL):
            return following == size
        position = following
    return False
