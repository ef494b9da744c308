"""Named prepared statements in transaction mode: the same answers as on a direct connection, whichever server
the client has from exchange to exchange, and one Parse per server instead of one per client."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.support import messages as m
from tests.support.cluster import Direct
from tests.support.proxy import ProxyProcess
from tests.support.sessions import answers, straight
from tests.support.stage import Stage

INT4, TEXT = 23, 25


def run(name: str, *values: bytes | None) -> bytes:
    return m.bind(values, statement=name) + m.describe_portal() + m.execute() + m.SYNC


def prepare(sql: str, name: str, *types: int) -> bytes:
    return m.parse(sql, name, types) + m.describe_statement(name) + m.SYNC


LONG = "n" * 63

#: Exchanges of one client; each is one write, and its answer ends with as many ReadyForQuery as it has Syncs.
PROGRAMS: dict[str, list[bytes]] = {
    "use": [
        prepare("select $1::int + 1", "s"),
        run("s", b"1"),
        run("s", b"2"),
        m.describe_statement("s") + m.SYNC,
    ],
    "use at once": [m.parse("select 'x'", "s") + run("s"), run("s")],
    "inferred types": [
        prepare("select $1 || 'x', $2 + 1", "s", 0, INT4),
        run("s", b"a", b"1"),
        m.describe_statement("s") + m.SYNC,
    ],
    "wrong parameters": [prepare("select $1::int", "s"), run("s"), run("s", b"x"), run("s", b"1")],
    "unknown": [run("nope"), m.describe_statement("nope") + m.SYNC, m.close_statement("nope") + m.SYNC],
    "unknown aborts": [
        m.extended("insert into note values (1, 'one')") + run("nope"),
        m.query("select count(*) from note"),
    ],
    "duplicate": [
        prepare("select 1", "s"),
        prepare("select 2", "s"),
        run("s"),
        prepare("select 3", "t"),
        run("t"),
    ],
    "duplicate aborts": [
        prepare("select 1", "s"),
        m.extended("insert into note values (1, 'one')") + m.parse("select 1", "s") + m.SYNC,
        m.query("select count(*) from note"),
        run("s"),
    ],
    "duplicate in one batch": [m.parse("select 1", "s") + m.parse("select 1", "s") + m.SYNC, run("s")],
    "same text twice": [m.parse("select 1", "s") + m.parse("select 1", "t") + run("s"), run("t"), run("s")],
    "failed parse": [prepare("select nonsense", "s"), run("s"), prepare("select 1", "s"), run("s")],
    "failed pipeline": [
        m.parse("select nonsense", "s") + m.SYNC + run("s") + m.parse("select 2", "s") + m.SYNC + run("s"),
        run("s"),
    ],
    "skipped parse": [
        m.extended("select 1/0") + m.parse("select 1", "s") + m.SYNC,
        run("s"),
        m.extended("select 1/0") + m.parse("select 1", "s") + m.SYNC + run("s"),
    ],
    "skipped parse of what the server has": [
        prepare("select 'shared'", "a"),
        run("a"),
        m.extended("select 1/0") + m.parse("select 'shared'", "b") + m.SYNC + run("b"),
        run("b"),
        run("a"),
    ],
    "close": [prepare("select 1", "s"), m.close_statement("s") + m.SYNC, run("s")],
    "close and parse": [
        prepare("select 1", "s"),
        m.close_statement("s") + m.parse("select 2", "s") + m.SYNC,
        run("s"),
    ],
    "close in a pipeline": [
        prepare("select 1", "s"),
        m.close_statement("s") + m.SYNC + run("s") + m.parse("select 3", "s") + m.SYNC + run("s"),
        run("s"),
    ],
    "skipped close": [
        prepare("select 1", "s"),
        m.extended("select 1/0") + m.close_statement("s") + m.SYNC + run("s"),
        run("s"),
    ],
    "pipelined batches": [
        b"".join(m.parse(f"select {n}", f"s{n}") + run(f"s{n}") for n in range(5)),
        b"".join(run(f"s{n}") for n in range(5)),
    ],
    "many in one batch": [
        b"".join(
            m.parse(f"select {n}", f"s{n}") + m.bind((), statement=f"s{n}") + m.execute() for n in range(5)
        )
        + m.SYNC,
        b"".join(m.bind((), statement=f"s{n}") + m.execute() for n in range(5)) + m.SYNC,
    ],
    "in a transaction": [
        m.query("begin"),
        prepare("insert into note values ($1::int, 'x')", "s"),
        run("s", b"1"),
        run("s", b"2"),
        m.query("rollback"),
        run("s", b"3"),
        m.query("select id from note"),
    ],
    "in a failed transaction": [
        m.query("begin"),
        m.query("select 1/0"),
        prepare("select 1", "s"),
        m.parse("rollback", "r") + m.SYNC,
        m.bind((), statement="r") + m.execute() + m.SYNC,
        run("s"),
        m.bind((), statement="r") + m.execute() + m.SYNC,
    ],
    "used in a failed transaction": [
        prepare("select 1", "s"),
        m.query("begin"),
        m.query("select 1/0"),
        run("s"),
        m.describe_statement("s") + m.SYNC,
        m.close_statement("s") + m.SYNC,
        m.query("rollback"),
        run("s"),
    ],
    "deallocate": [prepare("select 1", "s"), m.query("deallocate s"), run("s"), m.query("deallocate s")],
    "deallocate quoted": [prepare("select 1", 'S"'), m.query('deallocate "S"""'), run('S"')],
    "deallocate a name that is cut": [
        prepare("select 1", LONG[1:] + "é"),
        m.query(f'deallocate "{LONG[1:]}é"'),
        run(LONG[1:] + "é"),
        m.query(f'execute "{LONG[1:]}é"'),
        run(LONG[1:] + "é"),
    ],
    "deallocate folds": [prepare("select 1", "S"), m.query("deallocate S"), run("S")],
    "deallocate all": [
        prepare("select 1", "s"),
        prepare("select 2", "t"),
        m.query("deallocate all"),
        run("s"),
        run("t"),
    ],
    "deallocate all and again": [
        prepare("select 1", "s"),
        m.query("deallocate all"),
        prepare("select 1", "s"),
        run("s"),
    ],
    "discard all": [
        prepare("select 1", "s"),
        m.query("discard all"),
        run("s"),
        prepare("select 1", "s"),
        run("s"),
    ],
    "discard plans": [prepare("select 1", "s"), m.query("discard plans"), run("s")],
    "deallocate in a batch": [
        prepare("select 1", "s"),
        m.extended("deallocate s") + m.SYNC,
        run("s"),
        m.extended("deallocate s") + m.SYNC,
    ],
    "deallocate all in a batch": [prepare("select 1", "s"), m.extended("deallocate all") + m.SYNC, run("s")],
    "deallocate all in a batch that goes on": [
        prepare("select 1", "s"),
        m.extended("deallocate all") + m.parse("select 2", "s") + run("s"),
        run("s"),
    ],
    "deallocate in a pipeline": [
        prepare("select 1", "s"),
        m.query("deallocate s") + run("s"),
        prepare("select 1", "s"),
        run("s") + m.query("deallocate s") + run("s"),
    ],
    "deallocate that fails": [
        prepare("select 1", "s"),
        m.query("begin"),
        m.query("select 1/0"),
        m.query("deallocate s"),
        m.query("rollback"),
        run("s"),
        m.query("deallocate s"),
        run("s"),
    ],
    "a prepared deallocate": [
        prepare("select 1", "s"),
        prepare("deallocate s", "d"),
        run("d"),
        run("s"),
        run("d"),
        prepare("select 1", "s"),
        run("d"),
        run("s"),
    ],
    "execute": [
        prepare("select $1::int + 1", "s"),
        m.query("execute s(1)"),
        run("s", b"2"),
        m.query("execute s(3)"),
    ],
    "explain execute": [
        prepare("select $1::int + 1", "s"),
        m.query("explain (costs off) execute s(1)"),
        m.extended("explain (costs off) execute s(1)") + run("s", b"2"),
        prepare("explain (costs off) execute s(3)", "e"),
        run("e"),
        run("s", b"2"),
    ],
    "create as execute": [
        prepare("select $1::int as a", "s"),
        m.query("create temp table made as execute s(1); table made"),
        m.query("drop table made"),
        run("s", b"2"),
    ],
    "execute among others": [
        prepare("select 1", "s"),
        m.query("comment on table note is 'x'; execute s"),
        m.query("do 'begin end'; execute s"),
    ],
    "a prepared execute": [
        prepare("select 1 as a", "s"),
        prepare("execute s", "e"),
        run("e"),
        m.parse("execute s", "f") + m.describe_statement("f") + run("f") + run("s"),
        run("e"),
    ],
    "execute by a statement of its own": [
        prepare("select $1::int + 1", "s"),
        prepare("execute s(1)", "e"),
        run("e"),
        run("e"),
        run("s", b"2"),
        m.parse("execute s(3)", "f") + m.describe_statement("f") + run("f"),
        m.query("deallocate s"),
        run("e"),
    ],
    "explain execute by a statement of its own": [
        prepare("select $1::int + 1", "s"),
        m.query("explain (costs off) execute s(1)"),
        prepare("explain (costs off) execute s(1)", "e"),
        run("e"),
        run("s", b"2"),
    ],
    "prepare of a name in use": [prepare("select 1", "s"), m.query("prepare s as select 2"), run("s")],
    "prepare and bind": [
        m.query("prepare s as select 2"),
        run("s"),
        m.parse("select 3", "s") + m.SYNC,
        run("s"),
    ],
    "names of 63 bytes": [prepare("select 1", LONG), run(LONG), run(LONG[1:])],
    "names beyond 63 bytes": [
        prepare("select 1", LONG + "a"),
        run(LONG + "b"),
        prepare("select 2", LONG + "c"),
        run("x" * 3000),
        prepare("select 4", "y" * 3000),
        run("y" * 3000),
    ],
    "names of ours": [
        prepare("select 'shared'", "s"),
        run("_poolproxy_1"),
        run("_poolproxy_none"),
        run("_poolproxy_changed"),
    ],
    "prepared under a name of ours": [prepare("select 1", "_poolproxy_1"), run("_poolproxy_1")],
    "names with quotes": [prepare("select 1", 'a"b'), run('a"c'), run('a"b')],
    "portals": [
        m.query("begin"),
        m.parse("select generate_series(1, 5)", "s")
        + m.bind((), portal="p", statement="s")
        + m.execute("p", 2)
        + m.SYNC,
        m.execute("p", 2) + m.close_portal("p") + m.SYNC,
        m.query("commit"),
    ],
    "empty": [prepare("", "s"), run("s")],
    "flush": [m.parse("select 1", "s") + m.describe_statement("s") + m.FLUSH + m.SYNC, run("s")],
    "a query in place of a sync": [
        m.parse("select 1", "s") + m.describe_statement("s") + m.FLUSH + m.query("select 2"),
        run("s"),
        m.parse("select 3", "t") + m.query("execute s"),
        m.parse("select 4", "u") + m.query("deallocate t"),
        m.parse("set work_mem = '7MB'") + m.query("show work_mem"),
        run("s") + m.parse("select 6", "w") + m.query("set work_mem = '7MB'"),
        m.query("show work_mem") + m.query("reset work_mem"),
        run("w"),
        run("t"),
    ],
    "large values": [
        prepare("select length($1::text)", "s"),
        run("s", b"x" * 400_000),
        run("s", b"x" * 1_000_000),
    ],
    "large text, unnamed": [
        m.parse("select 1 -- " + "x" * 400_000) + m.SYNC,
        m.describe_statement() + m.SYNC,
        run(""),
        m.parse("select 2 -- " + "x" * 400_000) + run(""),
    ],
    "large text": [m.parse("select 1 -- " + "x" * 400_000, "s") + m.SYNC, run("s"), run("s")],
    "settings": [
        prepare("select '1.2.2003'::date", "s"),
        m.query("set datestyle = 'German'"),
        prepare("select '1.2.2003'::date", "t"),
        run("s"),
        run("t"),
        m.query("reset datestyle"),
        run("s"),
        run("t"),
    ],
    "set local": [
        m.query("begin"),
        m.query("set local search_path = tenant_b"),
        prepare("select name from whose", "s"),
        run("s"),
        m.query("commit"),
    ],
    "a SET": [
        prepare("set work_mem = '7MB'", "s"),
        run("s"),
        m.query("show work_mem"),
        m.query("reset work_mem"),
    ],
    "a lock": [
        prepare("select pg_try_advisory_lock(4711)", "s"),
        run("s"),
        run("s"),
        m.query("select pg_advisory_unlock_all()"),
    ],
    "ddl": [
        m.query("create table thing (a int)"),
        prepare("select * from thing", "s"),
        run("s"),
        m.query("alter table thing add b int"),
        run("s"),
        prepare("select * from thing", "t"),
        run("t"),
        m.query("drop table thing"),
        run("t"),
    ],
}


