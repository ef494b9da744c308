"""The programs: how each is run, what it may pin for and why, and what is known of it elsewhere.

What is said of RDS Proxy and PgBouncer is what their documentation, their issues and their drivers' issues
say; where nothing is known, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.system.programs import tools
from tests.system.programs.running import Program

HERE = Path(__file__).resolve().parent
JDBC_JAR = Path("/usr/share/java/postgresql.jar")


def _java(_: Path) -> list[str]:
    assert JDBC_JAR.exists(), "libpostgresql-jdbc-java is not installed: run `make deps`"
    return [tools.program("java"), "-cp", str(JDBC_JAR), str(HERE / "java" / "Crowd.java")]


def _python(script: str) -> Callable[[Path], list[str]]:
    return lambda _: [str(tools.python()), str(HERE / "python" / script)]


def _node(script: str) -> Callable[[Path], list[str]]:
    def command(folder: Path) -> list[str]:
        drivers = tools.node()
        for path in drivers.iterdir():  # modules are looked for beside the script
            (folder / path.name).symlink_to(path)
        return [tools.program("node"), "--preserve-symlinks", "--preserve-symlinks-main", script]

    return command


def _odbc(_: Path) -> list[str]:
    drivers = sorted(Path("/usr/lib").glob("*/odbc/psqlodbcw.so"))
    assert drivers, "odbc-postgresql is not installed: run `make deps`"
    return ["env", f"ODBC_DRIVER={drivers[0]}", str(tools.python()), str(HERE / "python" / "odbc.py")]


def _perl(_: Path) -> list[str]:
    return [tools.program("perl"), str(HERE / "perl" / "crowd.pl")]


PROGRAMS = (
    Program(
        name="JDBC (pgjdbc)",
        does="`prepareThreshold` 5, 1 and 0, `autosave=always`, `reWriteBatchedInserts`, batches, "
        "`fetchSize`, "
        "generated keys, savepoints, isolation and read-only, `setSchema`, COPY, large objects, LISTEN, "
        "updatable results, cancelling, a table that changes under a prepared statement",
        command=_java,
        rds="`SET extra_float_digits` and `SET SESSION CHARACTERISTICS` (isolation, read-only) pin until "
        "the client "
        "disconnects; `cancel()` and query timeouts do nothing",
        pgbouncer="named statements since 1.21; what `setSchema` and `SET SESSION CHARACTERISTICS` set "
        "stays on the "
        "server; `extra_float_digits` and `options` at startup refused unless ignored by configuration",
    ),
    Program(
        name="SQLAlchemy over psycopg 3",
        does="ORM, sessions, savepoints, its pool with pre-ping and reset on return, `insertmanyvalues`, "
        "`yield_per` "
        "(server-side cursors), isolation levels, `SELECT FOR UPDATE`, version columns, two-phase commit, "
        "reflection, COPY, `options` and `search_path` by events",
        command=_python("sqlalchemy_psycopg.py"),
        rds="pinned by psycopg's `DEALLOCATE ALL` on rollback (psycopg/psycopg#1105) and by each SET",
        pgbouncer="SQLAlchemy's own suite: 11,887 of the 11,957 tests that pass directly; `SET "
        "search_path` stays on "
        "the server",
    ),
    Program(
        name="SQLAlchemy over asyncpg",
        does="the same by asyncio; below it asyncpg's own pool with its reset, COPY, cursors, LISTEN, "
        "executemany",
        command=_python("sqlalchemy_asyncpg.py"),
        rds="asyncpg's reset on release pins nearly every client (MagicStack/asyncpg#1153)",
        pgbouncer="asyncpg's own suite: 283 of the 311 tests that pass directly; no LISTEN",
    ),
    Program(
        name="Django",
        does="`CONN_MAX_AGE = None` with health checks, migrations, `atomic` with savepoints, "
        "`select_for_update`, "
        "`iterator()`, time zones, `bulk_create`, JSON and arrays, `server_side_binding`, isolation "
        "levels, COPY",
        command=_python("django_orm.py"),
        pins={
            "holdable_cursor": "outside a transaction `iterator()` declares its cursor WITH HOLD: its rows "
            "are on that "
            "server until it is closed. Inside `atomic` it does not pin."
        },
        most_pinned=0.15,
        rds="declaring a cursor pins, with HOLD or without, and each SET",
        pgbouncer="a cursor WITH HOLD is left behind on the server, `DISABLE_SERVER_SIDE_CURSORS` avoids it; "
        "Django's own suite passes, but for `DROP DATABASE` (55006) at its end",
    ),
    Program(
        name="Alembic",
        does="upgrade and downgrade, `autocommit_block`, CREATE INDEX CONCURRENTLY, autogenerate, `check`, "
        "while 19 "
        "other clients work",
        command=_python("migrations.py"),
    ),
    Program(
        name="pg_dump, pg_restore",
        does="20 dumps at once (plain, custom, tar, directory, `--schema-only`, `--inserts`, "
        "`--serializable-deferrable`) of partitions, types, functions, triggers, sequences, large objects, "
        "RLS "
        "policies, a publication; restored by psql, `--single-transaction` and `--jobs=2` while others "
        "read, and "
        "dumped again",
        command=_python("dump.py"),
        databases=("shop", "shop_plain", "shop_custom", "shop_parallel"),
        rds="each SET pins, and pg_dump begins with a dozen",
        pgbouncer="`search_path = ''` stays on the server for the next client (pgbouncer/pgbouncer#976)",
    ),
    Program(
        name="pg_dump -j 2",
        does="the same by two jobs, which read the snapshot of a third connection",
        command=_python("dump.py"),
        environment={"PARALLEL": "1"},
        servers=3,
        settings="`pool_size` of one more than the jobs: each holds a server for the whole dump, and with "
        "fewer it "
        "ends with 53300 after `connection_borrow_timeout`",
    ),
    Program(
        name="node-postgres",
        does="its pool, named and unnamed statements, transactions, savepoints, startup parameters and "
        "`options`, SET, "
        "LISTEN, temporary tables",
        command=_node("crowd-pg.js"),
        pins={"temp_object": "the program makes a temporary table in each client, and drops it again."},
        most_pinned=0.1,
        rds="parameterised queries pinned until November 2023 (brianc/node-postgres#2326), no more; "
        "`options` and "
        "`statement_timeout` at startup are refused; LISTEN and temporary tables pin",
        pgbouncer="named statements since 1.21; no LISTEN; temporary tables are left behind on the server",
    ),
    Program(
        name="Postgres.js",
        does="named statements, pipelines, transactions, savepoints, COPY, cursors, reserved connections, "
        "LISTEN",
        command=_node("crowd-postgres.js"),
        rds="LISTEN and SET pin",
        pgbouncer="named statements since 1.21 (before: porsager/postgres#547); no LISTEN",
    ),
    Program(
        name="psqlODBC",
        does="`UseServerSidePrepare` 1 and 0, `UseDeclareFetch` in and out of transactions, `Protocol` "
        "7.4-0, -1, -2 "
        "(a savepoint for each statement), `ConnSettings`, array parameters, isolation, catalogue functions, "
        "`currval()`, cancelling; by pyodbc",
        command=_odbc,
        rds="pinned from the start by `SET DateStyle` and `SET extra_float_digits` "
        "(postgresql-interfaces/psqlodbc#143)",
        pgbouncer="what `ConnSettings` and SET set stays on the server",
    ),
    Program(
        name="DBD::Pg",
        does="`pg_server_prepare` 1 and 0, `pg_prepare_now`, SQL PREPARE, `pg_async` with cancelling, "
        "savepoints, "
        "COPY, `last_insert_id`, large objects, LISTEN, SET, catalogue functions",
        command=_perl,
        pins={"sql_prepare": "the program uses SQL PREPARE, and DEALLOCATE ends the pin."},
        most_pinned=0.06,
        differs={
            "last id in autocommit": "`last_insert_id()` outside a transaction: 55000 instead of the "
            "number, for it "
            "asks `currval()` (see [differences](differences.md)); inside one, and with RETURNING, as "
            "directly"
        },
        settings="`RETURNING` in place of `last_insert_id()` outside a transaction",
        rds="SQL PREPARE, SET and LISTEN pin",
        pgbouncer="`currval()` answers with whatever was last drawn on that server; SQL PREPARE is left "
        "behind there",
    ),
)
