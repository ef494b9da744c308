"""Exchanges: bytes with a name to print, and where their answer ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.support import messages as m
from tests.support.machine.vocabulary import (
    ANY,
    ASKING,
    CALLS,
    IN_BATCH,
    PORTALS,
    PREPARED,
    SINGLE,
)
from tests.support.messages import Message

#: Whether what has been read so far is the whole answer.
Over = Callable[[list[Message]], bool]

#: The last message of the answer to each message of a batch.
_ENDERS = "123TnCIs"


def ready(count: int) -> Over:
    return lambda read: m.letters(read).count("Z") >= count


def flushed(count: int) -> Over:
    """Of `count` messages behind which no Sync came: an error ends it, too."""
    return lambda read: sum(each.letter in _ENDERS for each in read) >= count or "E" in m.letters(read)


def copy_over(read: list[Message]) -> bool:
    """Of a COPY FROM with a Sync right behind its Execute: it is swallowed by a COPY that has begun, and
    answered where none has (sessions.md, rule 22)."""
    letters = m.letters(read)
    return letters.count("Z") >= (1 if "G" in letters else 2)


@dataclass(frozen=True, repr=False)
class Exchange:
    """What one client sends at once."""

    said: str
    data: bytes
    over: Over
    opens: bool = False  #: it leaves a batch without its Sync
    in_batch: bool = False  #: it may follow what has left one

    def __repr__(self) -> str:
        return self.said if len(self.said) < 150 else self.said[:90] + "..."


def _answered(data: bytes) -> Over:
    return ready(sum(letter in "QSF" for letter in m.frontend_letters(data)))


def query(text: str) -> Exchange:
    return Exchange(f"query({text!r})", m.query(text), ready(1))


def unnamed(text: str, *values: bytes | None) -> Exchange:
    data = m.extended(text, *values) + m.SYNC
    return Exchange(f"extended({text!r}, {values})", data, ready(1))


def in_steps(text: str) -> Exchange:
    """As asyncpg does it without a cache."""
    data = m.parse(text) + m.describe_statement() + m.SYNC + m.bind() + m.execute() + m.SYNC
    return Exchange(f"in_steps({text!r})", data, ready(2))


def batch(texts: Sequence[str]) -> Exchange:
    data = b"".join(map(m.extended, texts)) + m.SYNC
    return Exchange(f"batch({texts!r})", data, ready(1), in_batch=True)


def parse(name: str, text: str) -> Exchange:
    return Exchange(f"parse({name}, {text!r})", m.parse(text, name) + m.SYNC, ready(1))


def parse_and_run(name: str, text: str, *values: bytes | None) -> Exchange:
    data = m.parse(text, name) + m.describe_statement(name) + m.bind(values, statement=name) + m.execute()
    return Exchange(f"parse_and_run({name}, {text!r}, {values})", data + m.SYNC, ready(1))


def run(name: str, *values: bytes | None) -> Exchange:
    data = m.bind(values, statement=name) + m.execute() + m.SYNC
    return Exchange(f"run({name}, {values})", data, ready(1))


def describe(name: str) -> Exchange:
    return Exchange(f"describe({name})", m.describe_statement(name) + m.SYNC, ready(1))


def close(name: str) -> Exchange:
    return Exchange(f"close({name})", m.close_statement(name) + m.SYNC, ready(1))


SYNC = Exchange("sync()", m.SYNC, ready(1), in_batch=True)

_ROWS = {
    "good": m.copy_data(b"7\tcopied\n8\tcop") + m.copy_data(b"ied\n") + m.COPY_DONE,
    "bad": m.copy_data(b"7\tcopied\n") + m.copy_data(b"nonsense\n") + m.copy_data(b"9\tlate\n") + m.COPY_DONE,
    "given up": m.copy_data(b"7\tcopied\n") + m.copy_fail("enough"),
}


def copy_in(rows: str) -> Exchange:
    return Exchange(f"copy_in({rows})", m.query("copy note from stdin") + _ROWS[rows], ready(1))


def copy_batch(rows: str, hasty: bool) -> Exchange:
    """`hasty`: as libpq's pipeline mode, with a Sync behind the Execute."""
    data = m.extended("copy note from stdin") + (m.SYNC if hasty else b"") + _ROWS[rows] + m.SYNC
    return Exchange(f"copy_batch({rows}, {hasty})", data, copy_over if hasty else ready(1))


