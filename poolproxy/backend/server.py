"""One server connection: relays its answers to whoever it is attached to, and keeps the books of what it owes.

Attached to a `Sink` it forwards; without one it finishes what its last client began, rolls back, resets and returns to
its pool. What the client side forwards is told to `pipeline` by the client; `settle` gives the Queries that turn this
server's settings into a client's. Compiled: `on_data` runs once per chunk of answers. Must not know the frontend.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from poolproxy.errors import PoolproxyError, UnexpectedServerAnswer
from poolproxy.log import get_logger
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member, Waiter
from poolproxy.protocol import messages
from poolproxy.protocol.framing import NOTHING, PARTIAL, Framer, stop_table
from poolproxy.session.assignments import Assignment
from poolproxy.session.lifecycle import SERVER_CLOSED, SERVER_IDLE, SERVER_RESETTING
from poolproxy.session.parameters import (
    EMPTY,
    NOTHING_REPORTED,
    ParameterSet,
    Reported,
    apply_assignment,
    changes,
    difference,
    report,
)
from poolproxy.session.pins import TAINTING
from poolproxy.session.pipeline import Pipeline, Unit
from poolproxy.transport.stream import KEEP_LIMIT, Stream

_log = get_logger()

STATUS_IDLE = 0x49

# Message types that are looked at (protocol/codes.py has the letters; compiled code needs them as C integers).
READY_FOR_QUERY = 0x5A
ERROR_RESPONSE = 0x45
NOTICE_RESPONSE = 0x4E
PARAMETER_STATUS = 0x53
NOTIFICATION_RESPONSE = 0x41
PARSE_COMPLETE = 0x31
CLOSE_COMPLETE = 0x33
DATA_ROW = 0x44
COPY_IN_RESPONSE = 0x47

#: What passes unlooked: RowDescription, DataRow, CommandComplete, BindComplete, NoData, PortalSuspended,
#: ParameterDescription, EmptyQueryResponse, CopyData, CopyDone, CopyOutResponse, FunctionCallResponse, NoticeResponse.
_STOPS = stop_table(b"TDC2nstIdcHVN")
#: While nothing is owed: every message is looked at.
_STOPS_ALL = stop_table(b"")


class Sink(Waiter):
    """What a server is attached to."""

    __slots__ = ("holding", "told")

    def __init__(self) -> None:
        super().__init__()
        self.told = NOTHING_REPORTED  #: what it was last told of the server's reported parameters
        self.holding = False  #: it needs its server although nothing is under way

    def write(self, buffer: bytearray | bytes, start: int, end: int) -> bool:
        """Answers for the client; False when the server must not be read until `on_drained`."""
        raise NotImplementedError

    def exchange_over(self, now: float) -> None:
        """All that was asked is answered, and the server stays attached."""
        raise NotImplementedError

    def assigned(self, assignments: tuple[Assignment, ...], reported: Reported) -> None:
        """Tracked assignments of the client's hold now; `reported` is what the server reports since."""
        raise NotImplementedError

    def pinned(self, reason: str) -> None:
        """The server stays with this client from now on, for this reason."""
        raise NotImplementedError

    def statement_failed(self, turn: int, parses: int) -> None:
        """An error in the exchange of this number (see Pipeline.turn), after so many of its Parses were completed."""
        raise NotImplementedError

    def in_message(self) -> bool:
        """Whether a message of the client's has been forwarded in part."""
        raise NotImplementedError

    def detached(self, now: float) -> None:
        """The server has been taken back."""
        raise NotImplementedError

    def server_drained(self) -> None:
        """The server's socket has taken all that was written to it."""
        raise NotImplementedError

    def server_lost(self, told: bool, refusal: dict[str, str] | None) -> None:
        """The server is gone. `told`: it said FATAL and that was forwarded. `refusal`: it refused this client's
        settings before it read anything of the client's."""
        raise NotImplementedError


