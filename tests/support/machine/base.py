"""Who is logged in, what they have open, and who holds a server: the ground that the rules stand on.

A client that must wait for a server cannot be compared step by step: directly, nobody waits. So before a
client asks there must be a server for it: where all are held, somebody lets go of theirs first, by what a
client would do, which is compared like everything else.
"""

from __future__ import annotations

from hypothesis.stateful import RuleBasedStateMachine, initialize

from tests.support.machine.exchanges import SYNC, Exchange, Over, close, query
from tests.support.machine.heard import Heard
from tests.support.machine.worlds import PEOPLE, VISITORS, Person, Worlds

_VISITING = {person.number: person for person in VISITORS.values()}


class Base(RuleBasedStateMachine):
    """See the module. `worlds` is set in a subclass."""

    worlds: Worlds

    def __init__(self) -> None:
        super().__init__()
        self.open: set[int] = set()  #: who have a batch open
        self.skipping: set[int] = set()  #: whose open batch has failed
        self.pinned: set[int] = set()  #: who hold a server between transactions
        self.unsure: set[int] = set()  #: who may, but it did not matter yet
        self.acknowledged: list[tuple[str, int]] = []  #: inserts into the ledger that were committed

    @initialize()
    def begin(self) -> None:
        self.worlds.begin()

    def teardown(self) -> None:
        self.worlds.end()
        if not self.worlds.difference:
            self.worlds.check_tables()
            self.worlds.check_rest()
            self._check_ledger()

    def _check_ledger(self) -> None:
        rows = self.worlds.through.direct["machine"].rows("select client, n from ledger")
        rows += self.worlds.through.direct["annex"].rows("select client, n from ledger")
        lost = [each for each in self.acknowledged if rows.count(each) != 1]
        if lost:
            raise self.worlds.differ(f"acknowledged, and not there once: {lost}")

    # Who is there.

    def person(self, number: int) -> Person:
        return PEOPLE[number] if number < len(PEOPLE) else _VISITING[number]

    def there(self, number: int) -> bool:
        return number in self.worlds.through.clients

    def status(self, number: int) -> str:
        return self.worlds.straight.clients[number].wire.status

    def log_in(self, number: int, parameters: dict[str, str]) -> None:
        self.make_room(number)
        self.worlds.note(f"log_in({number}, {parameters})")
        told = []
        for world in self.worlds.both():
            world.come(self.person(number), parameters)
            told.append(world.clients[number].wire.parameters)
        self.same(number, told[0], told[1])

    def client(self, number: int) -> None:
        if not self.there(number):
            self.log_in(number, {})

    def leave(self, number: int, *, vanish: bool = False) -> None:
        self.worlds.note(f"leave({number}, {vanish})")
        for world in self.worlds.both():
            world.go(number, vanish=vanish)
        self.forget(number)

    def forget(self, number: int) -> None:
        for who in (self.open, self.skipping, self.pinned, self.unsure):
            who.discard(number)

    # Who holds a server.

    def holds(self, number: int) -> bool:
        return number in self.pinned or self.in_progress(number)

    def in_progress(self, number: int) -> bool:
        return number in self.open or self.status(number) != "I"

    def holders(self, pool: tuple[str, str], but: int) -> list[int]:
        return [
            number
            for number in self.worlds.through.clients
            if number != but and self.person(number).pool == pool and self.holds(number)
        ]

    def rivals(self, pool: tuple[str, str]) -> list[int]:
        return [number for number in self.worlds.through.clients if self.person(number).pool == pool]

    def make_room(self, number: int) -> None:
        """See that there is a server for its next exchange."""
        pool = self.person(number).pool
        if len({*self.rivals(pool), number}) <= self.worlds.size:
            return
        self._make_sure(pool)
        if self.there(number) and (self.in_progress(number) or self.still_pinned(number)):
            return
        while len(holders := self.holders(pool, number)) >= self.worlds.size:
            self.let_go(holders[0])

    def still_pinned(self, number: int) -> bool:
        """Whether what it was pinned for lasts: a pin may end by itself, or was none (a server is on its way
        back for a moment when its client has heard all)."""
        pool = self.person(number).pool
        if self.worlds.active(pool) <= len(self.holders(pool, number)):
            self.pinned.discard(number)
        return number in self.pinned

    def _make_sure(self, pool: tuple[str, str]) -> None:
        """Who holds the servers that are held, beyond those of whom one knows?"""
        while unsure := [each for each in self.rivals(pool) if each in self.unsure and not self.holds(each)]:
            surplus = self.worlds.active(pool) - len(self.holders(pool, -1))
            if surplus >= len(unsure):
                self.pinned.update(unsure)
            elif surplus > 0:
                self.unsure.discard(unsure[0])  # or seeing to room for that asks the same
                self.let_go(unsure[0])
                if (
                    self.there(unsure[0])
                    and self.worlds.active(pool) - len(self.holders(pool, -1)) == surplus
                ):
                    self.leave(unsure[0])  # some pins end with their client only
            self.unsure.difference_update(unsure if surplus in (0, len(unsure)) else unsure[:1])

    def let_go(self, number: int) -> None:
        """What ends whatever a client holds its server for: by and by the stronger means."""
        if number in self.open:
            self.exchange(number, SYNC)
        elif self.status(number) != "I":
            self.exchange(number, query("rollback"))
        else:
            self.exchange(number, query("discard all"))
            if self.there(number) and self.holds(number):
                self.leave(number)

    def _look_at_pins(self, number: int) -> None:
        """Whether it holds a server between transactions: if more are held than by those of whom one
        knows."""
        pool = self.person(number).pool
        self.pinned.discard(number)
        self.unsure.discard(number)
        if self.in_progress(number):
            return
        rivals = self.rivals(pool)
        if len(rivals) <= self.worlds.size or not self.unsure.isdisjoint(rivals):
            self.unsure.add(number)
        elif self.worlds.active(pool) > len(self.holders(pool, number)):
            self.pinned.add(number)

    # Asking.

    def exchange(self, number: int, exchange: Exchange, piece: int = 0) -> Heard:
        """Ask in both worlds, and compare."""
        self.client(number)
        if number in self.open and not exchange.in_batch:
            self.exchange(number, SYNC)
            self.client(number)
        if b"execute s1" in exchange.data and self.worlds.reshaped:
            self.exchange(number, close("s1"))  # SQL parses it anew (docs/differences.md)
            self.client(number)
        self.make_room(number)
        self.worlds.note(f"{number}: {exchange}{f' in pieces of {piece}' if piece else ''}")
        over: Over = (lambda read: True) if self._unanswered(number, exchange) else exchange.over
        expected = self.worlds.straight.ask(number, exchange.data, over)
        found = self.worlds.through.ask(number, exchange.data, over, piece)
        self.hold_against(number, expected, found, exchange)
        return found

    def _unanswered(self, number: int, exchange: Exchange) -> bool:
        return number in self.skipping and exchange.opens

    def hold_against(self, number: int, expected: Heard, found: Heard, exchange: Exchange) -> None:
        """Compare, and see what it has left."""
        if exchange.opens:
            self.open.add(number)
            if found.failed:
                self.skipping.add(number)
        else:
            self.open.discard(number)
            self.skipping.discard(number)
        if b"alter table shape" in exchange.data:
            self.worlds.reshaped = True
        self.worlds.asked += 1
        self.same(number, expected, found)
        if found.ended:
            self.leave(number)
            return
        if self.status(number) == "I" and number not in self.open:
            self.compare_notifications(number)
        self._look_at_pins(number)

    def compare_notifications(self, number: int) -> None:
        """Outside a transaction a client has heard whatever was notified before."""
        straight, through = (world.clients[number] for world in self.worlds.both())
        self.same(number, straight.notified, through.notified)
        straight.notified.clear()
        through.notified.clear()

    def same(self, number: int, expected: object, found: object) -> None:
        if found != expected:
            raise self.worlds.differ(f"client {number} heard\n{found}\nand directly\n{expected}")
