"""What a client wants, what a server holds, and the Queries between the two."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.protocol.codes import MAX_REPORTED
from poolproxy.session import parameters
from poolproxy.session.assignments import ALL, Assignment
from poolproxy.session.parameters import (
    AT_ONCE,
    EMPTY,
    GUARD,
    HANDOVER,
    ParameterSet,
    apply_assignment,
    changes,
    difference,
    fragment_of,
    parameter_set,
    report,
    reported_set,
    split_identifiers,
    switch,
)
from tests.unit.session.looking import look


def texts(held: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """The unguarded Queries from one to the other, names without the quotes they may carry."""
    found = difference(parameter_set(held), parameter_set(wanted), False)
    return [text.decode().replace('"', "") for text in found]


def test_equal_sets_are_one_object() -> None:
    assert parameter_set({"a": "1", "b": "2"}) is parameter_set({"b": "2", "a": "1"})
    assert parameter_set({}) is EMPTY
    assert parameter_set({"a": "1"}) is not parameter_set({"a": "2"})
    assert EMPTY.assign("a", "1").assign("b", "2").assign("a", None) is parameter_set({"b": "2"})


def test_assigning_leaves_the_set_itself_alone() -> None:
    one = parameter_set({"a": "1"})
    assert one.assign("a", "2").values == {"a": "2"}
    assert one.assign("b", "3").values == {"a": "1", "b": "3"}
    assert one.assign("a", "1") is one
    assert one.assign("b", None) is one
    assert one.values == {"a": "1"}


def test_over_gives_precedence_to_what_is_on_top() -> None:
    base, top = parameter_set({"a": "1", "b": "1"}), parameter_set({"b": "2", "c": "2"})
    assert top.over(base) is parameter_set({"a": "1", "b": "2", "c": "2"})
    assert top.over(EMPTY) is top
    assert EMPTY.over(base) is base


def test_sets_that_nobody_has_are_forgotten() -> None:
    gc.collect()
    before = len(parameters._sets)
    kept = [parameter_set({"forgotten": str(number)}) for number in range(50)]
    assert len(parameters._sets) == before + 50
    del kept
    gc.collect()
    assert len(parameters._sets) == before


def test_an_assignment_is_applied() -> None:
    held = parameter_set({"a": "1"})
    assert apply_assignment(held, Assignment("b", "2")) is parameter_set({"a": "1", "b": "2"})
    assert apply_assignment(held, Assignment("a", None)) is EMPTY
    assert apply_assignment(held, Assignment(ALL, None)) is EMPTY


def test_nothing_to_do_is_no_query() -> None:
    same = parameter_set({"a": "1"})
    assert difference(same, same, True) == ()
    assert difference(EMPTY, EMPTY, False) == ()


def test_only_what_differs_is_sent_and_the_default_is_a_reset() -> None:
    assert texts({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "3"}) == [
        "SET b TO 2; RESET c; SET d TO 3"
    ]


def test_the_search_path_comes_first_of_the_rest() -> None:
    assert texts({}, {"a": "1", "search_path": "'x'", "z": "2"}) == [
        "SET search_path TO 'x'; SET a TO 1; SET z TO 2"
    ]


@pytest.mark.parametrize("name", ["client_encoding", "standard_conforming_strings"])
def test_what_decides_how_the_rest_is_read_has_a_query_of_its_own_ahead(name: str) -> None:
    assert texts({}, {"a": "1", name: "'v'"}) == [f"SET {name} TO 'v'", "SET a TO 1"]
    assert texts({"a": "1", name: "'v'"}, {}) == [f"RESET {name}", "RESET a"]
    assert texts({}, {name: "'v'"}) == [f"SET {name} TO 'v'"]


def test_every_query_is_guarded_when_asked_for() -> None:
    wanted = parameter_set({"client_encoding": "'latin1'", "a": "1", "search_path": ""})
    queries = difference(EMPTY, wanted, True)
    assert len(queries) == 2
    assert all(query.startswith(GUARD.encode()) for query in queries)
    plain = [query.removeprefix(GUARD.encode()).removeprefix(AT_ONCE.encode()) for query in queries]
    assert plain == list(difference(EMPTY, wanted, False))


@pytest.mark.parametrize("fragment", [" E'\\U000000e9'", "'é'", "'\udce9'"])
def test_a_text_that_may_not_be_readable_is_guarded_from_outside(fragment: str) -> None:
    """Its own guard would not be run: no statement of a text is, of which one cannot be read."""
    begin, *texts, end = difference(EMPTY, parameter_set({"app.v": fragment, "search_path": ""}), True)
    assert begin.startswith(b"BEGIN")
    assert begin.endswith(GUARD.rstrip("; ").encode())
    assert texts == list(difference(EMPTY, parameter_set({"app.v": fragment, "search_path": ""}), False))
    assert end == b"COMMIT"


def test_what_is_large_is_not_remembered() -> None:
    """Thousands of differences are: with values of 100 kB each they would take a gigabyte."""
    large = parameter_set({"app.v": "'" + "x" * 100_000 + "'"})
    gone = weakref.ref(large)
    for one, other in ((EMPTY, large), (large, EMPTY)):
        assert len(difference(one, other, False)) == 1
        assert switch(one, other)[1] == 1
    del large, one, other
    gc.collect()
    assert gone() is None


def test_the_guard_itself_changes_last() -> None:
    held = {"exit_on_error": "'on'"}
    wanted = {"role": "'x'", "session_authorization": "'y'", "z": "1"}
    assert texts(held, wanted)[-1].endswith("RESET exit_on_error")
    assert texts(wanted, held)[-1].endswith("SET exit_on_error TO 'on'")


def test_the_hand_over_is_guarded_from_its_beginning_to_what_lifts_the_guard() -> None:
    assert HANDOVER.startswith(GUARD.encode())
    assert HANDOVER.endswith(b"; RESET ALL")
    assert HANDOVER.count(b"exit_on_error") == 1


def test_what_takes_a_snapshot_does_not_wait_for_others() -> None:
    (query,) = difference(EMPTY, parameter_set({"search_path": ""}), True)
    assert query.startswith((GUARD + AT_ONCE).encode())


def test_an_empty_list_is_set_by_a_function() -> None:
    assert texts({}, {"search_path": ""}) == ["SELECT pg_catalog.set_config('search_path', '', false)"]


RESERVED = ["user", "select", "end", "order", "default", "current_user"]


@pytest.mark.parametrize("word", RESERVED)
@pytest.mark.parametrize("fragment", ["'1'", None])
def test_a_name_that_holds_a_reserved_word_is_quoted(word: str, fragment: str | None) -> None:
    """`SET "app.user" = 'x'` is ordinary, `SET app.user TO 'x'` is a syntax error. With one
    anywhere in a Query its guard is never run: the statement would have another client's settings."""
    named = parameter_set({f"app.{word}": "'1'"})
    (query,) = difference(EMPTY, named, True) if fragment else difference(named, EMPTY, True)
    assert f"app.{word} " not in query.decode() + " "
    assert f'{word}"' in query.decode()