def as_it_should_be(stage: Stage, name: str) -> list[list[str]]:
    stage.direct.rows("truncate note")
    with straight(stage) as wire:
        should = list(answers(wire, PROGRAMS[name]))
    stage.direct.rows("truncate note")
    return should


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_on_a_direct_connection_on_one_server(stage: Stage, name: str) -> None:
    should = as_it_should_be(stage, name)
    proxy = stage.proxy(pool_size=1)
    for _ in range(2):  # the second time the server may have it all
        stage.direct.rows("truncate note")
        with proxy.login() as client:
            assert list(answers(client, PROGRAMS[name])) == should


#: Whose last run of a statement with EXECUTE may find a server that lacks it, where what that names is gone:
#: a server that is being reset is not free, so that is chance. docs/differences.md has the 0A000.
ELSEWHERE = frozenset({"execute by a statement of its own"})


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_on_a_direct_connection_on_changing_servers(stage: Stage, name: str) -> None:
    """Somebody else takes and returns the server that was used last, so that the client finds another one."""
    should = as_it_should_be(stage, name)
    # While the catalogue is not known each server is reset on its way, and which one is free next is chance:
    # no change that an earlier program has made, and no look in the midst of this one.
    proxy = stage.fresh(pool_size=2, catalogue_poll_interval=3600)
    with proxy.login() as first:
        first.query("select 1")
    proxy.wait_log(lambda line: line["event"] == "catalogue read")
    for start in ("begin", "commit"):
        stage.direct.rows("truncate note")
        with proxy.login() as client, proxy.login() as other:
            other.query(start)
            found = []
            for answer in answers(client, PROGRAMS[name]):
                found.append(answer)
                other.query("begin" if other.status == "I" else "commit")
            if found[:-1] == should[:-1] and name in ELSEWHERE and found[-1] != should[-1]:
                assert "'C': '0A000'" in found[-1][0]
                continue
            assert found == should


