"""20 threads with psqlODBC connections, with its defaults or one of its usual options."""

import datetime
import os
import threading
import uuid
from decimal import Decimal

import pyodbc
from crowd import tell, threads

pyodbc.pooling = False
ADDRESS = (
    f"DRIVER={os.environ['ODBC_DRIVER']};SERVER={os.environ['PGHOST']};PORT={os.environ['PGPORT']};"
    f"DATABASE={os.environ['PGDATABASE']};UID={os.environ['PGUSER']};PWD={os.environ['PGPASSWORD']};"
)
# Client n takes the one at n modulo their number. Protocol 7.4-2, the default: a savepoint each.
VARIANTS = (
    "",
    "UseServerSidePrepare=1;Protocol=7.4-2",
    "UseDeclareFetch=1;Fetch=50",
    "UseServerSidePrepare=0",
    "Protocol=7.4-0",
    "UseDeclareFetch=1;Fetch=50;UseServerSidePrepare=1;Protocol=7.4-1",
    "ConnSettings=set search_path to tenant_a%2c public;ByteaAsLongVarBinary=0",
)


def state(work, *values):
    """The SQLSTATE that a call fails with."""
    try:
        work(*values)
    except pyodbc.Error as error:
        return error.args[0]
    return "no error"


def rows(found):
    return [list(row) for row in found]


def prepared(c, n):
    cursor = c.cursor()
    seen = []
    for turn in range(8):
        cursor.execute("select cast(? as int) + ?, cast(? as text)", n, turn, f"text {turn}")
        seen.append(list(cursor.fetchone()))
        if turn % 3 == 0:
            c.commit()
    c.commit()
    return seen


def types(c, n):
    cursor = c.cursor()
    columns = "a int8, b numeric, c float8, d bool, e text, f bytea, g date, h timestamp, i uuid"
    cursor.execute(f"create table typed{n} ({columns})")
    insert = f"insert into typed{n} values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    moment = datetime.datetime(2001, 2, 3, 4, 5, 6, 789000)
    values = (
        2**53 + 1,
        Decimal("1.250"),
        1.5,
        True,
        "größe",
        b"\0\xff",
        moment.date(),
        moment,
        str(uuid.UUID(int=n)),
    )
    cursor.execute(insert, *values)
    cursor.execute(insert, *[None] * 9)
    found = [[str(value) for value in row] for row in cursor.execute(f"select * from typed{n} order by a")]
    c.commit()
    return found


def many(c, n):
    cursor = c.cursor()
    for fast in (False, True):
        cursor.fast_executemany = fast
        cursor.executemany(
            "insert into line values (?, ?, ?)", [(n, 200 * fast + i, f"line {i}") for i in range(200)]
        )
        c.commit()
    cursor.executemany("insert into line values (?, ?, ?)", [(n, 1000, "undone")])
    c.rollback()
    return rows(cursor.execute("select count(*), sum(n) from line where client = ?", n))


def fetch(c, n):
    """With UseDeclareFetch, a cursor of 50 rows at a time: in a transaction, and in autocommit."""
    seen = []
    cursor = c.cursor()
    for autocommit in (False, True):
        c.autocommit = autocommit
        found = cursor.execute("select n from generate_series(1, 500) n where n > ?", n).fetchall()
        seen.append([len(found), sum(row[0] for row in found)])
        other = c.cursor()
        other.execute("select n from generate_series(1, 500) n")
        seen.append([row[0] for row in other.fetchmany(3)])
        seen.append(list(cursor.execute("select 'beside it'").fetchone()))
        seen.append([row[0] for row in other.fetchmany(60)][-1])
        other.close()
        if not autocommit:
            c.commit()
    c.autocommit = False
    return seen


def failing(c, n):
    """Where each statement has its savepoint, a transaction survives its errors."""
    cursor = c.cursor()
    seen = []
    cursor.execute("insert into line values (?, 2000, 'first')", n)
    seen.append(state(cursor.execute, "insert into line values (?, 5, 'twice')", n))
    seen.append(state(cursor.execute, "select 1/0"))
    seen.append(state(cursor.execute, "insert into line values (?, 2001, 'second')", n))
    seen.append(state(c.commit))
    c.rollback()
    return [
        seen,
        rows(cursor.execute("select n, body from line where client = ? and n >= 2000 order by n", n)),
    ]