class Server(Member):
    """See the module. Made by the connector once the login is over."""

    __slots__ = (
        "_ended", "_errands", "_fatal", "_rows", "cancelling", "exchange_at", "framer", "key", "on_closed", "parameters", "pid", "pipeline",
        "pool", "refusal", "reported", "rescue_cancelled", "sink", "stream", "transaction_at", "unnamed_owner",
    )  # fmt: skip

    def __init__(self, pool: Pool, stream: Stream, pid: int, key: bytes, reported: Reported, on_closed: Callable[[Server], None]) -> None:
        super().__init__()
        self.pool = pool
        self.stream = stream
        self.pid = pid
        self.key = key  #: the server's own cancel key
        self.on_closed = on_closed
        self.sink: Sink | None = None
        self.pipeline = Pipeline()
        self.framer = Framer(_STOPS_ALL)
        self.parameters: ParameterSet = EMPTY  #: the settings it holds, as far as they differ from its defaults
        self.reported = reported
        self.unnamed_owner: Waiter | None = None  #: whose unnamed prepared statement it holds
        self.refusal: dict[str, str] | None = None  #: the error of a Query of ours
        self.cancelling = 0  #: cancel requests on their way to it
        self.rescue_cancelled = False  #: what its absent client left running has been cancelled
        self.exchange_at = 0.0
        self.transaction_at = 0.0
        self._errands: deque[Callable[[dict[str, str] | None], None] | None] = deque()  #: one per Query of ours
        self._rows: list[list[str]] | None = None  #: rows of the Query of ours under way, where they are wanted
        self._fatal = False
        self._ended = False

    def __repr__(self) -> str:
        return f"<Server pid {self.pid} state {self.server_state} {self.pipeline}{' pinned ' + self.pin if self.pin else ''}>"

    # Towards the server.

    def attach(self, sink: Sink, now: float) -> None:
        """Answers go to `sink` from now on. The pool has moved this server already."""
        self.sink = sink
        self._ended = False  # whatever it was, it was not this client's
        if self.pool.session_mode and not self.pin:
            self.pool.pinned(self, "session_mode", now)

    def began(self, now: float) -> None:
        """Something of the client's is about to be forwarded."""
        self.framer.stops = _STOPS
        self.exchange_at = now
        if self.pipeline.status == STATUS_IDLE:
            self.transaction_at = now

    def replace_unnamed(self, owner: Waiter, parse: bytes | None) -> bytes:
        """What to put into `owner`'s batch so that the unnamed statement is its own: its `parse` (a whole message) again,
        or, when it has none, a Close of what another one may have left: PostgreSQL will say that there is none."""
        self.unnamed_owner = owner
        if parse is not None:
            self.pipeline.injected_parse()
            return parse
        self.pipeline.injected_close()
        return messages.close(b"S")

    def settle(self, wanted: ParameterSet) -> bytes:
        """The Queries to send ahead of the client's bytes, in the same write; what they answer is not the client's."""
        queries = difference(self.parameters, wanted, True)
        self.parameters = wanted
        self.unnamed_owner = None
        for _ in queries:
            self.pipeline.skip_query()
            self._errands.append(None)
        return b"".join(map(messages.query, queries))

    def apply(self, wanted: ParameterSet, done: Callable[[dict[str, str] | None], None]) -> None:
        """Turn the settings into `wanted` and call `done` with the error's fields, or None. Nothing else may be sent
        meanwhile. After an error it is pinned, and reset when released."""
        queries = difference(self.parameters, wanted, False) or (b"",)
        self.parameters = wanted
        for query in queries[:-1]:
            self.ask(query, None)
        self.ask(queries[-1], lambda refusal: self._applied(done, refusal))

    def _applied(self, done: Callable[[dict[str, str] | None], None], refusal: dict[str, str] | None) -> None:
        if refusal is not None:
            self.pin_down("setting")  # what it holds now is not known: DISCARD ALL before anyone else has it
        done(refusal)

    def ask(self, sql: bytes, done: Callable[[dict[str, str] | None], None] | None) -> None:
        """A Query of our own; `done` gets the fields of its error, or None."""
        self.unnamed_owner = None
        self.framer.stops = _STOPS
        self.pipeline.skip_query()
        self._errands.append(done)
        self.stream.send(messages.query(sql))

    def ask_rows(self, sql: bytes, done: Callable[[list[list[str]], dict[str, str] | None], None]) -> None:
        """A Query of our own whose rows are wanted (text columns, no NULLs); `done` gets them, or its error's fields."""
        self._rows = []
        self.ask(sql, lambda refusal: self._rows_done(done, refusal))
        self.framer.stops = _STOPS_ALL

    def _rows_done(self, done: Callable[[list[list[str]], dict[str, str] | None], None], refusal: dict[str, str] | None) -> None:
        rows, self._rows = self._rows or [], None
        done(rows, refusal)

    # From the server.

    def on_data(self, buffer: bytearray, end: int) -> None:
        """A chunk of answers."""
        framer = self.framer
        pipeline = self.pipeline
        start = 0
        position = 0
        if self._unowed():
            framer.stops = _STOPS_ALL
        skipping = pipeline.skipping()
        while True:
            position = framer.scan(buffer, position, end)
            kind = framer.kind
            if kind == NOTHING or kind == PARTIAL:
                break
            if position + framer.size > end:
                if framer.size <= KEEP_LIMIT:
                    break
                # Too large to be held: an error or a notice of megabytes passes, unread.
                if kind != ERROR_RESPONSE and kind != NOTICE_RESPONSE:
                    self._out_of_sync(f"message {kind:#04x} of {framer.size} bytes")
                    return
                if kind == ERROR_RESPONSE:
                    pipeline.error(False)
                    self._fatal = True  # if it ends the session, its word is the last
                position = framer.skip(position, end)
                break
            if self.server_state == SERVER_CLOSED:
                return
            following = position + framer.size
            if kind == READY_FOR_QUERY:
                if skipping:
                    self._own_ready(buffer[following - 1])
                    start = following
                else:
                    start = self._client_ready(buffer, start, position, following)
                skipping = pipeline.skipping()
                if self._unowed():
                    framer.stops = _STOPS_ALL
            elif kind == ERROR_RESPONSE:
                self._error(buffer, position, following, skipping)
                if skipping:
                    start = following
            elif kind == PARAMETER_STATUS:
                self._forward(buffer, start, position, skipping)
                self._parameter_status(bytes(buffer[position + 5 : following]))
                start = following
            elif kind == NOTIFICATION_RESPONSE:
                if skipping or not self.pin:
                    self._forward(buffer, start, position, skipping)
                    start = following
            elif kind == PARSE_COMPLETE:
                if pipeline.parse_complete():
                    self._forward(buffer, start, position, skipping)
                    start = following
            elif kind == CLOSE_COMPLETE:
                if pipeline.close_complete():
                    self._forward(buffer, start, position, skipping)
                    start = following
            elif kind == COPY_IN_RESPONSE and not self._unowed():
                pipeline.copy_in()
                if self.server_state == SERVER_RESETTING and pipeline.copying_in:
                    self._end_copy()
            elif self._rows is not None and skipping:
                if kind == DATA_ROW:
                    row = messages.data_row_values(bytes(buffer[position + 5 : following]))
                    self._rows.append([(value or b"").decode("utf-8", "replace") for value in row])
            elif kind != NOTICE_RESPONSE:
                self._out_of_sync(f"message type {kind:#04x}")
                return
            position = following
        if self.server_state == SERVER_CLOSED:
            return
        self._forward(buffer, start, position, skipping)
        self.stream.keep(position, end)
        if self._ended:
            self._ended = False
            self.review()

    def _unowed(self) -> bool:
        """Whether nothing at all is expected now."""
        return self.pipeline.owed() == 0 and not self.pipeline.open and not self.pipeline.unclear

    def _forward(self, buffer: bytearray, start: int, end: int, skipping: bool) -> None:
        if start < end and not skipping and self.sink is not None and not self.sink.write(buffer, start, end):
            self.stream.pause()

    def _own_ready(self, status: int) -> None:
        """The end of a Query of ours."""
        self.pipeline.ready(status)
        self._ended = True
        errand = self._errands.popleft()
        refusal, self.refusal = self.refusal, None
        if errand is not None:
            errand(refusal)
        elif refusal is not None and self._errands:
            self.refusal = refusal  # for the errand of the last of several Queries
        elif refusal is not None:
            # An error that the guard did not turn into the end: the client's bytes must not be run behind it.
            self._out_of_sync(f"settings refused without ending the session: {refusal.get('M', '')}")

    def _client_ready(self, buffer: bytearray, start: int, position: int, following: int) -> int:
        """A ReadyForQuery for the client; where forwarding goes on."""
        pipeline = self.pipeline
        before = pipeline.status
        failed = pipeline.failed
        unit = pipeline.ready(buffer[following - 1])
        if unit is None and not pipeline.unclear:
            self._out_of_sync("ReadyForQuery that nobody asked for")
            return following
        now = self.stream.poller.now
        counters = self.pool.counters
        counters.queries += 1
        counters.query.observe(now - self.exchange_at)
        self.exchange_at = now
        if pipeline.status == STATUS_IDLE:
            counters.transactions += 1
            counters.transaction.observe(now - self.transaction_at)
            self.transaction_at = now
        if unit is not None and unit.assignments and not failed:
            self._assigned(unit, before)
        sink = self.sink
        if sink is not None and sink.told is not self.reported:
            self._forward(buffer, start, position, False)
            self._tell(sink)
            start = position
        self._forward(buffer, start, following, False)
        self._ended = True
        return following

    def _tell(self, sink: Sink) -> None:
        """ParameterStatus for what differs from what the client was last told; PostgreSQL, too, sends them before Z."""
        for name, value in changes(sink.told, self.reported):
            report_message = messages.parameter_status(name, value)
            sink.write(report_message, 0, len(report_message))
        sink.told = self.reported

    def _assigned(self, unit: Unit, before: int) -> None:
        """A tracked SET or RESET was answered without an error. In a transaction its fate is not known yet."""
        if before != STATUS_IDLE or self.pipeline.status != STATUS_IDLE:
            self.pin_down("setting")
            return
        for assignment in unit.assignments:
            self.parameters = apply_assignment(self.parameters, assignment)
        if self.sink is not None:
            self.sink.assigned(unit.assignments, self.reported)

    def _error(self, buffer: bytearray, position: int, following: int, skipping: bool) -> None:
        fields = messages.error_fields(bytes(buffer[position + 5 : following]))
        sqlstate = fields.get("C", "XX000")
        self._fatal = fields.get("V", fields.get("S", "")) in ("FATAL", "PANIC")
        if skipping:
            self.refusal = fields
            return
        if self._unowed() and not self._fatal:
            self._out_of_sync(f"error {sqlstate} that nobody caused")
            return
        if self._fatal and self.sink is None:
            self.close(f"{sqlstate} {fields.get('M', '')}")
            return
        parses = self.pipeline.parses_seen
        self.pipeline.error(not sqlstate.startswith("57"))
        if self.sink is not None:
            self.sink.statement_failed(self.pipeline.answered, parses)
            errors = self.pool.counters.errors
            errors[sqlstate[:2]] = errors.get(sqlstate[:2], 0) + 1

    def _parameter_status(self, body: bytes) -> None:
        name, value = messages.parameter_status_fields(body)
        self.reported = report(self.reported, name, value)

    def review(self) -> None:
        """Something may have ended: a chunk of answers, a message of the client's, a cancel request. If all has, the
        server goes back to the pool, or the client is told."""
        pipeline = self.pipeline
        if not pipeline.quiet() or self.server_state == SERVER_CLOSED:
            return
        sink = self.sink
        if sink is None:
            if self.server_state == SERVER_RESETTING:
                self._clean_up()
        elif not self.pin and not self.cancelling and not sink.holding and pipeline.idle() and not sink.in_message():
            self.detach()
        else:
            if pipeline.unclear and self.pin != "unclear":
                self.pin_down("unclear")
            sink.exchange_over(self.stream.poller.now)

    def detach(self) -> None:
        """Take this server, which is idle in every respect, back from its client and give it to the pool."""
        now = self.stream.poller.now
        sink = self.sink
        self.sink = None
        self.framer.stops = _STOPS_ALL
        if self.stream.paused:
            self.stream.resume()
        if sink is not None:
            sink.detached(now)
        self._release(now)

    def _release(self, now: float) -> None:
        """To the pool, or out of it when it is too old."""
        self.rescue_until = 0.0
        self.rescue_cancelled = False
        if self.expires and now >= self.expires:
            self.close("it has reached its lifetime")
        else:
            self.pool.release(self, now)

    def cancel_over(self) -> None:
        """A cancel request to this server has done what it may do: it can be handed out again."""
        self.cancelling -= 1
        if not self.cancelling and self.server_state != SERVER_CLOSED:
            self.review()

    def pin_down(self, reason: str) -> None:
        """Keep this server with its client until that leaves. A tainting reason outranks the one it has."""
        now = self.stream.poller.now
        if self.pin and (reason not in TAINTING or self.pin in TAINTING):
            return
        self.pool.unpinned(self, now)
        self.pool.pinned(self, reason, now)
        if self.sink is not None:
            self.sink.pinned(reason)

    # Without a client.

    def abandon(self, partial: bool) -> None:
        """The client has left. `partial`: in the middle of a message that was forwarded in part, which cannot be mended.

        What runs is finished (sessions.md, rule 23), an open batch or COPY ended, a transaction rolled back.
        """
        now = self.stream.poller.now
        self.sink = None
        self.pool.move_server(self, SERVER_RESETTING)
        self.rescue_until = now + self.pool.route.server_rescue_timeout
        if self.stream.paused:
            self.stream.resume()
        if self._beyond_rescue(partial):
            self.close("its client left in the middle of something")
            return
        pipeline = self.pipeline
        self.framer.stops = _STOPS
        if pipeline.copying_in:
            self._end_copy()
        elif pipeline.open:
            self.stream.send(messages.sync())
            pipeline.sync()
        if pipeline.quiet() and not self._errands:
            self._clean_up()

    def _end_copy(self) -> None:
        """Nobody goes on with the COPY that the server waits for."""
        pipeline = self.pipeline
        self.stream.send(messages.copy_fail(b"the client has left"))
        pipeline.copy_ended()
        if pipeline.open:
            self.stream.send(messages.sync())
            pipeline.sync()

    def _beyond_rescue(self, partial: bool) -> bool:
        """Whether closing is all that is left. A batch without its Sync is one: a Sync of ours would commit it."""
        pipeline = self.pipeline
        if partial or pipeline.copying_in:
            return partial
        if not pipeline.unclear and (not pipeline.open or (pipeline.failed and pipeline.owed() == 0)):
            return False
        # Behind a Terminate PostgreSQL runs what it has got, rolls back what is open, and leaves.
        self.stream.send(messages.terminate())
        return True

    def _clean_up(self) -> None:
        """Idle as far as answers go: end the transaction, undo what a pin stands for, give it to the pool."""
        if self.cancelling:
            return
        pipeline = self.pipeline
        if pipeline.unclear or self.pin in TAINTING:
            self.close("what its client left behind cannot be undone")
        elif pipeline.status != STATUS_IDLE:
            self.ask(b"ROLLBACK", self._cleaned)
        elif self.pin:
            self.parameters = EMPTY
            self.ask(b"DISCARD ALL", self._discarded)
        else:
            self.framer.stops = _STOPS_ALL
            self._release(self.stream.poller.now)

    def _cleaned(self, refusal: dict[str, str] | None) -> None:
        if refusal is not None:
            self.close(f"it refused to roll back: {refusal.get('M', '')}")

    def _discarded(self, refusal: dict[str, str] | None) -> None:
        if refusal is not None:
            self.close(f"it refused to discard its state: {refusal.get('M', '')}")
        else:
            self.pool.unpinned(self, self.stream.poller.now)

    # The end.

    def close(self, reason: str) -> None:
        """Close this server; a client attached to it is told."""
        if self.server_state == SERVER_CLOSED:
            return
        _log.info(
            "server closed", database=self.pool.route.database, user=self.pool.route.user, server_pid=self.pid, reason=reason
        )
        if self.server_state == SERVER_IDLE:
            self.stream.send(messages.terminate())
        self.stream.close()
        self.pool.unpinned(self, self.stream.poller.now)
        self.pool.close_server(self)
        self.on_closed(self)
        sink, self.sink = self.sink, None
        if sink is not None:
            refusal = self.refusal if self._errands else None
            sink.server_lost(self._fatal and refusal is None, refusal)
        self._errands.clear()

    def on_lost(self, reason: str) -> None:
        self.close("connection lost: " + reason)

    def on_drained(self) -> None:
        if self.sink is not None:
            self.sink.server_drained()

    def _out_of_sync(self, what: str) -> None:
        self.pool.counters.out_of_sync += 1
        _log.error(
            "server out of sync", database=self.pool.route.database, user=self.pool.route.user, server_pid=self.pid, what=what
        )
        self.close(UnexpectedServerAnswer(what=what).message)

    def fail(self, error: PoolproxyError) -> None:
        """An error of ours while its answers were read (a length out of range): never the client's fault."""
        self._out_of_sync(error.message)