CODE = [
    "do $$ begin execute 'deallocate all'; end $$",
    "do $$ begin deallocate all; end $$",
    "do $$ begin deallocate _poolproxy_1; end $$",
    "deallocate _poolproxy_1",
]


@pytest.mark.parametrize("text", CODE)
def test_who_deallocates_in_code_does_so_for_nobody_else(stage: Stage, text: str) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login() as client, proxy.login() as other:
        for n in range(2):
            assert m.errors(client.ask(prepare(f"select {n}", f"s{n}"))) == []
        assert m.errors(other.ask(prepare("select 'other'", "s1"))) == []
        other.query(text)
        assert m.rows(client.ask(run("s0") + run("s1"))) == [[b"0"]]
        assert m.rows(client.read_ready()) == [[b"1"]]
        if "deallocate all" in text:
            assert m.errors(other.ask(run("s1"))) == ["26000"]


def test_clients_share_what_servers_have_parsed(stage: Stage) -> None:
    """A Parse per server and text, not per client; and no pins."""
    proxy = stage.fresh(pool_size=4)
    texts = [f"select $1::int + {n}" for n in range(10)]
    for _ in range(5):
        clients = [proxy.login() for _ in range(10)]
        for n, text in enumerate(texts):
            for client in clients:
                assert "E" not in m.letters(client.ask(prepare(text, f"mine{n}")))
            for client in clients:
                assert m.rows(client.ask(run(f"mine{n}", b"1"))) == [[b"%d" % (n + 1)]]
        for client in clients:
            client.close()
    assert proxy.metrics().value("poolproxy_parses_total") <= 4 * len(texts)
    assert proxy.metrics().by("poolproxy_pins_total", "reason") == {}


