"""What the text of a statement says about session state: nothing, a tracked SET, or why to ask the server.

A look, not a parse: one pass that knows strings, quoted names, comments and dollar quotes, so that it finds
where statements begin, and that holds every word against a short list. It may cry wolf and must not miss what
the text shows (sessions.md, rule 12); what text cannot show is not its business. Compiled, because every
simple query passes.
"""

from __future__ import annotations

from itertools import pairwise

from poolproxy.session.assignments import (
    Assignment,
    is_local,
    read_assignment,
    read_deallocation,
    resets_role,
)
from poolproxy.session.channels import listened
from poolproxy.session.custom import custom_names
from poolproxy.session.pins import LASTING
from poolproxy.session.vacated import vacated
from poolproxy.session.words import (
    ANYWHERE,
    ASSIGNMENT,
    CLASS,
    CONTROL,
    DATA,
    DECLARE,
    EXPLAIN,
    IN_NAME,
    IN_WORD,
    LEADS_BY_HASH,
    MARK,
    NO_WORDS,
    OTHER,
    SUSPECT,
    UNKNOWN,
    WITH,
    WORD,
    Lead,
)


class Finding:
    """What is remarkable about a text: why its server is suspect (or ""), the tracked assignments it makes,
    the prepared statements it deallocates (b"" = all), whether it changes how its transaction reads texts
    (SET LOCAL), whether it may end what pins a server, whether it asks for a sequence's last value, the
    custom settings that it may name, the channels that it listens to (as it spells them), whether it may end
    that, the databases that it needs nobody to be in, whether all it does is to reset the role, whether it
    may set temp_buffers, whether it notifies, whether it prepares statements by SQL, and whether it may mean
    any by their names."""

    __slots__ = (
        "assignments", "buffers", "channels", "custom", "databases", "ends", "forgets", "local", "mentions",
        "notifies", "prepares", "reason", "resets_role", "sequence", "unlistens",
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
        self.databases: tuple[str, ...] = ()
        self.resets_role = False
        self.buffers = False
        self.notifies = False
        self.prepares = False
        self.mentions = False
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
            or self.notifies
        )


