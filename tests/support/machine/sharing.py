"""Rules: what one client's doings are to others."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support import messages as m
from tests.support.machine.asking import NUMBERS
from tests.support.machine.base import Base
from tests.support.machine.exchanges import (
    NAMES,
    Exchange,
    close,
    exchanges,
    parse_and_run,
    query,
    ready,
    run,
    unnamed,
)
from tests.support.machine.vocabulary import CHANNELS, DEFAULTS, LOOK, SHAPES
from tests.support.machine.worlds import VISITORS

_LARGE = "select g, repeat('large ', 2000) from generate_series(1, 250) g"


class Sharing(Base):
    """See the module."""

    @rule(pool=st.sampled_from(sorted(VISITORS)), looks=st.lists(st.sampled_from(DEFAULTS), min_size=1))
    def somebody_new_looks(self, pool: tuple[str, str], looks: list[str]) -> None:
        """Whoever comes finds defaults (I1 to I9)."""
        number = VISITORS[pool].number
        self.log_in(number, {})
        for look in looks:
            self.exchange(number, query(look))
        self.exchange(number, run("s1"))
        self.exchange(number, run(""))
        self.leave(number)

    @rule(number=st.sampled_from([5, 6]), tenant=st.sampled_from(["acme", "bolt"]), extended=st.booleans())
    def hide(self, number: int, tenant: str, extended: bool) -> None:
        """A trigger sets the tenant: nobody else reads its rows. What it is to the client itself, in its next
        transaction, is docs/differences.md's."""
        other = 11 - number
        self.client(number)
        self.client(other)
        for each in (number, other):
            while self.there(each) and self.holds(each):
                self.let_go(each)
            self.client(each)
        text = f"insert into visit values ('{tenant}')"
        self.exchange(number, unnamed(text) if extended else query(text))
        self.exchange(other, query("select body from secret"))
        self.exchange(other, query(LOOK[0]))
        self.exchange(number, query("set app.tenant = ''"))
        self.exchange(number, query("select body from secret"))

    @rule(
        number=st.integers(0, 3),
        other=st.sampled_from([None, None, 0, 1, 2, 3]),
        listen=st.sampled_from([text for text in CHANNELS if text.startswith("listen")]),
        said=st.lists(st.sampled_from([text for text in CHANNELS if "notify" in text]), max_size=2),
        extended=st.booleans(),
    )
    def notify(self, number: int, other: int | None, listen: str, said: list[str], extended: bool) -> None:
        """A listener, and another one who speaks (None: itself); what is committed before the listener's next
        exchange is heard before that is over."""
        other = number if other is None else other
        for each in {number, other}:
            if self.there(each) and self.in_progress(each):
                self.let_go(each)
        self.exchange(number, query(listen))
        for text in (listen.split(";")[0].replace("listen", "notify"), *said):
            self.exchange(other, unnamed(text) if extended and ";" not in text else query(text))
        self.exchange(number, query("select 'heard'"))

    @rule(
        number=st.integers(0, 3),
        elsewhere=st.booleans(),
        name=NAMES,
        change=st.sampled_from([*SHAPES[:2], *SHAPES]),
        describes=st.booleans(),
    )
    def alter_between(self, number: int, elsewhere: bool, name: str, change: str, describes: bool) -> None:
        """A prepared statement whose table is changed, run where it was parsed or on another server."""
        pool = self.person(number).pool
        self.client(number)
        for each in (*self.holders(pool, number), number):
            if self.there(each) and self.in_progress(each):
                self.let_go(each)
        for exchange in (close(name), parse_and_run(name, "select * from shape"), query(change)):
            self.exchange(number, exchange)
        if elsewhere:
            # Somebody else takes the server that it had last, once that is reset.
            self.worlds.in_time(lambda: not self.worlds.in_state("servers", "resetting"), "all are reset")
            self.exchange((number + 1) % 4, query("begin"))
        if describes:
            data = m.describe_statement(name) + m.bind(statement=name) + m.execute() + m.SYNC
            self.exchange(number, Exchange(f"describe_and_run({name})", data, ready(1)))
        for _ in range(2):
            self.exchange(number, run(name))

    @rule(number=NUMBERS, other=NUMBERS, exchange=exchanges())
    def not_reading(self, number: int, other: int, exchange: Exchange) -> None:
        """One who does not read a large result keeps nobody waiting but for its server."""
        self.client(number)
        if number == other or number in self.open or self.status(number) == "E":
            return
        self.make_room(number)
        self.worlds.note(f"{number}: does not read {_LARGE}")
        for world in self.worlds.both():
            world.clients[number].send(m.query(_LARGE))
        self.pinned.add(number)  # it holds a server now, whatever its status says
        pool = self.person(other).pool
        if pool != self.person(number).pool or len(self.holders(pool, other)) < self.worlds.size:
            self.exchange(other, exchange)
        heard = [world.clients[number].hear(ready(1)) for world in self.worlds.both()]
        self.hold_against(number, heard[0], heard[1], query(_LARGE))
