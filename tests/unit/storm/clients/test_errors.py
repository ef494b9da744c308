from __future__ import annotations

import asyncpg
import psycopg
import pytest

from benchmarks.storm.clients.errors import ConnectionLost, ServerError, SessionError, gist, label


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ServerError("53300", "FATAL", "sorry, too many clients already"), "53300"),
        (ConnectionLost("gone"), "ConnectionLost"),
        (SessionError("busy"), "SessionError"),
        (asyncpg.TooManyConnectionsError("sorry"), "53300"),
        (psycopg.errors.DeadlockDetected("deadlock"), "40P01"),
        (psycopg.OperationalError("the connection is lost"), "OperationalError"),
        (KeyError("body"), "KeyError"),
    ],
)
def test_errors_are_counted_by_sqlstate_or_name(error: BaseException, name: str) -> None:
    assert label(error) == name


def test_a_server_error_says_what_the_server_said() -> None:
    error = ServerError("57P01", "FATAL", "terminating connection")
    assert str(error) == "terminating connection"
    assert repr(error) == "<ServerError FATAL 57P01 'terminating connection'>"


@pytest.mark.parametrize(("severity", "fatal"), [("ERROR", False), ("FATAL", True), ("PANIC", True)])
def test_which_errors_end_a_session(severity: str, fatal: bool) -> None:
    assert ServerError("XX000", severity, "").fatal is fatal


def test_an_example_is_one_short_line() -> None:
    assert gist(ValueError("first\nsecond")) == "first"
    assert gist(ValueError("x" * 201)) == "x" * 200
