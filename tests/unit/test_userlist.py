"""Users in the format of PgBouncer's userlist.txt, alone and as a setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.settings import InvalidSettings
from poolproxy.settings.load import load
from poolproxy.settings.userlist import BrokenUserlist, read_userlist

URL = "postgres://urluser:urlsecret@h/shop"


def test_names_and_passwords() -> None:
    text = """
; a comment
"app" "secret"
  "with ""quotes"" and spaces"\t"pass""word"   everything behind it is ignored
"none" ""
"twice" "first"
"twice" "second"
"gone" "once"
"gone" ""
"""
    assert read_userlist(text) == {
        "app": "secret",
        'with "quotes" and spaces': 'pass"word',
        "twice": "second",
    }


@pytest.mark.parametrize(
    "line", ["app secret", '"app"', '"app" secret', '"app" "secret', '"" "x"', '"app""secret"']
)
def test_a_broken_line_is_told_by_its_number_alone(line: str) -> None:
    with pytest.raises(BrokenUserlist) as told:
        read_userlist(f'"a" "b"\n{line}\n')
    assert str(told.value) == 'line 2 is not "NAME" "PASSWORD"'


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1)


@given(st.dictionaries(TEXTS, TEXTS))
def test_whatever_is_quoted_comes_back(users: dict[str, str]) -> None:
    lines = ['"{}" "{}"'.format(*(part.replace('"', '""') for part in pair)) for pair in users.items()]
    assert read_userlist("\n".join(lines)) == users


def test_as_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "userlist.txt"
    path.write_text('"app" "of the list"\n"urluser" "of the list"\n"own" "of the list"\n')
    environment = {
        "DATABASE_URL": URL,
        "POOLPROXY_AUTH_FILE": str(path),
        "POOLPROXY_USERS__OWN__PASSWORD": "mine",
    }
    settings = load(environment=environment)
    assert settings.user_passwords() == {"app": "of the list", "urluser": "of the list", "own": "mine"}
    assert settings.users["app"].plain_password == "of the list"


def test_what_is_wrong_in_it_is_told_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "userlist.txt"
    path.write_text('"app" "hunter2"\n"eve" hunter2\n')
    with pytest.raises(InvalidSettings) as told:
        load(environment={"DATABASE_URL": URL, "POOLPROXY_AUTH_FILE": str(path)})
    assert told.value.problems == (f'auth_file: {path}: line 2 is not "NAME" "PASSWORD"',)
    path.write_text('"app" "SCRAM-SHA-256$hunter2"\n')
    with pytest.raises(InvalidSettings) as told:
        load(environment={"DATABASE_URL": URL, "POOLPROXY_AUTH_FILE": str(path)})
    (problem,) = told.value.problems
    assert problem.startswith(f"users.app.password ({path}): ")
    assert "hunter2" not in problem
    with pytest.raises(InvalidSettings, match="auth_file: the file cannot be read"):
        load(environment={"DATABASE_URL": URL, "POOLPROXY_AUTH_FILE": str(tmp_path / "none")})


def test_it_lets_in_where_nobody_else_could(tmp_path: Path) -> None:
    path = tmp_path / "userlist.txt"
    path.write_text('"app" "secret"\n')
    settings = load(environment={"DATABASE_URL": "postgres://h/shop", "POOLPROXY_AUTH_FILE": str(path)})
    assert settings.user_passwords() == {"app": "secret"}