def call(name: str, oid: int) -> Exchange:
    return Exchange(f"call({name})", m.function_call(oid, *CALLS[name]), ready(1))


def _piece(said: str, data: bytes, synced: bool) -> Exchange:
    if synced:
        return Exchange(f"{said} + sync", data + m.SYNC, ready(1), in_batch=True)
    count = len(m.frontend_letters(data))
    return Exchange(f"{said} + flush", data + m.FLUSH, flushed(count), opens=True, in_batch=True)


def pieces(texts: Sequence[str]) -> Exchange:
    """A batch that goes on: answered up to a Flush."""
    return _piece(f"pieces({texts!r})", b"".join(map(m.extended, texts)), False)


def open_portal(name: str, text: str, synced: bool) -> Exchange:
    data = m.parse(text) + m.bind(portal=name) + m.execute(name, 2)
    return _piece(f"open_portal({name}, {text!r})", data, synced)


def more(name: str, limit: int, synced: bool) -> Exchange:
    return _piece(f"more({name}, {limit})", m.execute(name, limit), synced)


def close_portal(name: str, synced: bool) -> Exchange:
    return _piece(f"close_portal({name})", m.describe_portal(name) + m.close_portal(name), synced)


def pipelined(exchanges: Sequence[Exchange]) -> Exchange:
    data = b"".join(exchange.data for exchange in exchanges)
    return Exchange(" + ".join(map(repr, exchanges)), data, _answered(data))


# Draws.

NAMES = st.sampled_from(["s1", "s2"])
_PORTAL_NAMES = st.sampled_from(["q1", "q2"])

#: How one is made, the likelier ones more than once.
_KINDS = (
    "query", "query", "query", "query", "unnamed", "unnamed", "in_steps", "in_steps", "batch", "parse",
    "parse_and_run", "parse_and_run", "run", "run", "describe", "close", "asked", "ask", "token",
)  # fmt: skip


@st.composite
def _one(draw: st.DrawFn) -> Exchange:
    """One that may stand with others in one write."""
    kind = draw(st.sampled_from(_KINDS))
    if kind == "query":
        return query(draw(st.sampled_from(ANY)))
    if kind == "unnamed":
        return unnamed(draw(st.sampled_from(SINGLE)))
    if kind == "in_steps":
        return in_steps(draw(st.sampled_from(SINGLE)))
    if kind == "batch":
        return batch(draw(st.lists(st.sampled_from(IN_BATCH), min_size=2, max_size=4)))
    if kind == "token":
        return query(f"select 'token {draw(st.integers(0, 10**6))}'")
    name = draw(NAMES)
    if kind in ("ask", "asked"):
        text = draw(st.sampled_from(sorted(ASKING)))
        value = draw(st.sampled_from(ASKING[text]))
        return unnamed(text, value) if kind == "ask" else parse_and_run(name, text, value)
    if kind == "parse":
        return parse(name, draw(st.sampled_from(PREPARED)))
    if kind == "parse_and_run":
        return parse_and_run(name, draw(st.sampled_from(PREPARED)))
    return {"run": run, "describe": describe, "close": close}[kind](name)


@st.composite
def _alone(draw: st.DrawFn) -> Exchange:
    """One whose answer depends on how it goes, or that leaves something open."""
    kind = draw(
        st.sampled_from(["copy_in", "copy_batch", "pieces", "portal", "more", "more", "close", "ask"])
    )
    rows = draw(st.sampled_from(sorted(_ROWS)))
    if kind == "copy_in":
        return copy_in(rows)
    if kind == "copy_batch":
        return copy_batch(rows, draw(st.booleans()))
    if kind == "pieces":
        return pieces(draw(st.lists(st.sampled_from(IN_BATCH), min_size=1, max_size=3)))
    name, synced = draw(_PORTAL_NAMES), draw(st.booleans())
    if kind == "portal":
        return open_portal(name, draw(st.sampled_from(PORTALS)), synced)
    if kind == "more":
        return more(name, draw(st.integers(0, 2)), synced)
    if kind == "close":
        return close_portal(name, synced)
    return run(draw(NAMES), b"7")


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """One, or several in one write."""
    kind = draw(st.integers(0, 9))
    if kind < 6:
        return draw(_one())
    if kind < 8:
        return pipelined(draw(st.lists(_one(), min_size=2, max_size=3)))
    return draw(_alone())