class Scanner:
    """Looks at statement texts. `cautious` is to be set while a backslash may end a string where ours would
    not: with standard_conforming_strings off, or a client encoding whose characters may hold an ASCII
    byte."""

    __slots__ = (
        "_assigning", "_ends", "_escaped", "_first", "_lead", "_listens", "_mentions", "_names", "_notifies",
        "_prepares", "_previous", "_reason", "_sequence", "_sieve", "_starts", "_unlistens", "cautious",
        "controls", "words", "writes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cautious = False
        self.words = NO_WORDS
        self._sieve = NO_WORDS.sieve
        self._reason = ""
        self._lead = OTHER
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
        self._notifies = False
        self._prepares = False
        self._mentions = False  # it may name prepared statements
        self._escaped = False  # an E'' string was seen: one of its continuations may look plain
        self._starts: list[int] = []

    def look(self, text: bytearray, position: int, end: int) -> Finding | None:
        """None when text[position:end] (SQL in the client's encoding) leaves no session state behind."""
        if position < 0 or end > len(text):
            raise IndexError(f"no text {position} to {end} in {len(text)} bytes")
        # Compiled, these are pointers, here and below.
        data = text
        classes = CLASS
        begin = position
        self._sieve = self.words.sieve
        self._reason = ""
        self._lead = OTHER
        self._first = True
        self._assigning = False
        self.controls = False
        self.writes = False
        self._ends = False
        self._sequence = False
        self._names = False
        self._listens = self._unlistens = self._notifies = self._prepares = self._mentions = False
        self._escaped = False
        while position < end:
            kind = classes[data[position]]
            if kind == WORD:
                position = self._take_word(text, position, end)
            elif kind == MARK:
                position = self._take_mark(text, position, end)
            else:
                position += 1
        if not (
            self._assigning or self._reason or self._ends or self._sequence or self._names or self._notifies
        ):
            return None
        finding = self._tracked(text, end) if self._assigning else Finding(self._reason)
        finding.ends = finding.ends or self._ends
        finding.sequence = self._sequence
        finding.prepares = self._prepares
        finding.mentions = self._mentions or finding.reason == "sql_prepare"
        whole = bytes(text[begin:end])
        finding.custom = custom_names(whole)
        finding.unlistens = self._unlistens
        finding.notifies = self._notifies
        if self._listens:
            finding.channels = listened(whole)
        if self._reason and b"database" in whole.lower():
            finding.databases = vacated(whole)
        if finding.reason == "setting":
            finding.buffers = b"temp_buffers" in whole.lower()
        elif finding.reason == "role":
            finding.resets_role = resets_role(whole.strip()) and b";" not in whole.rstrip(b"; \t\r\n")
        return finding if finding.remarkable() else None

    def _note(self, reason: str) -> None:
        """A word says this. What nothing can undo outranks the rest, and the first of equals counts."""
        if reason == "sequence":
            self._sequence = True
        elif reason == "names":
            self._names = True
        elif reason in ("ends", "close"):
            self._ends = True
        elif reason == "notify":
            self._notifies = True
        elif reason == "unlisten":
            self._ends = self._unlistens = True
        elif reason == "writes":
            self.writes = True
        else:
            self._listens = self._listens or reason == "listen"
            if not self._reason or (reason in LASTING and self._reason not in LASTING):
                self._reason = reason
        if reason == "sql_prepare":
            self._mentions = True
        if reason in ("code", "sql_prepare"):
            self.writes = True  # perhaps

    def _take_word(self, text: bytearray, position: int, end: int) -> int:
        """Look at the word that begins at `position`; the position behind it, or behind the string it
        introduces."""
        data = text
        in_word = IN_WORD
        start = position
        value = 0
        while position < end and in_word[data[position]]:
            value = (value * 31 + (data[position] | 0x20)) & 0xFFF
            position += 1
        if self._first:
            self._first = False
            self._begin_statement(text, start, position, LEADS_BY_HASH[value])
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
            return self._take_name(text, position, end)
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

    def _take_name(self, text: bytearray, position: int, end: int) -> int:
        """The position behind the closing quote of a name. ORMs quote every one: one walk, in C."""
        data = text
        in_name = IN_NAME
        while position < end and data[position] != 34:
            start = position
            value = 0
            while position < end and in_name[data[position]]:
                value = (value * 31 + (data[position] | 0x20)) & 0xFFF
                position += 1
            if position == start:
                position += 1
            elif self._sieve[value]:
                self._word(text, start, position, False)
        if position >= end:
            self._note("unclear")
        return position + 1

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
        data = text
        in_name = IN_NAME
        while position < end:
            start = position
            value = 0
            while position < end and in_name[data[position]]:
                value = (value * 31 + (data[position] | 0x20)) & 0xFFF
                position += 1
            if position > start and self._sieve[value]:
                self._word(text, start, position, False)
            position += 1
        return end

    def _begin_statement(self, text: bytearray, start: int, end: int, lead: Lead) -> None:
        """A statement begins at `start`; `lead` is the only listed word that its first word, up to `end`, may
        be."""
        if not _is_word(text, start, end, lead.word):
            lead = UNKNOWN
        if lead.effect == CONTROL:
            self.controls = True
        elif lead.effect == ASSIGNMENT:
            if lead.word == b"discard":
                self._ends = True
            if not self._assigning:
                self._assigning = True
                self._starts = []
        elif lead.effect == SUSPECT:
            self._note(lead.reason)
            if lead.word == b"prepare":
                self._prepares = True
        if self._assigning:
            self._starts.append(start)
        self._lead = lead.context

    def _word(self, text: bytearray, start: int, end: int, code: bool) -> None:
        """A word that may be of the lists: `code` when it stands outside strings and comments."""
        word = bytes(text[start:end]).lower()
        reason = ANYWHERE.get(word)
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
            if self._lead in (DATA, EXPLAIN) or (self._lead == WITH and not writes):
                self._note("ddl")
        elif word == b"execute":  # EXPLAIN EXECUTE, CREATE TABLE AS EXECUTE
            self._note("sql_prepare")
        elif word == b"hold":
            if self._lead == DECLARE:
                self._note("holdable_cursor")
        elif self._lead == EXPLAIN:
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
        if CLASS[text[position]] != 1 and (position == start or CLASS[text[position]] != 2):
            return 0
        position += 1
    return position + 1 if position < end else 0


#: One is enough for all: a look leaves nothing in it but its answer.
SCANNER = Scanner()
