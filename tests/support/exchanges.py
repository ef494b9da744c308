"""Conversations for the differential test: what a client sends, step by step, and nothing about the answers.

PostgreSQL says what is right. A step is bytes and how far to read behind them before the next step goes out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.support import messages as m


@dataclass(frozen=True, slots=True)
class Step:
    """Send `data`, then read `ready` ReadyForQuery messages, or up to a message of one of the letters
    `until`.
    """

    data: bytes
    ready: int = 1
    until: str = ""
    ends: bool = False  #: the other side closes the connection


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    steps: tuple[Step, ...]


def simple(name: str, *statements: str) -> Exchange:
    """Simple queries, each sent when the one before is answered."""
    return Exchange(name, tuple(Step(m.query(sql)) for sql in statements))


def together(name: str, data: bytes, ready: int = 1) -> Exchange:
    """All bytes at once, answered with `ready` ReadyForQuery messages."""
    return Exchange(name, (Step(data, ready),))


def steps(name: str, *parts: Step) -> Exchange:
    return Exchange(name, parts)


def insert(number: int, statement: str = "") -> bytes:
    """Parse, Bind, Describe and Execute of an insert of one row, without Sync."""
    return m.extended("insert into note values ($1::int, 'x')", str(number).encode(), statement=statement)


SELECT_FIVE = "select id from item order by id limit 5"
COPY_IN = "copy note from stdin"
COPY_OUT = "copy (select id, name from item order by id limit 3) to stdout"
GOOD_ROWS = m.copy_data(b"1\tone\n2\ttw") + m.copy_data(b"o\n3\t\\N\n")
BAD_ROWS = m.copy_data(b"1\tone\nnot a number\tx\n") + m.copy_data(b"3\tthree\n")
FAIL = m.extended("select 1/0")
INT4PL, PG_SLEEP_UNKNOWN = 141, 999999

SIMPLE = (
    simple("select", "select 1, null, '', 'two'"),
    simple("rows", SELECT_FIVE),
    simple("many rows", "select n, repeat('x', 50) from generate_series(1, 3000) n"),
    simple("a long row", "select repeat('long', 60000), 7"),
    simple("unicode", "select 'Grüße, 世界'"),
    simple("empty query", ""),
    simple("blanks and semicolons", " ;; ; "),
    simple("only a comment", "-- nothing", "/* nothing */"),
    simple(
        "several statements",
        "select 1; select 2; insert into note values (1, 'a'); select count(*) from note",
    ),
    simple(
        "several statements, one fails", "insert into note values (1, 'a'); select 1/0; select 2", "select 3"
    ),
    simple(
        "several statements with a transaction", "begin; insert into note values (1, 'a'); commit; select 1/0"
    ),
    simple("syntax error", "selec 1", "select 1"),
    simple("error with detail and hint", "select nosuch from item", "insert into item values (1, 'again')"),
    simple("transaction", "begin", "insert into note values (1, 'a')", "commit"),
    simple("rollback", "begin", "insert into note values (1, 'a')", "rollback"),
    simple("failed transaction", "begin", "select 1/0", "select 1", "", "commit", "select 1"),
    simple(
        "savepoint",
        "begin",
        "savepoint a",
        "select 1/0",
        "rollback to a",
        "insert into note values (2,'b')",
        "end",
    ),
    simple("commit and chain", "begin", "commit and chain", "insert into note values (1, 'a')", "rollback"),
    simple("two-phase commit is off", "begin", "prepare transaction 'x'", "rollback"),
    simple("warnings", "commit", "rollback", "begin", "begin", "end"),
    simple("notice", "select shout()", "do $$ begin raise warning 'w'; end $$"),
    simple("set and show", "set work_mem = '7MB'", "show work_mem", "reset work_mem", "show work_mem"),
    simple(
        "reported settings", "set application_name = 'diff'", "set timezone = 'Asia/Tokyo'", "reset timezone"
    ),
    simple("set local", "begin", "set local work_mem = '9MB'", "show work_mem", "commit", "show work_mem"),
    simple("set rolled back", "begin", "set work_mem = '9MB'", "rollback", "show work_mem"),
    simple("a failing set", "set work_mem = 'nonsense'", "set nosuch = 1", "select 1"),
    simple("reset all", "set work_mem = '7MB'", "reset all", "show work_mem"),
    simple("discard all", "set work_mem = '7MB'", "discard all", "show work_mem"),
    simple("role", "set role other", "select current_user", "reset role", "select current_user"),
    simple("prepare", "prepare p as select $1::int + 1", "execute p(2)", "deallocate p", "execute p(2)"),
    simple("temporary table", "create temp table t as select 1 as a", "select a + 1 from t", "drop table t"),
    simple(
        "cursor", "begin", "declare c cursor for " + SELECT_FIVE, "fetch 2 from c", "fetch 9 from c", "end"
    ),
    simple("cursor with hold", "declare h cursor with hold for " + SELECT_FIVE, "fetch 2 from h", "close h"),
    simple("listen", "listen here", "notify here, 'me'", "unlisten *", "notify here, 'nobody'"),
    simple("advisory lock", "select pg_advisory_lock(7)", "select pg_advisory_unlock(7)"),
    together("pipelined queries", m.query("select 1") + m.query("select 2") + m.query("select 3"), 3),
    together(
        "pipelined queries, one fails", m.query("select 1") + m.query("select 1/0") + m.query("select 3"), 3
    ),
    together(
        "pipelined transaction",
        m.query("begin")
        + m.query("insert into note values (5, 'e')")
        + m.query("commit")
        + m.query("select 1"),
        4,
    ),
    together("a large query", m.query("select length('" + "y" * 300_000 + "')")),
)

EXTENDED = (
    together("extended select", m.extended(SELECT_FIVE) + m.SYNC),
    together("parameters", m.extended("select $1::int + $2::int, $3::text", b"1", b"2", None) + m.SYNC),
    together("a large bind", m.extended("select length($1::text)", b"z" * 400_000) + m.SYNC),
    together(
        "binary",
        m.parse("select $1::int4 * 2, 'x'")
        + m.bind([struct.pack("!i", 21)], formats=[1], result_formats=[1])
        + m.execute()
        + m.SYNC,
    ),
    together(
        "describe statement",
        m.parse("select id, name from item where id = $1") + m.describe_statement() + m.SYNC,
    ),
    together("describe without rows", m.extended("insert into note values (1, 'a')") + m.SYNC),
    together("empty extended query", m.extended("") + m.SYNC),
    together("only sync", m.SYNC + m.SYNC, 2),
    together("flush and sync", m.FLUSH + m.SYNC),
    steps(
        "unnamed statement after its sync",
        Step(m.parse("select $1::int + 1") + m.describe_statement() + m.SYNC),
        Step(m.bind([b"4"]) + m.execute() + m.SYNC),
    ),
    steps(
        "named statement",
        Step(m.parse("select $1::int + 1", "s1") + m.describe_statement("s1") + m.SYNC),
        Step(m.bind([b"4"], statement="s1") + m.execute() + m.SYNC),
        Step(m.query("select 'between'")),
        Step(m.bind([b"5"], statement="s1") + m.execute() + m.SYNC),
        Step(m.close_statement("s1") + m.SYNC),
        Step(m.bind([b"6"], statement="s1") + m.execute() + m.SYNC),
    ),
    steps(
        "named statement given twice",
        Step(m.parse("select 1", "s2") + m.SYNC),
        Step(m.parse("select 2", "s2") + m.SYNC),
        Step(m.bind(statement="s2") + m.execute() + m.SYNC),
    ),
    together(
        "failed named parse leaves no name",
        m.parse("selec", "s3") + m.SYNC + m.bind(statement="s3") + m.SYNC,
        2,
    ),
    together("unknown statement", m.bind(statement="nosuch") + m.execute() + m.SYNC),
    together("unknown portal", m.execute("nosuch") + m.SYNC),
    together("close what is not there", m.close_statement("nosuch") + m.close_portal("nosuch") + m.SYNC),
    steps(
        "portal in pieces",
        Step(m.query("begin")),
        Step(m.parse(SELECT_FIVE) + m.bind(portal="p") + m.execute("p", 2) + m.SYNC),
        Step(m.execute("p", 2) + m.SYNC),
        Step(m.execute("p", 2) + m.close_portal("p") + m.SYNC),
        Step(m.query("commit")),
    ),
    steps(
        "portal across flush",
        Step(m.parse(SELECT_FIVE) + m.bind(portal="p") + m.execute("p", 2) + m.FLUSH, until="s"),
        Step(m.execute("p", 2) + m.FLUSH, until="s"),
        Step(m.execute("p", 0) + m.SYNC),
    ),
    steps(
        "flush without sync",
        Step(insert(1) + m.FLUSH, until="C"),
        Step(insert(2) + m.FLUSH, until="C"),
        Step(m.SYNC),
    ),
    steps(
        "flush, then an error",
        Step(insert(1) + m.FLUSH, until="C"),
        Step(FAIL + m.FLUSH, until="E"),
        Step(m.SYNC),
    ),
    steps("error is not held back", Step(m.parse("selec") + m.FLUSH, until="E"), Step(insert(1) + m.SYNC)),
    together("error in parse", m.extended("selec") + insert(1) + m.SYNC),
    together("error in bind", m.parse("select $1::int") + m.bind([b"x"]) + m.execute() + m.SYNC),
    together("error in execute", insert(1) + FAIL + insert(2) + m.SYNC),
    together(
        "three batches, the second fails",
        insert(1) + m.SYNC + FAIL + insert(2) + m.SYNC + insert(3) + m.SYNC,
        3,
    ),
    together(
        "batch with a transaction",
        m.extended("begin") + insert(1) + m.extended("commit") + insert(2) + FAIL + m.SYNC,
    ),
    together(
        "batch that leaves a transaction", m.extended("begin") + insert(1) + m.SYNC + m.query("rollback"), 2
    ),
    together(
        "batch in a failed transaction",
        m.query("begin") + FAIL + m.SYNC + insert(1) + m.SYNC + m.query("end"),
        4,
    ),
    together("query inside a batch", insert(1) + m.query("select 1") + insert(2) + m.SYNC, 2),
    together("query inside a failed batch", insert(1) + FAIL + m.query("select 1") + insert(2) + m.SYNC),
    together("query inside a batch fails", insert(1) + m.query("select 1/0") + insert(2) + m.SYNC, 2),
    together("function call", m.function_call(INT4PL, b"40", b"2")),
    together("function call fails", m.function_call(PG_SLEEP_UNKNOWN), 1),
    together("function call inside a batch", insert(1) + m.function_call(INT4PL, b"1", b"2") + m.SYNC, 2),
    together("function call in a failed batch", FAIL + m.function_call(INT4PL, b"1", b"2") + m.SYNC),
    together("notice in a batch", m.extended("select shout()") + insert(1) + m.SYNC),
    together(
        "a long pipeline",
        b"".join((FAIL if n % 7 == 6 else insert(n)) + m.SYNC for n in range(40)),
        40,
    ),
)

COPY = (
    simple("copy out", COPY_OUT),
    simple("copy out twice", COPY_OUT + ";" + COPY_OUT),
    simple(
        "copy out fails in the middle", "copy (select 1 / (50 - n) from generate_series(1, 99) n) to stdout"
    ),
    together("copy out, extended", m.extended(COPY_OUT) + m.SYNC),
    steps("copy in", Step(m.query(COPY_IN), until="G"), Step(GOOD_ROWS + m.COPY_DONE)),
    steps("copy in fails", Step(m.query(COPY_IN), until="G"), Step(BAD_ROWS + m.COPY_DONE)),
    steps("copy given up", Step(m.query(COPY_IN), until="G"), Step(GOOD_ROWS + m.copy_fail("no more"))),
    steps(
        "late copy data",
        Step(m.query(COPY_IN), until="G"),
        Step(BAD_ROWS, until="Z"),
        Step(GOOD_ROWS + m.COPY_DONE + m.query("select 'after'")),
    ),
    steps(
        "copy in, twice in one query",
        Step(m.query(f"{COPY_IN}; {COPY_IN}"), until="G"),
        Step(GOOD_ROWS + m.COPY_DONE, until="G"),
        Step(m.copy_data(b"9\tnine\n") + m.COPY_DONE),
    ),
    together("copy in without waiting", m.query(COPY_IN) + GOOD_ROWS + m.COPY_DONE + m.query("select 1"), 2),
    together(
        "failing copy in without waiting", m.query(COPY_IN) + BAD_ROWS + m.COPY_DONE + m.query("select 1"), 2
    ),
    together("copy in, extended", m.extended(COPY_IN) + m.SYNC + GOOD_ROWS + m.COPY_DONE + m.SYNC),
    together("copy in fails, extended", m.extended(COPY_IN) + BAD_ROWS + m.COPY_DONE + m.SYNC),
    together("copy given up, extended", m.extended(COPY_IN) + GOOD_ROWS + m.copy_fail("enough") + m.SYNC),
    together(
        "copy that never starts, extended",
        m.extended("copy nosuch from stdin") + m.SYNC + GOOD_ROWS + m.COPY_DONE + m.SYNC,
        2,
    ),
    together(
        "copy and an insert in a batch", m.extended(COPY_IN) + GOOD_ROWS + m.COPY_DONE + insert(9) + m.SYNC
    ),
    steps(
        "query in the middle of a copy",
        Step(m.query(COPY_IN), until="G"),
        Step(GOOD_ROWS + m.query("select 1"), ends=True),
    ),
    steps(
        "copy in a transaction",
        Step(m.query("begin")),
        Step(m.query(COPY_IN), until="G"),
        Step(GOOD_ROWS + m.COPY_DONE),
        Step(m.query("select 1/0")),
        Step(m.query("commit")),
    ),
    steps(
        "flush and sync in a copy",
        Step(m.query(COPY_IN), until="G"),
        Step(m.FLUSH + m.SYNC + GOOD_ROWS + m.COPY_DONE),
    ),
)

ALL = SIMPLE + EXTENDED + COPY