async def test_a_storm_of_equal_clients_is_parsed_once_per_server(stage: Stage) -> None:
    """asyncpg, which names all its statements; 1,000 clients on 20 servers make 200 Parse messages, too."""
    proxy = stage.fresh(pool_size=10)
    few = asyncio.Semaphore(50)

    async def one(n: int) -> None:
        async with few:
            connection = await asyncpg.connect(proxy.url())
            for k in range(10):
                assert await connection.fetchval(f"select $1::int + {k}", n) == n + k
            await connection.close()

    await asyncio.gather(*(one(n) for n in range(200)))
    assert proxy.metrics().value("poolproxy_parses_total") <= 100
    assert proxy.metrics().by("poolproxy_pins_total", "reason") == {}


def test_servers_keep_so_many_and_no_more(stage: Stage, direct: Direct) -> None:
    proxy = stage.fresh(pool_size=1, max_prepared_statements=10)
    with proxy.login() as client:
        for n in range(100):
            client.ask(prepare(f"select {n}", f"s{n}"))
        assert client.value("select count(*) <= 11 from pg_prepared_statements") == "t"
        for n in range(100):
            assert m.rows(client.ask(run(f"s{n}"))) == [[b"%d" % n]]
        assert client.value("select count(*) <= 11 from pg_prepared_statements") == "t"


