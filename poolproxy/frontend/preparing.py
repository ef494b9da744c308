"""What a client's Parse, Bind, Describe and Close mean: the names under which servers know its statements.

A named statement outlives its server: a server that lacks it gets it right before the message that needs it
(rule 9), and nothing is answered by us that PostgreSQL would not say: where it need not parse again it
answers a Close of nothing instead, so that order and errors stay its own (rule 6; session/prepared.py has the
books). `Client` (client.py) adds the relay. Compiled."""

from __future__ import annotations

from poolproxy.backend.server import Server
from poolproxy.errors import TooManyStatements
from poolproxy.frontend.client_session import HELD, NOTED, TAKEN
from poolproxy.frontend.discarding import Taken, lone_discard_all
from poolproxy.frontend.naming import NamingClient
from poolproxy.protocol import messages
from poolproxy.protocol.framing import string_end
from poolproxy.protocol.pieces import head
from poolproxy.session.assignments import is_discard_all
from poolproxy.session.pipeline import CLOSED, PARSED, Step
from poolproxy.session.prepared import (
    CHANGED,
    NAME_BYTES,
    NOBODYS,
    UNSETTLED,
    ClientStatements,
    Statement,
    escaped,
)
from poolproxy.session.statements import SCANNER, Finding
from poolproxy.session.unnamed import Unnamed

STATUS_IDLE = 0x49
STATUS_FAILED = 0x45

PARSE = 0x50
BIND = 0x42
DESCRIBE = 0x44
CLOSE = 0x43

#: What a client is told where PostgreSQL was not asked to parse again.
_PARSE_COMPLETE = messages.message(0x31)
_CLOSE_NOTHING = messages.close(b"S", NOBODYS)
_PARAMETERS = 0x74


