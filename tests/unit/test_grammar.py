"""The automaton that checks the order of answers: what a PostgreSQL says passes, anything else does not."""

from __future__ import annotations

import pytest

from tests.support import messages as m
from tests.support.grammar import Grammar, Ungrammatical
from tests.support.messages import Message

ERROR = Message("E", b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0")
FATAL = Message("E", b"SFATAL\0VFATAL\0C57P01\0Mthe end\0\0")
NOTIFICATION = Message("A", b"\0\0\0\1a\0b\0")
COPY = m.extended("copy note from stdin")


def listen(sent: bytes, answer: str, status: str = "I") -> None:
    """One letter per message of the answer; e and f are an error and a fatal one."""
    grammar = Grammar()
    grammar.sent(sent)
    for letter in answer:
        special = {"e": ERROR, "f": FATAL, "A": NOTIFICATION, "Z": Message("Z", status.encode())}
        grammar.received(special.get(letter, Message(letter, b"")))
    assert not [letter for letter in grammar.owed if "Z" in answer], grammar.owed


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (m.query("select 1"), "TDCSZ"),
        (m.query("select 1") + m.query("select 1/0"), "TDCZTeZ"),
        (m.extended("select 1") + m.SYNC, "12TDCZ"),
        (m.extended("select 1/0") + m.extended("select 1") + m.SYNC + m.extended("") + m.SYNC, "12TeZ12nIZ"),
        (m.extended("select 1") + m.SYNC, "12TDCeZ"),  # deferred, it fails at the Sync
        (m.describe_statement("s") + m.close_portal() + m.SYNC, "tn3Z"),
        (m.execute("p", 2) + m.execute("p", 2) + m.SYNC, "DDsDCZ"),
        (m.query("copy note from stdin") + m.copy_data(b"1") + m.COPY_DONE + m.query(""), "GCZIZ"),
        (m.query("copy note from stdin") + m.copy_data(b"x") + m.COPY_DONE + m.query(""), "GeZIZ"),
        (COPY + m.SYNC + m.copy_data(b"1") + m.COPY_DONE + m.SYNC, "12nGCZ"),
        (COPY + m.SYNC + m.copy_data(b"x") + m.copy_fail("no") + m.SYNC, "12nGeZ"),
        (COPY + m.SYNC + m.copy_data(b"1") + m.COPY_DONE + m.SYNC, "12neZZ"),
        (m.function_call(1), "VZ"),
        (m.query("notify a"), "CAAZ"),
        (m.query("select 1"), "AATDCZ"),
        (m.query("select 1"), "TDf"),
    ],
)
def test_what_postgresql_says(sent: bytes, answer: str) -> None:
    listen(sent, answer)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", "Z"),
        (b"", "e"),
        (m.query("select 1"), "TDCZZ"),
        (m.query("select 1"), "1"),
        (m.extended("select 1") + m.SYNC, "2"),
        (m.extended("select 1") + m.SYNC, "12TDZ"),
        (m.extended("select 1") + m.extended("select 2") + m.SYNC, "12TeC"),
        (m.extended("select 1") + m.SYNC, "1TDC"),
        (m.query("select 1"), "TADCZ"),
        (m.query("select 1"), "TDfZ"),
    ],
)
def test_what_it_does_not(sent: bytes, answer: str) -> None:
    with pytest.raises(Ungrammatical):
        listen(sent, answer)


def test_a_notification_in_a_transaction() -> None:
    grammar = Grammar()
    grammar.sent(m.query("begin"))
    grammar.received(Message("C", b"BEGIN\0"))
    grammar.received(Message("Z", b"T"))
    with pytest.raises(Ungrammatical):
        grammar.received(NOTIFICATION)
