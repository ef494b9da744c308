"""Rules: exchanges of all kinds."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support import messages as m
from tests.support.machine.base import Base
from tests.support.machine.exchanges import (
    NAMES,
    SYNC,
    Exchange,
    call,
    exchanges,
    parse_and_run,
    pipelined,
    query,
    ready,
    run,
    unnamed,
)
from tests.support.machine.vocabulary import CALLS, CHANGES, INSIDE, LOOK

#: Those who share a pool come more often.
NUMBERS = st.sampled_from([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6])
PIECES = st.sampled_from([0, 0, 0, 1, 7, 100])


class Asking(Base):
    """See the module."""

    @rule(number=NUMBERS, exchange=exchanges(), piece=PIECES)
    def ask(self, number: int, exchange: Exchange, piece: int) -> None:
        self.exchange(number, exchange, piece)

    @rule(number=NUMBERS, exchange=exchanges())
    def again(self, number: int, exchange: Exchange) -> None:
        """More of the same: most rules should be exchanges."""
        self.exchange(number, exchange)

    @rule(number=NUMBERS, first=exchanges(), second=exchanges())
    def twice(self, number: int, first: Exchange, second: Exchange) -> None:
        self.exchange(number, first)
        self.exchange(number, second)

    @rule(number=NUMBERS, texts=st.sampled_from(INSIDE), look=st.sampled_from(LOOK), together=st.booleans())
    def transaction(self, number: int, texts: list[str], look: str, together: bool) -> None:
        self.client(number)
        if together:
            self.exchange(number, pipelined([query(text) for text in texts]))
        else:
            for text in texts:
                self.exchange(number, query(text))
        self.exchange(number, query(look))

    @rule(number=NUMBERS, change=st.sampled_from(CHANGES), look=st.sampled_from(LOOK))
    def change_and_look(self, number: int, change: str, look: str) -> None:
        self.exchange(number, query(change))
        for other in range(3):
            self.exchange(other, query(look))

    @rule(number=NUMBERS, name=st.sampled_from(sorted(CALLS)))
    def function_call(self, number: int, name: str) -> None:
        self.exchange(number, call(name, self.worlds.oids[name]))

    @rule(number=NUMBERS, name=NAMES, text=st.sampled_from(["select name from whose", "select * from shape"]))
    def tenant(self, number: int, name: str, text: str) -> None:
        """As multi-tenant programs do: a schema per transaction, and prepared statements."""
        self.exchange(number, query("rollback"))
        self.exchange(number, parse_and_run(name, text))
        for schema in ("tenant_a", "tenant_b"):
            path = query(f"set local search_path = {schema}, public")
            self.exchange(number, pipelined([query("begin"), path, run(name), query("commit")]))
        self.exchange(number, run(name))

    @rule(number=NUMBERS, kind=st.sampled_from(["query", "unnamed", "prepared", "held"]))
    def write(self, number: int, kind: str) -> None:
        """A line in the ledger: acknowledged, it is there once."""
        token = (f"client {number}", self.worlds.programs * 1000 + len(self.acknowledged))
        text = "insert into ledger values ('{}', {})".format(*token)
        asked = "insert into ledger values ($1, $2)"
        values = (token[0].encode(), str(token[1]).encode())
        exchange = {
            "query": query(text),
            "unnamed": unnamed(asked, *values),
            "prepared": parse_and_run("s1", asked, *values),
            "held": pipelined([query("begin"), query(text), query("commit")]),
        }[kind]
        self.client(number)
        outside = not self.in_progress(number)
        heard = self.exchange(number, exchange)
        if outside and not heard.failed and not heard.ended and self.status(number) == "I":
            self.acknowledged.append(token)

    @rule(number=NUMBERS, which=st.sampled_from(["lastval()", "currval('counter')"]))
    def last_number(self, number: int, which: str) -> None:
        """Told in the transaction that has drawn, as directly; else 55000 at worst, and never another
        client's (docs/differences.md)."""
        self.client(number)
        if number in self.open:
            self.exchange(number, SYNC)
            self.client(number)
        if self.status(number) != "I":
            self.exchange(number, query("select nextval('counter')"))
            self.exchange(number, query(f"select {which}"))
            return
        self.make_room(number)
        self.worlds.note(f"{number}: last_number({which})")
        data = m.query(f"select {which}")
        expected, found = (world.ask(number, data, ready(1)) for world in self.worlds.both())
        if not any("'C': '55000'" in message for message in found.messages):
            self.same(number, expected, found)
        self.compare_notifications(number)

    @rule(number=NUMBERS)
    def parameters(self, number: int) -> None:
        """What it was told last is what is in force (I13)."""
        self.client(number)
        if number in self.skipping or self.status(number) == "E":
            return
        wire = self.worlds.through.clients[number].wire
        names = sorted(wire.parameters)
        heard = self.exchange(
            number, query("select " + ", ".join(f"current_setting('{each}')" for each in names))
        )
        if not heard.failed and not heard.ended:
            told = [wire.parameters[name] for name in names]
            self.same(number, told, [(value or b"").decode() for value in heard.rows[0]])
