"""Rules: logins, and all the ways of leaving."""

from __future__ import annotations

import socket

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.support import messages as m
from tests.support.machine.asking import NUMBERS
from tests.support.machine.base import Base
from tests.support.machine.exchanges import Exchange, exchanges, query, ready
from tests.support.machine.vocabulary import LOOK, STARTUP
from tests.support.messages import Message
from tests.support.waiting import eventually

_COPY = m.query("copy note from stdin")


def _copying(read: list[Message]) -> bool:
    return any(letter in "GEZ" for letter in m.letters(read))


class Leaving(Base):
    """See the module."""

    @rule(number=NUMBERS, parameters=st.sampled_from(STARTUP))
    def leave_and_come(self, number: int, parameters: dict[str, str]) -> None:
        if self.there(number):
            self.leave(number)
        self.log_in(number, parameters)

    @rule(number=st.integers(0, 3), vanish=st.booleans())
    def lock_and_leave(self, number: int, vanish: bool) -> None:
        """The lock goes with its client, and whoever comes next can have it."""
        for text in ("rollback", "select pg_try_advisory_lock(2)"):
            self.exchange(number, query(text))
        if self.there(number):
            self.leave(number, vanish=vanish)
        for text in ("rollback", LOOK[1]):
            self.exchange((number + 1) % 4, query(text))

    @rule(number=NUMBERS)
    def vanish(self, number: int) -> None:
        """Between exchanges: in a transaction or not, pinned or not, with a batch open or not."""
        if self.there(number):
            self.leave(number, vanish=True)

    @rule(number=NUMBERS, exchange=exchanges())
    def ask_and_terminate(self, number: int, exchange: Exchange) -> None:
        """What was sent before a Terminate is run (rule 23)."""
        self._last_words(number, exchange, exchange.data + m.TERMINATE)

    @rule(number=NUMBERS, exchange=exchanges(), share=st.floats(0, 1))
    def ask_in_part_and_close(self, number: int, exchange: Exchange, share: float) -> None:
        """At any byte: what came whole is run, what is open is rolled back."""
        self._last_words(number, exchange, exchange.data[: round(share * len(exchange.data))])

    def _last_words(self, number: int, exchange: Exchange, words: bytes) -> None:
        self.client(number)
        if number in self.open and not exchange.in_batch:
            return
        self.make_room(number)
        self.worlds.note(f"{number}: the last {len(words)} bytes: {exchange}")
        self.worlds.reshaped |= b"alter table shape" in words
        for world in self.worlds.both():
            wire = world.clients[number].wire
            wire.send(words)
            wire.sock.shutdown(socket.SHUT_WR)
            wire.read_to_end()
            world.go(number)
        self.forget(number)

    @rule(number=NUMBERS, share=st.floats(0, 1, exclude_max=True))
    def vanish_in_a_message(self, number: int, share: float) -> None:
        self.client(number)
        self.make_room(number)
        message = m.query("insert into note values (1, 'never')")
        part = message[: round(share * (len(message) - 1))]
        self.worlds.note(f"{number}: {len(part)} bytes of a message")
        for world in self.worlds.both():
            world.clients[number].wire.send(part)
        self.leave(number, vanish=True)

    @rule(number=NUMBERS, vanish=st.booleans(), rows=st.sampled_from([b"", b"5\tlo", b"5\tlost\n"]))
    def leave_in_a_copy(self, number: int, vanish: bool, rows: bytes) -> None:
        self.client(number)
        if number in self.open:
            return
        self.make_room(number)
        self.worlds.note(f"{number}: leave in a copy, {vanish}")
        heard = []
        for world in self.worlds.both():
            client = world.clients[number]
            client.send(_COPY)
            heard.append(client.hear(_copying))
            if not heard[-1].failed:
                client.wire.send(m.copy_data(rows))
        self.same(number, heard[0], heard[1])
        self.leave(number, vanish=vanish)

    @rule(number=NUMBERS)
    def the_server_is_ended(self, number: int) -> None:
        """In a transaction: one FATAL, and the end, as directly."""
        self.client(number)
        if number in self.open:
            return
        self.exchange(number, query("rollback"))
        if not self.there(number):
            return
        self.exchange(number, query("begin"))
        self.worlds.note(f"{number}: its server is ended")
        heard = []
        for world in self.worlds.both():
            client = world.clients[number]
            ((pid,),) = world.ask(number, m.query("select pg_backend_pid()"), ready(1)).rows
            world.direct["machine"].rows("select pg_terminate_backend(%s)", [int(pid or 0)])
            heard.append(client.hear(lambda read: False))
        self.same(number, heard[0], heard[1])
        assert found_end(heard[1].messages), heard[1]
        self.leave(number)

    @precondition(lambda self: self.worlds.through.clients)
    @rule()
    def idle_servers_are_ended(self) -> None:
        """Nobody notices: whoever has no server now gets another one."""
        worlds = self.worlds
        if any(self.in_progress(number) for number in worlds.through.clients):
            return
        if worlds.gauges("listening_clients") or worlds.in_state("servers", "active"):
            return
        worlds.note("idle servers are ended")
        direct = worlds.through.direct["machine"]
        where = (
            "datname in ('machine', 'annex') and usename in ('app', 'other')"
            " and application_name <> 'poolproxy control'"
        )

        def gone() -> bool:
            direct.rows(f"select pg_terminate_backend(pid) from pg_stat_activity where {where}")
            return not worlds.gauges("servers")

        eventually(gone, "they are gone, and the proxy knows")


def found_end(messages: list[str]) -> bool:
    """One FATAL, and nothing behind it."""
    return len(messages) == 1 and "FATAL" in messages[0] and "57P01" in messages[0]