def savepoints(c, n):
    cursor = c.cursor()
    cursor.execute("insert into line values (?, 3000, 'kept')", n)
    cursor.execute("savepoint mine")
    cursor.execute("insert into line values (?, 3001, 'undone')", n)
    cursor.execute("rollback to mine")
    cursor.execute("release mine")
    c.commit()
    return rows(cursor.execute("select n, body from line where client = ? and n >= 3000", n))


def isolation(c, n):
    seen = []
    cursor = c.cursor()
    for level in (pyodbc.SQL_TXN_SERIALIZABLE, pyodbc.SQL_TXN_READ_COMMITTED):
        c.commit()
        c.set_attr(pyodbc.SQL_ATTR_TXN_ISOLATION, level)
        seen += rows(cursor.execute("show transaction_isolation"))
        c.commit()
        seen += rows(cursor.execute("show transaction_isolation"))
    c.commit()
    return seen


def catalogue(c, n):
    cursor = c.cursor()
    found = [
        [row.column_name for row in cursor.columns(table="line", schema="public")],
        [row.column_name for row in cursor.primaryKeys("part", schema="public")],
        [row.table_name for row in cursor.tables(table="line")],
        c.getinfo(pyodbc.SQL_DBMS_NAME),
    ]
    c.commit()
    return found


def settings(c, n):
    cursor = c.cursor()
    seen = [state(cursor.execute, "select name from whose")]
    c.rollback()
    cursor.execute("set work_mem to '9MB'")
    c.commit()
    names = ("work_mem", "extra_float_digits", "datestyle")
    for _ in range(3):
        for name in names:
            seen += rows(cursor.execute(f"show {name}"))
        c.commit()
    cursor.execute("reset work_mem")
    c.commit()
    return seen + rows(cursor.execute("show work_mem"))


def identity(c, n):
    """What psqlODBC makes of SELECT @@IDENTITY: currval(), here in the transaction that drew."""
    cursor = c.cursor()
    cursor.execute("insert into part (client, body) values (?, 'mine')", n)
    (key,) = cursor.execute("select currval('part_id_seq')").fetchone()
    found = rows(cursor.execute("select client, body from part where id = ?", key))
    c.commit()
    return found


def call(c, n):
    cursor = c.cursor()
    seen = rows(cursor.execute("{call twice(?)}", n)) + rows(cursor.execute("select 1; select 2"))
    while cursor.nextset():
        seen += rows(cursor)
    c.commit()
    return seen


def cancel(c, n):
    """Asked for again and again until the statement has ended: one that comes early means nothing."""
    if n % len(VARIANTS):
        return "not tried"
    cursor, ended = c.cursor(), threading.Event()

    def asking():
        while not ended.wait(0.2):
            cursor.cancel()

    thread = threading.Thread(target=asking)
    thread.start()
    said = state(cursor.execute, "select pg_sleep(60)")
    ended.set()
    thread.join()
    c.rollback()
    return [said, rows(c.cursor().execute("select 'after'"))]


STEPS = (
    prepared,
    types,
    many,
    fetch,
    failing,
    savepoints,
    isolation,
    catalogue,
    settings,
    identity,
    call,
    cancel,
)


def client(n):
    variant = VARIANTS[n % len(VARIANTS)]
    c = pyodbc.connect(ADDRESS + variant)
    for step in STEPS:
        try:
            tell(n, step.__name__, step(c, n))
        except pyodbc.Error as error:
            raise RuntimeError(f"client {n} ({variant}), {step.__name__}") from error
        c.rollback()
    c.close()


def main():
    c = pyodbc.connect(ADDRESS, autocommit=True)
    tell(None, "versions", {"psqlODBC": c.getinfo(pyodbc.SQL_DRIVER_VER), "pyodbc": pyodbc.version})
    cursor = c.cursor()
    cursor.execute("create table line (client int, n int, body text, unique (client, n))")
    cursor.execute("create table part (id serial primary key, client int, body text)")
    cursor.execute("create schema tenant_a; create table tenant_a.whose as select 'of a' as name")
    cursor.execute("create function twice(n int) returns int language sql as 'select 2 * n'")
    c.close()
    threads(client)


main()
