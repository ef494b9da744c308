"""What an audit asks, and what its rows mean."""

from __future__ import annotations

import pytest

from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.session.audit import audit_query, read_audit
from poolproxy.session.custom import MAX_NAMES, CustomNames, bound_names, custom_names
from poolproxy.session.parameters import EMPTY, ParameterSet, parameter_set, reported_set

ORIGIN = reported_set(
    {b"client_encoding": b"UTF8", b"session_authorization": b"app", b"is_superuser": b"off"}
)
ROLE = ["role", "none", "app"]


def values(*rows: list[str], before: ParameterSet = EMPTY) -> dict[str, str]:
    return read_audit([ROLE, *rows], before, ORIGIN, ORIGIN).parameters.values


def test_nothing() -> None:
    found = read_audit([ROLE], EMPTY, ORIGIN, ORIGIN)
    assert found.parameters is EMPTY
    assert (found.left, found.prepared, found.unrepeatable) == (frozenset(), frozenset(), False)
    assert found.ours == 0


def test_statements() -> None:
    rows = [ROLE, ["prepared", "mine", "1"], ["ours", "", "12"]]
    found = read_audit(rows, EMPTY, ORIGIN, ORIGIN)
    assert (found.prepared, found.ours) == (frozenset({b"mine"}), 12)


@pytest.mark.parametrize(
    ("name", "value", "fragment"),
    [
        ("work_mem", "9216", {"work_mem": "'9216'"}),
        ("DateStyle", "ISO, MDY", {"datestyle": "'ISO, MDY'"}),
        ("search_path", '"$user", public, "A b"', {"search_path": "'$user', 'public', 'A b'"}),
        ("search_path", "", {"search_path": ""}),
        ("search_path", '""', {"search_path": "''"}),
        ("app.a", "it's", {"app.a": "'it''s'"}),
        ("app.a", "a\\b", {"app.a": " E'a\\\\b'"}),
        ("app.a", "né'\\", {"app.a": " E'n\\U000000e9''\\\\'"}),
    ],
)
def test_settings(name: str, value: str, fragment: dict[str, str]) -> None:
    assert values(["setting", name, value]) == fragment


def test_who_one_is() -> None:
    found = read_audit([["role", "reader", "other"]], EMPTY, ORIGIN, ORIGIN)
    assert found.parameters.values == {"role": "'reader'", "session_authorization": "'other'"}
    default = ["default_role", "reader", ""]
    found = read_audit([["role", "none", "app"], default], EMPTY, ORIGIN, ORIGIN)
    assert found.parameters.values == {"role": "'none'"}, "RESET ROLE would be something else"
    found = read_audit([["role", "reader", "app"], default], EMPTY, ORIGIN, ORIGIN)
    assert (found.parameters, found.role) == (EMPTY, "reader")


def test_the_encoding_is_what_is_reported() -> None:
    latin = reported_set({**ORIGIN.values, b"client_encoding": b"LATIN1"})
    found = read_audit([ROLE], EMPTY, ORIGIN, latin)
    assert found.parameters.values == {"client_encoding": "'LATIN1'"}
    assert values(before=parameter_set({"client_encoding": "'utf8'"})) == {"client_encoding": "'UTF8'"}


def test_an_empty_custom_setting_is_as_if_it_were_reset() -> None:
    before = parameter_set({"app.a": "''", "app.b": "'x'"})
    assert values(before=before) == {"app.a": "''"}


def test_what_is_left() -> None:
    rows = [ROLE, ["left", "listen", ""], ["left", "temp_object", ""], ["prepared", "p", ""]]
    found = read_audit(rows, EMPTY, ORIGIN, ORIGIN)
    assert found.left == {"listen", "temp_object"}
    assert found.prepared == {b"p"}


@pytest.mark.parametrize(
    ("row", "superuser", "expected"),
    [
        (["superuser", "log_statement", "all"], b"off", True),
        (["superuser", "log_statement", "all"], b"on", False),
        (["setting", "temp_buffers", "200"], b"on", False),
        (["setting", "work_mem", "200"], b"off", False),
    ],
)
def test_what_another_server_would_not_take(row: list[str], superuser: bytes, expected: bool) -> None:
    origin = reported_set({**ORIGIN.values, b"is_superuser": superuser})
    assert read_audit([ROLE, row], EMPTY, origin, origin).unrepeatable is expected


