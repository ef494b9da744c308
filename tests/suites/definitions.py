"""The suites: where each comes from, how its own authors run it, and what it wants of the database."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Place:
    """Where a run finds its database: PostgreSQL itself, or the proxy."""

    host: str
    port: int
    user: str
    password: str


@dataclass(frozen=True)
class Suite:
    """One driver's test-suite."""

    name: str
    distribution: str
    """What its source distribution is called, in the registry."""
    version: str
    copied: tuple[str, ...]
    """What is taken out of the source distribution: the tests, never the package itself."""
    requirements: tuple[str, ...]
    """What its environment holds."""
    arguments: Callable[[Place], list[str]]
    """pytest's, after our own."""
    environment: Callable[[Place], dict[str, str]]
    statements: Mapping[str, str] = field(default_factory=dict)
    """Database -> SQL to make it ready. Databases other than `postgres` are created."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Roles the suite makes and logs in as, and their passwords: the proxy must know them."""
    timeout: float = 3600.0
    """Seconds one run may take."""

    def exceptions(self) -> dict[str, str]:
        """Test id -> reason, from the reviewed list."""
        listed: dict[str, str] = {}
        for group in self._reviewed().get("exceptions", []):
            for test in group["tests"]:
                if test in listed:
                    raise ValueError(f"{test} is listed twice")
                listed[test] = group["reason"]
        return listed

    def chance(self) -> frozenset[str]:
        """The exceptions that may pass, too: whether they do depends on which server a client happens to get,
        or on timing."""
        groups = self._reviewed().get("exceptions", [])
        return frozenset(test for group in groups if group.get("chance", False) for test in group["tests"])

    def ceiling(self) -> float:
        """The largest share of exchanges that may run on pinned servers."""
        return float(self._reviewed()["pinned_share_ceiling"])

    def _reviewed(self) -> dict[str, Any]:
        return tomllib.loads((HERE / f"{self.name}.toml").read_text("utf-8"))


PYTEST = ("pytest==9.2.0", "pytest-timeout==2.4.0")


def _libpq(place: Place, database: str) -> dict[str, str]:
    return {
        "PGHOST": place.host,
        "PGPORT": str(place.port),
        "PGUSER": place.user,
        "PGPASSWORD": place.password,
        "PGDATABASE": database,
    }


def _asyncpg() -> Suite:
    pinned = version("asyncpg")  # the one that poolproxy itself runs on
    return Suite(
        name="asyncpg",
        distribution="asyncpg",
        version=pinned,
        copied=("tests",),
        requirements=(f"asyncpg=={pinned}", "distro==1.9.0", *PYTEST),
        arguments=lambda _: [
            *("--import-mode=importlib", "--assert=plain"),  # as its pyproject.toml has it
            "--ignore=tests/test__sourcecode.py",  # it looks at the source tree's style
            "tests",
        ],
        environment=lambda place: _libpq(place, "postgres"),
        timeout=600,
    )


def _psycopg2() -> Suite:
    return Suite(
        name="psycopg2",
        distribution="psycopg2",
        version="2.9.13",
        copied=("tests",),
        requirements=("psycopg2-binary==2.9.13", *PYTEST),
        arguments=lambda _: ["tests"],
        environment=lambda place: {
            "PSYCOPG2_TESTDB": "psycopg2_test",
            "PSYCOPG2_TESTDB_HOST": place.host,
            "PSYCOPG2_TESTDB_PORT": str(place.port),
            "PSYCOPG2_TESTDB_USER": place.user,
            "PSYCOPG2_TESTDB_PASSWORD": place.password,
        },
        statements={"psycopg2_test": "create extension hstore;"},
    )


def _pg8000() -> Suite:
    return Suite(
        name="pg8000",
        distribution="pg8000",
        version="1.31.6",
        copied=("test", "README.md"),
        requirements=(
            *("pg8000==1.31.6", "pytest-mock==3.15.1", "pytest-benchmark==5.2.3", "pytz==2025.2"),
            *("pytest==8.4.2", "pytest-timeout==2.4.0"),  # pytest-benchmark lags behind
        ),
        # The benchmarks measure; what they run is tested elsewhere in the suite.
        arguments=lambda _: ["--benchmark-disable", "test"],
        environment=lambda place: {
            "PGHOST": place.host,
            "PGPORT": str(place.port),
            "PGPASSWORD": place.password,
        },
        statements={"postgres": "create extension hstore;"},
        users={"boltzmann": "cha\uff6fs"},
    )


def _sqlalchemy() -> Suite:
    return Suite(
        name="sqlalchemy",
        distribution="sqlalchemy",
        version="2.1.9",
        # Its conftest reads pytest's plugin from there; what is tested is the installed package all the same.
        copied=("test", "lib/sqlalchemy/testing/plugin", "setup.cfg", "pyproject.toml"),
        requirements=("sqlalchemy==2.1.9", "psycopg2-binary==2.9.13", *PYTEST),
        arguments=lambda place: [
            *("-o", "addopts=", "--maxfail=100000", "--nomemory", "--notimingintensive", "--nomypy"),
            f"--dburi=postgresql+psycopg2://{place.user}:{place.password}@{place.host}:{place.port}/test",
            *("test/dialect/postgresql", "test/dialect/test_suite.py"),
        ],
        environment=lambda _: {"PYTHONNOUSERSITE": "1"},  # see its noxfile.py, `test-wheel`
        statements={
            "test": "create extension hstore; create extension citext;"
            "create schema test_schema; create schema test_schema_2;"
        },
    )


SUITES: Mapping[str, Callable[[], Suite]] = {
    "asyncpg": _asyncpg,
    "psycopg2": _psycopg2,
    "pg8000": _pg8000,
    "sqlalchemy": _sqlalchemy,
}