class PreparingClient(NamingClient):
    """See the module."""

    __slots__ = ()

    def _query(self, server: Server, buffer: bytearray, position: int, following: int, end: int) -> int:
        """NOTED, HELD or TAKEN."""
        if following > end:
            self.forget_unnamed(server)
            server.suspect("large_text")
            self._exchange(server, None)
            return NOTED
        finding = self._look(buffer, position + 5, following - 1)
        if finding is not None and (
            self._others_first(server, finding, False) or self._tells_first(server, finding)
        ):
            return HELD
        self.forget_unnamed(server)
        if finding is not None and finding.forgets and server.discardable():
            text = self.stream.copy(position + 5, following - 1)
            if is_discard_all(text):
                self.taking = Taken(following, b"")
                return TAKEN
        if finding is not None:
            self._name_for_text(server, finding, buffer, position + 5, following - 1)
        self._exchange(server, finding)
        return NOTED

    def _look_at_parsed(self, name: bytes) -> bool:
        """Look at the text of a statement that was parsed before, while no server is attached; False where it
        is not known."""
        if not name:
            parse = None if self.unnamed is None else self.unnamed.parse
            text = None if parse is None else parse[6:]
        elif self.prepared is None:
            return False
        else:
            self.prepared.detach()
            statement = self.prepared.find(name[:NAME_BYTES], -1, 0)
            text = None if statement is None else statement.body
        if text is None:
            return False
        self._look(bytearray(text), 0, text.index(0))
        return True

    # The unnamed statement.

    def _own_unnamed(self) -> Unnamed:
        """Made when it is first spoken of."""
        if self.unnamed is None:
            self.unnamed = Unnamed()
        return self.unnamed

    def _parse(self, server: Server, buffer: bytearray, position: int, following: int, end: int) -> int:
        """A Parse of the unnamed statement; in session mode, of any. NOTED, HELD or TAKEN."""
        finding: Finding | None = None
        if following > end:
            server.suspect("large_text")
        else:
            finding = self._look_at_parse(buffer, position, following)
        if finding is not None and self._others_first(server, finding, True):
            return HELD
        pipeline = server.pipeline
        if finding is not None and finding.forgets and buffer[position + 5] == 0 and server.discardable():
            self.taking = lone_discard_all(buffer, position, following, end)
            if self.taking is not None:
                self._remember_unnamed(server, finding, position, following)
                return TAKEN
        assignments = self._follow(server, finding)
        if buffer[position + 5] == 0 and not pipeline.doomed():
            self._remember_unnamed(server, finding, position, following if following <= end else position)
        pipeline.parse(assignments)
        return NOTED

    def _remember_unnamed(
        self, server: Server, finding: Finding | None, position: int, following: int
    ) -> None:
        """Its Parse is buffer[position:following]; nothing where it is too long to be kept."""
        pipeline, unnamed = server.pipeline, self._own_unnamed()
        unnamed.number = server.unnamed_number = self.pool.number_statement()
        unnamed.parse = self.stream.copy(position, following) if following > position else None
        unnamed.large = unnamed.parse is None
        unnamed.turn = unnamed.followed = pipeline.turn()
        unnamed.ordinal = pipeline.parses
        unnamed.finding = finding
        unnamed.words = self.pool.words
        unnamed.draws = SCANNER.writes
        unnamed.controls = SCANNER.controls

    def _look_at_parse(self, buffer: bytearray, position: int, following: int) -> Finding | None:
        begin = string_end(buffer, position + 5, following) + 1
        stop = string_end(buffer, begin, following)
        return self._look(buffer, begin, stop) if begin > 0 and stop > 0 else None

    def _unnamed_must_move(self, server: Server) -> bool:
        """A Bind or Describe means this client's unnamed statement: whether the server lacks it."""
        unnamed = self._own_unnamed()
        if unnamed.draws:
            self.drew = True
        return unnamed.number == 0 or server.unnamed_number != unnamed.number

    def _parse_again(self, server: Server) -> None:
        """The unnamed statement is meant, and this server holds another one's: put it right, right here (rule
        9)."""
        unnamed = self._own_unnamed()
        unnamed.turn = server.pipeline.turn()
        unnamed.ordinal = server.pipeline.parses
        if unnamed.number == 0:
            unnamed.number = self.pool.number_statement()
        self._prefix += server.replace_unnamed(unnamed.number, unnamed.parse)

    def _unnamed_again(self, unnamed: Unnamed) -> None:
        """Other words hold now than its text was looked at with."""
        unnamed.words = self.pool.words
        unnamed.followed = -1
        if unnamed.parse is not None:
            unnamed.finding = self._look_again(unnamed.finding, unnamed.parse[6:])

    def _run_unnamed(self, server: Server, unnamed: Unnamed) -> None:
        """It is about to be run, and its text is remarkable."""
        assert unnamed.finding is not None
        if unnamed.followed != server.pipeline.turn():
            self._run_again(server, unnamed.finding, unnamed.parse)
        else:
            self._name_for_batch(server, unnamed.finding, unnamed.parse)

    # Named statements. What these return is where the rest of the message begins that is to be forwarded
    # behind the new beginning in `_prefix`; -1: not yet, `proceed` will follow.

    def _by_name(
        self,
        server: Server,
        kind: int,
        buffer: bytearray,
        position: int,
        name_at: int,
        following: int,
        end: int,
    ) -> int:
        """A Parse, Bind, Describe or Close of the statement whose name begins at `name_at`."""
        pipeline = server.pipeline
        if pipeline.doomed():
            return position  # PostgreSQL skips it
        name_end = string_end(buffer, name_at, min(following, end))
        name = self.stream.copy(name_at, name_end)
        if self.prepared is None:
            self.prepared = ClientStatements()
        key = name[:NAME_BYTES] if len(name) > NAME_BYTES else name
        statement = self.prepared.find(key, pipeline.turn(), pipeline.answered)
        if statement is UNSETTLED:
            return self._await(server)
        if len(name) > NAME_BYTES and statement is not None:
            self.prepared.speak(statement, name)
        if kind == PARSE:
            if statement is not None and self.prepared.in_doubt(key, pipeline.turn()):
                return self._await(server)
            return self._parse_named(server, statement, key, buffer, position, name_end, following, end)
        if statement is None:
            pipeline.bind() if kind == BIND else pipeline.close() if kind == CLOSE else pipeline.extended()
            target = escaped(name)
            if target is name:
                return position
        elif kind == CLOSE:
            target = self._close_named(server, statement, key)
        else:
            found = self._usable(server, statement, kind)
            if found is None:
                return -1 if self.holding else self._await(server)
            target = found
            if kind == BIND and statement.finding is not None and statement.finding.reason == "setting":
                self._learn_bound(position, min(following, end))
        names = self.stream.copy(position + 5, name_at) + target + b"\0"
        self._prefix += head(kind, following - position - 1 + len(target) - len(name), names)
        return name_end + 1

    def _ask_batch(self, server: Server) -> None:
        """What has been forwarded of a batch is to be done before more is: its answers are asked for."""
        if server.pipeline.border is None and server.pipeline.divisible():
            self._prefix += _CLOSE_NOTHING
            server.pipeline.ask()
        self._await(server)

    def _await(self, server: Server) -> int:
        """More answers are needed; those of an open batch come at a Flush only."""
        self.awaiting = True
        if server.pipeline.open:
            self.holding = False  # the batch itself keeps the server, and `_begin` will not come
            self._prefix += messages.flush()
        return -1

    def _usable(self, server: Server, statement: Statement, kind: int) -> bytes | None:
        """The name by which this server knows `statement`, which a Bind or Describe needs; None when it must
        be waited for."""
        pipeline = server.pipeline
        turn = pipeline.turn()
        held = server.prepared.find(statement, turn)
        target = statement.name
        if held is None or (held.turn >= 0 and held.turn < pipeline.answered):
            if statement.body is None:
                pass  # PostgreSQL will say that there is none
            elif pipeline.owes_client():
                return None  # a SET may be among it
            elif (
                statement.settings is self.parameters.planning()
                or server.suspected  # which of the two is in force is not known
                or pipeline.status == STATUS_FAILED
                or server.prepared.unparsable is statement
            ):
                server.prepared.unparsable = None
                if statement.finding is not None and statement.finding.mentions:
                    self._name_to_run(server, statement.body)
                if kind == BIND:
                    self._lend(server, statement.finding)  # ahead of a batch, while it can be a Query
                self._prefix += server.prepare(statement)
                return None
            elif not pipeline.open:
                self._prefix += server.prepare_under(statement, self.parameters)
                self.holding = True
                return None
            else:
                target = CHANGED  # its constants would be read in another way, and nothing can be set here
        elif held.injected or (kind == BIND and self._bind_must_wait(server, statement.finding)):
            return None
        elif held.differs and pipeline.status != STATUS_FAILED:
            server.prepared.discard(statement)
            target = CHANGED
        if target is CHANGED and kind == DESCRIBE and statement.types is not None:
            # PostgreSQL tells the parameters' types before it comes to what has changed.
            pipeline.expect(Step(CLOSED, False, None, None, messages.message(_PARAMETERS, statement.types)))
            self._prefix += _CLOSE_NOTHING
        if kind == BIND:
            if statement.draws:
                self.drew = True
            if statement.controls:
                pipeline.controls = True
            if statement.words is not self.pool.words and statement.body is not None:
                statement.finding = self._look_again(statement.finding, statement.body)
                statement.words = self.pool.words
            if statement.finding is not None:
                self._run_again(server, statement.finding, statement.body)
            pipeline.bind()
        else:
            pipeline.extended()
        return target

    def _run_again(self, server: Server, finding: Finding, body: bytes | None) -> None:
        """A statement is run whose text is remarkable, in another exchange than the one that parsed it
        perhaps."""
        if self._follow(server, finding):
            server.suspect("setting")
        self._name_for_batch(server, finding, body)

    def _parse_named(
        self,
        server: Server,
        existing: Statement | None,
        key: bytes,
        buffer: bytearray,
        position: int,
        name_end: int,
        following: int,
        end: int,
    ) -> int:
        pipeline = server.pipeline
        prepared = self.prepared
        assert prepared is not None
        turn = pipeline.turn()
        length = following - position - 1
        rest = name_end + 1
        finding: Finding | None = None
        body: bytes | None = None
        if following <= end:
            finding = self._look_at_parse(buffer, position, following)
            body = self.stream.copy(rest, following)
            if finding is not None and self._others_first(server, finding, True):
                return -1
            if self._names_in_doubt(server, finding):
                return self._await(server)
        else:
            server.suspect("large_text")
            server.pin_down("unaudited")  # it cannot be parsed anywhere else
        by_text = server.prepared.by_text
        if self._follow(server, finding):
            server.suspect("setting")
        if finding is not None and finding.mentions:
            self._name_to_run(server, body)
        if by_text and existing is None:
            if key in server.prepared.literal:
                self._prefix += server.close_literal(key)  # it was there for another text alone
            pipeline.parse(())
            return position  # SQL text may mean it: it is this server's, under its own name
        if existing is not None:
            # A name that is in use: PostgreSQL says so, of ours.
            if server.prepared.find(existing, turn) is None:
                # Or of something in its place, for a Parse of it might fail first.
                existing = self.pool.registry.private(None, self.parameters, None)
                self._prefix += server.parse_as(existing.name, server.prepared.stand_in(existing.name))
                prepared.speak(existing, self.stream.copy(position + 5, name_end))
            pipeline.parse(())
            self._prefix += head(
                PARSE, length + len(existing.name) - (rest - position - 6), existing.name + b"\0"
            )
            return rest
        statement: Statement | None = None
        if prepared.size() >= self.pool.route.max_client_prepared_statements:
            raise TooManyStatements(limit=self.pool.route.max_client_prepared_statements)
        if body is not None and self._may_share(server):
            statement = self.pool.registry.shared(body, self.parameters, finding)
            statement.finding, statement.words = finding, self.pool.words  # of now
            statement.draws = SCANNER.writes
            statement.controls = SCANNER.controls
            held = server.prepared.find(statement, turn)
            if prepared.name_of(statement.name) is not None:
                statement = None  # one name of ours for one of its: errors tell which
            elif held is not None:
                if not held.differs and not held.injected and (held.turn < 0 or held.turn == turn):
                    prepared.expect(key, statement, turn, not pipeline.open)
                    pipeline.expect(Step(CLOSED, False, statement, key, _PARSE_COMPLETE))
                    self._prefix += _CLOSE_NOTHING
                    return following
                statement = None
        if statement is None:
            statement = self.pool.registry.private(body, self.parameters, finding)
            statement.words = self.pool.words
            statement.draws = body is None or SCANNER.writes
            statement.controls = SCANNER.controls
        server.prepared.expect(statement, turn, False)
        # Skipped, it leaves the name what it was: nothing, which the server will say itself, or something.
        prepared.expect(key, statement, turn, not pipeline.open or prepared.fresh(key))
        pipeline.expect(Step(PARSED, False, statement, key))
        self.pool.counters.parses += 1
        beginning = head(PARSE, length + len(statement.name) - (rest - position - 6), statement.name + b"\0")
        if body is None:
            self._prefix += beginning
            return rest
        self._prefix += beginning + body + server.describe(statement, key)
        return following

    def _may_share(self, server: Server) -> bool:
        """Whether a Parse means here what it means to others with the same settings (rule 4), and whether
        PostgreSQL will come to it."""
        pipeline = server.pipeline
        return (
            not pipeline.owes_client()
            and pipeline.status != STATUS_FAILED
            and not server.pin
            and not server.suspected
            and not self.local
            and not pipeline.batch_assignments
            and server.parameters is self.parameters
        )

    def _close_named(self, server: Server, statement: Statement, key: bytes) -> bytes:
        """The name to close: one that others may use is left to them."""
        pipeline = server.pipeline
        assert self.prepared is not None
        self.prepared.expect(key, None, pipeline.turn(), not pipeline.open)
        pipeline.expect(Step(CLOSED, False, None if statement.shared else statement, key))
        return NOBODYS if statement.shared else statement.name

    def _bind_must_wait(self, server: Server, finding: Finding | None) -> bool:
        """Whether a statement with this finding cannot be run yet."""
        return finding is not None and (
            self._names_in_doubt(server, finding) or self._tells_first(server, finding)
        )

    # From the server.

    def step_completed(self, step: Step) -> None:
        prepared = self.prepared
        if prepared is None or step.name is None:
            return
        if step.kind == PARSED or step.answer is not None:
            if step.statement is not None:
                prepared.confirm(step.name, step.statement)
        else:
            prepared.forget(step.name)

    def described_anew(self, step: Step, types: bytes, shape: bytes) -> None:
        # What it parsed, and was told of, is a statement of its own from now on.
        old = step.statement
        if old is not None and self.prepared is not None and step.name is not None:
            own = self.pool.registry.private(old.body, self.parameters, old.finding)
            own.types, own.shape = types, shape
            self.prepared.replace(step.name, old, own)


def statement_at(buffer: bytearray, kind: int, position: int, end: int) -> int:
    """Where the name of the prepared statement begins that a Parse, Bind, Describe or Close is about; 0 when
    it is about a portal; -1 when that name is not there, or not whole."""
    start = position + 5
    if kind == BIND:
        start = string_end(buffer, start, end) + 1
        if start == 0:
            return -1
    elif kind != PARSE:
        if start >= end:
            return -1
        if buffer[start] != 83:
            return 0
        start += 1
    return start if string_end(buffer, start, end) >= 0 else -1
