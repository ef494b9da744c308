"""What a client's statements mean: the looks at their texts, and the names under which servers know them.

A named statement outlives its server: a server that lacks it gets it right before the message that needs it
(rule 9), and nothing is answered by us that PostgreSQL would not say: where it need not parse again it
answers a Close of nothing instead, so that order and errors stay its own (rule 6; session/prepared.py has the
books). `Client` (client.py) adds the relay. Compiled."""

from __future__ import annotations

from typing import cast

from poolproxy.backend.hub import Hub
from poolproxy.backend.server import Server
from poolproxy.errors import TooManyStatements
from poolproxy.frontend.client_session import HELD, NOTED, TAKEN, ClientSession
from poolproxy.frontend.discarding import Taken, lone_discard_all
from poolproxy.frontend.hearing import NOTHING, Hearing
from poolproxy.frontend.waiting import must_wait
from poolproxy.protocol import messages
from poolproxy.protocol.framing import string_end
from poolproxy.protocol.pieces import head
from poolproxy.session.assignments import ALL, EVERYTHING, Assignment, is_discard_all
from poolproxy.session.custom import bound_names
from poolproxy.session.parameters import EMPTY, parameter_set
from poolproxy.session.pins import TAINTING
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
from poolproxy.session.statements import Finding, Scanner

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

#: More than this is not gathered with what goes ahead of it, but sent at once.
GATHERED = 16384

#: Settings that change how the next text is to be read.
_READING = frozenset({"standard_conforming_strings", "client_encoding", ALL, EVERYTHING})

#: What may hide an UNLISTEN.
_HIDES_UNLISTEN = frozenset({"listen", "code", "routine", "unclear"})

#: What may change what texts mean, for everybody.
_SCHEMA_REASONS = frozenset({"ddl", "temp_object", "code", "function_call", "large_text", "unclear"})

_scanner = Scanner()


