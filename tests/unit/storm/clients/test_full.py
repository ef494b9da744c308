from __future__ import annotations

import asyncpg
import pytest

from benchmarks.storm.clients.errors import ConnectionLost, ProtocolError, SessionError
from benchmarks.storm.clients.full import translated


def test_a_server_error() -> None:
    error = asyncpg.PostgresError.new(
        {"S": "FEHLER", "V": "ERROR", "C": "23505", "M": "duplicate key", "D": "a detail"}
    )
    assert repr(translated(error, closed=False)) == "<ServerError ERROR 23505 'duplicate key'>"


def test_a_server_error_of_an_unknown_kind() -> None:
    error = asyncpg.PostgresError.new({"S": "FATAL", "C": "ZZ999", "M": "what"})
    assert repr(translated(error, closed=True)) == "<ServerError FATAL ZZ999 'what'>"


def test_a_connection_that_was_closed_with_a_word() -> None:
    error = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    error.__cause__ = asyncpg.PostgresError.new({"S": "FATAL", "C": "57P01", "M": "terminating"})
    assert repr(translated(error, closed=True)) == "<ServerError FATAL 57P01 'terminating'>"


@pytest.mark.parametrize(
    ("error", "closed", "kind"),
    [
        (asyncpg.ConnectionDoesNotExistError("connection was closed"), True, ConnectionLost),
        (asyncpg.InterfaceError("connection is closed"), True, ConnectionLost),
        (asyncpg.InterfaceError("another operation is in progress"), False, SessionError),
        (asyncpg.exceptions.DataError("invalid input for query argument $1"), False, SessionError),
        (asyncpg.InternalClientError("unexpected message"), False, ProtocolError),
    ],
)
def test_asyncpgs_own_errors(error: Exception, closed: bool, kind: type[SessionError]) -> None:
    found = translated(error, closed)
    assert type(found) is kind
    assert str(found) == str(error)
