"""Session parameters: what a client wants, what a server holds, and the SQL that turns one into the other.

Sets are interned, so that "nothing to do" is one identity comparison. Fragments are SQL that stands right of
TO. Must not know connections: it is told what was assigned and what was reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.protocol.codes import MAX_REPORTED
from poolproxy.protocol.messages import query
from poolproxy.session.assignments import ALL, EVERYTHING, LIST_QUOTE, NO_MATTER, Assignment, literal
from poolproxy.session.durations import seconds_of

#: These decide how the rest is read, so they travel in a Query of their own, ahead of it (sessions.md, rule
#: 8).
_FIRST: Final = ("client_encoding", "standard_conforming_strings")

#: Who one is decides what one may set: laid down first, taken up last, in this order (rule 8).
_IDENTITY: Final = ("session_authorization", "role")
_LAY_DOWN: Final = ["RESET SESSION AUTHORIZATION", "RESET ROLE"]

#: What guards the rest comes last: nothing is guarded any more behind it.
_GUARDING: Final = "exit_on_error"

#: Turns a failing assignment into the end of that server before the client's bytes are read (rule 1).
GUARD: Final = "SET LOCAL exit_on_error = on; "

#: The same for a text that may fail before any of it is run: a character in it may be none of the database's
#: encoding. Queries of a transaction, guarded from the first to the last.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL exit_on_error = on"

#: Ahead of what needs a snapshot: under defaults that somebody has left (serializable, read only, deferrable)
#: it would wait for the transactions of others (rule 3).
AT_ONCE: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; "

#: Refused by a server that has used temporary tables, whoever's they were.
TEMP_BUFFERS: Final = "temp_buffers"

#: Left on a server, it would end it while nobody uses it: undone as soon as its client is detached, for whom
#: it is watched over from then on (rule 20).
IDLE_SESSION_TIMEOUT: Final = "idle_session_timeout"

#: Takes a server from one client to another: nothing but prepared statements is left (rule 2). RESET ALL is
#: the last, for it switches the guard off; another guard behind it would leave a value of its own (guc.c: a
#: SET LOCAL behind a SET). The timeout is the last client's, and must not end it.
HANDOVER: Final = (
    b"SET LOCAL exit_on_error = on; SET LOCAL statement_timeout = 0; "
    b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; RESET SESSION AUTHORIZATION; RESET ROLE; "
    b"CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; SELECT pg_catalog.pg_advisory_unlock_all(); "
    b"RESET ALL"
)

#: The parts of DISCARD ALL that concern its client: what others have prepared, and their plans, stay.
DISCARD_ALL: Final = (
    b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; "
    b"RESET ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; SELECT pg_catalog.pg_advisory_unlock_all()"
)


#: Characters of values. What is longer is worked out each time.
LARGE: Final = 4096


class ParameterSet:
    """An immutable mapping of setting names to SQL fragments; equal sets are the same object. Use
    `parameter_set`."""

    __slots__ = ("__weakref__", "_planning", "idle_limit", "large", "refused", "values")

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        #: too much to be remembered a thousand times over
        self.large = sum(map(len, values.values())) > LARGE
        #: applied only with waiting for the answer: a server has refused it once, or may, having used
        #: temporary tables (rule 18)
        self.refused = TEMP_BUFFERS in values
        self._planning: ParameterSet | None = None
        limit = values.get(IDLE_SESSION_TIMEOUT)
        #: seconds a session may be idle outside a transaction; 0 = as long as it likes
        self.idle_limit = seconds_of(limit) if limit is not None else 0.0

    def __repr__(self) -> str:
        return f"<ParameterSet {self.values}>"

    def assign(self, name: str, fragment: str | None) -> ParameterSet:
        """With `name` set to `fragment`, or without it."""
        if self.values.get(name) == fragment:
            return self
        values = {key: value for key, value in self.values.items() if key != name}
        if fragment is not None:
            values[name] = fragment
        return parameter_set(values)

    def planning(self) -> ParameterSet:
        """The part of it that a Parse may depend on (sessions.md, rule 4)."""
        if self._planning is not None:
            return self._planning
        part = parameter_set(
            {name: value for name, value in self.values.items() if not NO_MATTER.match(name)}
        )
        if part is not self:  # a set that held itself would never be freed
            self._planning = part
        return part

    def without_planning(self) -> ParameterSet:
        """The rest of it."""
        return parameter_set({name: value for name, value in self.values.items() if NO_MATTER.match(name)})

    def identity(self) -> ParameterSet:
        """Who one is by it: what RESET ALL leaves (guc_tables.c: GUC_NO_RESET_ALL)."""
        return parameter_set({name: self.values[name] for name in _IDENTITY if name in self.values})

    def without_identity(self) -> ParameterSet:
        """The rest of it."""
        return parameter_set({name: value for name, value in self.values.items() if name not in _IDENTITY})

    def over(self, base: ParameterSet) -> ParameterSet:
        """`base`, with everything here taking precedence."""
        if not base.values:
            return self
        return parameter_set({**base.values, **self.values}) if self.values else base


_sets: WeakValueDictionary[tuple[tuple[str, str], ...], ParameterSet] = WeakValueDictionary()


def parameter_set(values: Mapping[str, str]) -> ParameterSet:
    """The one ParameterSet of these values."""
    key = tuple(sorted(values.items()))
    found = _sets.get(key)
    if found is None:
        found = _sets[key] = ParameterSet(dict(key))
    return found


EMPTY: Final = parameter_set({})


def apply_assignment(current: ParameterSet, assignment: Assignment) -> ParameterSet:
    """What a server holds after a successful assignment."""
    if assignment.name == EVERYTHING:
        return EMPTY
    if assignment.name == ALL:
        return current.identity()
    return current.assign(assignment.name, assignment.fragment)


def difference(held: ParameterSet, wanted: ParameterSet, guarded: bool) -> tuple[bytes, ...]:
    """The texts of the Queries that take a server from `held` to `wanted`.

    Back to the default is RESET, never a value. Nothing here depends on who held the server before: quoting
    is proof against standard_conforming_strings, and the encoding is set before any other byte is read.
    """
    if held.large or wanted.large:
        return _difference(held, wanted, guarded)
    return _remembered_difference(held, wanted, guarded)


def _difference(held: ParameterSet, wanted: ParameterSet, guarded: bool) -> tuple[bytes, ...]:
    changed = [
        name
        for name in sorted(held.values.keys() | wanted.values.keys(), key=_place)
        if wanted.values.get(name) != held.values.get(name)
    ]
    if not changed:
        return ()
    masked = any(name in held.values for name in _IDENTITY)
    first = [_statement(name, wanted.values.get(name)) for name in changed if name in _FIRST]
    rest = [
        _statement(name, wanted.values.get(name))
        for name in changed
        if name not in _FIRST and name not in _IDENTITY and name != _GUARDING
    ]
    rest += [
        _statement(name, wanted.values[name])
        for name in _IDENTITY
        if name in wanted.values and (masked or name in changed)
    ]
    if _GUARDING in changed:
        rest.append(_statement(_GUARDING, wanted.values.get(_GUARDING)))
    if masked:
        first = _LAY_DOWN + first
    texts = ["; ".join(statements) for statements in (first, rest) if statements]
    if guarded and any(" E'" in text or not text.isascii() for text in texts):
        texts = [_BEGIN, *texts, "COMMIT"]
    elif guarded:
        at_once = any(not wanted.values.get(name, "'") for name in changed)
        texts = [GUARD + (AT_ONCE if at_once else "") + text for text in texts]
    return tuple(text.encode("utf-8", "surrogateescape") for text in texts)


def switch(held: ParameterSet, wanted: ParameterSet) -> tuple[bytes, int]:
    """The same, guarded, as messages, and how many."""
    if held.large or wanted.large:
        return _switch(held, wanted)
    return _remembered_switch(held, wanted)


def _switch(held: ParameterSet, wanted: ParameterSet) -> tuple[bytes, int]:
    queries = difference(held, wanted, True)
    return b"".join(map(query, queries)), len(queries)


_remembered_difference = lru_cache(maxsize=1024)(_difference)
_remembered_switch = lru_cache(maxsize=4096)(_switch)


def _place(name: str) -> tuple[bool, str]:
    return name != "search_path", name


def _statement(name: str, fragment: str | None) -> str:
    # Quoted: a part of a name may be a key word (app.user).
    if fragment is None:
        return f'RESET "{name}"'
    if not fragment:
        return f"SELECT pg_catalog.set_config('{name}', '', false)"  # an empty list has no other spelling
    return f'SET "{name}" TO {fragment}'


def fragment_of(name: str, value: str, escape: bool = False) -> str:
    """The fragment that gives `name` this value as SHOW prints it, or as a startup message carries it.
    `escape`: whatever the client's encoding is."""
    if name not in LIST_QUOTE:
        return literal(value, escape)
    return ", ".join(literal(part, escape) for part in split_identifiers(value))


