"""One server connection apart from its relay: the Queries of our own, its pins, its end.

Its prepared statements are parsing.py's, what follows when its client has left returning.py's, what it may
hold of its client's auditing.py's; `Server` (server.py) adds the relay. Must not know the frontend.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from poolproxy.backend.sink import Sink
from poolproxy.errors import PoolproxyError, UnexpectedServerAnswer
from poolproxy.log import get_logger
from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member
from poolproxy.protocol import messages
from poolproxy.protocol.framing import Framer, stop_table
from poolproxy.session.channels import lend_texts
from poolproxy.session.inserted import FORGETTING, LENDING, run_in_batch, steps_of
from poolproxy.session.last_values import FORGET
from poolproxy.session.lifecycle import SERVER_CLOSED, SERVER_IDLE
from poolproxy.session.parameters import (
    AT_ONCE,
    EMPTY,
    HANDOVER,
    IDLE_SESSION_TIMEOUT,
    ParameterSet,
    Reported,
    changes,
    difference,
    switch,
)
from poolproxy.session.pins import TAINTING
from poolproxy.session.pipeline import Pipeline, Step
from poolproxy.session.prepared import ServerStatements, Statement
from poolproxy.transport.stream import Stream

_log = get_logger()

STATUS_IDLE = 0x49

_IN_FAILED_TRANSACTION = "25P02"

#: Seconds before a pinned server is audited again though nothing is heard of it.
AUDIT_SOON = 5.0

#: Bytes that a server may make us keep at once, of rows that we have asked for or of notifications that wait
#: for an audit: a hundred times what the audit of a session with a thousand statements of SQL has.
MAX_KEPT = 16 << 20

#: What passes unlooked: RowDescription, DataRow, CommandComplete, BindComplete, NoData, PortalSuspended,
#: ParameterDescription, EmptyQueryResponse, CopyData, CopyDone, CopyOutResponse, FunctionCallResponse.
STOPS = stop_table(b"TDC2nstIdcHV")
#: The same, but for RowDescription, CommandComplete, NoData, ParameterDescription.
STOPS_CLOSELY = stop_table(b"D2sIdcHV")
#: While nothing is owed, or rows are wanted: every message is looked at.
STOPS_ALL = stop_table(b"")

#: The fields of an ErrorResponse by their letters, as messages.error_fields reads them.
Refusal: TypeAlias = dict[str, str]
Done: TypeAlias = "Callable[[Refusal | None], None]"
RowsDone: TypeAlias = "Callable[[list[list[str]], Refusal | None], None]"


class ServerSession(Member):
    """See the module. Made by the grower once the login is over."""

    __slots__ = (
        "_describing", "_ended", "_errands", "_fatal", "_rows", "_rows_left", "_types", "audit_pause",
        "audited_at", "auditing", "cancelling", "changing_schema", "dirty", "discarding", "ending_batch",
        "exchange_at",
        "fencing", "forgets", "forgotten", "framer", "key", "lent", "listens", "on_closed", "origin",
        "own_draws", "pid", "pipeline", "pool", "prepared", "ready_kept", "refusal", "reported",
        "rescue_cancelled", "reset_due", "restoring", "returning", "sink", "stream", "suspected",
        "swallowing", "transaction_at", "unclaimed", "unclaimed_bytes", "unnamed_number",
    )  # fmt: skip

    def __init__(
        self,
        pool: Pool,
        stream: Stream,
        pid: int,
        key: bytes,
        reported: Reported,
        on_closed: Callable[[ServerSession], None],
    ) -> None:
        super().__init__()
        self.pool = pool
        self.stream = stream
        self.pid = pid
        self.key = key  #: the server's own cancel key
        self.on_closed = on_closed
        self.sink: Sink | None = None
        self.pipeline = Pipeline()
        self.framer = Framer(STOPS_ALL)
        self.reported = reported
        self.origin = reported  #: the same at its login
        self.suspected = False  #: its client may have left something in it that the books do not know
        self.auditing = False
        self.swallowing = 0  #: answers to come to a statement of ours in its client's batch
        self.discarding = False  #: what it runs of ours is its client's DISCARD ALL
        self.ready_kept = False  #: its client's ReadyForQuery waits for the audit
        self.fencing = False  #: it waits until the client has heard what was notified before
        self.listens = False  #: what is notified to it is its client's
        self.unclaimed: list[bytes] = []  #: notifications that may be its client's
        self.unclaimed_bytes = 0
        self.lent = False  #: it was told to listen to what the hub listens to for its client
        self.audited_at = 0.0
        self.audit_pause = 0.0
        self.dirty: Sink | None = None  #: whose state it may hold where no audit sees it
        self.returning = 0  #: 1 while that is being undone and nobody has it
        self.reset_due = False  #: it must be undone before its present client's bytes are run
        self.own_draws = False  #: what it says of sequences is of its present client's drawing
        self.forgotten = False  #: because they were made to forget
        self.unnamed_number = 0  #: the unnamed statement it holds (Pool.number_statement); 0 = none, unknown
        self.prepared = ServerStatements(pool.route.max_prepared_statements)
        #: the names that DEALLOCATEs under way are about, in order; b"" = all
        self.forgets: list[bytes] = []
        self.changing_schema = False
        self._describing: Step | None = None  #: whose description is arriving
        self._types = b""  #: the first half of it
        self.refusal: Refusal | None = None  #: the error of a Query of ours
        self.cancelling = 0  #: cancel requests on their way to it
        self.rescue_cancelled = False  #: what its absent client left running has been cancelled
        self.ending_batch = False  #: a batch whose client has left is being rolled back
        self.restoring = 0  #: settings on their way back to what its client started with
        self.exchange_at = 0.0
        self.transaction_at = 0.0
        self._errands: deque[Done | None] = deque()  #: one per Query of ours
        self._rows: list[list[str]] | None = None  #: of our Query under way, where they are wanted
        self._rows_left = 0  #: bytes that those still to come may have
        self._fatal = False
        self._ended = False

    def __repr__(self) -> str:
        pinned = f" pinned {self.pin}" if self.pin else ""
        return f"<Server pid {self.pid} state {self.server_state} {self.pipeline}{pinned}>"

    # Queries of our own.

    def settle(self, wanted: ParameterSet) -> bytes:
        """The Queries to send ahead of the client's bytes, in the same write; what they answer is not the
        client's."""
        if self.reset_due or IDLE_SESSION_TIMEOUT in wanted.values:
            return b"".join(map(self.ahead, self._turn_into(wanted, True)))
        queries, count = switch(self.parameters, wanted)
        self.parameters = wanted
        self.unnamed_number = 0
        while count > 0:
            self._expect_own()
            count -= 1
        return queries

    def _turn_into(self, wanted: ParameterSet, guarded: bool) -> tuple[bytes, ...]:
        """The texts of the Queries after which it holds `wanted`, and nothing of any other client's."""
        if self.reset_due:
            self.reset_due = False
            self.dirty = None
            self.own_draws = self.forgotten = True
            self.pool.counters.handover_resets += 1
            queries = (HANDOVER, *difference(EMPTY, wanted, guarded))
        else:
            queries = difference(self.parameters, wanted, guarded)
        if not guarded and "" in wanted.values.values():
            queries = tuple(AT_ONCE.encode() + query for query in queries)
        if IDLE_SESSION_TIMEOUT in wanted.values:
            self.dirty = self.sink  # it must not be left on an idle server (rule 20)
        self.parameters = wanted
        return queries

    def ahead(self, sql: bytes, done: Done | None = None) -> bytes:
        """A Query of our own, to be sent ahead of the client's bytes in the same write. It must not fail,
        unless `done` is to hear of it."""
        self.unnamed_number = 0
        self.pipeline.skip_query()
        self._errands.append(done)
        return messages.query(sql)

    def lend(self, channels: frozenset[str], encoding: str) -> bytes:
        """Ahead of a text that may change what its client listens to: all of that is here, so that an audit
        tells what is left. In a failed transaction it fails, as that text will. In an open batch it is of the
        same transaction, and goes when that fails."""
        self.lent = True
        texts = lend_texts(channels, encoding)
        if self.pipeline.settled():
            return self.ahead(b"; ".join(texts), ignored)
        return b"".join([self._insert(LENDING, text) for text in texts])

    def forget_sequences(self) -> bytes:
        """Ahead of what may ask for a last number: none that others have drawn here (sessions.md, rule 14).
        In a failed transaction it fails, as that will; in an open batch no Query may stand."""
        self.forgotten = True
        # Behind what is not answered it may turn out to stand in a failed transaction.
        self.own_draws = self.own_draws or not self.pipeline.owes_client()
        if not self.pipeline.open:
            return self.ahead(FORGET, ignored)
        return self._insert(FORGETTING, FORGET)

    def _insert(self, mark: Statement, text: bytes) -> bytes:
        """To be run in the open batch."""
        for step in steps_of(mark):
            self.pipeline.expect(step)
        return run_in_batch(mark, text)

    def apply(self, wanted: ParameterSet, done: Done) -> None:
        """Turn the settings into `wanted` and call `done` with the error's fields, or None. Nothing else may
        be sent meanwhile. After an error it is reset when released."""
        queries = self._turn_into(wanted, False) or (b"",)
        for query in queries[:-1]:
            self.ask(query, None)
        self.ask(queries[-1], lambda refusal: self._applied(done, refusal))

    def _applied(self, done: Done, refusal: Refusal | None) -> None:
        if refusal is not None:
            self.suspected = True  # what it holds now is not known
        done(refusal)

    def restore(self, wanted: ParameterSet) -> None:
        """Behind a RESET of the client's: what it stands for is what the client started with (sessions.md,
        rule 10). In the same transaction, if one is open, and ahead of whatever the client sends next."""
        *others, last = difference(EMPTY, wanted, False)
        self.restoring += 1
        for query in others:
            self.ask(query, None)
        self.ask(last, lambda refusal: self._restored(wanted, refusal))

    def _restored(self, wanted: ParameterSet, refusal: Refusal | None) -> None:
        self.restoring -= 1
        if refusal is None and self.pipeline.status == STATUS_IDLE:
            self.parameters = wanted.over(self.parameters)
        elif refusal is not None and refusal.get("C") != _IN_FAILED_TRANSACTION:
            self.suspected = True  # what it holds now is not known
        if self.sink is not None and not self.restoring:
            self.tell(self.sink)

    def tell(self, sink: Sink) -> None:
        """ParameterStatus for what the server reports now and the client was not told."""
        for name, value in changes(sink.told, self.reported):
            message = messages.parameter_status(name, value)
            sink.write(message, 0, len(message))
        sink.told = self.reported

    def ask(self, sql: bytes, done: Done | None) -> None:
        """A Query of our own; `done` gets the fields of its error, or None."""
        self.unnamed_number = 0
        self.framer.stops = STOPS
        self.pipeline.skip_query()
        self._errands.append(done)
        self.stream.send(messages.query(sql))

    def ask_batch(self, batch: bytes, done: Done) -> None:
        """A batch of our own, with its Sync; as `ask`."""
        self.framer.stops = STOPS
        self.pipeline.skip_batch([])
        self._errands.append(done)
        self.stream.send(batch)

    def ask_rows(self, sql: bytes, done: RowsDone) -> None:
        """A Query of our own whose rows are wanted (text columns, no NULLs); `done` gets them, or its error's
        fields."""
        self._rows = []
        self._rows_left = MAX_KEPT
        self.ask(sql, lambda refusal: self._rows_done(done, refusal))
        self.framer.stops = STOPS_ALL

    def _rows_done(self, done: RowsDone, refusal: Refusal | None) -> None:
        rows, self._rows = self._rows or [], None
        done(rows, refusal)

    def changes_schema(self) -> None:
        """What is about to be run may change the catalogue, now or when its transaction ends."""
        self.changing_schema = True
        self.pool.registry.epoch.advance()

    def _expect_own(self) -> None:
        """A unit of ours, whose answers nobody wants."""
        self.pipeline.skip_query()
        self._errands.append(None)

    # Pins.

    def pin_down(self, reason: str) -> None:
        """Keep this server with its client until that leaves. A tainting reason outranks the one it has."""
        now = self.stream.poller.now
        if self.pin and (reason not in TAINTING or self.pin in TAINTING):
            return
        self.unpin()
        self.pool.pinned(self, reason, now)
        self.audited_at = now
        self.audit_pause = AUDIT_SOON
        if self.sink is not None:
            self.sink.pinned(reason)

    def unpin(self) -> None:
        """The pin has ended, if there is one: what caused it is gone, or undone behind its client, or
        outranked, or the server ends."""
        reason, now = self.pin, self.stream.poller.now
        if not reason:
            return
        seconds = now - self.pinned_at
        self.pool.unpinned(self, now)
        if self.sink is not None:
            self.sink.unpinned(reason, seconds)
        elif _log.debugs():
            route = self.pool.route
            _log.debug(
                "unpinned", database=route.database, user=route.user, reason=reason, seconds=round(seconds, 6)
            )

    def _return(self, count: int) -> None:
        """It is on its way to the next client (1), or no more (0): another server need not be opened."""
        self.pool.returning += count - self.returning
        self.returning = count

    # The end.

    def close(self, reason: str) -> None:
        """Close this server; a client attached to it is told."""
        if self.server_state == SERVER_CLOSED:
            return
        _log.info(
            "server closed",
            database=self.pool.route.database,
            user=self.pool.route.user,
            server_pid=self.pid,
            reason=reason,
        )
        if self.server_state == SERVER_IDLE:
            self.stream.send(messages.terminate())
        self.stream.close()
        self.unpin()
        self._return(0)
        self.pool.close_server(self)
        self.on_closed(self)
        sink, self.sink = self.sink, None
        if sink is not None:
            refusal = self.refusal if self._errands else None
            told = self._fatal and refusal is None
            # Neither behind its own RESET nor before an audit has it anything to do with the client's text.
            sink.server_lost(told, refusal if not self.restoring and not self.auditing else None)
        self._errands.clear()

    def on_lost(self, reason: str) -> None:
        self.close("connection lost: " + reason)

    def _out_of_sync(self, what: str) -> None:
        self.pool.counters.out_of_sync += 1
        _log.error(
            "server out of sync",
            database=self.pool.route.database,
            user=self.pool.route.user,
            server_pid=self.pid,
            what=what,
        )
        self.close(UnexpectedServerAnswer(what=what).message)

    def fail(self, error: PoolproxyError) -> None:
        """An error of ours while its answers were read (a length out of range): never the client's fault."""
        self._out_of_sync(error.message)


def ignored(refusal: Refusal | None) -> None:
    """For an errand whose failure shows elsewhere."""
