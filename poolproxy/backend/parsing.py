"""One server's prepared statements: what is put among its client's messages so that it holds what they name,
and what its answers say became of it (sessions.md, rules 4 to 6 and 9).

Must not know what is relayed (server.py), nor the frontend. Compiled.
"""

from __future__ import annotations

from poolproxy.backend.server_session import STOPS, STOPS_ALL, STOPS_CLOSELY, Refusal, ServerSession, ignored
from poolproxy.protocol import messages
from poolproxy.session.inserted import FORGETTING, LENDING, UNSTEPPED
from poolproxy.session.parameters import ParameterSet, difference
from poolproxy.session.pipeline import CLOSED, DESCRIBED, PARSED, Step
from poolproxy.session.prepared import CHANGED, PREFIX, Statement, shape_of, with_names

STATUS_IDLE = 0x49

PARSE = 0x50
ERROR_RESPONSE = 0x45

_FEATURE_NOT_SUPPORTED = "0A000"
_UNDEFINED_STATEMENT = "26000"

#: Notices that a Parse may raise: nonstandard use of a backslash, a name that was cut.
_ABOUT_TEXT = frozenset({"22P06", "42622"})


class ParsingServer(ServerSession):
    """See the module."""

    __slots__ = ()

    # What to put among the client's messages.

    def replace_unnamed(self, number: int, parse: bytes | None) -> bytes:
        """What to put into a client's batch so that the unnamed statement is its own, of that number: its
        `parse` (a whole message) again, or, when it has none, a Close of what another one may have left:
        PostgreSQL will say that there is none."""
        self.unnamed_number = number
        self.pipeline.expect(Step(CLOSED if parse is None else PARSED, True))
        return messages.close(b"S") if parse is None else parse

    def describe(self, statement: Statement, name: bytes | None) -> bytes:
        """To go right behind a Parse of it; `name` if that was the client's own."""
        self.pipeline.expect(Step(DESCRIBED, True, statement, name))
        return messages.describe(b"S", statement.name)

    def prepare(self, statement: Statement) -> bytes:
        """A statement that this server lacks. Its client must wait until it has been described."""
        self.prepared.expect(statement, self.pipeline.turn(), True)
        self.pipeline.expect(Step(PARSED, True, statement))
        self.pool.counters.parses += 1
        parse = messages.message(PARSE, statement.name + b"\0" + statement.again())
        return parse + self.describe(statement, None)

    def prepare_under(self, statement: Statement, parameters: ParameterSet) -> bytes:
        """The same between exchanges, where the client's settings (`parameters`) are not those that it was
        parsed under: these for a moment, and back."""
        then = statement.settings.over(parameters.without_planning())
        guarded = self.pipeline.status == STATUS_IDLE  # in a transaction, the guard would stay
        there = b"".join(map(self.ahead, difference(parameters, then, guarded)))
        self.prepared.expect(statement, self.pipeline.turn(), True)
        self.pool.counters.parses += 1
        self.pipeline.skip_batch([Step(PARSED, True, statement), Step(DESCRIBED, True, statement)])
        self._errands.append(lambda refusal: self._prepared_under(statement, refusal))
        parse = messages.message(PARSE, statement.name + b"\0" + statement.again())
        back = b"".join(map(self.ahead, difference(then, parameters, guarded)))
        return there + parse + messages.describe(b"S", statement.name) + messages.sync() + back

    def _prepared_under(self, statement: Statement, refusal: Refusal | None) -> None:
        if refusal is not None:
            self.prepared.unparsable = statement  # the next try, in the message's place, tells the client why

    def parse_as(self, name: bytes, body: bytes) -> bytes:
        """Something under its client's own name, which SQL text may mean."""
        self.pipeline.expect(Step(PARSED, True, None, name))
        return messages.message(PARSE, name + b"\0" + body)

    def close_literal(self, name: bytes) -> bytes:
        """The end of what `parse_as` has put there."""
        self.prepared.literal.discard(name)
        self.pipeline.expect(Step(CLOSED, True))
        return messages.close(b"S", name)

    def parse_ahead(self, name: bytes, body: bytes) -> bytes:
        """The same, ahead of a Query. If it cannot be parsed any more, the Query will say so."""
        self.pipeline.skip_batch([Step(PARSED, True, None, name)])
        self._errands.append(ignored)
        return messages.message(PARSE, name + b"\0" + body) + messages.sync()

    def names(self, name: bytes) -> bool:
        """Whether that has been done."""
        return name in self.prepared.literal or any(
            step.own and step.name == name and step.statement is None for step in self.pipeline.steps
        )

    def close_surplus(self) -> bytes:
        """To go ahead of an exchange: statements that this server is not to keep."""
        self._expect_own()
        names = self.prepared.take_surplus(not self.pin)
        return b"".join(messages.close(b"S", name) for name in names) + messages.sync()

    def look_closely(self) -> None:
        """From now on also at what says how a DEALLOCATE ended, and what a statement's description is."""
        self.framer.stops = STOPS_CLOSELY

    # What the answers say of them.

    def _completed(self, step: Step) -> None:
        """A Parse or Close of a statement that the books know has been done."""
        statement = step.statement
        if statement is FORGETTING or statement is LENDING:
            self.swallowing = UNSTEPPED
            self.framer.stops = STOPS_ALL
        elif statement is not None:
            if step.kind == PARSED:
                self.prepared.confirm(statement)
                following = self.pipeline.next_step()
                if following is not None and following.kind == DESCRIBED:
                    self.framer.stops = STOPS_CLOSELY
            elif step.answer is None:
                self.prepared.drop(statement)
        if step.name is not None and step.own and statement is None:
            self.prepared.literal.add(step.name)
        elif self.sink is not None and (step.name is not None or step is self.pipeline.border):
            if step.name is not None:
                self.sink.step_completed(step)
            if self.sink.awaiting:
                self.sink.proceed()

    def _give_up_steps(self) -> None:
        """After an error: what is still to come of its unit will not be done."""
        for step in self.pipeline.steps_left():
            if step.statement is FORGETTING:
                self.own_draws = self.forgotten = False
            elif step.statement is LENDING:
                self.lent = False
            elif step.statement is not None and step.kind != CLOSED:
                self.prepared.failed(step.statement)

    def _described(self, description: bytes) -> None:
        step, self._describing = self._describing, None
        if not self.forgets:
            self.framer.stops = STOPS
        if step is None or step.statement is None:
            return
        shape = shape_of(description) if description else b""
        same = self.prepared.described(step.statement, self._types, shape)
        sink = self.sink
        if not same:
            self.pool.registry.epoch.advance()
            if step.name is not None:
                self.prepared.discard(step.statement)
                if sink is not None:
                    sink.described_anew(step, self._types, shape)
        if sink is not None and sink.awaiting:
            sink.proceed()

    def _command_complete(self, tag: bytes) -> None:
        """Tags tell what a DEALLOCATE has really done."""
        if tag == b"DEALLOCATE" and self.forgets:
            name = self.forgets.pop(0)
            if name.startswith(PREFIX):
                self.prepared.drop_named(name)  # it may have been others', too
            if self.sink is not None:
                self.sink.deallocated(name)
        elif tag == b"DEALLOCATE ALL" or tag == b"DISCARD ALL":
            if self.forgets and not self.forgets[0]:
                self.forgets.pop(0)
            self.prepared.clear()
            if self.sink is not None:
                self.sink.deallocated(None)
                if tag == b"DISCARD ALL":
                    self.sink.unlistened()
        else:
            return
        if self.sink is not None and self.sink.awaiting:
            self.sink.proceed()

    def _renamed(self, report: bytes, sqlstate: str, ours: list[bytes]) -> bytes:
        """An error about a statement by a name of ours, as the client is to read it."""
        if CHANGED in ours:
            # pgjdbc parses again where the error is of this routine, and only there.
            return messages.error_response_fields(
                "ERROR",
                _FEATURE_NOT_SUPPORTED,
                "cached plan must not change result type",
                routine="RevalidateCachedQuery",
            )
        if sqlstate == _UNDEFINED_STATEMENT:
            for name in ours:
                self.prepared.drop_named(name)
        assert self.sink is not None
        return messages.message(ERROR_RESPONSE, with_names(report, self.sink.name_of))

    def _of_our_parse(self, report: bytes) -> bool:
        """Whether a notice is about the text of a statement that is parsed again right now: its client has
        heard it (rule 9)."""
        following = self.pipeline.next_step()
        if following is None or not following.own or following.kind != PARSED:
            return False
        return messages.error_fields(report).get("C", "") in _ABOUT_TEXT
