"""Properties of the look at a text: nothing hides between the tokens, and both builds see the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.session.looking import look
from tests.unit.session.test_statements import CLEAN, SUSPECT, TRACKED
from tests.unit.twins import source_of

SOURCE = source_of("session.statements")

#: What may stand between two tokens and mean nothing (manual 4.1.5).
gaps = st.lists(
    st.sampled_from(
        [
            " ",
            "\t",
            "\n",
            "\r\n",
            "\f",
            "/**/",
            "/* a */",
            "/* ' \" $$ ; -- /* */ */",
            "-- ' \" $$ /*\n",
            "--\n",
            "-- '\r",
        ]
    ),
    min_size=1,
    max_size=3,
).map("".join)

#: Whole expressions that hold every kind of quoting, none of which says anything about session state.
pieces = st.sampled_from(
    ["1", "'a'", "'a''b'", "''", "';'", "'--'", "'/*'", "'$$'", '"a"', '"a""b"', '";"', '"--"', "$$a$$",
     "$$;$$",
     "$$'$$", "$a$ $$ ; ' $a$", "e'a'", "E'\\''", "E'\\\\'", "E'''; '", "e'\\n--'", "$1", "a$b",
     "(1)", "*", "-", "/", "a.b", "é"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(pieces, gaps), max_size=8), gaps, gaps)
def test_a_set_behind_any_quoting_is_found(before: list[tuple[str, str]], first: str, second: str) -> None:
    text = "select " + ", ".join(piece + gap for piece, gap in before) + f";{first}set{second}x.y = 1"
    assert look(text) is not None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(pieces, gaps), max_size=8))
def test_quoting_alone_is_clean_unless_it_is_unclear(before: list[tuple[str, str]]) -> None:
    text = "select " + ", ".join(piece + gap for piece, gap in before) + "; select 1"
    assert look(text) in (None, "unclear")


#: Texts whose tokens stand apart by single blanks, none of them within quotes.
SPACED = [
    text
    for text in [text for _, text in SUSPECT] + [text for text, _ in TRACKED]
    if not set("'\"$\\") & set(text) and "--" not in text and "/*" not in text and " " in text
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SPACED), st.lists(gaps, min_size=12, max_size=12))
def test_what_stands_between_tokens_hides_nothing(text: str, between: list[str]) -> None:
    words = text.split(" ")
    spread = "".join(word + between[index % 12] for index, word in enumerate(words[:-1])) + words[-1]
    assert look(spread) is not None


def test_there_are_texts_to_spread() -> None:
    assert len(SPACED) > 30


@pytest.mark.parametrize("text", [*CLEAN, *(text for _, text in SUSPECT), *(text for text, _ in TRACKED)])
@pytest.mark.parametrize("cautious", [False, True])
def test_both_builds_see_the_same_in_every_table(text: str, cautious: bool) -> None:
    assert look(text, cautious) == look(text, cautious, SOURCE.Scanner)


fragments = st.sampled_from(
    ["select", "set", "x.y", "=", "1", ";", "'", '"', "$$", "$a$", "--", "/*", "*/", "\n", "\r", " ", "e'",
     "E",
     "\\", "u&", "into", "insert", "hold", "declare", "explain", "create", "set_config",
     "begin", "reset", "all", ",", "é", "$1"]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    st.lists(fragments, max_size=16).map("".join) | st.lists(fragments, max_size=16).map(" ".join),
    st.booleans(),
)
def test_both_builds_see_the_same_in_any_text(text: str, cautious: bool) -> None:
    assert look(text, cautious) == look(text, cautious, SOURCE.Scanner)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60).map(lambda noise: noise.replace(b"\0", b" ")), st.booleans())
def test_any_bytes_are_looked_at_without_an_error(noise: bytes, cautious: bool) -> None:
    assert look(noise, cautious) == look(noise, cautious, SOURCE.Scanner)