def test_a_result_of_another_kind_is_refused_as_postgresql_does(stage: Stage, direct: Direct) -> None:
    """The driver knows the columns it was told of (rule 5): another server's, of a changed table, would be
    read wrongly. Behind it nothing of the batch is run."""
    proxy = stage.proxy(pool_size=2)
    direct.rows("create table changing (a int)")
    direct.rows("grant all on changing to public")
    try:
        with proxy.login() as client, proxy.login() as other:
            client.ask(prepare("select * from changing", "s"))
            first = client.value("select pg_backend_pid()")
            direct.rows("alter table changing alter a type bigint")
            other.query("begin")
            assert client.value("select pg_backend_pid()") != first
            said = client.ask(m.extended("insert into note values (1, 'x')") + run("s"))
            assert m.errors(said) == ["0A000"]
            assert m.letters(said)[-2:] == "EZ"
            assert said[-2].fields["R"] == "RevalidateCachedQuery"  # what pgjdbc knows it by
            assert client.value("select count(*) from note where id = 1") == "0"
            assert m.errors(client.ask(prepare("select * from changing", "t"))) == []
            assert m.errors(client.ask(run("t"))) == []
            other.query("commit")
            assert m.errors(client.ask(run("t"))) == []
    finally:
        direct.rows("drop table changing")


def test_another_clients_names_are_not_known(stage: Stage) -> None:
    proxy = stage.proxy(pool_size=1)
    with proxy.login() as client, proxy.login() as other:
        client.ask(prepare("select 'secret'", "s"))
        assert m.errors(other.ask(run("s"))) == ["26000"]
        assert m.errors(other.ask(m.describe_statement("s") + m.SYNC)) == ["26000"]
        other.ask(prepare("select 'other'", "s"))
        assert m.rows(client.ask(run("s"))) == [[b"secret"]]
        assert m.rows(other.ask(run("s"))) == [[b"other"]]
        other.query("deallocate all")
        assert m.rows(client.ask(run("s"))) == [[b"secret"]]


def test_a_statement_is_not_shared_where_it_would_mean_something_else(narrow: ProxyProcess) -> None:
    """The same text under another search_path, and beside a temporary table of that name."""
    with narrow.login(search_path="tenant_a") as a, narrow.login(search_path="tenant_b") as b:
        for client, name in ((a, b"a"), (b, b"b"), (a, b"a")):
            assert m.rows(client.ask(m.parse("select name from whose", "s") + run("s")))[:1] in ([[name]], [])
            assert m.rows(client.ask(run("s"))) == [[name]]


def test_a_statement_parsed_beside_a_temporary_table_is_ones_own(narrow: ProxyProcess) -> None:
    with narrow.login(search_path="tenant_a") as client:
        client.ask(prepare("select name from whose", "s"))
        client.query("create temp table whose (name text)")
        client.ask(prepare("select name from whose", "t"))
        assert m.rows(client.ask(run("t"))) == []
    with narrow.login(search_path="tenant_a") as client:
        client.ask(prepare("select name from whose", "t"))
        assert m.rows(client.ask(run("t"))) == [[b"a"]]
