"""SET, RESET and DISCARD: what is plain is an assignment that can be repeated, everything else pins."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy.session.assignments import ALL, EVERYTHING, Assignment, literal, read_assignment

PLAIN = [
    ("set work_mem = '9MB'", "work_mem", "'9MB'"),
    ("set work_mem to '9MB'", "work_mem", "'9MB'"),
    ("SET WORK_MEM='9MB';", "work_mem", "'9MB'"),
    ("set session work_mem = 9000", "work_mem", "9000"),
    ("set \n\t work_mem \f= \r 9000 ; ;", "work_mem", "9000"),
    ('set "work_mem" = 1', "work_mem", "1"),
    ("set seq_page_cost = 1.5", "seq_page_cost", "1.5"),
    ("set geqo_seed = -0", "geqo_seed", "-0"),
    ("set geqo_seed = +1.0", "geqo_seed", "+1.0"),
    ("set enable_seqscan = off", "enable_seqscan", "off"),
    ("set enable_seqscan to ON", "enable_seqscan", "ON"),
    ("set datestyle to iso, dmy", "datestyle", "iso, dmy"),
    ("set search_path to a,b , c", "search_path", "a, b, c"),
    ('set search_path = "$user", \'public\', "A b"', "search_path", '"$user", \'public\', "A b"'),
    ("set search_path = ''", "search_path", "''"),
    ("set app.v = 'it''s'", "app.v", "'it''s'"),
    ("set app.v = 'a ,b'", "app.v", "'a ,b'"),
    ("set app.v = 'a  ;  b'", "app.v", "'a  ;  b'"),
    ("set app.v = 'to = default'", "app.v", "'to = default'"),
    ("set app.v = 'default'", "app.v", "'default'"),
    ("set App.Sub.V = 1", "app.sub.v", "1"),
    ("set time zone 'UTC'", "timezone", "'UTC'"),
    ("set timezone to 'UTC'", "timezone", "'UTC'"),
    ("set names 'latin1'", "client_encoding", "'latin1'"),
    ("set client_encoding to utf8", "client_encoding", "utf8"),
    ("set work_mem to default", "work_mem", None),
    ("set work_mem = DEFAULT;", "work_mem", None),
    ("reset work_mem", "work_mem", None),
    ("RESET app.v;", "app.v", None),
    ("reset time zone", "timezone", None),
    ("reset all", ALL, None),
    ("DISCARD ALL;", EVERYTHING, None),
]

NOTHING = [
    "set local work_mem = '9MB'",
    "SET LOCAL role TO a",
    "set transaction isolation level serializable",
    "set constraints all immediate",
    "set transaction_isolation = 'serializable'",
    "set transaction_read_only to on",
    "reset transaction_deferrable",
    "discard plans",
    "discard temporary",
    "discard sequences",
    "select 1",
    "select 'é' || $1",
    "begin",
    "",
]

PINNED = [
    ("role", "set role a"),
    ("role", "set role none"),
    ("role", "set role = 'a'"),
    ("role", "set session role a"),
    ("role", 'set "role" = a'),
    ("role", "reset role"),
    ("role", "set session authorization a"),
    ("role", "set session_authorization = 'a'"),
    ("role", "reset session authorization"),
    ("role", "reset session_authorization"),
    ("seed", "set seed to 0.5"),
    ("seed", "set seed = 0.5"),
    ("setting", "set exit_on_error = off"),
    ("setting", "reset exit_on_error"),
    ("setting", "set default_text_search_config = 'simple'"),
    ("setting", "set idle_session_timeout = 1"),
    ("setting", "set temp_buffers = 100"),
    ("setting", "set session characteristics as transaction read only"),
    ("setting", "set xml option document"),
    ("setting", "set schema 'a'"),
    ("setting", "set time zone local"),
    ("setting", "set time zone default"),
    ("setting", "set time zone -7"),
    ("setting", "set time zone interval '1' hour"),
    ("setting", "set names default"),
    ("setting", "set work_mem"),
    ("setting", "set work_mem ="),
    ("setting", "set = 1"),
    ("setting", "set work_mem = 1 2"),
    ("setting", "set work_mem = ,1"),
    ("setting", "set work_mem = 1,"),
    ("setting", "set work_mem = 1,,2"),
    ("setting", "set work_mem = default, 1"),
    ("setting", "set app.v = a.b"),
    ("setting", "set app.v = 'a' 'b'"),
    ("setting", "set app.v = e'a'"),
    ("setting", "set app.v = 'a\\b'"),
    ("setting", "set app.v = $1"),
    ("setting", "set app.v = $$a$$"),
    ("setting", "set app.v = 'é'"),
    ("setting", 'set app.v = "é"'),
    ("setting", "set é = 1"),
    ("setting", "set app.v = f(1)"),
    ("setting", "set app.v = 0x1f"),
    ("setting", "set app.v = 1e5"),
    ("setting", "set app.v /* a */ = 1"),
    ("setting", "set app.v = 1 -- a"),
    ("setting", "set app.v = 'open"),
    ("setting", "set app.v = 1; select 1"),
    ("setting", 'set "app v" = 1'),
    ("setting", "set app.a$b = 1"),
    ("setting", "reset app.é"),
    ("setting", "discard é"),
]


@pytest.mark.parametrize(("text", "name", "fragment"), PLAIN)
def test_a_plain_assignment_is_read(text: str, name: str, fragment: str | None) -> None:
    assert read_assignment(text.encode()) == Assignment(name, fragment)


@pytest.mark.parametrize("text", NOTHING)
def test_what_leaves_nothing_is_nothing(text: str) -> None:
    assert read_assignment(text.encode()) is None


@pytest.mark.parametrize(("reason", "text"), PINNED)
def test_what_is_not_plain_pins(reason: str, text: str) -> None:
    assert read_assignment(text.encode()) == reason


@pytest.mark.parametrize(
    "name", ["local.x", "transaction.x", "constraints.x", "session.x", "role.x", "names.x"]
)
def test_a_custom_name_that_begins_like_a_clause_is_no_clause(name: str) -> None:
    """PostgreSQL reads `SET local.x = 1` as the setting "local.x": it lasts."""
    assert read_assignment(f"set {name} = 1".encode()) is not None


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=30))
def test_a_string_is_repeated_as_it_stands(value: str) -> None:
    """Whatever printable ASCII a string holds, the fragment is that string to the byte."""
    quoted = literal(value)
    assert read_assignment(f"set app.v = {quoted}".encode()) == Assignment("app.v", quoted)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_behind_set_have_an_answer(noise: bytes) -> None:
    found = read_assignment(b"set " + noise)
    if isinstance(found, Assignment):
        assert found.name
        assert found.name == found.name.lower()
        assert found.fragment is None or found.fragment.isascii()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "''"),
        ("a", "'a'"),
        ("it's", "'it''s'"),
        ("a\\b", " E'a\\\\b'"),
        ("\\'; set x = 1; --", " E'\\\\''; set x = 1; --'"),
        ("é", "'é'"),
    ],
)
def test_a_literal_reads_the_same_under_any_standard_conforming_strings(value: str, text: str) -> None:
    assert literal(value) == text
