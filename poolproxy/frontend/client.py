"""One logged-in client: forwards what it asks to a server it borrows, and takes answers as that server's
sink.

The first message of an exchange borrows a server; the pool takes it back when nothing is owed. What the
client sends is told to the server's pipeline; what its statements mean is preparing.py's. Compiled: `on_data`
runs once per chunk."""

from __future__ import annotations

from poolproxy.backend.discarding import discard_all
from poolproxy.backend.server import Server
from poolproxy.errors import PoolFull, PoolproxyError, ProtocolViolation
from poolproxy.frontend.client_session import NOTED, TAKEN, UNKNOWN, UNSAFE, UNSYNCED, WHOLE
from poolproxy.frontend.connection import STOPS, STOPS_COPYING
from poolproxy.frontend.preparing import PreparingClient, statement_at
from poolproxy.protocol import messages
from poolproxy.protocol.framing import NOTHING, PARTIAL, Framer, string_end
from poolproxy.session.lifecycle import CLIENT_IDLE
from poolproxy.session.pins import TAINTING
from poolproxy.transport.stream import KEEP_LIMIT

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

#: Enough of a message that passes in pieces to read the names it begins with.
HEAD = 1024

#: Functions that a FunctionCall may call without leaving session state: large objects (pg_proc.dat: lo_*,
#: loread, lowrite).
_HARMLESS_FUNCTIONS = frozenset(
    {715, 764, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460}
)


