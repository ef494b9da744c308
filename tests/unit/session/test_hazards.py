"""Which routines may change session state where no text shows it."""

from __future__ import annotations

import pytest

from poolproxy.session.hazards import Hazards, Routine, hazardous, is_hazardous, judge


def routine(
    source: str, oid: int = 20000, name: str = "f", language: str = "plpgsql", **more: object
) -> Routine:
    values = {"extension": "", **more}
    return Routine(oid, name, language, source, **values)  # type: ignore[arg-type]


HARMLESS = [
    "begin return 1; end",
    "update t set a = 1 where b = 2",
    "select a from t offset 3",
    "begin update t set a = 1; return; end",
    "insert into household values (1)",
    "begin if a then return 1; end if; end",
    "select pg_advisory_xact_lock(1)",
]

HAZARDOUS = [
    "begin perform set_config('app.a', 'b', false); end",
    "begin set work_mem = '9MB'; end",
    "begin SET LOCAL work_mem = '9MB'; end",
    "begin\n  -- now\n  set work_mem = '9MB'; end",
    "begin /* set */ reset all; end",
    "begin if a then set role b; end if; end",
    "begin loop set role b; end loop; end",
    "set role b",
    "select 1; set role b",
    "begin perform pg_advisory_lock(1); end",
    "select pg_try_advisory_lock_shared(1)",
    "begin create temp table t (); end",
    "begin create table pg_temp.t (); end",
    "begin create table t (); end",
    "begin execute a; end",
    "begin listen a; end",
    "begin load 'a'; end",
    "begin deallocate all; end",
    "select setseed(0.5)",
    "update pg_settings set setting = 'a'",
    "select dblink_connect('a')",
    "select query_to_xml('a', true, true, '')",
    'select U&"set\\005fconfig"(a, b)',
]


@pytest.mark.parametrize("source", HARMLESS)
def test_what_leaves_nothing_is_harmless(source: str) -> None:
    assert not is_hazardous(routine(source))


@pytest.mark.parametrize("source", HAZARDOUS)
def test_what_may_leave_something_is_hazardous(source: str) -> None:
    assert is_hazardous(routine(source))


@pytest.mark.parametrize(
    ("language", "extension", "expected"),
    [
        ("c", "", True),
        ("c", "dblink", True),
        ("c", "pg_trgm", False),
        ("internal", "", True),
        ("internal", "citext", False),
        ("plpython3u", "", True),
        ("sql", "", False),
    ],
)
def test_languages_that_cannot_be_read(language: str, extension: str, expected: bool) -> None:
    assert is_hazardous(routine("pass", language=language, extension=extension)) is expected


@pytest.mark.parametrize("name", ["set_limit", "isn_weak"])
def test_routines_of_harmless_extensions_that_set_something(name: str) -> None:
    assert is_hazardous(routine(name, name=name, language="c", extension="pg_trgm"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [("set_config_by_name", True), ("aggregate_dummy", False), ("range_constructor2", False)],
)
def test_another_name_for_one_of_postgresqls_own(source: str, expected: bool) -> None:
    assert is_hazardous(routine(source, name="mild", language="internal")) is expected


def test_whoever_names_or_calls_a_hazardous_one_is_hazardous() -> None:
    found = hazardous(
        [
            routine("select Middle()", 1, "outer"),
            routine("select inner_one()", 2, "middle"),
            routine("select setseed(0)", 3, "inner_one"),
            routine("", 4, "of_a_tree", "sql", calls=frozenset({2})),
            routine("select middleman()", 5, "other"),
        ]
    )
    assert found == {1: "outer", 2: "middle", 3: "inner_one", 4: "of_a_tree"}


def test_judgement() -> None:
    login = routine("begin perform set_config('app.tenant', $1, false); end", 1, "Login")
    shout = routine("begin raise notice 'x'; end", 2, "shout")
    assert judge([login, shout], [2], [2078], ["current_setting('app.region'::text)"]) == Hazards(
        frozenset({"login"}), False, ("app.region", "app.tenant")
    )
    assert judge([login, shout], [1], [2078], []).hidden, "a trigger calls it"
    assert judge([shout], [2078], [2078], []).hidden, "a view calls one of PostgreSQL's own"
    odd = routine("begin set role a; end", 3, "log in")
    assert judge([odd], [], [], []).hidden, "no look at a text finds its name"
