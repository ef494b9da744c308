"""The ledger: what must be in the database after a trial, exactly once.

Every handler writes its invocation into `storm.ledger` in the transaction of its work, as part k of n; the
runtime says which attempts were acknowledged, that is, whose handler saw its COMMIT answered; `verdict`
compares the two in one query. The tables that the handlers work with are made here too, with their data, in a
schema of their own. They are logged tables: a database that crashes must keep what it has acknowledged, and
can only where it runs with `synchronous_commit = on`. Must not know how invocations come about, nor who is in
between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[Any]"

ITEMS = 10_000  #: of the shop, with ids from 1 on: so many that orders seldom want the same one
SALES = 10_000  #: rows that `report` reads
STOCK = 1_000_000_000  #: of each item
EXAMPLES = 5  #: of each kind of fault that a verdict names

MARK = "made by benchmarks.storm, and dropped by it"
"""The comment on our schema. One of the same name without it is somebody else's, and is left alone."""

NOTE = "INSERT INTO storm.ledger (invocation, attempt, part, parts) VALUES ($1, $2, $3, $4)"
"""The statement that a handler writes its part with: request id, attempt, part k of n."""

NOTED = f"WITH noted AS ({NOTE}) "
"""Put before a statement, it makes the note a part of that statement, whose own parameters begin at $5."""

# No primary key: a row that is there twice must be seen, not refused. The transaction's id tells parts that
# were committed together from parts that came into transactions of their own.
_SCHEMA = f"""
CREATE SCHEMA storm;
COMMENT ON SCHEMA storm IS '{MARK}';
CREATE TABLE storm.ledger (
    invocation text NOT NULL, attempt int NOT NULL, part int NOT NULL, parts int NOT NULL,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(), CHECK (part BETWEEN 1 AND parts)
);
CREATE TABLE storm.acknowledged (
    invocation text NOT NULL, attempt int NOT NULL, PRIMARY KEY (invocation, attempt)
);
CREATE TABLE storm.item (id int PRIMARY KEY, name text NOT NULL, price int NOT NULL, stock int NOT NULL);
CREATE TABLE storm.purchase (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL,
    placed timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE storm.purchase_line (
    purchase bigint NOT NULL, item int NOT NULL, quantity int NOT NULL, price int NOT NULL
);
CREATE INDEX ON storm.purchase_line (purchase);
CREATE TABLE storm.upload (
    bucket text, key text, size bigint NOT NULL, etag text NOT NULL,
    seen timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (bucket, key)
);
CREATE TABLE storm.sale (id int PRIMARY KEY, day date NOT NULL, region text NOT NULL, amount int NOT NULL);
"""

_DATA = f"""
INSERT INTO storm.item
    SELECT n, 'item ' || n, 100 + n * 37 % 9900, {STOCK} FROM generate_series(1, {ITEMS}) n;
INSERT INTO storm.sale
    SELECT n, date '2026-01-01' + n % 365, (ARRAY['north', 'east', 'south', 'west'])[1 + n % 4],
        n * 53 % 10000
    FROM generate_series(1, {SALES}) n;
"""

# By (attempt, transaction) first: whether it is whole. Then by attempt, beside what was acknowledged. Every
# attempt is in exactly one of the classes. `repeated` is what a statement that ran twice leaves.
_VERDICT = f"""
WITH transactions AS (
    SELECT invocation, attempt, count(*) AS rows, count(DISTINCT part) AS found, max(parts) AS wanted
    FROM storm.ledger GROUP BY invocation, attempt, transaction
), written AS (
    SELECT invocation, attempt, sum(rows) AS rows, count(*) FILTER (WHERE found = wanted) AS whole,
        count(*) FILTER (WHERE found < wanted) AS torn, bool_or(rows > found) AS repeated
    FROM transactions GROUP BY invocation, attempt
), attempts AS (
    SELECT invocation, attempt, coalesce(rows, 0) AS rows, coalesce(whole, 0) AS whole,
        coalesce(torn, 0) AS torn, coalesce(repeated, false) AS repeated,
        coalesce(known.acknowledged, false) AS acknowledged
    FROM written FULL JOIN (SELECT *, true AS acknowledged FROM storm.acknowledged) AS known
        USING (invocation, attempt)
), classed AS (
    SELECT *, CASE WHEN torn > 0 THEN 'half' WHEN whole > 1 OR repeated THEN 'duplicated'
        WHEN NOT acknowledged THEN 'in doubt' WHEN whole = 0 THEN 'lost' ELSE 'clean' END AS class
    FROM attempts
), retried AS (
    SELECT count(*) - 1 AS extra FROM classed WHERE whole > 0 GROUP BY invocation HAVING count(*) > 1
)
SELECT count(*) FILTER (WHERE acknowledged) AS acknowledged, coalesce(sum(rows), 0)::bigint AS rows,
    count(*) FILTER (WHERE class = 'clean') AS clean, count(*) FILTER (WHERE class = 'lost') AS lost,
    count(*) FILTER (WHERE class = 'duplicated') AS duplicated,
    count(*) FILTER (WHERE class = 'half') AS half, count(*) FILTER (WHERE class = 'in doubt') AS in_doubt,
    (SELECT coalesce(sum(extra), 0) FROM retried)::bigint AS retried,
    (array_agg(class || ': ' || invocation || ' attempt ' || attempt ORDER BY class, invocation, attempt)
        FILTER (WHERE class IN ('lost', 'duplicated', 'half')))[1:{3 * EXAMPLES}] AS examples
FROM classed
"""


