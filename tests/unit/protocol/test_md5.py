"""The md5 exchange, against values that PostgreSQL gave."""

from __future__ import annotations

import hashlib

import pytest

from poolproxy.protocol.md5 import is_md5_hash, md5_hash, md5_matches, md5_response


def test_the_stored_form() -> None:
    # As PostgreSQL stores it: "md5" || md5('secret' || 'bob').
    assert md5_hash("bob", "secret") == "md5" + hashlib.md5(b"secretbob").hexdigest()
    assert md5_hash("bøb", "é") == "md5" + hashlib.md5("ébøb".encode()).hexdigest()


def test_the_response_is_salted() -> None:
    stored = md5_hash("bob", "secret")
    inner = hashlib.md5(b"secretbob").hexdigest().encode()
    assert md5_response(stored, b"\1\2\3\4") == b"md5" + hashlib.md5(inner + b"\1\2\3\4").hexdigest().encode()


def test_only_the_right_response_matches() -> None:
    stored, salt = md5_hash("bob", "secret"), b"\0\xff\1\2"
    assert md5_matches(stored, salt, md5_response(stored, salt))
    assert md5_matches(stored.upper().replace("MD5", "md5"), salt, md5_response(stored, salt))
    for wrong in (
        md5_response(stored, b"\0\xff\1\3"),
        md5_response(md5_hash("bob", "x"), salt),
        b"",
        b"md5",
        b"\xff",
    ):
        assert not md5_matches(stored, salt, wrong)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("md5" + "0f" * 16, True),
        ("md5" + "0F" * 16, True),
        ("md5" + "0f" * 15, False),
        ("md5" + "0g" * 16, False),
        ("MD5" + "0f" * 16, False),
        ("", False),
    ],
)
def test_a_stored_hash_is_recognised(text: str, verdict: bool) -> None:
    assert is_md5_hash(text) is verdict
