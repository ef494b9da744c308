"""`poolproxy check --connect` against a real PostgreSQL: what it tries, what it says, how it ends."""

from __future__ import annotations

import json
from contextlib import closing
from urllib.parse import quote

from typer.testing import CliRunner, Result

from poolproxy.cli import cli
from poolproxy.demo.postgres import LocalPostgres
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.stage import Stage


def check(databases: dict[str, dict[str, object]]) -> Result:
    environment = {"POOLPROXY_DATABASES": json.dumps(databases), "DATABASE_URL": ""}
    return CliRunner().invoke(cli, ["check", "--connect"], env=environment)


def url(
    stage: Stage, database: str = DATABASE, password: str = PASSWORDS["app"], socket: bool = False
) -> str:
    host = quote(str(stage.postgres.socket_dir), safe="") if socket else stage.postgres.host
    return f"postgres://app:{quote(password, safe='')}@{host}:{stage.postgres.port}/{database}"


def test_good_databases_over_tcp_and_socket(stage: Stage) -> None:
    result = check(
        {
            "tcp": {"url": url(stage), "init_query": "SET search_path = public"},
            "socket": {"url": url(stage, socket=True), "pool_size": 5000},
            "*": {"url": url(stage)},
        }
    )
    assert result.exit_code == 0, result.output
    lines = {line.split(":")[0]: line for line in result.stdout.splitlines()}
    assert f"tcp: {stage.postgres.host}:{stage.postgres.port} as app: PostgreSQL 18" in lines["tcp"]
    assert "connections allowed" in lines["tcp"]
    assert lines["socket"].endswith(", pool_size 5000 is more")
    assert "as app: PostgreSQL" in lines[DATABASE]


def test_connections_kept_for_others_do_not_count(stage: Stage) -> None:
    """Neither superusers' nor those of pg_use_reserved_connections: what the pools themselves reckon with."""
    options = {
        "max_connections": "40",
        "superuser_reserved_connections": "4",
        "reserved_connections": "6",
    }
    with closing(LocalPostgres(options=options)) as postgres:
        postgres.start()
        result = check({"small": {"url": postgres.url(), "pool_size": 31}})
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith(", 30 connections allowed, pool_size 31 is more")


def test_each_failure_is_told_and_no_password(stage: Stage) -> None:
    result = check(
        {
            "good": {"url": url(stage)},
            "password": {"url": url(stage, password="hunter2").replace("app:", "other:", 1)},
            "database": {"url": url(stage, database="nothere")},
            "query": {"url": url(stage), "init_query": "SELEKT 1"},
        }
    )
    assert result.exit_code == 1
    assert "good: " in result.stdout
    failures = {line.split(":")[0]: line for line in result.stderr.splitlines()}
    assert "FAILED: password authentication failed" in failures["password"]
    assert 'FAILED: database "nothere" does not exist' in failures["database"]
    assert "FAILED: syntax error" in failures["query"]
    assert "hunter2" not in result.output
    assert PASSWORDS["app"] not in result.output