class SchemaTaken(Exception):
    """The database has a schema `storm` that is not ours."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the ledger and the acknowledgements agree: numbers of attempts, each in one class."""

    acknowledged: int  #: attempts whose COMMIT was answered
    rows: int  #: of the ledger, parts that is
    clean: int  #: acknowledged, and there exactly once
    lost: int  #: acknowledged, and not there: a fault
    duplicated: int  #: there more than once under one attempt: a fault
    half: int  #: some parts of it only, or in several transactions: a fault
    in_doubt: int  #: there, whole and once, but never acknowledged: the answer to COMMIT was lost
    retried: int  #: attempts that repeat what another attempt of the invocation has committed: no fault
    examples: list[str] = field(default_factory=list)  #: of the faults

    @property
    def faults(self) -> int:
        return self.lost + self.duplicated + self.half

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "faults": self.faults}

    def __str__(self) -> str:
        """A line for people."""
        found = f"{self.acknowledged} acknowledged, {self.clean} there exactly once"
        faults = f"{self.lost} lost, {self.duplicated} duplicated, {self.half} half"
        return f"{found}; {faults}; {self.in_doubt} in doubt, {self.retried} duplicates by retry"


async def prepare(connection: Connection, role: str) -> None:
    """Make schema, tables and data anew, and let `role` work with them.

    `connection` may create schemas in the database that the handlers use. Raises SchemaTaken before it drops
    what is not ours.
    """
    async with connection.transaction():
        await remove(connection)
        await connection.execute(_SCHEMA + _DATA)
        quoted = await connection.fetchval("SELECT quote_ident($1)", role)
        await connection.execute(f"GRANT USAGE ON SCHEMA storm TO {quoted}")
        await connection.execute(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA storm TO {quoted}")
        await connection.execute(f"REVOKE ALL ON storm.acknowledged FROM {quoted}")
    await connection.execute("VACUUM ANALYZE storm.item, storm.sale")


async def clear(connection: Connection) -> None:
    """Before a trial: an empty ledger, and the shop as it was made."""
    await connection.execute(
        "TRUNCATE storm.ledger, storm.acknowledged, storm.purchase, storm.purchase_line, storm.upload;"
        f"UPDATE storm.item SET stock = {STOCK} WHERE stock <> {STOCK}"
    )


async def remove(connection: Connection) -> None:
    """Drop the schema if it is there. Raises SchemaTaken when it is not ours."""
    found = await connection.fetch(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'storm'"
    )
    if not found:
        return
    if found[0][0] != MARK:
        raise SchemaTaken("there is a schema named storm that benchmarks.storm has not made")
    await connection.execute("DROP SCHEMA storm CASCADE")


async def acknowledge(connection: Connection, attempts: Iterable[tuple[str, int]]) -> None:
    """Say which attempts (request id, attempt) were acknowledged; each once, all of a trial in any portions.

    By COPY: a million takes seconds.
    """
    await connection.copy_records_to_table(
        "acknowledged", schema_name="storm", columns=["invocation", "attempt"], records=attempts
    )


async def verdict(connection: Connection) -> Verdict:
    """What the ledger says now. To be asked when no transaction of the trial can commit any more."""
    row = await connection.fetchrow(_VERDICT, timeout=600)
    assert row is not None
    return Verdict(**{**dict(row), "examples": row["examples"] or []})
