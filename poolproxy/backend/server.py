"""One server connection: relays its answers to whoever it is attached to, and keeps the books of what it
owes.

What the client side forwards is told to `pipeline` by the client. Compiled: `on_data` runs once per chunk of
answers. Must not know the frontend.
"""

from __future__ import annotations

from poolproxy.backend.auditing import AuditedServer
from poolproxy.backend.server_session import MAX_KEPT, STOPS, STOPS_ALL, STOPS_CLOSELY
from poolproxy.backend.sink import Sink
from poolproxy.protocol import messages
from poolproxy.protocol.framing import NOTHING, PARTIAL
from poolproxy.session.assignments import Assignment
from poolproxy.session.last_values import NOT_DEFINED, hinted
from poolproxy.session.lifecycle import SERVER_CLOSED, SERVER_RESETTING
from poolproxy.session.parameters import apply_assignment, fragment_of, report
from poolproxy.session.pins import TAINTING
from poolproxy.session.pipeline import CLOSED, DESCRIBED, PARSED, Unit
from poolproxy.session.prepared import names_of_ours
from poolproxy.transport.stream import KEEP_LIMIT

STATUS_IDLE = 0x49

# Message types that are looked at (protocol/codes.py has the letters; compiled code needs them as C
# integers).
READY_FOR_QUERY = 0x5A
ERROR_RESPONSE = 0x45
NOTICE_RESPONSE = 0x4E
PARAMETER_STATUS = 0x53
NOTIFICATION_RESPONSE = 0x41
PARSE_COMPLETE = 0x31
CLOSE_COMPLETE = 0x33
BIND_COMPLETE = 0x32
DATA_ROW = 0x44
COPY_IN_RESPONSE = 0x47
ROW_DESCRIPTION = 0x54
NO_DATA = 0x6E
PARAMETER_DESCRIPTION = 0x74
COMMAND_COMPLETE = 0x43

_FEATURE_NOT_SUPPORTED = "0A000"
#: What a server may report anew by itself: a promotion, a changed configuration.
_STANDBY = b"in_hot_standby"
_OF_THE_SERVER = frozenset({_STANDBY, b"default_transaction_read_only"})


