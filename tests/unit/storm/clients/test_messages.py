from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from benchmarks.storm.clients import messages
from benchmarks.storm.clients.errors import ProtocolError
from tests.dialogues import words
from tests.support import messages as m
from tests.unit.storm.clients import backend

# What the client says, against the tests' own builders.


def test_startup() -> None:
    pairs = {"user": "app", "database": "db", "application_name": "ü"}
    assert messages.startup(pairs.items()) == m.startup(pairs)


def test_simple() -> None:
    assert messages.simple("select 'ü'") == m.query("select 'ü'")


def test_extended() -> None:
    expected = m.extended("select $1, $2", b"7", None) + m.SYNC
    assert messages.extended("select $1, $2", (7, None)) == expected


def test_terminate() -> None:
    assert messages.TERMINATE == m.TERMINATE


def test_passwords() -> None:
    assert messages.password(b"secret") == m.message("p", b"secret\0")
    first = b"SCRAM-SHA-256\0" + struct.pack("!i", 3) + b"n,,"
    assert messages.sasl_initial(b"SCRAM-SHA-256", b"n,,") == m.message("p", first)
    assert messages.sasl_response(b"c=") == m.message("p", b"c=")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ü", "ü".encode()),
        ("", b""),
        (7, b"7"),
        (True, b"t"),
        (False, b"f"),
        (b"\x00\xff", b"\\x00ff"),
        (Decimal("1.50"), b"1.50"),
        (date(2026, 1, 2), b"2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), b"2026-01-02 03:04:05+00:00"),
        (UUID(int=1), b"00000000-0000-0000-0000-000000000001"),
    ],
)
def test_parameters_are_text(value: object, text: bytes) -> None:
    assert messages.extended("select $1", (value,)) == m.extended("select $1", text) + m.SYNC


@pytest.mark.parametrize("value", [[1], (1,), {"a": 1}, {1}])
def test_what_has_no_text_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        messages.extended("select $1", (value,))


def test_a_zero_byte_does_not_cut_a_statement() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        messages.simple("select 1\0; drop table item")


# Cutting a stream into messages.

STREAM = words.parameter("a", "b") + words.row("x" * 300) + words.tag("SELECT 1") + words.ready()
PARTS = backend.split(STREAM)


@pytest.mark.parametrize("size", [1, 2, 5, 7, 64, 310, len(STREAM)])
def test_messages_come_out_however_the_stream_is_cut(size: int) -> None:
    frames = messages.Frames()
    found = []
    for at in range(0, len(STREAM), size):
        found += frames.feed(STREAM[at : at + size])
    assert found == PARTS


def test_a_message_comes_out_with_its_last_byte() -> None:
    frames = messages.Frames()
    assert frames.feed(STREAM[:-1]) == PARTS[:-1]
    assert frames.feed(STREAM[-1:]) == PARTS[-1:]
    assert frames.feed(b"") == []


def test_what_nobody_wants_is_left_out_up_to_ready_for_query() -> None:
    rows = words.row("x") + words.row("y") + words.tag("SELECT 2") + words.ready()
    found = messages.Frames().feed(rows + words.row("astray"), messages.STEPS_AND_ROWS)
    assert found == backend.split(words.tag("SELECT 2") + words.ready() + words.row("astray"))


@pytest.mark.parametrize("length", [0, 3, messages.LARGEST + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_an_error_at_once(length: int) -> None:
    with pytest.raises(ProtocolError, match="no PostgreSQL speaks like this"):
        messages.Frames().feed(b"D" + struct.pack("!I", length))


def test_a_web_server_is_no_postgresql() -> None:
    with pytest.raises(ProtocolError, match="HTTP"):
        messages.Frames().feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")


# Errors and rows.


def body(message: bytes) -> bytes:
    return message[5:]


def test_an_error_with_all_its_fields() -> None:
    error = messages.server_error(body(words.error("23505", "doppelt", "FEHLER", D="a detail")))
    assert (error.sqlstate, str(error), error.severity) == ("23505", "doppelt", "FEHLER")


def test_the_untranslated_severity_wins() -> None:
    error = messages.server_error(b"SFATAL auf deutsch\0VFATAL\0C57P01\0Mende\0\0")
    assert error.fatal


def test_a_server_before_9_6_has_one_severity() -> None:
    assert messages.server_error(b"SFATAL\0C57P01\0Mend\0\0").fatal


def test_an_error_without_fields_is_an_error_still() -> None:
    error = messages.server_error(b"\0")
    assert (error.sqlstate, error.severity, str(error)) == ("XX000", "ERROR", "")


def test_values_by_their_type() -> None:
    columns = backend.described(
        number=backend.INT4, large=backend.INT8, yes=backend.BOOL, part=backend.FLOAT8, name=backend.TEXT
    )
    decoders = messages.row_decoders(body(columns))
    values = body(backend.row(b"-7", b"9000000000", b"t", b"1.5", "ü".encode()))
    assert messages.row(values, decoders) == (-7, 9_000_000_000, True, 1.5, "ü")
    nothing = body(backend.row(None, b"0", b"f", None, b""))
    assert messages.row(nothing, decoders) == (None, 0, False, None, "")


def test_other_types_stay_text() -> None:
    decoders = messages.row_decoders(body(backend.described(day=1082, amount=1700)))
    assert messages.row(body(backend.row(b"2026-01-02", b"1.50")), decoders) == ("2026-01-02", "1.50")
