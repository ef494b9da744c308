"""The answers a server still owes, in order, and what to do with each: the books of one server connection.

The client side says what was forwarded (`query`, `extended`, `sync`, ...), the server side what came back
(`ready`, `error`, `copy_in`, ...). A unit is all that one ReadyForQuery ends: a Query, a FunctionCall, or a
batch with its Sync. The rules are PostgreSQL's own (manual 54.2.3, 54.2.6; postgres.c): after an error in a
batch everything up to Sync is skipped, a Query in an open batch included; a Sync that reaches a server in
copy-in mode is swallowed. Where the answer cannot be told for certain the books say so (`unclear`) and the
server stays with its client (sessions.md, rules 7, 22). Must not know bytes, sockets or who the client is.
"""

from __future__ import annotations

from poolproxy.session.assignments import Assignment
from poolproxy.session.prepared import Statement

STATUS_IDLE = 0x49

# What ends a step: ParseComplete, CloseComplete, the description of a statement.
PARSED, CLOSED, DESCRIBED = range(3)


class Step:
    """A message of a batch whose completion means more to the books than its place in the order. `own`: it is
    not the client's. `answer`: what the client gets in place of the server's message."""

    __slots__ = ("answer", "kind", "name", "ordinal", "own", "statement")

    def __init__(
        self,
        kind: int,
        own: bool,
        statement: Statement | None = None,
        name: bytes | None = None,
        answer: bytes | None = None,
    ) -> None:
        self.kind = kind
        self.own = own
        self.statement = statement  #: what is prepared, closed or described
        self.name = name  #: the client's name that stands for it from then on (CLOSED: no more)
        self.answer = answer
        self.ordinal = 0  #: how many Parse (Close) messages of its batch came before it

    def __repr__(self) -> str:
        return f"<Step {('parse', 'close', 'describe')[self.kind]} {self.statement} as {self.name!r}>"


class Unit:
    """One expected ReadyForQuery. `skip`: we asked, the client must not see it."""

    __slots__ = ("assignments", "batch", "copy_ends", "skip", "steps")

    def __init__(
        self, batch: bool = False, skip: bool = False, assignments: tuple[Assignment, ...] = ()
    ) -> None:
        self.batch = batch  #: ended by a Sync
        self.skip = skip
        self.assignments = assignments  #: tracked assignments that hold if the unit ends well
        #: CopyDone and CopyFail that were forwarded ahead of its Sync, before their CopyInResponse
        self.copy_ends = 0
        self.steps: list[Step] = []

    def __repr__(self) -> str:
        return f"<Unit {'skip' if self.skip else 'forward'} {'batch' if self.batch else 'query'}>"


_QUERY = Unit()
_BATCH = Unit(batch=True)
_SKIP = Unit(skip=True)


