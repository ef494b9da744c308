"""Named prepared statements whose names are the client's and whose place is any server: the books of both
sides.

A client's name stands for a `Statement`, which has one name on every server. Clients whose Parse means the
same share it (sessions.md, rule 4: text, declared types, settings, catalogue); every other Parse makes one of
its own. A name holds once PostgreSQL has said ParseComplete; until then it is pending, and known only to what
follows it in the same batch (rule 6). Names count to 63 bytes (prepare.c: the hash key is NAMEDATALEN long).
Must not know messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.session.parameters import EMPTY, ParameterSet
from poolproxy.session.statements import Finding
from poolproxy.session.words import NO_WORDS, Words

#: Servers know our statements by names that begin so.
PREFIX: Final = b"_poolproxy_"
#: What nobody prepares: a Close of it does nothing.
NOBODYS: Final = b"_poolproxy_none"
#: What nobody prepares either: a Bind of it fails, and the client is told why it had to.
CHANGED: Final = b"_poolproxy_changed"

#: Bytes of a statement's name that count.
NAME_BYTES: Final = 63

_OUR_NAME = re.compile(rb'"(' + PREFIX + rb'[^"]*)"')


class Statement:
    """What one or more clients' names stand for. `body` is what a Parse carries behind the name; None: too
    long to be kept, so that it lives on the server that has it alone."""

    __slots__ = (
        "__weakref__", "body", "controls", "draws", "finding", "name", "settings", "shape", "shared", "types",
        "words",
    )  # fmt: skip

    def __init__(
        self, name: bytes, body: bytes | None, settings: ParameterSet, finding: Finding | None, shared: bool
    ) -> None:
        self.name = name
        self.body = body
        self.settings = (
            settings  #: under which it was parsed (ParameterSet.planning): constants were read by them
        )
        self.finding = finding  #: what is remarkable about its text, by `words`
        self.words: Words = NO_WORDS
        self.shared = shared
        self.draws = False  #: it may draw from a sequence
        self.controls = False  #: it begins or ends a transaction
        self.types: bytes | None = (
            None  #: the body of its ParameterDescription, once a server has described it
        )
        self.shape: bytes | None = (
            None  #: its columns: a RowDescription's body without formats; b"" = no rows
        )

    def __repr__(self) -> str:
        return f"<Statement {self.name.decode()} {self.body!r:.60}>"

    def again(self) -> bytes:
        """The body of another Parse of it, with the types that the first one was found to have."""
        assert self.body is not None
        return self.body if self.types is None else self.body[: self.body.index(0) + 1] + self.types


#: The answer to a question that only the server's next answers can tell.
UNSETTLED: Final = Statement(b"", b"", EMPTY, None, False)


class Epoch:
    """The age of a database's catalogue, as far as we know: a Parse means the same as another only within
    one."""

    __slots__ = ("unsure", "value")

    def __init__(self) -> None:
        self.value = 0
        self.unsure = False  #: routines may have changed since they were looked at

    def advance(self) -> None:
        """Something has changed it, or may have."""
        self.value += 1
        self.unsure = True


class Registry:
    """All statements of one pool, by what makes a Parse mean the same. Those that nobody has any more
    vanish."""

    __slots__ = ("_made", "_shared", "epoch")

    def __init__(self) -> None:
        self.epoch = Epoch()
        self._made = 0
        self._shared: WeakValueDictionary[tuple[bytes, ParameterSet, int], Statement] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._shared)

    def shared(self, body: bytes, parameters: ParameterSet, finding: Finding | None) -> Statement:
        """The statement of everybody who parses this under these settings."""
        settings = parameters.planning()
        key = (body, settings, self.epoch.value)
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = self._make(body, settings, finding, True)
        return found

    def private(self, body: bytes | None, parameters: ParameterSet, finding: Finding | None) -> Statement:
        """A statement of one client alone."""
        return self._make(body, parameters.planning(), finding, False)

    def _make(
        self, body: bytes | None, settings: ParameterSet, finding: Finding | None, shared: bool
    ) -> Statement:
        self._made += 1
        return Statement(PREFIX + b"%d" % self._made, body, settings, finding, shared)


class Held:
    """A statement on one server."""

    __slots__ = ("differs", "injected", "statement", "turn", "used")

    def __init__(self, statement: Statement, turn: int, injected: bool, used: int) -> None:
        self.statement = statement
        self.turn = turn  #: the exchange (Pipeline.turn) that is to prepare it; -1 = it is prepared
        self.injected = injected  #: by a Parse of ours: nothing may use it before it has been described
        self.differs = False  #: it is described in another way than the first server did (rule 5)
        self.used = used  #: the exchange that used it last


class ServerStatements:
    """What one server has prepared under names of ours. At most `limit` are kept from exchange to exchange;
    `surplus` are the names to close before the next one begins. `literal` are those that it has under a
    client's own name, because SQL text may mean them."""

    __slots__ = ("_held", "by_text", "limit", "literal", "surplus", "unparsable")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.surplus: list[bytes] = []
        self.literal: set[bytes] = set()
        self.by_text = False  #: SQL text may have prepared more (PREPARE)
        self.unparsable: Statement | None = None  #: the last that could not be parsed between exchanges
        self._held: dict[Statement, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def find(self, statement: Statement, turn: int) -> Held | None:
        """Whether the server has it, or will have."""
        held = self._held.get(statement)
        if held is not None:
            held.used = turn
        return held

    def expect(self, statement: Statement, turn: int, injected: bool) -> None:
        """A Parse of it has been forwarded."""
        self._held[statement] = Held(statement, turn, injected, turn)

    def confirm(self, statement: Statement) -> None:
        """It is prepared. One that `injected` is not usable yet: see `described`."""
        held = self._held.get(statement)
        if held is None:
            held = self._held[statement] = Held(statement, -1, False, 0)
        if not held.injected:
            held.turn = -1

    def described(self, statement: Statement, types: bytes, shape: bytes) -> bool:
        """What this server says of it; False when another server said something else."""
        held = self._held.get(statement)
        if statement.shape is None:
            statement.types, statement.shape = types, shape
        same = statement.types == types and statement.shape == shape
        if held is not None:
            held.turn = -1
            held.injected = False
            held.differs = not same
        return same

    def failed(self, statement: Statement) -> None:
        """Its Parse will not be answered."""
        held = self._held.get(statement)
        if held is not None and held.turn >= 0:
            if held.injected:
                self.surplus.append(statement.name)  # parsed perhaps, but not described
            del self._held[statement]

    def drop(self, statement: Statement) -> None:
        """The server has it no more."""
        self._held.pop(statement, None)

    def drop_named(self, name: bytes) -> None:
        """The same, by its name on servers."""
        for statement in [statement for statement in self._held if statement.name == name]:
            del self._held[statement]

    def discard(self, statement: Statement) -> None:
        """It is of no use here: close it before the next exchange."""
        if self._held.pop(statement, None) is not None:
            self.surplus.append(statement.name)

    def distrust(self) -> None:
        """Some of them have been deallocated, nobody knows which."""
        for statement in list(self._held):
            self.discard(statement)

    def clear(self) -> None:
        """DEALLOCATE ALL."""
        self._held.clear()
        self.surplus.clear()
        self.literal.clear()
        self.by_text = False
        self.unparsable = None

    def stand_in(self, name: bytes) -> bytes:
        """The body of a Parse of something to deallocate by the client's own name: an empty text may be
        parsed at any time, in a failed transaction too. Should the DEALLOCATE fail, it is closed before the
        next exchange."""
        self.surplus.append(name)
        return b"\0\0\0"

    def take_surplus(self, evict: bool) -> list[bytes]:
        """The names to close now; with `evict`, those that were used least recently among them."""
        excess = len(self._held) - self.limit if evict else 0
        if excess > 0:
            idle = sorted((held for held in self._held.values() if held.turn < 0), key=_last_use)
            for held in idle[
                : excess + self.limit // 10
            ]:  # some more at once: this is not for every exchange
                self.discard(held.statement)
        names, self.surplus = self.surplus, []
        self.literal.difference_update(names)
        return names

    def crowded(self, evict: bool) -> bool:
        """Whether `take_surplus` has something to say."""
        return len(self.surplus) > 0 or (evict and len(self._held) > self.limit)


def _last_use(held: Held) -> int:
    return held.used


class _Pending:
    """What a name will stand for once an exchange has been answered; None: for nothing. `certain`: if not,
    PostgreSQL may not come to it."""

    __slots__ = ("certain", "statement", "turn")

    def __init__(self, statement: Statement | None, turn: int, certain: bool) -> None:
        self.statement = statement
        self.turn = turn
        self.certain = certain


class ClientStatements:
    """What one client's names stand for."""

    __slots__ = ("_forgetting", "_named", "_pending", "_spoken")

    def __init__(self) -> None:
        self._named: dict[bytes, Statement] = {}
        self._pending: dict[bytes, _Pending] = {}
        self._spoken: dict[
            bytes, bytes
        ] = {}  # names that do not count wholly, by ours, as they were last said
        self._forgetting = -1  # an exchange with a DEALLOCATE ALL that is not answered

    def size(self) -> int:
        """How many names stand for something, or will."""
        return len(self._named) + len(self._pending)

    def find(self, name: bytes, turn: int, answered: int) -> Statement | None:
        """What `name` stands for in exchange `turn`, when `answered` exchanges have been answered; UNSETTLED
        when that must be waited for."""
        if self._forgetting >= 0:
            if self._forgetting >= answered:
                return UNSETTLED
            self._forgetting = -1
        if self._pending:
            pending = self._pending.get(name)
            if pending is not None:
                if pending.turn == turn or (pending.turn >= answered and pending.certain):
                    return pending.statement
                if pending.turn >= answered:
                    return UNSETTLED
                self._outdate(name, pending)
        return self._named.get(name)

    def fresh(self, name: bytes) -> bool:
        """Whether `name` stands for nothing, and is not about to."""
        return name not in self._named and name not in self._pending

    def unsettled(self, turn: int, answered: int) -> bool:
        """Whether any name depends on an exchange before `turn` that is not answered."""
        return self._forgetting >= answered or any(
            answered <= pending.turn != turn for pending in self._pending.values()
        )

    def in_doubt(self, name: bytes, turn: int) -> bool:
        """Whether `name` depends on an exchange before `turn` that is not answered."""
        pending = self._pending.get(name)
        return pending is not None and pending.turn != turn

    def speak(self, statement: Statement, name: bytes) -> None:
        """The client calls it so; an error will, too."""
        self._spoken[statement.name] = name

    def expect(self, name: bytes, statement: Statement | None, turn: int, certain: bool) -> None:
        """A Parse or Close of `name` has been forwarded."""
        pending = self._pending.get(name)
        if pending is not None:
            self._outdate(name, pending)
        self._pending[name] = _Pending(statement, turn, certain)

    def _outdate(self, name: bytes, pending: _Pending) -> None:
        """Errors about it may still come."""
        del self._pending[name]
        if pending.statement is not None:
            self._spoken.setdefault(pending.statement.name, name)

    def expect_nothing(self, turn: int) -> None:
        """A DEALLOCATE ALL has been forwarded."""
        self._forgetting = turn

    def confirm(self, name: bytes, statement: Statement) -> None:
        """PostgreSQL has said ParseComplete."""
        self._named[name] = statement
        self._settled(name, statement)

    def replace(self, name: bytes, old: Statement, new: Statement) -> None:
        """`name` stood for `old`, or was about to."""
        if self._named.get(name) is old:
            self._named[name] = new

    def forget(self, name: bytes) -> None:
        """CloseComplete, or DEALLOCATE."""
        self._named.pop(name, None)
        self._settled(name, None)

    def _settled(self, name: bytes, statement: Statement | None) -> None:
        pending = self._pending.get(name)
        if pending is not None and pending.statement is statement:
            del self._pending[name]

    def private(self) -> list[Statement]:
        """The statements that nobody else can use."""
        return [statement for statement in self._named.values() if not statement.shared]

    def forget_all(self) -> None:
        """DEALLOCATE ALL has been run."""
        self._named.clear()
        self._pending.clear()
        self._spoken.clear()
        self._forgetting = -1

    def detach(self) -> None:
        """Nothing is pending any more."""
        if self._pending:
            self._pending.clear()
        if self._spoken:
            self._spoken.clear()
        self._forgetting = -1

    def mentioned(self, text: bytes, turn: int, answered: int) -> list[tuple[bytes, Statement]]:
        """The names that occur in a text, and what they stand for; `turn` and `answered` as `find` has
        them."""
        text = text.lower()
        names = [name for name in {**self._named, **self._pending} if name.lower() in text]
        found = [(name, self.find(name, turn, answered)) for name in names]
        return [(name, known) for name, known in found if known is not None and known.body]

    def name_of(self, name: bytes) -> bytes | None:
        """The client's name of a statement that servers know by `name`."""
        if name in self._spoken:
            return self._spoken[name]
        for known, pending in self._pending.items():
            if pending.statement is not None and pending.statement.name == name:
                return known
        for known, statement in self._named.items():
            if statement.name == name:
                return known
        return None


def escaped(name: bytes) -> bytes:
    """A name that stands for nothing, as servers are to be asked for it: never by a name of ours."""
    return NOBODYS + name if name.startswith(PREFIX) else name


def names_of_ours(report: bytes) -> list[bytes]:
    """The names that an error report quotes and that begin as ours do."""
    return _OUR_NAME.findall(report) if PREFIX in report else []


def with_names(report: bytes, name_of: Callable[[bytes], bytes | None]) -> bytes:
    """An error report with the client's names in place of ours."""

    def own(match: re.Match[bytes]) -> bytes:
        ours = match.group(1)
        theirs = ours[len(NOBODYS) :] if ours.startswith(NOBODYS) else name_of(ours)
        return b'"' + (ours if theirs is None else theirs) + b'"'

    return _OUR_NAME.sub(own, report)


def shape_of(description: bytes) -> bytes:
    """A RowDescription's body without its format codes, which depend on who asks (manual: RowDescription).
    Raises UnexpectedServerAnswer where it is none."""
    parts = [description[:2]]
    position, size = 2, len(description)
    while position < size:
        end = description.find(0, position) + 17
        if end < 17 or end + 2 > size:
            break
        parts.append(description[position:end])
        position = end + 2
    if position != size or len(parts) - 1 != int.from_bytes(parts[0], "big"):
        raise UnexpectedServerAnswer(what="malformed RowDescription")
    return b"".join(parts)
