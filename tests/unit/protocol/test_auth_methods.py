"""What a require_auth allows, as libpq reads it."""

from __future__ import annotations

import pytest

from poolproxy.protocol.auth_methods import ALL, MD5, NONE, PASSWORD, SCRAM, required_methods


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", ALL),
        ("scram-sha-256", {SCRAM}),
        ("md5,scram-sha-256", {MD5, SCRAM}),
        ("none, scram-sha-256", {NONE, SCRAM}),
        ("gss,scram-sha-256", {SCRAM}),
        ("!password", {MD5, SCRAM, NONE}),
        ("!password,!md5,!none", {SCRAM}),
        ("!gss,!sspi,!oauth", ALL),
        ("password", {PASSWORD}),
    ],
)
def test_what_is_allowed(text: str, allowed: set[str]) -> None:
    assert required_methods(text) == allowed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scram", "no authentication method is called 'scram'"),
        ("md5,", "no authentication method is called ''"),
        ("!", "no authentication method is called ''"),
        ("md5,!password", "either all methods have a ! before them, or none has"),
        ("!md5,password", "either all methods have a ! before them, or none has"),
        ("md5,md5", "method md5 stands there twice"),
        ("gss", "no method that we speak is left"),
        ("!password,!md5,!none,!scram-sha-256", "no method that we speak is left"),
    ],
)
def test_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        required_methods(text)