class Client(PreparingClient):
    """See the module."""

    __slots__ = ()

    # From the client.

    def on_data(self, buffer: bytearray, end: int) -> None:
        """A chunk of requests."""
        framer = self.framer
        server = self.server
        start = 0
        position = 0
        framer.stops = STOPS_COPYING if server is not None and server.pipeline.copying_in else STOPS
        while True:
            try:
                position = framer.scan(buffer, position, end)
            except PoolproxyError:
                self._forward_to(server, buffer, start, position)
                raise
            kind = framer.kind
            if kind in (NOTHING, PARTIAL):
                break
            following = position + framer.size
            if following > end and (framer.size <= KEEP_LIMIT or end - position < HEAD):
                break
            if kind == TERMINATE:
                self._forward_to(server, buffer, start, position)
                self.close("terminated")
                return
            if server is None:
                if self._needs_no_server(kind):
                    start = position = framer.skip(position, end)
                    continue
                server = self._borrow(kind)
                if server is None:
                    self.stream.keep(position, end)
                    self._queued()
                    return
                start = position
            settled = server.pipeline.quiet()
            if settled and kind != COPY_DATA and kind != COPY_DONE and kind != COPY_FAIL and kind != FLUSH:
                self._forward(server, buffer, start, position)
                start = position
                if not self._begin(server):
                    self.stream.keep(position, end)
                    self.stream.pause()
                    return
            if kind in (BIND, DESCRIBE, PARSE, CLOSE):
                name_at = statement_at(buffer, kind, position, min(following, end))
                if name_at < 0 and following > end and kind != BIND:
                    server.pin_down("unaudited")  # a name of a kilobyte and more
                if name_at > 0 and buffer[name_at] != 0 and not self.pool.session_mode:
                    self._gather(server, buffer, start, position)
                    start = self._by_name(server, kind, buffer, position, name_at, following, end)
                    if start < 0:
                        self._stop(server, position, end)
                        self._give_back(server)
                        return
                    position = following if following <= end else framer.skip(position, end)
                    continue
                if name_at != 0 and (name_at < 0 or buffer[name_at] == 0) and (kind in (BIND, DESCRIBE)):
                    start = self._by_no_name(server, kind, buffer, start, position, min(following, end))
                    if start < 0:
                        self._stop(server, position, end)
                        return
            elif (
                kind in (QUERY, FUNCTION_CALL)
                and not settled
                and self._must_await(server, kind, buffer, position, following, end)
            ):
                self._gather(server, buffer, start, position)
                self._ask_batch(server)
                self._stop(server, position, end)
                return
            ahead = len(self._prefix)
            noted = self._note(server, kind, buffer, position, following, end)
            if len(self._prefix) > ahead and start < position:
                self._gather_behind(server, buffer, start, position, ahead)
                start = position
            if noted != NOTED:
                self._gather(server, buffer, start, position)
                if noted == UNKNOWN:
                    self._forward(server, buffer, position, position)
                    raise ProtocolViolation(what=f"invalid frontend message type {kind}")
                if noted == TAKEN:
                    self._take(server, end)
                    return
                if server.pipeline.open:
                    self._ask_batch(server)
                self._stop(server, position, end)
                self._give_back(server)
                return
            position = following if following <= end else framer.skip(position, end)
            if self.resets is not None and kind in (QUERY, SYNC):
                self._forward(server, buffer, start, position)
                start = position
                self._restore(server)
        self._forward_to(server, buffer, start, position)
        self.stream.keep(position, end)
        if server is not None and server.pipeline.quiet() and framer.rest == 0 and start < end:
            server.review()

    def _by_no_name(
        self, server: Server, kind: int, buffer: bytearray, start: int, position: int, end: int
    ) -> int:
        """A Bind or Describe of the unnamed statement. Where the rest begins that is to be forwarded behind
        `_prefix`; -1: not yet, `proceed` will follow."""
        unnamed = self._own_unnamed()
        if kind == BIND and unnamed.words is not self.pool.words:
            self._unnamed_again(unnamed)
        if self._unnamed_must_move(server):
            self._gather(server, buffer, start, position)
            start = position
            if kind == BIND:
                self._lend(server, unnamed.finding)  # ahead of a batch, while it can be a Query
            self._parse_again(server)
        if kind != BIND:
            return start
        unnamed.large = False
        if unnamed.controls:
            server.pipeline.controls = True
        finding = unnamed.finding
        if finding is None or server.pipeline.doomed():
            return start
        self._gather(server, buffer, start, position)
        if self._bind_must_wait(server, finding):
            self._ask_batch(server)
            return -1
        self._run_unnamed(server, unnamed)
        if finding.reason == "setting":
            self._learn_bound(position, end)
        return position

    def _must_await(
        self, server: Server, kind: int, buffer: bytearray, position: int, following: int, end: int
    ) -> bool:
        """A Query or FunctionCall behind what is not answered: whether it must wait for that, because it ends
        a batch, so that an error could be of either, or because of the statements that it names."""
        pipeline = server.pipeline
        if pipeline.asked() or pipeline.doomed():
            return False
        if pipeline.open:
            return pipeline.border is not None or pipeline.divisible()
        return (
            kind == QUERY
            and following <= end
            and self.prepared is not None
            and self._names_wanted(buffer, position + 5, following - 1)
        )

    def _needs_no_server(self, kind: int) -> bool:
        """Whether a message means nothing while no server is attached. What belongs to a refused batch is
        discarded up to its Sync, which is answered; late messages of a failed COPY and a Flush of nothing
        PostgreSQL ignores, too (rule 22)."""
        if self.discarding:
            if kind == SYNC:
                self.discarding = False
                self.stream.send(messages.ready_for_query(STATUS_IDLE))
            return True
        return kind in (COPY_DATA, COPY_DONE, COPY_FAIL, FLUSH)

    def _borrow(self, kind: int) -> Server | None:
        """A server for the exchange that begins with a message of this type; None: the client waits now."""
        if kind not in (QUERY, PARSE, SYNC, BIND, DESCRIBE, EXECUTE, CLOSE, FUNCTION_CALL):  # fmt: skip
            raise ProtocolViolation(what=f"invalid frontend message type {kind}")
        member = self.pool.borrow(self, self.stream.poller.now)
        if member is None:
            self.wait()
            return None
        self.attach(member)
        return self.server

    def _queued(self) -> None:
        """In the queue: unless nobody is to wait there, and no server can be opened for this client."""
        if self.pool.impatient and self.pool.crowded():
            route = self.pool.route
            self.give_up(PoolFull(database=route.database, user=route.user, seconds=0))

    def _begin(self, server: Server) -> bool:
        """An exchange begins on a server that owes nothing. False: not yet, `resume` will follow."""
        if server.cancelling:
            self.holding = True
            return False
        if self.hearing is not None and not self.hearing.begin_exchange():
            return False
        server.began(self.stream.poller.now)
        self.controls = False
        self.cautious = self.told.cautious
        if (
            (server.reset_due or (server.parameters is not self.parameters and not server.suspected))
            and server.pipeline.status == STATUS_IDLE
            and server.pin not in TAINTING
        ):
            if self.parameters.refused and not self.holding:
                self.apply_parameters()
                return False
            self._prefix += server.settle(self.parameters)
        if server.pipeline.status == STATUS_IDLE:
            self.local = self.drew = False
            if self.pool.sequences_asked and not (server.own_draws or self.pool.session_mode):
                self._prefix += server.forget_sequences()
        if server.prepared.crowded(not server.pin):
            self._prefix += server.close_surplus()
        self.holding = False
        return True

    def _forward_to(self, server: Server | None, buffer: bytearray, start: int, end: int) -> None:
        if server is not None:
            self._forward(server, buffer, start, end)

    def _take(self, server: Server, end: int) -> None:
        """What has been read up to `taking` is not forwarded: it is done in another way."""
        taking, self.taking = self.taking, None
        assert taking is not None
        self._stop(server, taking.end, end)
        discard_all(server, taking.answer)

    # What the messages mean for the books. `following` is where a message ends, beyond `end` when it passes
    # in pieces.

    def _note(
        self, server: Server, kind: int, buffer: bytearray, position: int, following: int, end: int
    ) -> int:
        """Tell the books of a message: NOTED, HELD (not yet, `proceed` will follow), TAKEN (it is `taking`),
        or UNKNOWN."""
        pipeline = server.pipeline
        if kind == SYNC:
            if not pipeline.certain():
                server.suspect("setting")
            unnamed = self.unnamed
            if unnamed is not None and unnamed.large:
                server.pin_down("unaudited")  # it is parsed here only, and to be run later
                unnamed.large = False
            pipeline.sync()
        elif kind == QUERY:
            return self._query(server, buffer, position, following, end)
        elif kind == PARSE:
            return self._parse(server, buffer, position, following, end)
        elif kind == BIND:
            pipeline.bind()
        elif kind == EXECUTE:
            pipeline.execute()
        elif kind == DESCRIBE:
            pipeline.extended()
        elif kind == CLOSE:
            if following - position == 7 and buffer[position + 5] == 83:
                self.forget_unnamed(server)
            pipeline.close()
        elif kind == COPY_DATA:
            pipeline.early_copy_data()
        elif kind in (COPY_DONE, COPY_FAIL):
            pipeline.copy_ended()
            self.framer.stops = STOPS
        elif kind == FUNCTION_CALL:
            oid = (
                int.from_bytes(self.stream.copy(position + 5, position + 9), "big")
                if min(following, end) - position >= 9
                else 0
            )
            if oid not in _HARMLESS_FUNCTIONS:
                server.suspect("function_call")
            self._exchange(server, None)
        elif kind != FLUSH:
            return UNKNOWN
        return NOTED

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
        self.stream.calm()
        if self.holding and self.server is not None and not self.server.cancelling:
            self.read_on()

    def in_message(self) -> bool:
        return self.framer.rest > 0

    def detached(self, now: float) -> None:
        self.server = None
        if self.hearing is not None:
            self.hearing.stop_sending()
        self.last_active = now
        self.stream.calm()
        self.pool.move_client(self, CLIENT_IDLE)
        if self.stream.paused:
            self.read_on()

    def server_drained(self) -> None:
        self.read_on()

    def on_drained(self) -> None:
        if self.server is not None:
            self.server.stream.resume()
        self.read_on()

    # In the queue.

    def read_ahead(self, kept: bytes) -> int:
        buffer = bytearray(kept)
        framer = Framer(STOPS)
        position, size = 0, len(buffer)
        parsed: set[bytes] = set()
        self.controls = False
        while position < size:
            position = framer.scan(buffer, position, size)
            following = position + framer.size
            if framer.kind == NOTHING or framer.kind == PARTIAL or following > size:
                return UNSAFE
            if framer.kind == QUERY or framer.kind == PARSE:
                begin = position + 5
                if framer.kind == PARSE:
                    begin = string_end(buffer, begin, following) + 1
                    parsed.add(bytes(buffer[position + 5 : begin - 1]))
                self._look(buffer, begin, max(begin, string_end(buffer, begin, following)))
            elif framer.kind == BIND:
                name_at = statement_at(buffer, BIND, position, following)
                if name_at < 0:
                    return UNSAFE
                name = bytes(buffer[name_at : string_end(buffer, name_at, following)])
                if name not in parsed and not self._look_at_parsed(name):
                    return UNSAFE  # it may be anything
            if self.controls:
                return UNSAFE
            position = following
            if framer.kind == QUERY or framer.kind == SYNC or framer.kind == FUNCTION_CALL:
                return WHOLE if self._only_copy_data(buffer, position, size) else UNSAFE
        return UNSYNCED

    def terminates(self, said: bytes) -> bool:
        buffer = bytearray(said)
        framer = Framer(STOPS)
        position, kind = 0, NOTHING
        while position < len(buffer):
            position = framer.scan(buffer, position, len(buffer)) + framer.size
            kind = framer.kind
            if kind == PARTIAL or position > len(buffer):
                return False
        return kind == TERMINATE and position > framer.size

    def _only_copy_data(self, buffer: bytearray, position: int, size: int) -> bool:
        """Whether nothing follows but what PostgreSQL ignores once an exchange has failed: the data of a COPY
        whose beginning was not awaited."""
        framer = Framer(STOPS)
        while position < size:
            position = framer.scan(buffer, position, size)
            position += framer.size
            if framer.kind not in (COPY_DATA, COPY_DONE, COPY_FAIL, FLUSH) or position > size:
                return False
        return True
