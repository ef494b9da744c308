"""What the text of a statement says about session state: nothing, a tracked SET, or why to ask the server.

A look, not a parse: one pass that knows strings, quoted names, comments and dollar quotes, so that it finds
where statements begin, and that holds every word against a short list. It may cry wolf and must not miss what
the text shows (sessions.md, rule 12); what text cannot show is not its business. Compiled, because every
simple query passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from poolproxy.session.assignments import Assignment, is_local, read_assignment, read_deallocation
from poolproxy.session.channels import listened
from poolproxy.session.custom import custom_names
from poolproxy.session.pins import LASTING

#: What a first word makes of its statement.
_HARMLESS = 0
_CONTROL = 1  #: begins or ends a transaction: a SET beside it may be undone by it
_ASSIGNMENT = 2  #: SET, RESET, DISCARD, DEALLOCATE
_SUSPECT = 3  #: says something of its own: `reason` (see Scanner._note)

# What kind of statement the words belong to, as far as `_word` cares.
_OTHER = 0
_DATA = 1
_DECLARE = 2
_EXPLAIN = 3
_WITH = 4


class _Lead:
    """A word that begins statements."""

    __slots__ = ("context", "effect", "reason", "word")

    def __init__(self, word: bytes, effect: int, reason: str = "", context: int = _OTHER) -> None:
        self.word = word
        self.effect = effect
        self.reason = reason
        self.context = context


_LEADS = [
    *(_Lead(word, _HARMLESS, context=_DATA) for word in b"select table".split()),
    _Lead(b"with", _HARMLESS, context=_WITH),
    _Lead(b"declare", _HARMLESS, context=_DECLARE),
    _Lead(b"explain", _HARMLESS, context=_EXPLAIN),
    *(
        _Lead(word, _HARMLESS)
        for word in b"delete values fetch move notify lock analyze vacuum checkpoint truncate refresh "
        b"reindex cluster".split()
    ),
    *(_Lead(word, _SUSPECT, "writes") for word in b"insert update merge copy".split()),
    *(_Lead(word, _SUSPECT, word.decode()) for word in b"close unlisten".split()),
    _Lead(b"show", _SUSPECT, "names"),
    *(_Lead(word, _CONTROL) for word in b"begin start commit end rollback abort savepoint release".split()),
    *(_Lead(word, _ASSIGNMENT) for word in b"set reset discard deallocate".split()),
    *(
        _Lead(word, _SUSPECT, "ddl")
        for word in b"create alter drop comment grant revoke security import reassign".split()
    ),
    _Lead(b"listen", _SUSPECT, "listen"),
    _Lead(b"prepare", _SUSPECT, "sql_prepare"),
    _Lead(b"execute", _SUSPECT, "sql_prepare"),
    _Lead(b"load", _SUSPECT, "load"),
    _Lead(b"do", _SUSPECT, "code"),
    _Lead(b"call", _SUSPECT, "code"),
]

#: A first word that is in no list is not understood.
_UNKNOWN = _Lead(b"", _SUSPECT, "unclear")

#: Words that are suspect wherever they stand, strings and comments included.
_ANYWHERE: dict[bytes, str] = {
    b"set_config": "setting",
    b"current_setting": "names",
    b"nextval": "writes",
    b"pg_advisory_unlock": "ends",
    b"pg_advisory_unlock_shared": "ends",
    b"pg_advisory_unlock_all": "ends",
    b"pg_settings": "setting",
    b"pg_advisory_lock": "advisory_lock",
    b"pg_advisory_lock_shared": "advisory_lock",
    b"pg_try_advisory_lock": "advisory_lock",
    b"pg_try_advisory_lock_shared": "advisory_lock",
    b"pg_temp": "temp_object",
    b"lastval": "sequence",
    b"currval": "sequence",
    b"setseed": "seed",
    b"dblink_connect": "dblink",
    b"dblink_connect_u": "dblink",
    b"pg_replication_origin_session_setup": "replication",
    b"pg_replication_origin_xact_setup": "replication",
    b"pg_create_physical_replication_slot": "replication",
    b"pg_create_logical_replication_slot": "replication",
    b"pg_copy_physical_replication_slot": "replication",
    b"pg_copy_logical_replication_slot": "replication",
    b"pg_backup_start": "backup",
    b"pg_start_backup": "backup",
    b"isn_weak": "unaudited",  # no setting before PostgreSQL 18: nothing shows it, and nothing takes it back
    # Functions that run text given to them, which escapes may hide from us.
    b"query_to_xml": "unclear",
    b"query_to_xmlschema": "unclear",
    b"query_to_xml_and_xmlschema": "unclear",
    b"ts_stat": "unclear",
    b"ts_rewrite": "unclear",
    b"crosstab": "unclear",
    b"crosstab2": "unclear",
    b"crosstab3": "unclear",
    b"crosstab4": "unclear",
    b"crosstab_hash": "unclear",
    b"connectby": "unclear",
}

#: Words that are suspect in code only (not in strings), and there only behind certain others: see `_word`.
_INSIDE = frozenset({b"into", b"hold", b"create", b"declare", b"execute"})

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"


def _classes() -> bytes:
    """Per byte: 1 begins a word, 2 goes on in one, 3 is a quote, a comment or a separator, 0 is nothing."""
    table = bytearray(256)
    for byte in range(256):
        if byte in _LETTERS or byte >= 0x80:
            table[byte] = 1
        elif byte in b"0123456789":
            table[byte] = 2
        elif byte in b"'\"$;-/":
            table[byte] = 3
    return bytes(table)


def _hash(word: bytes) -> int:
    value = 0
    for byte in word:
        value = (value * 31 + (byte | 0x20)) & 0xFFF
    return value


def _sieve() -> bytes:
    """Per word hash: 1 when a word of the lists has it. Most words of a query stop here."""
    table = bytearray(4096)
    for word in (*_ANYWHERE, *_INSIDE):
        table[_hash(word)] = 1
    return bytes(table)


def _leads_by_hash() -> list[_Lead]:
    """Per word hash, the one first word that has it, or the unknown one."""
    table = [_UNKNOWN] * 4096
    for lead in _LEADS:
        if table[_hash(lead.word)] is not _UNKNOWN:
            raise ValueError(
                f"{lead.word!r} shares its hash with another first word: choose another multiplier"
            )
        table[_hash(lead.word)] = lead
    return table


_CLASS = _classes()
_SIEVE = _sieve()
_LEAD_TABLE = _leads_by_hash()

_WORD = 1
_MARK = 3


class Words:
    """What a database adds to the words that make a text suspect: names of hazardous routines (suspect), and
    those that are to pin. Others are another object: a text is looked at again when it is run by others than
    it was looked at with."""

    __slots__ = ("reasons", "sieve", "source")

    def __init__(self, hazardous: Iterable[str], pinning: Iterable[str]) -> None:
        hazardous, pinning = frozenset(hazardous), frozenset(pinning)
        self.source = hazardous, pinning
        self.reasons = {name.encode(): "routine" for name in hazardous}
        self.reasons.update((name.encode(), "function") for name in pinning)
        sieve = bytearray(_SIEVE)
        for word in self.reasons:
            sieve[_hash(word)] = 1
        self.sieve = bytes(sieve)

    def updated(self, hazardous: Iterable[str], pinning: Iterable[str]) -> Words:
        """Those of these names: the same object where nothing has changed."""
        source = frozenset(hazardous), frozenset(pinning)
        return self if source == self.source else Words(*source)


NO_WORDS = Words((), ())


class Finding:
    """What is remarkable about a text: why its server is suspect (or ""), the tracked assignments it makes,
    the prepared statements it deallocates (b"" = all), whether it changes how its transaction reads texts
    (SET LOCAL), whether it may end what pins a server, whether it asks for a sequence's last value, the
    custom settings that it may name, the channels that it listens to (as it spells them), whether it may end
    that, and whether it may make or run statements of SQL PREPARE."""

    __slots__ = (
        "assignments", "channels", "custom", "ends", "forgets", "local", "prepares", "reason", "sequence",
        "unlistens",
    )  # fmt: skip

    def __init__(
        self,
        reason: str,
        assignments: tuple[Assignment, ...] = (),
        forgets: tuple[bytes, ...] = (),
        local: bool = False,
        ends: bool = False,
        sequence: bool = False,
        custom: tuple[str, ...] = (),
    ) -> None:
        self.reason = reason
        self.ends = ends
        self.sequence = sequence
        self.custom = custom
        self.channels: tuple[bytes, ...] = ()
        self.unlistens = False
        self.prepares = False
        self.assignments = assignments
        self.forgets = forgets
        self.local = local

    def __repr__(self) -> str:
        return f"<Finding {self.reason or 'tracked'} {self.assignments}>"

    def remarkable(self) -> bool:
        """Whether it says anything at all."""
        return bool(
            self.reason
            or self.assignments
            or self.forgets
            or self.local
            or self.ends
            or self.sequence
            or self.custom
        )


class Scanner:
    """Looks at statement texts. `cautious` is to be set while a backslash may end a string where ours would
    not: with standard_conforming_strings off, or a client encoding whose characters may hold an ASCII
    byte."""

    __slots__ = (
        "_assigning", "_ends", "_escaped", "_first", "_lead", "_listens", "_names", "_prepares", "_previous",
        "_reason", "_sequence", "_sieve", "_starts", "_unlistens", "cautious", "controls", "words", "writes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cautious = False
        self.words = NO_WORDS
        self._sieve = NO_WORDS.sieve
        self._reason = ""
        self._lead = _OTHER
        self._previous = 0  # where the word before begins
        self._first = True  # the next word begins a statement
        self._assigning = False
        self.controls = False  #: after a look: a statement of the text begins or ends a transaction
        self.writes = False  #: after a look: one may draw from a sequence
        self._ends = False
        self._sequence = False
        self._names = False  # it may name a custom setting
        self._listens = False
        self._unlistens = False
        self._prepares = False  # it may name prepared statements
        self._escaped = False  # an E'' string was seen: one of its continuations may look plain
        self._starts: list[int] = []

    def look(self, text: bytearray, position: int, end: int) -> Finding | None:
        """None when text[position:end] (SQL in the client's encoding) leaves no session state behind."""
        begin = position
        self._sieve = self.words.sieve
        self._reason = ""
        self._lead = _OTHER
        self._first = True
        self._assigning = False
        self.controls = False
        self.writes = False
        self._ends = False
        self._sequence = False
        self._names = False
        self._listens = self._unlistens = self._prepares = False
        self._escaped = False
        while position < end:
            kind = _CLASS[text[position]]
            if kind == _WORD:
                position = self._take_word(text, position, end)
            elif kind == _MARK:
                position = self._take_mark(text, position, end)
            else:
                position += 1
        if not (self._assigning or self._reason or self._ends or self._sequence or self._names):
            return None
        finding = self._tracked(text, end) if self._assigning else Finding(self._reason)
        finding.ends = finding.ends or self._ends
        finding.sequence = self._sequence
        finding.prepares = self._prepares or finding.reason == "sql_prepare"
        finding.custom = custom_names(bytes(text[begin:end]))
        finding.unlistens = self._unlistens
        if self._listens:
            finding.channels = listened(bytes(text[begin:end]))
        return finding if finding.remarkable() else None

    def _note(self, reason: str) -> None:
        """A word says this. What nothing can undo outranks the rest, and the first of equals counts."""
        if reason == "sequence":
            self._sequence = True
        elif reason == "names":
            self._names = True
        elif reason in ("ends", "close"):
            self._ends = True
        elif reason == "unlisten":
            self._ends = self._unlistens = True
        elif reason == "writes":
            self.writes = True
        else:
            self._listens = self._listens or reason == "listen"
            if not self._reason or (reason in LASTING and self._reason not in LASTING):
                self._reason = reason
        if reason == "sql_prepare":
            self._prepares = True
        if reason in ("code", "sql_prepare"):
            self.writes = True  # perhaps

    def _take_word(self, text: bytearray, position: int, end: int) -> int:
        """Look at the word that begins at `position`; the position behind it, or behind the string it
        introduces."""
        start = position
        value = 0
        while position < end and (
            _CLASS[text[position]] == 1 or _CLASS[text[position]] == 2 or text[position] == 36
        ):
            value = (value * 31 + (text[position] | 0x20)) & 0xFFF
            position += 1
        if self._first:
            self._first = False
            self._begin_statement(text, start, position, _LEAD_TABLE[value])
        elif self._sieve[value]:
            self._word(text, start, position, True)
        elif position - start == 1 and position < end:
            value = text[start] | 0x20
            if value == 101 and text[position] == 39:  # E'...'
                self._escaped = True
                return self._take_string(text, position + 1, end, True)
            if (
                value == 117 and text[position] == 38 and position + 1 < end and text[position + 1] == 34
            ):  # U&"..."
                self._note("unclear")
        self._previous = start
        return position

    def _take_mark(self, text: bytearray, position: int, end: int) -> int:
        """Look at the quote, comment or separator at `position`; the position behind it."""
        byte = text[position]
        position += 1
        following = text[position] if position < end else 0
        if byte == 59:  # ;
            self._first = True
        elif byte == 39:  # '
            return self._take_string(text, position, end, False)
        elif byte == 34:  # "
            if self._first:
                self._note("unclear")
            return self._take_until(text, position, end, b'"')
        elif byte == 45 and following == 45:  # --
            return self._take_words(text, position, _line_end(text, position, end))
        elif byte == 47 and following == 42:  # /*
            return self._take_comment(text, position + 1, end)
        elif byte == 36:  # $
            tag_end = _dollar_tag_end(text, position, end)
            if tag_end > 0:
                return self._take_until(text, tag_end, end, bytes(text[position - 1 : tag_end]))
        return position

    def _take_string(self, text: bytearray, position: int, end: int, escaped: bool) -> int:
        """The position behind the closing quote of a string whose first character is at `position`."""
        start = position
        while position < end and text[position] != 39:
            if text[position] == 92:
                if self.cautious or (self._escaped and not escaped):
                    self._note("unclear")
                if escaped:
                    position += 1
            position += 1
        if position >= end:
            self._note("unclear")
        return self._take_words(text, start, min(position, end)) + 1

    def _take_until(self, text: bytearray, position: int, end: int, closing: bytes) -> int:
        found = text.find(closing, position, end)
        if found < 0:
            self._note("unclear")
            return self._take_words(text, position, end)
        return self._take_words(text, position, found) + len(closing)

    def _take_comment(self, text: bytearray, position: int, end: int) -> int:
        """The position behind a block comment: they nest."""
        start = position
        depth = 1
        while position + 1 < end:
            if text[position] == 42 and text[position + 1] == 47:
                depth -= 1
                position += 1
                if depth == 0:
                    return self._take_words(text, start, position) + 1
            elif text[position] == 47 and text[position + 1] == 42:
                depth += 1
                position += 1
            position += 1
        self._note("unclear")
        return self._take_words(text, start, end)

    def _take_words(self, text: bytearray, position: int, end: int) -> int:
        """Hold the words of a quoted stretch against the list that holds everywhere; returns `end`."""
        while position < end:
            start = position
            value = 0
            while position < end and (_CLASS[text[position]] == 1 or _CLASS[text[position]] == 2):
                value = (value * 31 + (text[position] | 0x20)) & 0xFFF
                position += 1
            if position > start and self._sieve[value]:
                self._word(text, start, position, False)
            position += 1
        return end

    def _begin_statement(self, text: bytearray, start: int, end: int, lead: _Lead) -> None:
        """A statement begins at `start`; `lead` is the only listed word that its first word, up to `end`, may
        be."""
        if not _is_word(text, start, end, lead.word):
            lead = _UNKNOWN
        if lead.effect == _CONTROL:
            self.controls = True
        elif lead.effect == _ASSIGNMENT:
            if lead.word == b"discard":
                self._ends = True
            if not self._assigning:
                self._assigning = True
                self._starts = []
        elif lead.effect == _SUSPECT:
            self._note(lead.reason)
        if self._assigning:
            self._starts.append(start)
        self._lead = lead.context

    def _word(self, text: bytearray, start: int, end: int, code: bool) -> None:
        """A word that may be of the lists: `code` when it stands outside strings and comments."""
        word = bytes(text[start:end]).lower()
        reason = _ANYWHERE.get(word)
        also = self.words.reasons.get(word)
        if also is not None:
            self._note(also)
        if reason is not None:
            self._note(reason)
        elif not code:
            return
        elif word == b"into":
            # SELECT ... INTO makes a table; INSERT INTO and MERGE INTO, in a WITH query, only write one.
            before = bytes(text[self._previous : start]).lower().split()
            writes = before in ([b"insert"], [b"merge"]) and _begins_clause(text, self._previous)
            self.writes = self.writes or writes
            if self._lead in (_DATA, _EXPLAIN) or (self._lead == _WITH and not writes):
                self._note("ddl")
        elif word == b"execute":  # EXPLAIN EXECUTE, CREATE TABLE AS EXECUTE
            self._note("sql_prepare")
        elif word == b"hold":
            if self._lead == _DECLARE:
                self._note("holdable_cursor")
        elif self._lead == _EXPLAIN and word in (b"create", b"declare"):
            self._note("ddl")

    def _tracked(self, text: bytearray, end: int) -> Finding:
        """What a text with SET, RESET, DISCARD or DEALLOCATE does, as far as it can be followed; why it must
        be asked for where it cannot."""
        bounds = [*self._starts, end]
        reason = self._reason
        found: list[Assignment] = []
        forgets: list[bytes] = []
        local = False
        for start, stop in pairwise(bounds):
            statement = bytes(text[start:stop])
            assignment = read_assignment(statement)
            if isinstance(assignment, str):
                reason = reason or assignment
            elif assignment is not None:
                found.append(assignment)
            local = local or is_local(statement)
            forgotten = read_deallocation(statement)
            if forgotten is None:
                reason = reason or "sql_prepare"
            else:
                forgets += forgotten
        if found and self.controls:
            reason = reason or "setting"
        return Finding(reason, () if reason else tuple(found), tuple(forgets), local, bool(forgets))


def _line_end(text: bytearray, position: int, end: int) -> int:
    """Where a line ends: at a line feed or, for PostgreSQL (scan.l: newline), at a carriage return."""
    while position < end and text[position] != 10 and text[position] != 13:
        position += 1
    return position


def _begins_clause(text: bytearray, position: int) -> bool:
    """Whether a parenthesis stands before the word at `position`: INSERT INTO, not an alias of that name
    before INTO."""
    while position > 0:
        position -= 1
        if text[position] not in b" \t\r\n\f\v":
            return text[position] in b"()"
    return False


def _is_word(text: bytearray, start: int, end: int, word: bytes) -> bool:
    """Whether text[start:end] is `word` (lower case letters), whatever its case."""
    if end - start != len(word):
        return False
    for index in range(len(word)):  # noqa: SIM110 - compiled, a loop is a loop and all() is not
        if text[start + index] | 0x20 != word[index]:
            return False
    return True


def _dollar_tag_end(text: bytearray, position: int, end: int) -> int:
    """The position behind the opening tag of a dollar quote whose first $ stands before `position`; 0 when it
    is none."""
    start = position
    while position < end and text[position] != 36:
        if _CLASS[text[position]] != 1 and (position == start or _CLASS[text[position]] != 2):
            return 0
        position += 1
    return position + 1 if position < end else 0
