"""Channels by their names."""

from __future__ import annotations

import pytest

from poolproxy.session.channels import channel, lend_texts, listen_query, listened, quoted


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("listen here", ["here"]),
        ('LISTEN Here;listen "There" ; select 1; listen x$1', ["Here", '"There"', "x$1"]),
        ('  listen"quoted ""name"""', ['"quoted ""name"""']),
        ("listen\n\there", ["here"]),
        ("listen größe", ["größe"]),
        ("listen a; listen a", ["a"]),
        ("listener here", []),
        ("select 'listen here'", []),
        ("listen /* comment */ here", []),
        ('listen U&"\\0068"', ["U"]),  # not what it says: the hub listens to one too many, no harm
        ('listen ""', []),
        ("unlisten here", []),
        ("", []),
    ],
)
def test_names_behind_listen(text: str, names: list[str]) -> None:
    assert [name.decode() for name in listened(text.encode())] == names


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("here", "here"),
        ("HeRe", "here"),
        ('"HeRe"', "HeRe"),
        ('"a ""b"""', 'a "b"'),
        ("a" * 63, "a" * 63),
        ("a" * 64, None),
        ('"' + "ü" * 31 + '"', "ü" * 31),
        ('"' + "ü" * 32 + '"', None),
        ("größe", None),
    ],
)
def test_names_as_they_are_spelled(spelled: str, name: str | None) -> None:
    assert channel(spelled) == name


@pytest.mark.parametrize(
    ("name", "encoding", "text"),
    [
        ("here", "UTF8", b'"here"'),
        ('a "b"', "UTF8", b'"a ""b"""'),
        ("größe", "UTF8", '"größe"'.encode()),
        ("größe", "LATIN1", '"größe"'.encode("latin-1")),
        ("1 €\\", "LATIN1", b'U&"1 \\+0020ac\\+00005c"'),
        ("\udce9", "SQL_ASCII", b'"\xe9"'),
    ],
)
def test_names_in_texts_of_ours(name: str, encoding: str, text: bytes) -> None:
    assert quoted(name, encoding) == text


def test_texts_of_ours() -> None:
    assert listen_query({"b", "a"}, "UTF8") == b'LISTEN "a"; LISTEN "b"'
    assert lend_texts({"b", "a"}, "UTF8") == [b"SET poolproxy.listening = '1'", b'LISTEN "a"', b'LISTEN "b"']