class Pipeline:
    """See the module. All counts start with a server that has just said ReadyForQuery, idle."""

    __slots__ = (
        "_head",
        "_units",
        "answered",
        "batch_assignments",
        "binds",
        "border",
        "closes",
        "closes_seen",
        "controls",
        "copy_ends",
        "copying_in",
        "early_bind",
        "early_copy_ends",
        "executes",
        "failed",
        "hasty",
        "open",
        "parses",
        "parses_seen",
        "status",
        "steps",
        "steps_seen",
        "swallowed",
        "unclear",
    )  # fmt: skip

    def __init__(self) -> None:
        self._units: list[Unit] = []  # a list and the place of its first unit: what a deque is, but compiled
        self._head = 0
        self.status = STATUS_IDLE
        self.answered = 0  #: units that have ended: the number of the one being answered now
        self.open = False  #: an extended message was forwarded since the last Sync
        self.failed = False  #: the unit being answered (or the open batch, when none is queued) had an error
        self.copying_in = False
        self.swallowed = False  #: copy-in began in an extended batch: a Sync sent now may be swallowed
        self.unclear = False  #: the number of answers to come is not certain any more
        self.hasty = False  #: CopyData was forwarded before any CopyInResponse
        self.early_bind = False  #: a Bind stands in the open batch before its first Parse
        self.parses = 0  #: Parse messages in the open batch
        self.closes = 0  #: Close messages in it
        self.binds = 0  #: Bind messages in it
        self.executes = 0  #: Execute messages in it
        self.controls = False  #: it binds a statement that begins or ends a transaction
        self.parses_seen = 0  #: ParseCompletes of the unit being answered
        self.closes_seen = 0  #: CloseCompletes of it
        self.copy_ends = 0  #: as in Unit, of the open batch
        self.early_copy_ends = 0  #: the same behind a Query
        self.batch_assignments: tuple[Assignment, ...] = ()
        self.steps: list[Step] = []  #: as in Unit, of the open batch
        self.steps_seen = 0  #: how many steps of the unit being answered have been completed
        self.border: Step | None = None  #: see `ask`

    def __repr__(self) -> str:
        marks = (" open" if self.open else "") + (" unclear" if self.unclear else "")
        return f"<Pipeline {chr(self.status)} owes {self.owed()}{marks}>"

    def owed(self) -> int:
        """How many ReadyForQuery are to come."""
        return len(self._units) - self._head

    def owes_client(self) -> bool:
        """Whether any of that is the client's, and so may change the transaction's status."""
        for index in range(self._head, len(self._units)):
            unit = self._units[index]
            if not unit.skip:
                return True
        return False

    def turn(self) -> int:
        """The number of the unit that what is forwarded now belongs to."""
        return self.answered + self.owed()

    @property
    def units(self) -> list[Unit]:
        """What is owed, in order."""
        return self._units[self._head :]

    def quiet(self) -> bool:
        """Nothing is owed and nothing is open; the transaction status is then true."""
        return self.owed() == 0 and not self.open and not self.copying_in

    def idle(self) -> bool:
        """Quiet and outside a transaction: as far as the protocol goes, the server may change hands."""
        return (
            self.status == STATUS_IDLE
            and self.owed() == 0
            and not self.open
            and not self.copying_in
            and not self.unclear
        )

    def doomed(self) -> bool:
        """Whether all of the open batch that is still to come will be skipped."""
        return self.failed and self.open and self.owed() == 0

    def settled(self) -> bool:
        """Whether a Query of ours may follow what was forwarded: it will be read as one, and answered."""
        return not self.open and not self.copying_in and not self.unclear

    def divisible(self) -> bool:
        """Whether PostgreSQL itself keeps the open batch and a Query behind it apart. Where the batch has run
        something in an implicit transaction it does not: that may go on behind the Query, and the statement
        after its Sync gets XX000 (18.6), whosever it is."""
        if self.owes_client() or self.unclear or self.copying_in or self.swallowed:
            return False
        if self.executes == 0:
            return True
        if self.controls:
            return self.binds == 1 and self.executes == 1
        return self.status != STATUS_IDLE and self.executes <= self.binds

    def asked(self) -> bool:
        """Whether all of the open batch has been done without an error: the server has come to its `border`,
        and nothing was forwarded since."""
        return (
            self.border is not None
            and self.owed() == 0
            and not self.failed
            and self.steps_seen == len(self.steps)
            and self.steps[self.steps_seen - 1] is self.border
        )

    # What was forwarded.

    def skip_query(self) -> None:
        """A Query of ours; only while nothing is open."""
        self._units.append(_SKIP)

    def skip_batch(self, steps: list[Step]) -> None:
        """A batch of ours, with its Sync; only while nothing is open."""
        unit = Unit(batch=True, skip=True)
        unit.steps = steps
        self._units.append(unit)

    def query(self, assignments: tuple[Assignment, ...]) -> None:
        """A Query, or a FunctionCall. In a batch that has failed it is skipped; in one that has not, it ends
        that batch, and whether a later error was the batch's or its own cannot be known, unless the batch
        was asked before."""
        if self.open:
            if self.doomed():
                return
            self.unclear = self.unclear or not self.asked()
            self.open = False
            unit = Unit()
            self._hand_over(unit)
            self._units.append(unit)
            self._end_batch()
        elif assignments:
            self._units.append(Unit(assignments=assignments))
        else:
            self._units.append(_QUERY)

    def extended(self) -> None:
        """Any message of the extended protocol but Sync."""
        self.open = True

    def parse(self, assignments: tuple[Assignment, ...]) -> None:
        """A Parse, with the assignments its text makes."""
        self.open = True
        self.parses += 1
        if assignments:
            self.batch_assignments += assignments

    def close(self) -> None:
        """A Close."""
        self.open = True
        self.closes += 1

    def expect(self, step: Step) -> None:
        """A Parse, Close or Describe of a statement that somebody wants to hear of. A Describe that does goes
        right behind such a Parse."""
        self.open = True
        if step.kind == PARSED:
            step.ordinal = self.parses
            self.parses += 1
        elif step.kind == CLOSED:
            step.ordinal = self.closes
            self.closes += 1
        self.steps.append(step)

    def ask(self) -> None:
        """A Close of nothing was forwarded, behind which the client's messages wait: its answer tells that
        all before it went well."""
        self.border = Step(CLOSED, True)
        self.expect(self.border)

    def bind(self) -> None:
        """A Bind."""
        self.open = True
        self.binds += 1
        if self.parses == 0:
            self.early_bind = True

    def execute(self) -> None:
        """An Execute. Behind a copy's end that came early it is not certain whose end that was: PostgreSQL
        ignores one that comes when nothing copies in."""
        self.open = True
        self.executes += 1
        if self.copy_ends > 0:
            self.unclear = True

    def certain(self) -> bool:
        """Whether the open batch runs its assignments, if any, exactly once: one statement, parsed, bound and
        executed."""
        return not self.batch_assignments or (self.parses == 1 and self.executes == 1 and not self.early_bind)

    def sync(self) -> None:
        """A Sync. In copy-in mode the server swallows it, unless an error is on its way to us already."""
        if self.copying_in:
            self.unclear = True
            return
        if self.steps or self.batch_assignments or self.copy_ends:
            unit = Unit(batch=True, assignments=self.batch_assignments if self.certain() else ())
            self._hand_over(unit)
            unit.copy_ends = self.copy_ends
            self._units.append(unit)
        else:
            self._units.append(_BATCH)
        self.open = False
        self._end_batch()

    def _hand_over(self, unit: Unit) -> None:
        """What is ours in the open batch belongs to `unit` now; the next batch has lists of its own."""
        unit.steps, self.steps = self.steps, []

    def _end_batch(self) -> None:
        self.parses = 0
        self.closes = 0
        self.binds = 0
        self.executes = 0
        self.controls = False
        self.copy_ends = 0
        self.early_bind = False
        self.border = None
        if self.batch_assignments:
            self.batch_assignments = ()

    def early_copy_data(self) -> None:
        """CopyData was forwarded although no CopyInResponse has come yet."""
        if self.open or self.owed() > 0:
            self.hasty = True

    def copy_ended(self) -> None:
        """CopyDone or CopyFail was forwarded: what follows is read in the ordinary way again. A client that
        does not wait for the CopyInResponse may be that early."""
        if self.copying_in:
            self.copying_in = False
        elif self.open:
            if self.executes > 0:  # else it means nothing: only an Execute begins a copy
                self.copy_ends += 1
        elif self.owed() > 0 and self._units[len(self._units) - 1].batch:
            self.copy_ends += 1
        elif self.owed() > 0:
            self.early_copy_ends += 1

    # What came back.

    def skipping(self) -> bool:
        """Whether what comes now answers a question of ours."""
        if self.owed() == 0:
            return False
        unit = self._units[self._head]
        return unit.skip

    def complete(self, kind: int) -> Step | None:
        """A ParseComplete, a CloseComplete or a ParameterDescription arrived; the step that it completes, if
        any."""
        ordinal = 0
        if kind == PARSED:
            ordinal = self.parses_seen
            self.parses_seen += 1
        elif kind == CLOSED:
            ordinal = self.closes_seen
            self.closes_seen += 1
        step = self.next_step()
        if step is None or step.kind != kind or step.ordinal != ordinal:
            return None
        self.steps_seen += 1
        return step

    def next_step(self) -> Step | None:
        """The first step of the unit being answered that is not completed."""
        steps = self._answering()
        if self.steps_seen < len(steps):
            step: Step = steps[self.steps_seen]
            return step
        return None

    def steps_left(self) -> list[Step]:
        """The steps of the unit being answered that are not completed."""
        return self._answering()[self.steps_seen :]

    def _answering(self) -> list[Step]:
        if self.owed() > 0:
            unit = self._units[self._head]
            return unit.steps
        return self.steps

    def error(self, certain: bool) -> None:
        """An ErrorResponse. `certain` is False for a cancellation or shutdown (class 57): it may strike at
        any point, so whether a Sync sent before it was swallowed by a copy cannot be known."""
        self.failed = True
        if self.swallowed and not certain:
            self.unclear = True
        self.copying_in = False

    def copy_in(self) -> None:
        """A CopyInResponse.

        In a batch, Syncs that were forwarded behind its Execute and ahead of the copy's end are swallowed:
        what they were to end goes on.
        """
        while self.owed() > 0 and self._units[self._head].batch and self._units[self._head].copy_ends == 0:
            self._head += 1
            self.answered += 1
            self.swallowed = True
            self._begin_answering()
        if self.swallowed and self.hasty:
            self.unclear = True  # had the data an error, the Sync behind it was not swallowed
        if self.owed() == 0:
            self.open = True
            self.copying_in = self.copy_ends == 0
            self.copy_ends = max(0, self.copy_ends - 1)
        elif self._units[self._head].batch:
            self._units[self._head].copy_ends -= 1
        elif self.early_copy_ends > 0:
            self.early_copy_ends -= 1
        else:
            self.copying_in = True
            if self.swallowed or self.owed() > 1:
                self.unclear = True  # something stands where only copy data is read

    def ready(self, status: int) -> Unit | None:
        """A ReadyForQuery; the unit it ends, or None when nothing was owed."""
        unit = None
        if self.owed() > 0:
            unit = self._units[self._head]
            self._head += 1
            if self._head >= 64:  # now and then: a list that is emptied each time is allocated each time
                del self._units[: self._head]
                self._head = 0
        self.status = status
        self.answered += 1
        self.failed = False
        self._begin_answering()
        self.copying_in = False
        self.swallowed = False
        self.early_copy_ends = 0
        if not self.open and self.owed() == 0:
            self.hasty = False
        return unit

    def _begin_answering(self) -> None:
        """The next unit's answers begin."""
        self.parses_seen = 0
        self.closes_seen = 0
        self.steps_seen = 0