class PreparingClient(ClientSession):
    """See the module."""

    __slots__ = ()

    # Texts.

    def _look(self, buffer: bytearray, begin: int, stop: int) -> Finding | None:
        _scanner.cautious = self.cautious
        _scanner.words = self.pool.words
        finding = _scanner.look(buffer, begin, stop)
        self.controls = self.controls or _scanner.controls
        if _scanner.writes:
            self.drew = True
        return finding

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

    def _exchange(self, server: Server, finding: Finding | None) -> None:
        """A Query or FunctionCall: an exchange of its own; in an open batch it makes answers ambiguous."""
        if server.pipeline.batch_assignments:
            server.suspect("setting")  # of the batch that this ends, in a transaction
        assignments = self._follow(server, finding)
        server.pipeline.query(assignments)
        if server.pipeline.unclear:
            server.pin_down("unaudited")

    def _follow(self, server: Server, finding: Finding | None) -> tuple[Assignment, ...]:
        """The assignments of a text that can be followed; for everything else that it may leave, its server
        is suspect."""
        if finding is None:
            return ()
        self.local = self.local or finding.local
        if finding.custom:
            self.pool.custom_names.learn(finding.custom)
        if finding.sequence or finding.reason == "function":
            self._discard_sequences(server)
        if (
            self.hearing is not None
            and self.hearing.channels
            and (finding.unlistens or len(finding.channels) > 0 or finding.reason in _HIDES_UNLISTEN)
        ):
            self._lend(server)
        if finding.ends and server.pin:
            server.suspect("ends")
        if finding.reason:
            server.suspect(finding.reason)
            self.local = True
            if finding.prepares:
                server.prepared.by_text = True
            if finding.reason in _SCHEMA_REASONS:
                server.changes_schema()
            if finding.resets_role:
                self.resets = (*(self.resets or ()), "role")
            return ()
        for assignment in finding.assignments:
            if assignment.fragment is None:
                self.resets = (*(self.resets or ()), assignment.name)
            if assignment.name in _READING:
                self.cautious = True  # until its answer has told how the next texts are read
        return finding.assignments

    # Channels.

    def _others_first(self, server: Server, finding: Finding, again: bool) -> bool:
        """Whether a text must wait for something else than its server; `again` as for the hub."""
        if (finding.databases or finding.buffers) and must_wait(self, server, finding):
            return True
        return self._hub_first(server, finding, again)

    def _hub_first(self, server: Server, finding: Finding, again: bool) -> bool:
        """Whether a text must wait for the hub, because of LISTEN or UNLISTEN in it (rule 15); `again`: it
        may be run more than once."""
        channels = finding.channels
        if finding.unlistens and self.hearing is not None and self.hearing.channels:
            channels += (NOTHING,)
        if not channels or self.pool.hub is None or server.listens or server.pipeline.doomed():
            return False
        if server.pin in TAINTING:
            server.listens = True
            return False
        if self.hearing is None:
            self.hearing = Hearing(self, cast(Hub, self.pool.hub))
        if self.hearing.must_wait(channels, again):
            self.awaiting = True
            return True
        return False

    def _tells_first(self, server: Server, finding: Finding) -> bool:
        """Whether a text with NOTIFY must wait: from now on all that this server notifies is this client's,
        and listeners are to know it by the pid that others know, but what came before is somebody else's. The
        server is kept meanwhile."""
        hub = cast("Hub | None", self.pool.hub)
        if not finding.notifies or finding.channels or hub is None or not hub.hears():
            return False
        if server.listens or server.pipeline.doomed():
            return False
        if server.pipeline.owes_client() and not server.pipeline.open:
            self.awaiting = True  # an exchange before it ends first, as it would have
            return True
        if self.hearing is None:
            self.hearing = Hearing(self, hub)
        if self.hearing.sends_from(server.pid):
            return False
        self.awaiting = True
        if not server.pipeline.open:
            self.holding = True
        return True

    def _lend(self, server: Server) -> None:
        """What a text changes of what it listens to shows on a server that listens to that."""
        server.suspect("listen")
        if self.hearing is not None and server.pipeline.settled() and not (server.lent or server.listens):
            self._prefix += server.lend(self.hearing.channels, self.hearing.encoding())

    def _discard_sequences(self, server: Server) -> None:
        """What currval and lastval would tell here, where this transaction has not drawn from a sequence, is
        another client's (sessions.md, rule 14). Whoever asks once asks again, perhaps where nothing can be
        put ahead: from now on it is done as each exchange begins."""
        pipeline = server.pipeline
        self.pool.sequences_asked = True
        if self.drew or server.own_draws or self.pool.session_mode or pipeline.doomed():
            return
        if pipeline.copying_in or pipeline.unclear or pipeline.hasty:
            return
        if pipeline.owes_client() or pipeline.status != STATUS_FAILED:
            self._prefix += server.forget_sequences()

    def _restore(self, server: Server) -> None:
        """A RESET of its own has been forwarded: behind it goes what it started with."""
        names, self.resets = self.resets, None
        started = self.startup.over(self.pool.baseline)
        if names is not None and EVERYTHING not in names:
            started = (
                started.without_identity()
                if ALL in names
                else parameter_set({name: started.values[name] for name in names if name in started.values})
            )
        if started.values and server.pipeline.settled():
            server.restore(started)

    def _look_at_parsed(self, name: bytes) -> bool:
        """Look at the text of a statement that was parsed before, while no server is attached; False where it
        is not known."""
        if not name:
            text = None if self.unnamed is None else self.unnamed[6:]
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
        pipeline = server.pipeline
        self.unnamed_number = server.unnamed_number = self.pool.number_statement()
        self.unnamed = self.stream.copy(position, following) if following > position else None
        self.unnamed_large = self.unnamed is None
        self.unnamed_turn = self.unnamed_followed = pipeline.turn()
        self.unnamed_ordinal = pipeline.parses
        self.unnamed_finding = finding
        self.unnamed_words = self.pool.words
        self.unnamed_draws = _scanner.writes
        self.unnamed_controls = _scanner.controls

    def _look_again(self, finding: Finding | None, text: bytes) -> Finding | None:
        """What is remarkable about a text that is run by other words than it was looked at with: a routine in
        it may have become hazardous meanwhile. `text` ends with a zero byte, as in a Parse."""
        _scanner.cautious = self.cautious or finding is not None
        _scanner.words = self.pool.words
        found = _scanner.look(bytearray(text), 0, text.index(0))
        return finding if found is None else found

    def _look_at_parse(self, buffer: bytearray, position: int, following: int) -> Finding | None:
        begin = string_end(buffer, position + 5, following) + 1
        stop = string_end(buffer, begin, following)
        return self._look(buffer, begin, stop) if begin > 0 and stop > 0 else None

    def _unnamed_must_move(self, server: Server) -> bool:
        """A Bind or Describe means this client's unnamed statement: whether the server lacks it."""
        if self.unnamed_draws:
            self.drew = True
        return self.unnamed_number == 0 or server.unnamed_number != self.unnamed_number

    def _parse_again(self, server: Server) -> None:
        """The unnamed statement is meant, and this server holds another one's: put it right, right here (rule
        9)."""
        self.unnamed_turn = server.pipeline.turn()
        self.unnamed_ordinal = server.pipeline.parses
        if self.unnamed_number == 0:
            self.unnamed_number = self.pool.number_statement()
        self._prefix += server.replace_unnamed(self.unnamed_number, self.unnamed)

    def _unnamed_again(self) -> None:
        """Other words hold now than its text was looked at with."""
        self.unnamed_words = self.pool.words
        self.unnamed_followed = -1
        if self.unnamed is not None:
            self.unnamed_finding = self._look_again(self.unnamed_finding, self.unnamed[6:])

    def _run_unnamed(self, server: Server, finding: Finding) -> None:
        """It is about to be run, and its text is remarkable."""
        if self.unnamed_followed != server.pipeline.turn():
            self._run_again(server, finding, self.unnamed)
        else:
            self._name_for_batch(server, finding, self.unnamed)

    def _learn_bound(self, position: int, end: int) -> None:
        """The values of a Bind may name the custom settings that its statement sets."""
        self.pool.custom_names.learn(bound_names(self.stream.copy(position, end)))

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
                if statement.finding is not None and statement.finding.prepares:
                    self._name_to_run(server, statement.body)
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
        if finding is not None and finding.prepares:
            self._name_to_run(server, body)
        if by_text and existing is None:
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
            statement.draws = _scanner.writes
            statement.controls = _scanner.controls
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
            statement.draws = body is None or _scanner.writes
            statement.controls = _scanner.controls
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

    def _name_for_batch(self, server: Server, finding: Finding, text: bytes | None) -> None:
        """Something with DEALLOCATE, EXECUTE or PREPARE is about to be run: what it names must be there,
        under that name (rule 6)."""
        if finding.prepares:
            self._name_to_run(server, text)
        for name in self._to_stand_in(server, finding.forgets):
            self._prefix += server.parse_as(name, server.prepared.stand_in(name))
        self._expect_deallocated(server, finding.forgets)

    def _name_to_run(self, server: Server, text: bytes | None) -> None:
        """What EXECUTE in a text may mean must be there already when that is parsed: it has its columns."""
        if self.prepared is None or text is None:
            return
        pipeline = server.pipeline
        for name, statement in self.prepared.mentioned(text, pipeline.turn(), pipeline.answered):
            if not server.names(name):
                server.suspect("sql_prepare")  # the audit closes it again
                self._prefix += server.parse_as(name, statement.again())

    def _name_for_text(
        self, server: Server, finding: Finding, buffer: bytearray, begin: int, stop: int
    ) -> None:
        """The same for a Query, ahead of it."""
        prepared = self.prepared
        if server.pipeline.open:  # a batch, which no Sync of ours is to end
            self._name_for_batch(server, finding, self.stream.copy(begin, stop))
            return
        if finding.prepares and prepared is not None:
            text = self.stream.copy(begin, stop)
            for name, statement in prepared.mentioned(text, server.pipeline.turn(), server.pipeline.answered):
                if not server.names(name):
                    self._prefix += server.parse_ahead(name, statement.again())
        for name in self._to_stand_in(server, finding.forgets):
            self._prefix += server.parse_ahead(name, server.prepared.stand_in(name))
        self._expect_deallocated(server, finding.forgets)

    def _bind_must_wait(self, server: Server, finding: Finding | None) -> bool:
        """Whether a statement with this finding cannot be run yet."""
        return finding is not None and (
            self._names_in_doubt(server, finding) or self._tells_first(server, finding)
        )

    def _names_in_doubt(self, server: Server, finding: Finding | None) -> bool:
        """Whether what a text names depends on exchanges that are not answered."""
        return (
            self.prepared is not None
            and _names_statements(finding)
            and self.prepared.unsettled(server.pipeline.turn(), server.pipeline.answered)
        )

    def _to_stand_in(self, server: Server, names: tuple[bytes, ...]) -> list[bytes]:
        """Which of these names the client knows, and the server does not."""
        prepared = self.prepared
        if prepared is None:
            return []
        turn, answered = server.pipeline.turn(), server.pipeline.answered
        return [
            name
            for name in names
            if not server.names(name) and prepared.find(name, turn, answered) not in (None, UNSETTLED)
        ]

    def _expect_deallocated(self, server: Server, names: tuple[bytes, ...]) -> None:
        """Tags will tell what became of these."""
        if not names:
            return
        server.look_closely()
        server.forgets += names
        turn = server.pipeline.turn()
        if self.prepared is None:
            self.prepared = ClientStatements()
        for name in names:
            if name:
                self.prepared.expect(name, None, turn, False)
            else:
                self.prepared.expect_nothing(turn)

    def _names_wanted(self, buffer: bytearray, begin: int, stop: int) -> bool:
        """Whether the books must be settled before this text is run."""
        if self.prepared is None:
            return False
        finding = self._look(buffer, begin, stop)
        return _names_statements(finding)

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

    def deallocated(self, name: bytes | None) -> None:
        if self.prepared is not None:
            if name is None:
                self.prepared.forget_all()
            else:
                self.prepared.forget(name)
                if self.server is not None:
                    self.server.prepared.literal.discard(name)

    def discarded(self) -> None:
        if self.prepared is not None and self.server is not None:
            for statement in self.prepared.private():
                self.server.prepared.discard(statement)
            self.prepared.forget_all()
        self.unlistened()
        self.session = EMPTY
        self._settle_parameters()

    def name_of(self, name: bytes) -> bytes | None:
        return None if self.prepared is None else self.prepared.name_of(name)

    def proceed(self) -> None:
        self.awaiting = False
        self.read_on()


def _names_statements(finding: Finding | None) -> bool:
    """Whether a text with this finding may be about prepared statements by their names."""
    return finding is not None and (finding.prepares or len(finding.forgets) > 0)


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