def split_identifiers(value: str) -> list[str]:
    """The names in a list value, as PostgreSQL reads it (varlena.c: SplitIdentifierString)."""
    names: list[str] = []
    position, size = 0, len(value)
    while position < size:
        if value[position].isspace() or value[position] == ",":
            position += 1
        elif value[position] == '"':
            name = ""
            while (end := value.find('"', position + 1)) >= 0:
                name += value[position + 1 : end]
                position = end
                if value[end + 1 : end + 2] != '"':
                    break
                name += '"'
                position = end + 1
            names.append(name)
            position = size if end < 0 else end + 1
        else:
            end = position
            while end < size and value[end] != "," and not value[end].isspace():
                end += 1
            names.append(value[position:end].lower())
            position = end
    return names


#: Client encodings in which a byte of a character may be a backslash (manual 23.3: client-only encodings).
_UNSAFE_ENCODINGS: Final = frozenset(
    {b"SJIS", b"SHIFT_JIS_2004", b"BIG5", b"GBK", b"UHC", b"GB18030", b"JOHAB"}
)


#: Reported settings whose names have capitals (guc_tables.c).
_SPELLED: Final = {"datestyle": b"DateStyle", "timezone": b"TimeZone", "intervalstyle": b"IntervalStyle"}


class Reported:
    """What a server reports by ParameterStatus: an immutable, interned mapping of names to values (bytes)."""

    __slots__ = ("__weakref__", "cautious", "large", "messages", "values")

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self.values = values
        #: too much to be remembered a thousand times over; a pair costs about as much as 64 characters
        self.large = sum([64 + len(name) + len(value) for name, value in values.items()]) > LARGE
        self.messages: bytes | None = None  #: the same as ParameterStatus messages, once built
        #: a backslash in a statement's text may end a string where none seems to end (see statements.Scanner)
        self.cautious = (
            values.get(b"standard_conforming_strings", b"on") != b"on"
            or values.get(b"client_encoding", b"UTF8") in _UNSAFE_ENCODINGS
        )

    def __repr__(self) -> str:
        return f"<Reported {self.values}>"

    def value_of(self, name: str) -> str | None:
        """The reported value of a setting (names as assignments have them, in lower case), or None."""
        key = _SPELLED.get(name, name.encode("utf-8", "surrogateescape"))
        value = self.values.get(key)
        return None if value is None else value.decode("utf-8", "surrogateescape")

    def name(self) -> str:
        """The application_name."""
        return self.values.get(b"application_name", b"").decode("utf-8", "replace")

    def named(self, name: bytes) -> Reported:
        """With this application_name."""
        return report(self, b"application_name", name)