names = st.from_regex(r"[a-z_][a-z0-9_]{0,6}(\.[a-z_][a-z0-9_]{0,6})?", fullmatch=True)
sets = st.dictionaries(
    names, st.text(max_size=8).map(lambda value: fragment_of("app.v", value.replace("\0", ""))), max_size=5
)


@settings(max_examples=150, deadline=None)
@given(sets, sets)
def test_applying_a_difference_gives_what_is_wanted(held: dict[str, str], wanted: dict[str, str]) -> None:
    state = dict(held)
    for query in difference(parameter_set(held), parameter_set(wanted), False):
        for name, fragment in statements(query.decode("utf-8", "surrogateescape")):
            if fragment is None:
                del state[name]
            else:
                state[name] = fragment
    assert state == wanted


def statements(query: str) -> list[tuple[str, str | None]]:
    """The statements of one of our Queries: (name, fragment or None for RESET)."""
    found: list[tuple[str, str | None]] = []
    rest = query
    while rest:
        verb, _, rest = rest.partition(" ")
        if verb == "RESET":
            name, _, rest = rest.partition("; ")
            found.append((name.replace('"', ""), None))
            continue
        name, _, rest = rest.partition(" TO ")
        size = string_size(rest)
        found.append((name.replace('"', ""), rest[:size]))
        rest = rest[size:].removeprefix("; ")
    return found


