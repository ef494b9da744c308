"""currval() and lastval() over shared servers: one's own number, or PostgreSQL's error and why (rule 14)."""

from __future__ import annotations

import pytest

from tests.support import messages as m
from tests.support.proxy import ProxyProcess
from tests.support.wire import Wire

LAST = "select lastval()"


@pytest.fixture
def other(narrow: ProxyProcess) -> Wire:
    """Who has drawn a number on the only server."""
    wire = narrow.login()
    wire.query("select nextval('counter')")
    return wire


def refusals(answer: list[m.Message]) -> list[dict[str, str]]:
    return [message.fields for message in answer if message.letter == "E"]


ASKED = {
    "alone": (m.query(LAST), 1),
    "extended": (m.extended(LAST) + m.SYNC, 1),
    "named": (m.extended(LAST, statement="s") + m.SYNC, 1),
    "currval": (m.query("select currval('counter')"), 1),
    "in a transaction": (m.query("begin") + m.query(LAST) + m.query("rollback"), 3),
    "behind a query": (m.query("select 1") + m.query(LAST), 2),
    "behind a batch": (m.extended("select 1") + m.SYNC + m.extended(LAST) + m.SYNC, 2),
    "in the middle of a batch": (m.extended("select 1") + m.extended(LAST) + m.SYNC, 1),
    "in a batch that begins a transaction": (m.extended("begin") + m.extended(LAST) + m.SYNC, 1),
    "in a text": (m.query("select 1; " + LAST), 1),
}


@pytest.mark.parametrize(("asked", "ends"), ASKED.values(), ids=ASKED)
def test_anothers_number_is_never_told_and_one_hears_why(
    narrow: ProxyProcess, other: Wire, asked: bytes, ends: int
) -> None:
    with narrow.login() as client:
        client.send(asked)
        (error,) = refusals(client.read_ready(ends))
        assert error["C"] == "55000"
        assert "pin_on" in error["H"]
        if client.status != "I":
            client.query("rollback")
        assert client.value("select 1") == "1"


def test_parsed_before_and_run_in_the_middle_of_a_batch(narrow: ProxyProcess, other: Wire) -> None:
    with narrow.login() as client:
        client.ask(m.parse(LAST, "s") + m.SYNC)
        other.query("select nextval('counter')")
        run = m.bind(statement="s") + m.execute()
        (error,) = refusals(client.ask(m.extended("select 1") + run + m.SYNC))
        assert error["C"] == "55000"
        drawn = client.ask(m.extended("select nextval('counter')") + run + m.SYNC)
        assert m.rows(drawn)[0] == m.rows(drawn)[1]


def test_what_is_ones_own_is_told(narrow: ProxyProcess, other: Wire) -> None:
    with narrow.login() as client:
        client.query("begin")
        drawn = client.value("select nextval('counter')")
        assert client.value(LAST) == drawn
        assert m.rows(client.ask(m.extended("select 1") + m.extended(LAST) + m.SYNC))[1] == [
            (drawn or "").encode()
        ]
        client.query("commit")


def test_an_error_that_is_not_ours_to_explain_has_no_hint(narrow: ProxyProcess) -> None:
    with narrow.login() as client:
        client.query("discard sequences")
        client.query("select pg_advisory_lock(14)")
        (error,) = refusals(client.ask(m.query(LAST)))
        assert (error["C"], error.get("H")) == ("55000", None)