@pytest.mark.parametrize(
    "row",
    [
        [], ["left"], ["left", "temp_object"], ["left", "temp_object", "", ""],
        ["ours", "", "many"], ["ours", "", "-1"],
        ["ours", "", "9" * 5000], ["ours", "", "\u0665"], ["setting", 'a" TO 1; DROP TABLE t; --', "x"],
        ["setting", "", "x"], ["setting", "a b", "x"], ["superuser", "a'b", "x"],
    ],
)  # fmt: skip
def test_what_no_postgresql_answers(row: list[str]) -> None:
    """A name would stand in SQL text, on other servers, too."""
    with pytest.raises(UnexpectedServerAnswer):
        values(row)


def test_names_of_settings_with_other_letters() -> None:
    assert values(["setting", "App.\u00e9$_1", "x"]) == {"app.\u00e9$_1": "'x'"}


def test_the_question_has_the_custom_names() -> None:
    names = CustomNames()
    plain = audit_query(names)
    names.learn(["app.a", "app.b"])
    assert b"'{app.a,app.b}'" in audit_query(names)
    assert b"unnest" not in plain


def test_the_oldest_names_make_way() -> None:
    names = CustomNames()
    names.learn(f"app.n{n}" for n in range(MAX_NAMES + 1))
    assert len(names.names()) == MAX_NAMES
    assert names.names()[0] == "app.n1"
    names.learn(["app." + "x" * 64])
    assert len(names.names()) == MAX_NAMES, "PostgreSQL has no name of that length"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select set_config('app.tenant', 'x', false)", ("app.tenant",)),
        ("select current_setting('App.Tenant_1', true)", ("app.tenant_1",)),
        ("set app.a = 1", ("app.a",)),
        ("set session my.app.a to 1", ("my.app.a",)),
        ("show app.a", ("app.a",)),
        ("reset app.a", ("app.a",)),
        ('set "app.a" = 1', ("app.a",)),
        ('set "app"."a" = 1', ("app.a",)),
        ("set app . a = 1", ("app.a",)),
        ("set /* c */ app.a = 1", ("app.a",)),
        ("set -- c\n app.a = 1", ("app.a",)),
        ("select set_config($$app.a$$, 'x', false)", ("app.a",)),
        ("select set_config($q$app.a$q$, 'x', false)", ("app.a",)),
        ("select set_config(U&'app.a', 'x', false)", ("app.a",)),
        ("set work_mem = 1", ()),
        ("select a.b from a", ()),
        ("select 'v1.2'", ()),
    ],
)
def test_names_in_texts(text: str, expected: tuple[str, ...]) -> None:
    assert custom_names(text.encode()) == expected


@pytest.mark.parametrize("text", ["set --", "set /*", "set --\n", "reset" + " " * 1000, "'a.", '"a.', "$a"])
def test_a_text_costs_no_more_than_its_length(text: str) -> None:
    """It would take minutes if every beginning were followed to the end of the text."""
    assert len(custom_names((text * (240_000 // len(text))).encode())) < 240_000


@pytest.mark.parametrize("value", [b"a", b"a1", b"a.1"])
def test_a_value_costs_no_more_than_its_length(value: bytes) -> None:
    assert bound_names(value * 80_000) == ()


def test_names_are_asked_for_however_many_are_held() -> None:
    names = CustomNames()
    names.learn(["app.a"])
    held = [f"my.v{n}" for n in range(2 * MAX_NAMES)]
    assert names.names(held) == ("app.a", *held)
    assert names.names(["app.a", "app.ü"]) == ("app.a",)


def test_names_in_values() -> None:
    assert bound_names(b"\0\0\0\0\0\2\0\0\0\x0aapp.tenant\0\0\0\4acme\0\0") == ("app.tenant",)
