"""Maps of names: the syntax of pg_ident.conf, and whom a certificate's name may be."""

from __future__ import annotations

import pytest

from poolproxy.auth.ident import NO_MAPS, Maps, parse
from poolproxy.auth.rule_files import InvalidRules


def maps(text: str) -> Maps:
    def read(name: str, beside: str) -> tuple[str, str]:
        raise FileNotFoundError(2, "No such file or directory")

    return parse("ident", text, read)


def test_without_a_map_the_name_is_the_users() -> None:
    assert NO_MAPS.lets("", "bob", "bob")
    assert not NO_MAPS.lets("", "bob", "Bob")
    assert not NO_MAPS.lets("crew", "bob", "bob")


@pytest.mark.parametrize(
    ("line", "name", "user", "lets"),
    [
        ("crew Robert bob", "Robert", "bob", True),
        ("crew Robert bob", "Robert", "alice", False),
        ("crew Robert bob", "bob", "bob", False),
        ("other Robert bob", "Robert", "bob", False),
        (r"crew /^(.*)@example\.org$ \1", "bob@example.org", "bob", True),
        (r"crew /^(.*)@example\.org$ \1", "bob@example.org", "alice", False),
        (r"crew /^(.*)@example\.org$ \1", "bob@example.net", "bob", False),
        (r"crew /^(.*)@example\.org$ \1_ro", "bob@example.org", "bob_ro", True),
        (r"crew /^(x)?bob$ \1", "bob", "", True),
        ("crew /bob guest", "a bob b", "guest", True),
        ("crew Robert all", "Robert", "anybody", True),
        ('crew Robert "all"', "Robert", "anybody", False),
        ("crew Robert /^app_", "Robert", "app_1", True),
        ("crew Robert /^app_", "Robert", "bapp_1", False),
        ('crew "CN=Bob,O=x" bob', "CN=Bob,O=x", "bob", True),
        ("crew /^bob$ bob", "bob\n", "bob", False),
        (r"crew /^(.*)@example\.org$ \1", "bob@example.org\n", "bob", False),
        (r"crew /^(.*)@example\.org$ \1", "a\nb@example.org", "a\nb", True),
        ("crew Robert /^app$", "Robert", "app\n", False),
    ],
)
def test_whom_a_name_may_be(line: str, name: str, user: str, lets: bool) -> None:
    assert maps(f"# who is who\nnobody none none\n{line}\n").lets("crew", name, user) is lets


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("crew", "the name that is mapped is missing"),
        ("crew Robert", "the user is missing"),
        ("crew Robert bob alice", "'alice' is too much"),
        ("crew Robert,Bob bob", "is one word, not a list"),
        ("crew /( bob", "is no regular expression"),
        (r"crew Robert \1", r": \1 stands for a group of a regular expression, and there is none"),
        (r"crew /bob \1", "there is none"),
        ("crew Robert +admins", "only PostgreSQL knows"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(line: str, problem: str) -> None:
    with pytest.raises(InvalidRules) as told:
        maps(f"crew a b\n{line}")
    (text,) = told.value.problems
    assert text.startswith("ident line 2: ")
    assert problem in text
