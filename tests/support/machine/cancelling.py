"""Rules: cancel requests, right and wrong, in time and late, and clients that wait in the queue."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support import messages as m
from tests.support.machine.asking import NUMBERS
from tests.support.machine.base import Base
from tests.support.machine.exchanges import query, ready
from tests.support.machine.heard import Heard
from tests.support.machine.worlds import PEOPLE, World
from tests.support.waiting import eventually
from tests.support.wire import cancel

SLEEP = "select pg_sleep(33)"
_NAP = query("select pg_sleep(0.05)")


class Cancelling(Base):
    """See the module."""

    def _cancel(self, world: World, number: int, *, wrong: bool = False, count: int = 1) -> None:
        wire = world.clients[number].wire
        key = bytes(byte ^ 1 for byte in wire.key) if wrong else wire.key
        cancel(self.worlds.address(world), wire.pid, key, count=count)

    @rule(
        number=st.integers(0, 3),
        other=NUMBERS,
        count=st.sampled_from([1, 1, 1, 20]),
        wrong=st.sampled_from([False, False, True]),
    )
    def cancel_late(self, number: int, other: int, count: int, wrong: bool) -> None:
        """Of what has been answered: it hits nobody's next query."""
        self.client(other)
        self.exchange(number, query("select 'answered'"))  # on the server that the next one gets
        if other in self.open or not (self.there(number) and self.there(other)):
            return
        self.make_room(other)
        if not self.there(number):
            return
        heard = []
        self.worlds.note(f"{count} late cancels of {number}, {wrong}, then {other}: {_NAP}")
        for world in self.worlds.both():
            self._cancel(world, number, wrong=wrong, count=count)
            heard.append(world.ask(other, _NAP.data, _NAP.over))
        self.hold_against(other, heard[0], heard[1], _NAP)

    def _running(self, world: World, number: int) -> int:
        """The pid of the server that runs what it has just sent."""
        direct = world.direct[self.person(number).database]
        mine = f"datname = current_database() and query = '{SLEEP}' and wait_event = 'PgSleep'"
        ((pid,),) = eventually(
            lambda: direct.rows(f"select pid from pg_stat_activity where {mine}"), "it runs"
        )
        return int(pid)

    @rule(
        number=NUMBERS, how=st.sampled_from(["right", "right", "many", "wrong first", "the server is ended"])
    )
    def cancel_what_runs(self, number: int, how: str) -> None:
        self.client(number)
        if number in self.open or self.status(number) == "E":
            return
        self.make_room(number)
        heard: list[Heard] = []
        self.worlds.note(f"{number}: cancelled while it runs, {how}")
        sleep = query(SLEEP)
        for world in self.worlds.both():
            client = world.clients[number]
            client.send(sleep.data)
            pid = self._running(world, number)
            if how == "the server is ended":
                world.direct["machine"].rows(f"select pg_terminate_backend({pid})")
            else:
                if how == "wrong first":
                    self._cancel(world, number, wrong=True)
                self._cancel(world, number, count=20 if how == "many" else 1)
            heard.append(client.hear(sleep.over))
        self.hold_against(number, heard[0], heard[1], sleep)

    # In the queue.

    @rule(
        number=st.integers(0, 3),
        then=st.sampled_from(["served", "served", "cancelled", "gone", "vanished"]),
        extended=st.booleans(),
    )
    def wait(self, number: int, then: str, extended: bool) -> None:
        """All servers are held when it asks."""
        self.client(number)
        if not self._all_held_by_others(number):
            return
        data = m.extended("select 'waited'") + m.SYNC if extended else m.query("select 'waited'")
        self.worlds.note(f"{number}: waits, and is {then}")
        through = self.worlds.through.clients[number]
        through.send(data)
        self.worlds.in_time(lambda: self.worlds.in_state("clients", "waiting") == 1, "it waits")
        if then in ("gone", "vanished"):
            self.leave(number, vanish=then == "vanished")
            self.worlds.in_time(lambda: self.worlds.in_state("clients", "waiting") == 0, "it does not wait")
        elif then == "cancelled":
            self._cancel(self.worlds.through, number)
            heard = through.hear(ready(1))
            self.same(number, (True, False), ("57014" in heard.messages[0], heard.ended))
        else:
            holder = self.holders(self.person(number).pool, number)[0]
            self.exchange(holder, query("rollback"))
            if self.there(holder) and self.holds(holder):
                self.leave(holder)
            found = through.hear(ready(1))
            expected = self.worlds.straight.ask(number, data, ready(1))
            self.same(number, expected, found)
            self.compare_notifications(number)

    def _all_held_by_others(self, number: int) -> bool:
        pool = self.person(number).pool
        if self.holds(number):
            self.let_go(number)
            if not self.there(number) or self.holds(number):
                return False
        for each in self.rivals(pool):
            if each in self.pinned and not self.in_progress(each):
                self.still_pinned(each)
        for person in PEOPLE:
            if person.pool != pool or person.number == number:
                continue
            if len(self.holders(pool, number)) >= self.worlds.size:
                break
            if not self.there(person.number) or not self.holds(person.number):
                self.exchange(person.number, query("begin"))
        return self.there(number) and len(self.holders(pool, number)) >= self.worlds.size
