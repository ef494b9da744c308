"""PostgreSQL's own programs through the proxy: psql, pg_dump and pgbench in its three protocol modes."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage


def run(stage: Stage, proxy: ProxyProcess, program: str, *arguments: str, stdin: str | None = None) -> str:
    """Run a client program as `app` through the proxy; its standard output. Failure shows its standard
    error.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        "PGHOST": proxy.host,
        "PGPORT": str(proxy.port),
        "PGUSER": "app",
        "PGPASSWORD": PASSWORDS["app"],
        "PGDATABASE": DATABASE,
    }
    done = subprocess.run(
        [str(stage.postgres.bin_dir / program), *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_psql(stage: Stage, proxy: ProxyProcess) -> None:
    script = """
        \\set ON_ERROR_STOP 1
        begin; insert into note values (10, 'psql'); rollback;
        \\copy (select id from item where id < 4 order by id) to stdout
        select count(*) from item;
        \\d item
        \\set ON_ERROR_STOP 0
        select 1/0;
        select 'the end';
    """
    said = run(stage, proxy, "psql", "-XAt", stdin=script)
    assert said.splitlines()[:4] == ["BEGIN", "INSERT 0 1", "ROLLBACK", "1"]
    assert "the end" in said


def test_psql_options_of_the_connection(stage: Stage, proxy: ProxyProcess) -> None:
    said = run(
        stage,
        proxy,
        "psql",
        "-XAt",
        f"dbname={DATABASE} application_name=from_psql options='-c work_mem=12MB -c search_path=tenant_b'",
        "-c",
        "show work_mem",
        "-c",
        "select name from whose",
        "-c",
        "show application_name",
    )
    assert said.split() == ["12MB", "b", "from_psql"]


def test_pg_dump(stage: Stage) -> None:
    """pg_dump sets its session up with SET and search_path: it must not leak, nor fail."""
    proxy = stage.proxy(pool_size=1)
    assert "CREATE TABLE public.item" in run(stage, proxy, "pg_dump", "-t", "item")
    with proxy.login() as client:
        assert client.value("show search_path") == '"$user", public'
        assert client.value("select count(*) from item") == "100"


@pytest.mark.parametrize(("protocol", "clients"), [("simple", 16), ("extended", 16), ("prepared", 5)])
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_pgbench(stage: Stage, protocol: str, clients: int, mode: str) -> None:
    """A mixed script; prepared statements keep their server, so there no more clients than servers."""
    proxy = stage.proxy(pool_mode=mode)
    script = stage.folder / f"bench-{protocol}-{mode}.sql"
    script.write_text(
        "\\set id random(1, 100)\nbegin;\nselect name from item where id = :id;\n"
        "insert into ledger values ('pgbench', :id);\nend;\nselect count(*) from item where id < :id;\n"
    )
    stage.direct.rows("truncate ledger")
    many = str(clients if mode == "transaction" else min(clients, 5))
    arguments = ["-n", "-f", str(script), "-M", protocol, "-c", many, "-j", "2", "-t", "40"]
    said = run(stage, proxy, "pgbench", *arguments)
    done = re.search(r"number of transactions actually processed: (\d+)/", said)
    assert done, said
    assert "failed transactions: 0 " in said
    assert stage.direct.value("select count(*) from ledger") == int(done[1]) == int(many) * 40


def test_pgbench_connecting_each_time(stage: Stage, proxy: ProxyProcess) -> None:
    """One connection per transaction: the short-lived clients that the proxy is for."""
    script = stage.folder / "connect.sql"
    script.write_text("select 1;\n")
    said = run(stage, proxy, "pgbench", "-n", "-C", "-f", str(script), "-c", "10", "-j", "2", "-t", "10")
    assert "processed: 100/100" in said