_reported: WeakValueDictionary[tuple[tuple[bytes, bytes], ...], Reported] = WeakValueDictionary()


def reported_set(values: Mapping[bytes, bytes]) -> Reported:
    """The one Reported of these values."""
    key = tuple(sorted(values.items()))
    found = _reported.get(key)
    if found is None:
        found = _reported[key] = Reported(dict(key))
    return found


def report(current: Reported, name: bytes, value: bytes) -> Reported:
    """`current` after one ParameterStatus. Raises UnexpectedServerAnswer where there is no end of them."""
    if current.large or len(name) + len(value) > LARGE:
        return _report(current, name, value)
    return _remembered_report(current, name, value)


def _report(current: Reported, name: bytes, value: bytes) -> Reported:
    if name not in current.values and len(current.values) >= MAX_REPORTED:
        raise UnexpectedServerAnswer(what=f"more than {MAX_REPORTED} parameters reported")
    return reported_set({**current.values, name: value})


def changes(told: Reported, now: Reported) -> tuple[tuple[bytes, bytes], ...]:
    """The (name, value) pairs a client must be told that was last told `told`."""
    return (_changes if told.large or now.large else _remembered_changes)(told, now)


def _changes(told: Reported, now: Reported) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name, value) for name, value in now.values.items() if told.values.get(name) != value)


_remembered_report = lru_cache(maxsize=4096)(_report)
_remembered_changes = lru_cache(maxsize=1024)(_changes)


#: What somebody has been told who has been told nothing.
NOTHING_REPORTED: Final = reported_set({})