def string_size(text: str) -> int:
    """How long the string constant at the beginning of `text` is, where a backslash escapes."""
    position = text.index("'") + 1
    while True:
        if text[position] == "\\":
            position += 1
        elif text[position] == "'":
            if text[position + 1 : position + 2] != "'":
                return position + 1
            position += 1
        position += 1


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20).map(lambda value: value.replace("\0", "")))
def test_a_hostile_value_stays_within_its_literal(value: str) -> None:
    query = difference(EMPTY, parameter_set({"app.v": fragment_of("app.v", value)}), False)[0]
    text = query.decode("utf-8", "surrogateescape")
    assert string_size(text) == len(text)
    assert look(query + b"; select 1", cautious="\\" not in value) is not None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", []),
        ("a", ["a"]),
        ("A, b", ["a", "b"]),
        ('"$user", public', ["$user", "public"]),
        ('"A ""b"" c"', ['A "b" c']),
        ('""', [""]),
        (' a ,"b" , c ', ["a", "b", "c"]),
    ],
)
def test_a_list_is_split_as_postgresql_does(value: str, found: list[str]) -> None:
    assert split_identifiers(value) == found


def test_list_values_are_repeated_name_by_name() -> None:
    assert fragment_of("search_path", '"$user", public, "it\'s"') == "'$user', 'public', 'it''s'"
    assert fragment_of("search_path", "") == ""
    assert fragment_of("datestyle", "ISO, DMY") == "'ISO, DMY'"


# What is reported.


def test_reported_values_are_interned_and_read_by_their_small_names() -> None:
    told = reported_set({b"DateStyle": b"ISO", b"TimeZone": b"UTC", b"application_name": b"a"})
    assert told is reported_set({b"application_name": b"a", b"TimeZone": b"UTC", b"DateStyle": b"ISO"})
    assert (told.value_of("datestyle"), told.value_of("timezone"), told.value_of("work_mem")) == (
        "ISO",
        "UTC",
        None,
    )
    assert told.name() == "a"
    assert told.named(b"b") is report(told, b"application_name", b"b")
    assert told.named(b"b").values == {**told.values, b"application_name": b"b"}


def test_a_server_that_reports_without_end() -> None:
    """A hundred thousand names, each step remembered, would take all memory there is."""
    told = reported_set({})
    for number in range(MAX_REPORTED):
        told = report(told, b"name %d" % number, b"x")
    assert report(told, b"name 1", b"y").values[b"name 1"] == b"y"
    with pytest.raises(UnexpectedServerAnswer, match="parameters reported"):
        report(told, b"one more", b"x")


@pytest.mark.parametrize("pairs", [[(b"search_path", b"x" * 100_000)], [(b"n" * 100_000, b"")],
                                   [(b"name %d" % number, b"") for number in range(70)]])  # fmt: skip
def test_what_is_large_is_not_remembered_of_reports_either(pairs: list[tuple[bytes, bytes]]) -> None:
    before = reported_set({b"a": b"1"})
    large = before
    for name, value in pairs:
        large = report(large, name, value)
    again = report(large, b"a", b"2")
    assert changes(before, large)
    assert changes(large, again)
    gone = [weakref.ref(large), weakref.ref(again)]
    del large, again
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_changes_are_what_must_be_told() -> None:
    told = reported_set({b"a": b"1", b"b": b"1"})
    now = report(report(told, b"b", b"2"), b"c", b"3")
    assert dict(changes(told, now)) == {b"b": b"2", b"c": b"3"}
    assert changes(now, now) == ()


@pytest.mark.parametrize(
    ("values", "cautious"),
    [
        ({}, False),
        ({b"standard_conforming_strings": b"on", b"client_encoding": b"UTF8"}, False),
        ({b"standard_conforming_strings": b"off"}, True),
        *(
            ({b"client_encoding": name}, True)
            for name in (b"SJIS", b"BIG5", b"GBK", b"UHC", b"GB18030", b"JOHAB")
        ),
        ({b"client_encoding": b"SHIFT_JIS_2004"}, True),
        ({b"client_encoding": b"LATIN1"}, False),
    ],
)
def test_caution_follows_what_is_reported(values: dict[bytes, bytes], cautious: bool) -> None:
    assert reported_set(values).cautious is cautious


def test_a_set_reads_like_its_values() -> None:
    assert repr(parameter_set({"a": "1"})) == "<ParameterSet {'a': '1'}>"
    assert isinstance(EMPTY, ParameterSet)
    assert not EMPTY.refused
