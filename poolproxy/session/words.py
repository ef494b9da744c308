"""The words that make a statement remarkable: first words, words that count wherever they stand, and what a
database adds to them.

They are found by a hash of 12 bits that a look computes as it goes (see `Scanner._take_word`), so that most
words of a query cost one step a letter and one more. Must not know how texts are read.
"""

from __future__ import annotations

from collections.abc import Iterable

#: What a first word makes of its statement.
HARMLESS = 0
CONTROL = 1  #: begins or ends a transaction: a SET beside it may be undone by it
ASSIGNMENT = 2  #: SET, RESET, DISCARD, DEALLOCATE
SUSPECT = 3  #: says something of its own: `reason` (see Scanner._note)

# What kind of statement the words belong to, as far as `_word` cares.
OTHER = 0
DATA = 1
DECLARE = 2
EXPLAIN = 3
WITH = 4


class Lead:
    """A word that begins statements."""

    __slots__ = ("context", "effect", "reason", "word")

    def __init__(self, word: bytes, effect: int, reason: str = "", context: int = OTHER) -> None:
        self.word = word
        self.effect = effect
        self.reason = reason
        self.context = context


_LEADS = [
    *(Lead(word, HARMLESS, context=DATA) for word in b"select table".split()),
    Lead(b"with", HARMLESS, context=WITH),
    Lead(b"declare", HARMLESS, context=DECLARE),
    Lead(b"explain", HARMLESS, context=EXPLAIN),
    *(
        Lead(word, HARMLESS)
        for word in b"delete values fetch move lock analyze vacuum checkpoint truncate refresh "
        b"reindex cluster".split()
    ),
    *(Lead(word, SUSPECT, "writes") for word in b"insert update merge copy".split()),
    *(Lead(word, SUSPECT, word.decode()) for word in b"close notify unlisten".split()),
    Lead(b"show", SUSPECT, "names"),
    *(Lead(word, CONTROL) for word in b"begin start commit end rollback abort savepoint release".split()),
    *(Lead(word, ASSIGNMENT) for word in b"set reset discard deallocate".split()),
    *(
        Lead(word, SUSPECT, "ddl")
        for word in b"create alter drop comment grant revoke security import reassign".split()
    ),
    Lead(b"listen", SUSPECT, "listen"),
    Lead(b"prepare", SUSPECT, "sql_prepare"),
    Lead(b"execute", SUSPECT, "sql_prepare"),
    Lead(b"load", SUSPECT, "load"),
    Lead(b"do", SUSPECT, "code"),
    Lead(b"call", SUSPECT, "code"),
]

#: A first word that is in no list is not understood.
UNKNOWN = Lead(b"", SUSPECT, "unclear")

#: Words that are suspect wherever they stand, strings and comments included.
ANYWHERE: dict[bytes, str] = {
    b"set_config": "setting",
    b"current_setting": "names",
    b"nextval": "writes",
    b"pg_notify": "notify",
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
    for word in (*ANYWHERE, *_INSIDE):
        table[_hash(word)] = 1
    return bytes(table)


def _leads_by_hash() -> list[Lead]:
    """Per word hash, the one first word that has it, or the unknown one."""
    table = [UNKNOWN] * 4096
    for lead in _LEADS:
        if table[_hash(lead.word)] is not UNKNOWN:
            raise ValueError(
                f"{lead.word!r} shares its hash with another first word: choose another multiplier"
            )
        table[_hash(lead.word)] = lead
    return table


CLASS = _classes()
#: Per byte: 1 where it goes on in a word, in one of a quoted stretch, as it stands in a name.
IN_NAME = bytes(kind in (1, 2) for kind in CLASS)
#: The same in code, where a dollar sign does, too.
IN_WORD = bytes(IN_NAME[byte] or byte == ord("$") for byte in range(256))
_SIEVE = _sieve()
LEADS_BY_HASH = _leads_by_hash()

WORD = 1
MARK = 3


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