class Server(AuditedServer):
    """See the module."""

    __slots__ = ()

    # Towards the server.

    def attach(self, sink: Sink, now: float) -> None:
        """Answers go to `sink` from now on. The pool has moved this server already."""
        self.sink = sink
        self._ended = self.own_draws = self.forgotten = False  # whatever it was, it was not this client's
        self.reset_due = self.dirty is not None and self.dirty is not sink
        if self.pool.session_mode and not self.pin:
            self.pool.pinned(self, "session_mode", now)

    def began(self, now: float) -> None:
        """Something of the client's is about to be forwarded."""
        self.framer.stops = STOPS
        self.exchange_at = now
        if self.pool.always_reset or self.pool.registry.epoch.unsure:
            self.dirty = self.sink
        if self.pipeline.status == STATUS_IDLE:
            self.transaction_at = now

    # From the server.

    def on_data(self, buffer: bytearray, end: int) -> None:
        """A chunk of answers."""
        framer = self.framer
        start = 0
        position = 0
        if self._unowed():
            framer.stops = STOPS_ALL
        while True:
            position = framer.scan(buffer, position, end)
            kind = framer.kind
            if kind in (NOTHING, PARTIAL):
                break
            following = position + framer.size
            if following > end:
                if framer.size > KEEP_LIMIT:
                    position = self._too_large(kind, position, end)
                break
            start = self._message(kind, buffer, start, position, following)
            if self.server_state == SERVER_CLOSED:
                return
            position = following
        if self.server_state == SERVER_CLOSED:
            return
        self._forward(buffer, start, position)
        self.stream.keep(position, end)
        if self._ended:
            self._ended = False
            self.review()

    def _too_large(self, kind: int, position: int, end: int) -> int:
        """A message that is too large to be held: an error or a notice of megabytes passes, unread, where it
        can only be its client's."""
        ours = self._unowed() or self.pipeline.skipping() if kind == ERROR_RESPONSE else self.sink is None
        if ours or (kind != ERROR_RESPONSE and kind != NOTICE_RESPONSE):
            self._out_of_sync(f"message {kind:#04x} of {self.framer.size} bytes")
            return position
        if kind == ERROR_RESPONSE:
            self.pipeline.error(False)
            self._fatal = True  # if it ends the session, its word is the last
        return self.framer.skip(position, end)

    def _message(self, kind: int, buffer: bytearray, start: int, position: int, following: int) -> int:
        """Act on a whole message. buffer[start:position] is not forwarded yet; the new `start` is returned:
        `following` where the message is not for the client."""
        pipeline = self.pipeline
        skipping = pipeline.skipping()
        if kind == READY_FOR_QUERY:
            if skipping:
                self._own_ready(buffer[position + 5])
                start = following
            else:
                start = self._client_ready(buffer, start, position, following)
            if self._unowed():
                self.framer.stops = STOPS_ALL
            return start
        mine = skipping
        if kind == ERROR_RESPONSE:
            renamed = self._error(buffer, position, following, skipping)
            if renamed is not None:
                self._replace(buffer, start, position, renamed)
                return following
        elif kind == PARAMETER_STATUS:
            self._parameter_status(self.stream.copy(position + 5, following))
            mine = True  # the client is told ahead of its ReadyForQuery, and only what is new to it
        elif kind == NOTIFICATION_RESPONSE:
            self._forward(buffer, start, position)
            self._notified(self.stream.copy(position, following))
            return following
        elif kind == NOTICE_RESPONSE:
            mine = skipping or self._of_our_parse(self.stream.copy(position + 5, following))
        elif self.swallowing > 0 and (kind in (BIND_COMPLETE, COMMAND_COMPLETE)):
            self.swallowing -= 1
            if not self.swallowing:
                self.framer.stops = STOPS_CLOSELY if self.forgets else STOPS
            mine = True
        elif self._unowed():
            self._out_of_sync(f"message type {kind:#04x} that nobody asked for")
        elif kind in (PARSE_COMPLETE, CLOSE_COMPLETE):
            step = pipeline.complete(PARSED if kind == PARSE_COMPLETE else CLOSED)
            if step is not None:
                mine = skipping or step.own
                self._completed(step)
                if step.answer is not None:
                    self._replace(buffer, start, position, step.answer)
                    return following
        elif kind == PARAMETER_DESCRIPTION:
            step = pipeline.complete(DESCRIBED)
            if step is not None:
                self._describing = step
                self._types = self.stream.copy(position + 5, following)
                mine = True
        elif (kind in (ROW_DESCRIPTION, NO_DATA)) and self._describing is not None:
            self._described(self.stream.copy(position + 5, following))
            mine = True
        elif skipping and self._rows is None:
            pass
        elif kind == COMMAND_COMPLETE and not skipping:
            self._command_complete(self.stream.copy(position + 5, following - 1))
        elif kind in (ROW_DESCRIPTION, NO_DATA):
            pass
        elif kind == COPY_IN_RESPONSE:
            self._copy_in()
        elif self._rows is not None and skipping:
            if kind == DATA_ROW:
                self._rows_left -= following - position
                if self._rows_left < 0:
                    self._out_of_sync("no end of rows")
                    return following
                row = messages.data_row_values(self.stream.copy(position + 5, following))
                self._rows.append([(value or b"").decode("utf-8", "surrogateescape") for value in row])
        elif kind != NOTICE_RESPONSE:
            self._out_of_sync(f"message type {kind:#04x}")
        if not mine:
            return start
        self._forward(buffer, start, position)
        return following

    def _replace(self, buffer: bytearray, start: int, position: int, message: bytes) -> None:
        """`message` in place of the one at `position`; buffer[start:position] is not forwarded yet."""
        self._forward(buffer, start, position)
        if self.sink is not None and not self.sink.write(message, 0, len(message)):
            self.stream.pause()

    def _copy_in(self) -> None:
        self.pipeline.copy_in()
        if self.ending_batch:
            self.close("its client left behind the beginning of a COPY")  # who reads the ROLLBACK as data
        elif self.server_state == SERVER_RESETTING and self.pipeline.copying_in:
            self._end_copy()
        elif self.server_state == SERVER_RESETTING and self.pipeline.open:
            self._end_batch()  # the copy has swallowed its Sync

    def _unowed(self) -> bool:
        """Whether nothing at all is expected now."""
        return self.pipeline.owed() == 0 and not self.pipeline.open and not self.pipeline.unclear

    def _forward(self, buffer: bytearray, start: int, end: int) -> None:
        if not self.pipeline.skipping():
            self._pass_on(buffer, start, end)

    def _pass_on(self, buffer: bytearray, start: int, end: int) -> None:
        """To the client, if there is one; where its socket is full no more is read."""
        if start < end and self.sink is not None and not self.sink.write(buffer, start, end):
            self.stream.pause()

    def _own_ready(self, status: int) -> None:
        """The end of a Query of ours."""
        self.pipeline.ready(status)
        self._ended = True
        errand = self._errands.popleft()
        refusal, self.refusal = self.refusal, None
        if self.sink is not None and self.sink.awaiting and not self.pipeline.open:
            self.sink.proceed()
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
        if self.forgets and pipeline.quiet():
            self.forgets.clear()
        now = self.stream.poller.now
        counters = self.pool.counters
        counters.queries += 1
        if self.pin:
            counters.pinned_queries += 1
        counters.query.observe(now - self.exchange_at)
        self.exchange_at = now
        if pipeline.status == STATUS_IDLE:
            counters.transactions += 1
            counters.transaction.observe(now - self.transaction_at)
            self.transaction_at = now
            if self.changing_schema:
                self.changing_schema = False
                self.pool.registry.epoch.advance()
        if unit is not None and unit.assignments and not failed:
            self._assigned(unit, before)
        sink = self.sink
        listening = sink is not None and sink.listening and pipeline.status == STATUS_IDLE
        if (self.suspected and self.auditable()) or (listening and pipeline.idle()):
            self._pass_on(buffer, start, position)
            self.ready_kept = True
            self._ended = True
            return following
        if sink is not None and (listening or (sink.told is not self.reported and not self.restoring)):
            # PostgreSQL, too, sends ParameterStatus ahead of Z.
            self._pass_on(buffer, start, position)
            if not self.restoring:
                self.tell(sink)
            if listening:
                sink.tell_heard()
            start = position
        self._pass_on(buffer, start, following)
        self.stream.calm()
        self._ended = True
        if sink is not None and sink.awaiting:
            sink.proceed()
        return following

    def _assigned(self, unit: Unit, before: int) -> None:
        """A tracked SET or RESET was answered without an error. In a transaction its fate is still open."""
        if before != STATUS_IDLE or self.pipeline.status != STATUS_IDLE:
            self.suspect("setting")
            return
        spelled = tuple([self._spelled(assignment) for assignment in unit.assignments])
        for assignment in spelled:
            self.parameters = apply_assignment(self.parameters, assignment)
        if self.sink is not None:
            self.sink.assigned(spelled)

    def _spelled(self, assignment: Assignment) -> Assignment:
        """As everybody else spells it (rule 11): by the server's own word where it reports the value, for
        DateStyle, for one, depends on what was set before."""
        name, fragment = assignment.name, assignment.fragment
        if fragment is None:
            return assignment
        value = self.reported.value_of(name)
        if value is not None and value.isascii():  # else its bytes are of the client's encoding
            return Assignment(name, fragment_of(name, value, escape=True))
        return Assignment(name, self.pool.spellings.fragment(name, fragment))

    def _error(self, buffer: bytearray, position: int, following: int, skipping: bool) -> bytes | None:
        """An ErrorResponse; what to forward in its place where it names what the client does not know."""
        report = self.stream.copy(position + 5, following)
        fields = messages.error_fields(report)
        sqlstate = fields.get("C", "XX000")
        self._fatal = fields.get("V", fields.get("S", "")) in ("FATAL", "PANIC")
        if self.swallowing:
            self.swallowing = 0
            self.framer.stops = STOPS
        if skipping:
            self.refusal = fields
            self._give_up_steps()
            return None
        if self._unowed() and not self._fatal:
            self._out_of_sync(f"error {sqlstate} that nobody caused")
            return None
        if self._fatal and self.sink is None:
            self.close(f"{sqlstate} {fields.get('M', '')}")
            return None
        self._give_up_steps()
        parses = self.pipeline.parses_seen
        self.pipeline.error(not sqlstate.startswith("57"))
        if self.sink is not None:
            self.sink.statement_failed(self.pipeline.answered, parses)
            errors = self.pool.counters.errors
            errors[sqlstate[:2]] = errors.get(sqlstate[:2], 0) + 1
            if self.sink.awaiting:
                self.sink.proceed()
        if sqlstate == _FEATURE_NOT_SUPPORTED:
            self.pool.registry.epoch.advance()  # it may be a cached plan that must not change
        if sqlstate == NOT_DEFINED and self.forgotten and not self.pin:
            return hinted(report, fields)
        ours = names_of_ours(report)
        return self._renamed(report, sqlstate, ours) if ours and self.sink is not None else None

    def _notified(self, message: bytes) -> None:
        """A notification. Where the hub listens in its client's stead it is not for that; who does shows in
        the audit."""
        if self.sink is None:
            return
        if self.listens or self.pool.session_mode:
            self.sink.notified(message)
        elif self.suspected:
            self.unclaimed.append(message)
            self.unclaimed_bytes += len(message)
            if self.unclaimed_bytes > MAX_KEPT:
                self._out_of_sync("no end of notifications")

    def _parameter_status(self, body: bytes) -> None:
        name, value = messages.parameter_status_fields(body)
        self.reported = report(self.reported, name, value)
        if name in _OF_THE_SERVER and not self._caused_by_client(name):
            self.pool.greetings.clear()  # drivers choose servers by these (target_session_attrs): rule 19

    def _caused_by_client(self, name: bytes) -> bool:
        """Whether what is reported now may come from what was asked here, and not from the server's own
        state."""
        if name == _STANDBY:
            return False
        units = self.pipeline.units
        return self.suspected or (len(units) > 0 and bool(units[0].skip or units[0].assignments))

    def review(self) -> None:
        """Something may have ended: a chunk of answers, a message of the client's, a cancel request. If all
        has, the server goes back to the pool, or the client is told."""
        pipeline = self.pipeline
        if not pipeline.quiet() or self.server_state == SERVER_CLOSED or self.fencing:
            return
        sink = self.sink
        if sink is None:
            if self.server_state == SERVER_RESETTING:
                self.clean_up()
        elif self.suspected and self.auditable():
            self.audit()
        elif self.ready_kept and sink.listening and not sink.holding:
            self.hear_first()
        elif (
            not self.pin
            and not self.cancelling
            and not sink.holding
            and pipeline.idle()
            and not sink.in_message()
        ):
            self.detach()
        else:
            self._say_ready()
            if pipeline.unclear and self.pin not in TAINTING:
                self.pin_down("unaudited")
            sink.exchange_over(self.stream.poller.now)

    def detach(self) -> None:
        """Take this server, which is idle in every respect, back from its client and give it to the pool."""
        now = self.stream.poller.now
        sink = self.sink
        self.sink = None
        self.framer.stops = STOPS_ALL
        if self.stream.paused:
            self.stream.resume()
        if sink is not None:
            sink.detached(now)
        if self.dirty is not None and self.pool.waiting.first is None:
            self.pool.move_server(self, SERVER_RESETTING)
            self.rescue_until = now + self.pool.route.server_rescue_timeout
            self.hand_over()
        else:
            self._release(now)

    def heard(self) -> None:
        """Its client has heard what was notified before its ReadyForQuery (see `hear_first`)."""
        if self.fencing:
            self.fencing = False
            if self.sink is not None:
                self._say_ready()
                self.sink.let_go()
            self.review()

    def cancel_over(self) -> None:
        """A cancel request to this server has done what it may do: it can be handed out again."""
        self.cancelling -= 1
        if not self.cancelling and self.server_state != SERVER_CLOSED:
            self.review()

    def on_drained(self) -> None:
        if self.sink is not None:
            self.sink.server_drained()
