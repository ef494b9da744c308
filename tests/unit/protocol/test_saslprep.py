"""SASLprep: RFC 4013's own examples, and PostgreSQL's where they differ (its test 002_saslprep.pl)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy.protocol.saslprep import saslprep


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        # RFC 4013, section 3.
        ("I\u00adX", b"IX"),
        ("user", b"user"),
        ("USER", b"USER"),
        ("\u00aa", b"a"),
        ("\u2168", b"IX"),
        # A combining mark is composed, a non-ASCII space becomes a space; ASCII is left alone.
        ("e\u0301", "é".encode()),
        ("a\u00a0b", b"a b"),
        ("a b", b"a b"),
        ("\x07", b"\x07"),
    ],
)
def test_what_can_be_prepared_is(password: str, prepared: bytes) -> None:
    assert saslprep(password) == prepared


@pytest.mark.parametrize(
    "password",
    [
        "\u00aa\x07",  # a control character among others
        "\u0627\u0031",  # right to left, and does not end so
        "a\u0627",  # right to left and left to right
        "\u00ad",  # nothing is left of it
        "\u00aa\ue000",  # private use
        "\u00aa\u0221",  # unassigned in Unicode 3.2
        "\U0001f511",
        b"\xaa\xff".decode("utf-8", "surrogateescape"),  # not UTF-8
    ],
)
def test_what_is_prohibited_is_hashed_raw(password: str) -> None:
    assert saslprep(password) == password.encode("utf-8", "surrogateescape")


def test_a_zero_width_space_is_a_space_as_in_postgresql() -> None:
    assert saslprep("a\u200bb") == b"a b"


def test_right_to_left_text_passes() -> None:
    assert saslprep("\u0627\u00ad\u0628") == "\u0627\u0628".encode()


@given(st.binary(max_size=30))
@settings(deadline=None)
def test_any_password_has_a_form(raw: bytes) -> None:
    assert isinstance(saslprep(raw.decode("utf-8", "surrogateescape")), bytes)
