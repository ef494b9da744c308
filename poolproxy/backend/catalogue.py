"""What a database's catalogue says that matters to sessions, read now and then by a connection of our own.

Whether routines may change session state where no text shows it (session/hazards.py), the age of the
catalogue (sessions.md, rule 4), the defaults that ALTER ROLE and ALTER DATABASE have given (rule 20), and
what kinds of values settings have.
Without an answer everything is taken to be possible. Must not know pools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from poolproxy.backend.control import Control
from poolproxy.route import Target
from poolproxy.session.hazards import BUILTIN, Hazards, Routine, judge
from poolproxy.session.spelling import Kind

#: Whether anything has changed since it was last asked: as many rows, of the same ages. Temporary tables and
#: their types are everybody's own business.
_AGES = "(SELECT concat(count(*), ' ', sum(xmin::text::int8)) FROM {})"
_ROUTINE_TABLES = (
    "pg_proc",
    "pg_trigger",
    "pg_event_trigger",
    "pg_rewrite",
    "pg_attrdef",
    "pg_policy",
    "pg_constraint",
    "pg_index",
    "pg_amproc",
    "pg_partitioned_table",
    "pg_foreign_data_wrapper",
    "pg_type WHERE typtype = 'b' AND typcategory <> 'A'",
    "pg_operator",
    "pg_cast",
    "pg_aggregate",
    "pg_extension",
)
_FINGERPRINT = f"""
    SELECT
        concat(
            {_AGES.format("pg_class WHERE relpersistence <> 't' AND relkind <> 't'")}, ' ',
            {_AGES.format("pg_type WHERE typrelid = 0")}
        ) AS meaning,
        concat_ws(' ', {", ".join(_AGES.format(table) for table in _ROUTINE_TABLES)}) AS routines,
        (SELECT string_agg(concat(setdatabase, ' ', setrole, ' ', setconfig), ',' ORDER BY setdatabase,
            setrole) FROM pg_db_role_setting) AS defaults
"""

#: Routines that are not PostgreSQL's own. Those with an SQL-standard body have no source but a tree.
_ROUTINES = """
    SELECT p.oid::int8 AS oid, p.proname::text AS name, l.lanname::text AS language, p.prosrc AS source,
        coalesce(e.extname::text, '') AS extension, concat(p.prosqlbody, p.proargdefaults) AS tree,
        ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn,
            a.aggminvtransfn, a.aggmfinalfn]::int8[] AS calls
    FROM pg_proc p
        JOIN pg_language l ON l.oid = p.prolang
        LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
        LEFT JOIN pg_depend d ON d.classid = 1255 AND d.objid = p.oid AND d.deptype = 'e'
        LEFT JOIN pg_extension e ON e.oid = d.refobjid
    WHERE p.oid >= 16384
"""

#: What calls routines though no text names them: by their oids, or in trees.
_CALLED = """
    SELECT tgfoid::int8 AS oid FROM pg_trigger WHERE NOT tgisinternal
    UNION SELECT evtfoid::int8 FROM pg_event_trigger
    UNION SELECT oprcode::oid::int8 FROM pg_operator WHERE oid >= 16384
    UNION SELECT castfunc::int8 FROM pg_cast WHERE oid >= 16384
    UNION SELECT amproc::oid::int8 FROM pg_amproc WHERE oid >= 16384
    UNION SELECT fdwhandler::int8 FROM pg_foreign_data_wrapper
    UNION SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend, typmodin, typsubscript])::oid::int8
        FROM pg_type WHERE oid >= 16384
"""
_TREES = """
    SELECT ev_action::text AS tree, pg_get_ruledef(oid) AS source FROM pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT adbin::text, pg_get_expr(adbin, adrelid) FROM pg_attrdef
    UNION ALL SELECT concat(polqual, polwithcheck),
        concat(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
    UNION ALL SELECT conbin::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conbin IS NOT NULL AND oid >= 16384
    UNION ALL SELECT tgqual::text, '' FROM pg_trigger WHERE tgqual IS NOT NULL
    UNION ALL SELECT concat(indexprs, indpred), '' FROM pg_index
        WHERE indexrelid >= 16384 AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
    UNION ALL SELECT partexprs::text, '' FROM pg_partitioned_table WHERE partexprs IS NOT NULL
"""
_BUILTIN = "SELECT oid::int8 AS oid FROM pg_proc WHERE oid < 16384 AND proname = ANY ($1::name[])"

_KINDS = "SELECT lower(name) AS name, vartype, coalesce(unit, '') AS unit FROM pg_show_all_settings()"

#: In a pg_node_tree: who is called (nodes/primnodes.h).
_FUNCTION = re.compile(r":(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Equal ones mean that nothing has changed: `meaning` of texts, `routines`, `defaults` of roles."""

    meaning: str
    routines: str
    defaults: str


async def read_fingerprint(connection: asyncpg.Connection, timeout: float) -> Fingerprint:
    """Cheap enough to be asked for every few seconds."""
    (row,) = await connection.fetch(_FINGERPRINT, timeout=timeout)
    return Fingerprint(row["meaning"] or "", row["routines"] or "", row["defaults"] or "")


async def read_hazards(connection: asyncpg.Connection, timeout: float) -> Hazards:
    """What its routines may do."""
    routines = [
        Routine(
            row["oid"],
            row["name"],
            row["language"],
            row["source"] or "",
            row["extension"],
            frozenset(_called(row["tree"])) | frozenset(oid for oid in row["calls"] if oid),
        )
        for row in await connection.fetch(_ROUTINES, timeout=timeout)
    ]
    called = {row["oid"] for row in await connection.fetch(_CALLED, timeout=timeout)}
    sources = []
    for row in await connection.fetch(_TREES, timeout=timeout):
        called.update(_called(row["tree"]))
        sources.append(row["source"] or "")
    builtin = [row["oid"] for row in await connection.fetch(_BUILTIN, list(BUILTIN), timeout=timeout)]
    return judge(routines, called, builtin, sources)


async def read_kinds(connection: asyncpg.Connection, timeout: float) -> dict[str, Kind]:
    """The type and the unit of each setting, by its name in lower case."""
    rows = await connection.fetch(_KINDS, timeout=timeout)
    return {row["name"]: (row["vartype"], row["unit"]) for row in rows}


def _called(tree: str | None) -> list[int]:
    return [int(oid) for oid in _FUNCTION.findall(tree or "")]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What was found, and what it was like then."""

    fingerprint: Fingerprint
    hazards: Hazards
    kinds: Mapping[str, Kind]  #: of settings


async def read_catalogue(
    control: Control, target: Target, known: Catalogue | None, timeout: float
) -> Catalogue:
    """Read anew what has changed since `known`. Each step may take `timeout` seconds. Errors as
    Control.connect."""
    connection = await control.connect(target, timeout)
    try:
        fingerprint = await read_fingerprint(connection, timeout)
        if known is not None and known.fingerprint.routines == fingerprint.routines:
            return Catalogue(fingerprint, known.hazards, known.kinds)
        kinds = known.kinds if known is not None else await read_kinds(connection, timeout)
        return Catalogue(fingerprint, await read_hazards(connection, timeout), kinds)
    finally:
        await connection.close(timeout=timeout)
