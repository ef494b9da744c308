"""The Node drivers `pg` and `postgres`, unchanged, against the proxy in both pool modes.

The programs in `node/` judge nothing: each step tells what it got, and what it should be stands here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.stage import Stage

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SOURCES = Path(__file__).resolve().parent / "node"


def said(code: str, message: str, severity: str = "ERROR", **fields: str) -> dict[str, str]:
    """An error as the programs tell it."""
    return {"severity": severity, "code": code, "message": message, **fields}


DIVISION = said("22012", "division by zero")
SYNTAX = said("42601", 'syntax error at or near "selec"')
TWICE = said("23505", 'duplicate key value violates unique constraint "item_pkey"')
ABORTED = said("25P02", "current transaction is aborted, commands ignored until end of transaction block")
CANCELED = said("57014", "canceling statement due to user request")
REFUSED = said("28P01", 'password authentication failed for user "app"', "FATAL")
NOT_SERVED = said("3D000", 'database "nosuch" is not served here', "FATAL")

OIDS = [["id", 23], ["name", 25]]
ITEMS = [{"id": n, "name": f"item {n}"} for n in range(1, 101)]
ONE = [{"n": 1}]
TYPES = {
    "int2": -7,
    "int8": "9007199254740993",  # more than a JavaScript number holds
    "float8": 1.5,
    "numeric": "1.250",
    "bool": True,
    "text": "größe",
    "nothing": None,
    "bytea": "00ff",
    "instant": "2001-02-03T04:05:06.789Z",
    "list": [1, None, 3],
    "document": {"a": [1, "b"]},
}
#: 100 divided by the last digit of 0, 1, 2, ...: every tenth fails.
QUOTIENTS = [DIVISION, *(100 // n for n in range(1, 10))]
NOTICES = {"rows": [{"n": 7}], "heard": [{"severity": "NOTICE", "message": "hello from app"}]}
LARGE = {
    "rows": 20_000,
    "ordered": True,
    "digest": hashlib.sha256(b"".join(b"%c" % (97 + n % 26) * 1000 for n in range(1, 20_001))).hexdigest(),
    "parameter": {"length": 3_000_000, "md5": hashlib.md5(b"x" * 3_000_000).hexdigest()},
}

PG: dict[str, Any] = {
    "queries": {
        "sum": {"command": "SELECT", "rowCount": 1, "rows": [{"n": 42}]},
        "oids": OIDS,
        "items": ITEMS,
        "application": [{"application_name": "node-postgres"}],
        "several": [
            {"command": "SELECT", "rowCount": 1, "rows": [{name: n}]} for name, n in (("a", 1), ("b", 2))
        ],
        "nothing": [],
    },
    "types": TYPES,
    "namedStatements": [1, 2, 3, 4, 5],
    "errors": {
        "division": DIVISION,
        "syntax": SYNTAX,
        "violation": {
            **TWICE,
            "table": "item",
            "constraint": "item_pkey",
            "detail": "Key (id)=(1) already exists.",
        },
        "after": ONE,
    },
    "transactions": {
        "inside": [{"body": "pg undone"}],
        "rollback": "ROLLBACK",
        "undone": [],
        "failure": DIVISION,
        "failed": ABORTED,
        "commitOfFailed": "ROLLBACK",
        "commit": "COMMIT",
        "kept": [{"body": "pg kept"}],
    },
    "queued": QUOTIENTS * 5,
    "large": LARGE,
    "pool": list(range(200)),
    "notices": NOTICES,
    "notifications": {"channel": "news", "payload": "hello"},
    "refused": {"password": REFUSED, "database": NOT_SERVED},
}

POSTGRES: dict[str, Any] = {
    "queries": {
        "sum": {"command": "SELECT", "count": 1, "rows": [{"n": 42}]},
        "oids": OIDS,
        "items": ITEMS,
        "application": [{"application_name": "postgres.js"}],
        "several": [
            {"command": "SELECT", "count": 1, "rows": [{name: n}]} for name, n in (("a", 1), ("b", 2))
        ],
    },
    "types": TYPES,
    "pipelined": QUOTIENTS * 10,
    "unprepared": list(range(200)),
    "transactions": {
        "kept": {"inner": DIVISION, "rows": [{"body": "postgres kept"}]},
        "undone": "no",
        "failed": TWICE,
        "rows": [{"body": "postgres kept"}],
    },
    "large": LARGE,
    "copies": {
        "came": "".join(f"{n}\trow {n}\n" for n in range(0, 50_000, 100)),
        "table": {"rows": 50_000, "sum": sum(range(50_000))},
    },
    "cursors": {
        "seen": [[300, 1, 300], [300, 301, 600], [300, 601, 900], [100, 901, 1000]],
        "left": [10, 10],
        "after": ONE,
    },
    "cancelling": {"said": CANCELED, "after": ONE},
    "notices": NOTICES,
    "notifications": "hello",
    "refused": REFUSED,
}


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts and the installed drivers."""
    folder = tmp_path_factory.mktemp("node")
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(["npm", "install", *options], cwd=folder, check=True, capture_output=True, timeout=150)
    return folder


def answers(drivers: Path, script: str, url: str) -> dict[str, Any]:
    """What each step of a program told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        ["node", script],
        cwd=drivers,
        env={**kept, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize(
    ("driver", "expected", "kept"),
    [("pg", PG, list(range(0, 200, 2))), ("postgres", POSTGRES, [])],
    ids=["pg", "postgres"],
)
def test_driver(
    drivers: Path, stage: Stage, driver: str, expected: dict[str, Any], kept: list[int], mode: str
) -> None:
    stage.expect_log("28P01|3D000|login")
    stage.direct.rows("truncate note, ledger")
    got = answers(drivers, f"{driver}.js", stage.proxy(pool_mode=mode, pool_size=20).url())
    assert list(got) == list(expected)
    for step, answer in expected.items():
        assert got[step] == answer, step
    # What was committed, and nothing else, is there for others too.
    assert stage.direct.rows("select body from note") == [(f"{driver} kept",)]
    assert stage.direct.rows("select n from ledger order by n") == [(n,) for n in kept]
