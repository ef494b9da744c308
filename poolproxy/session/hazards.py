"""Which routines of a database may change session state where no text shows it (sessions.md, rule 2).

Reads rows of the catalogue, and may cry wolf: a routine whose language or source it does not understand is
hazardous, and so is whatever names a hazardous one. Texts that name one are suspect. One that a trigger, a
view, a default, a policy, an operator or a cast calls makes every statement suspect of changing anything:
then each hand-over is a reset. Must not know connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from poolproxy.session.custom import custom_names

#: Languages whose sources can be read. Those of others may do anything.
_READABLE: Final = frozenset({"sql", "plpgsql"})

#: Extensions whose routines in C leave no session state (their sources, as of PostgreSQL 18 and 2026).
_HARMLESS_EXTENSIONS: Final = frozenset(
    (
        *("amcheck", "bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn"),
        *("earthdistance", "file_fdw", "fuzzystrmatch", "hstore", "intarray", "isn", "lo", "ltree"),
        *("pageinspect", "pg_buffercache", "pg_freespacemap", "pg_logicalinspect", "pg_prewarm"),
        *("pg_stat_statements", "pg_surgery", "pg_trgm", "pg_visibility", "pg_walinspect", "pgcrypto"),
        *("pgrowlocks", "pgstattuple", "plpgsql", "postgis", "postgres_fdw", "seg", "sslinfo"),
        *("tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp", "vector"),
    )
)

#: Routines of those that do: a setting of theirs is changed.
_STATEFUL: Final = frozenset({"set_limit", "isn_weak"})

#: Routines of PostgreSQL's own that leave session state, by name.
BUILTIN: Final = (
    "set_config",
    "setseed",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_replication_origin_session_setup",
    "pg_replication_origin_xact_setup",
    "pg_create_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_copy_logical_replication_slot",
    "pg_backup_start",
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
)

#: What PostgreSQL itself makes beside aggregates and range types.
_MADE: Final = ("aggregate_dummy", "range_constructor", "multirange_constructor")

_GAP = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"

#: What in a source may leave session state: routines of above, statements that begin with certain words, text
#: that is run as code, and escapes that may hide any of it.
_HAZARDOUS: Final = re.compile(
    r"set_config|setseed|pg_settings|advisory_lock|replication_origin|replication_slot|backup_start|dblink"
    r"|_to_xml|ts_stat|ts_rewrite|crosstab|connectby|u&\"|\\"
    r"|\b(?:execute|temp|temporary|pg_temp|create|listen|load|prepare|deallocate|hold|discard|do)\b"
    r"|(?:^|;|\bbegin\b|\bthen\b|\belse\b|\bloop\b)" + _GAP + r"(?:set|reset)\b",
    re.IGNORECASE | re.DOTALL,
)

_WORD: Final = re.compile(r"\w+")

#: A name that a look at texts can find (session/statements.py).
_FINDABLE: Final = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Routine:
    """A function, procedure or aggregate of the database's own. `calls`: those that its definition refers to
    by their oids. `extension`: the one that it belongs to, or ""."""

    oid: int
    name: str
    language: str
    source: str
    extension: str
    calls: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Hazards:
    """`names`: routines whose names make a text suspect. `hidden`: something may be called that no text
    names. `custom`: custom settings that are named in sources."""

    names: frozenset[str]
    hidden: bool
    custom: tuple[str, ...]


def is_hazardous(routine: Routine) -> bool:
    """By itself, whatever it calls."""
    if routine.language == "internal" and routine.source.startswith(_MADE):
        return False
    if routine.language not in _READABLE:  # also other internal ones: a new name for whatever it may be
        return routine.extension not in _HARMLESS_EXTENSIONS or routine.name in _STATEFUL
    return _HAZARDOUS.search(routine.source) is not None


def hazardous(routines: Iterable[Routine]) -> dict[int, str]:
    """The oids and names of those that are hazardous by themselves, or name or call one that is."""
    found: dict[int, str] = {}
    names: set[str] = set()
    rest: list[tuple[Routine, frozenset[str]]] = []
    for routine in routines:
        if is_hazardous(routine):
            found[routine.oid] = routine.name
            names.add(routine.name.lower())
        else:
            rest.append((routine, frozenset(_WORD.findall(routine.source.lower()))))
    more = True
    while more:
        more = False
        for routine, words in rest:
            if routine.oid not in found and not (names.isdisjoint(words) and routine.calls.isdisjoint(found)):
                found[routine.oid] = routine.name
                names.add(routine.name.lower())
                more = True
    return found


def judge(
    routines: Iterable[Routine], called: Iterable[int], builtin: Iterable[int], sources: Iterable[str]
) -> Hazards:
    """`called`: routines that triggers, views, defaults and the like call; `builtin`: the oids of BUILTIN;
    `sources`: texts of policies, defaults and views."""
    routines = list(routines)
    found = hazardous(routines)
    reachable = set(called)
    hidden = not reachable.isdisjoint(found) or not reachable.isdisjoint(builtin)
    names = frozenset(name.lower() for name in found.values())
    custom: dict[str, None] = {}
    for source in (*sources, *(routine.source for routine in routines)):
        custom.update(dict.fromkeys(custom_names(source.encode("utf-8", "surrogateescape"))))
    return Hazards(
        frozenset(name for name in names if _FINDABLE.fullmatch(name)),
        hidden or not all(map(_FINDABLE.fullmatch, names)),
        tuple(custom),
    )
