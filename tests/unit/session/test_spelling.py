"""One spelling for equal values of a setting."""

from __future__ import annotations

import pytest

from poolproxy.session.parameters import parameter_set
from poolproxy.session.spelling import Spellings

KINDS = {
    "work_mem": ("integer", "kB"),
    "temp_buffers": ("integer", "8kB"),
    "statement_timeout": ("integer", "ms"),
    "vacuum_cost_delay": ("real", "ms"),
    "seq_page_cost": ("real", ""),
    "geqo_threshold": ("integer", ""),
    "enable_seqscan": ("bool", ""),
    "bytea_output": ("enum", ""),
    "default_tablespace": ("string", ""),
    "search_path": ("string", ""),
    "datestyle": ("string", ""),
}

EQUAL = [
    ("work_mem", "'9216'", ["'9MB'", "9216", "'9216kB'", "' 9 MB '", "'9437184B'", '"9MB"', "'9.0MB'"]),
    ("work_mem", "'1536'", ["'1.5MB'", "1536"]),
    ("temp_buffers", "'2048'", ["'16MB'", "2048"]),
    ("statement_timeout", "'90000'", ["'90s'", "90000", "'1.5min'"]),
    ("statement_timeout", "'-1'", ["-1"]),
    ("seq_page_cost", "'1.5'", ["1.5", "'1.50'"]),
    ("vacuum_cost_delay", "'2000'", ["'2s'", "2000"]),
    ("geqo_threshold", "'12'", ["12"]),
    ("enable_seqscan", "'off'", ["off", "OFF", "false", "f", "'no'", "0", "'of'"]),
    ("enable_seqscan", "'on'", ["on", "TRUE", "y", "'1'"]),
    ("bytea_output", "'escape'", ["escape", "'ESCAPE'"]),
    ("default_tablespace", "'fast'", ["fast", "Fast", "'fast'", '"fast"']),
    ("default_tablespace", "'Fast'", ["'Fast'", '"Fast"']),
    ("search_path", "'tenant_a', '$user'", ['tenant_a, "$user"', "Tenant_A,'$user'"]),
    ("search_path", "'a, b'", ["'a, b'"]),
    ("search_path", " E'\\U000000e9'", ["'é'"]),
    ("app.tenant", "'acme'", ["acme", "'acme'"]),
    ("app.tenant", "'7'", ["7", "'7'"]),
]

#: What stays as it is: a value that is refused, rounded, or not understood.
KEPT = [
    ("work_mem", "'9 parsecs'"), ("work_mem", "'9mb'"), ("work_mem", "'1.0001kB'"), ("work_mem", "'5s'"),
    ("work_mem", "0x10"), ("work_mem", "'010'"), ("work_mem", "default_mem"), ("geqo_threshold", "'1MB'"),
    ("seq_page_cost", "1.23456789"), ("enable_seqscan", "o"), ("enable_seqscan", "''"), ("nobodys", "'9MB'"),
    ("datestyle", "iso, dmy"), ("search_path", ""), ("work_mem", " E'9\\\\MB'"),
    ("app.x", "007"), ("app.x", "+1"),
]  # fmt: skip


@pytest.fixture
def spellings() -> Spellings:
    found = Spellings()
    found.learn(KINDS)
    return found


@pytest.mark.parametrize(("name", "expected", "fragments"), EQUAL)
def test_equal_values_are_spelled_alike(
    spellings: Spellings, name: str, expected: str, fragments: list[str]
) -> None:
    assert {spellings.fragment(name, fragment) for fragment in (expected, *fragments)} == {expected}


@pytest.mark.parametrize(("name", "fragment"), KEPT)
def test_what_is_not_certain_stays(spellings: Spellings, name: str, fragment: str) -> None:
    assert spellings.fragment(name, fragment) == fragment


def test_whole_sets(spellings: Spellings) -> None:
    one = spellings.spelled(parameter_set({"work_mem": "'9MB'", "app.a": "x"}))
    assert one is spellings.spelled(parameter_set({"work_mem": "9216", "app.a": "'x'"}))
    assert one is spellings.spelled(one)


def test_before_anything_is_known_nothing_changes() -> None:
    wanted = parameter_set({"work_mem": "'9MB'", "app.a": "x"})
    assert Spellings().spelled(wanted) is wanted
    assert Spellings().fragment("app.a", "x") == "x"


def test_a_stranger_cannot_make_it_remember_without_end(spellings: Spellings) -> None:
    for number in range(2500):
        assert spellings.fragment("work_mem", f"'{number}MB'") == f"'{number * 1024}'"
        spellings.spelled(parameter_set({"app.a": f"'{number}'"}))
    assert len(spellings._fragments) <= 1000
    assert len(spellings._sets) <= 1000
