"""The two worlds: the proxy's, and the direct one beside it, on one PostgreSQL.

Each has two databases of its own, `machine` and `annex`; in the latter, a trigger changes session state where
no text shows it, so every hand-over there is a reset. A statement that waits for a lock gives up soon.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.support.cluster import PASSWORDS, SCHEMA, Direct
from tests.support.grammar import Grammar
from tests.support.machine.exchanges import Over
from tests.support.machine.heard import Heard, compared
from tests.support.machine.vocabulary import CALLS
from tests.support.messages import Message
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire

MAIN, ANNEX = "machine", "annex"
DATABASES = (MAIN, ANNEX)
_TWINS = {MAIN: "machine_twin", ANNEX: "annex_twin"}

#: What autovacuum finds out in one of the twins only would show in plans.
_TABLES = """
alter table item set (autovacuum_enabled = off);
analyze item;
create table pair (id int, unique (id) deferrable initially deferred);
grant all on pair to public;
"""
_SHAPE = (
    "drop table if exists shape; create table shape (a int); insert into shape values (1), (2);"
    " grant all on shape to public"
)
_HIDDEN = """
create table visit (tenant text);
create function on_visit() returns trigger language plpgsql as
    $$ begin perform set_config('app.tenant', new.tenant, false); return new; end $$;
create trigger on_visit before insert on visit for each row execute function on_visit();
grant all on visit to public;
"""


@dataclass(frozen=True)
class Person:
    """A client to be: whose, and where."""

    number: int
    user: str = "app"
    database: str = MAIN

    @property
    def pool(self) -> tuple[str, str]:
        return self.database, self.user


PEOPLE = (
    Person(0),
    Person(1),
    Person(2),
    Person(3),
    Person(4, user="other"),
    Person(5, database=ANNEX),
    Person(6, database=ANNEX),
)
#: Somebody who comes to look, and leaves.
VISITORS = {person.pool: Person(10 + person.number, *person.pool[::-1]) for person in reversed(PEOPLE)}


def make_databases(stage: Stage) -> None:
    for name in DATABASES:
        for database in (name, _TWINS[name]):
            stage.postgres.sql(f"create database {database} template template0")  # nobody is in there
            stage.postgres.sql(f"grant all on database {database} to public")
            stage.postgres.sql(f"alter database {database} set lock_timeout = '150ms'")
            stage.postgres.sql(SCHEMA + _TABLES, database)
            stage.postgres.sql(f"set role app; {_SHAPE}", database)
    for database in (ANNEX, _TWINS[ANNEX]):
        stage.postgres.sql(_HIDDEN, database)


def drop_databases(stage: Stage) -> None:
    for database in (*DATABASES, *_TWINS.values()):
        stage.postgres.sql(f"drop database {database} with (force)")


def routes(stage: Stage) -> dict[str, dict[str, str]]:
    """`databases` of the proxy's settings."""
    return {
        name: {"url": f"postgres://{stage.postgres.host}:{stage.postgres.port}/{name}"} for name in DATABASES
    }


@dataclass
class Client:
    """One client in one world."""

    wire: Wire
    grammar: Grammar = field(default_factory=Grammar)
    notified: list[tuple[bool, bytes]] = field(default_factory=list)  #: (by itself, channel and payload)

    def send(self, data: bytes, piece: int = 0) -> None:
        self.grammar.sent(data)
        if piece:
            self.wire.send_split(data, piece)
        else:
            self.wire.send(data)

    def hear(self, over: Over) -> Heard:
        """The answer, up to where it is over."""
        heard, read = Heard(), list[Message]()
        try:
            while (read and read[-1].letter in "Dd") or not over(read):
                self._take(self.wire.read(), heard, read)
        except (EOFError, ConnectionResetError):
            heard.ended = True
        except TimeoutError:
            heard.messages.append("nothing more for as long as one waits")
        heard.parameters = dict(self.wire.parameters)
        return heard

    def _take(self, message: Message, heard: Heard, read: list[Message]) -> None:
        self.grammar.received(message)
        read.append(message)
        if message.letter == "A":
            own = int.from_bytes(message.body[:4], "big") == self.wire.pid
            self.notified.append((own, message.body[4:]))
        elif message.letter != "S":
            heard.messages.append(compared(message))
            heard.failed = heard.failed or message.letter == "E"
            if message.letter == "D":
                heard.rows.append(message.row)


class World:
    """Clients of one kind: all through the proxy, or all straight at the twins."""

    def __init__(
        self,
        name: str,
        login: Callable[[Person, dict[str, str]], Wire],
        settled: Callable[[Iterable[Client]], None],
        direct: dict[str, Direct],
    ) -> None:
        self.name = name
        self.login = login
        self.settled = settled  #: waits until nothing is left of clients but of these
        self.direct = direct  #: past everything, by the database's name
        self.clients: dict[int, Client] = {}

    def come(self, person: Person, parameters: dict[str, str]) -> None:
        self.clients[person.number] = Client(self.login(person, parameters))

    def ask(self, number: int, data: bytes, over: Over, piece: int = 0) -> Heard:
        client = self.clients[number]
        client.send(data, piece)
        return client.hear(over)

    def go(self, number: int, *, vanish: bool = False) -> None:
        wire = self.clients.pop(number).wire
        if vanish:
            wire.vanish()
        else:
            wire.close()
        self.settled(self.clients.values())


class Worlds:
    """Both. `size`: how many servers each pool of the proxy has."""

    def __init__(self, stage: Stage, proxy: ProxyProcess, size: int) -> None:
        self.proxy = proxy
        self.size = size
        self.postgres_address = (stage.postgres.host, stage.postgres.port)
        self.journal: deque[str] = deque(maxlen=300)
        self.difference = ""  #: what somebody has heard, and directly has not; the first
        self.reshaped = True  #: somebody may have changed a table
        self.programs = 0
        self.asked = 0  #: exchanges that were compared
        directs = [{name: Direct(stage.postgres, name) for name in DATABASES}]
        directs.append({name: Direct(stage.postgres, _TWINS[name]) for name in DATABASES})

        def straight(person: Person, parameters: dict[str, str]) -> Wire:
            twin = _TWINS[person.database]
            return Wire.login(self.postgres_address, person.user, PASSWORDS[person.user], twin, **parameters)

        def through(person: Person, parameters: dict[str, str]) -> Wire:
            return Wire.login(
                proxy.address, person.user, PASSWORDS[person.user], person.database, **parameters
            )

        self.through = World("proxy", through, self._proxy_settled, directs[0])
        self.straight = World("direct", straight, self._twin_settled, directs[1])
        self.oids = {
            name: self.through.direct[MAIN].value("select %s::regprocedure::oid::int", [name]) if name else 0
            for name in CALLS
        }

    def both(self) -> tuple[World, World]:
        return self.straight, self.through

    def address(self, world: World) -> tuple[str, int]:
        address = self.proxy.address if world is self.through else self.postgres_address
        assert isinstance(address, tuple)
        return address

    # What is under way.

    def gauges(self, name: str) -> dict[tuple[str, ...], int]:
        """What differs from 0, by the values of its labels; read without a parser: it is asked for all the
        time."""
        _, text = self.proxy.get("/metrics")
        return {
            tuple(re.findall(r'="([^"]*)"', labels)): int(float(value))
            for labels, value in re.findall(rf"^poolproxy_{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
            if float(value)
        }

    def in_state(self, name: str, state: str, pool: tuple[str, str] | None = None) -> int:
        """How many clients or servers are."""
        return sum(
            count
            for (database, found, user), count in self.gauges(name).items()
            if found == state and pool in (None, (database, user))
        )

    def active(self, pool: tuple[str, str]) -> int:
        """Servers of a pool that somebody holds."""
        return self.in_state("servers", "active", pool)

    def in_time(self, probe: Callable[[], bool], what: str) -> None:
        """As `eventually`; a failure tells of what went before."""
        try:
            eventually(probe, what)
        except AssertionError as error:
            raise self.differ(str(error)) from None

    def _proxy_settled(self, left: Iterable[Client]) -> None:
        count = len(list(left))

        def settled() -> bool:
            connected = sum(self.gauges("clients_connected").values())
            return connected == count and not self.in_state("servers", "resetting")

        self.in_time(settled, "the proxy has done with those that left")

    def _twin_settled(self, left: Iterable[Client]) -> None:
        pids = {client.wire.pid for client in left}
        mine = "select pid from pg_stat_activity where usename in ('app', 'other') and datname = any (%s)"
        eventually(
            lambda: (
                {pid for (pid,) in self.straight.direct[MAIN].rows(mine, [list(_TWINS.values())])} <= pids
            ),
            "PostgreSQL has done with those that left",
        )

    def note(self, what: str) -> None:
        """For whoever reads of a failure: its cause may lie in an earlier program."""
        self.journal.append(what)

    def differ(self, what: str) -> AssertionError:
        """What to raise. It is kept: what hypothesis raises when the same does not happen again tells nothing
        of it."""
        now = {name: self.gauges(name) for name in ("clients", "servers", "servers_pinned")}
        told = [f"{what}\nafter", *self.journal, str(now), self.proxy.log_text()[-1000:]]
        self.difference = self.difference or "\n".join(told)
        return AssertionError(self.difference)

    # Programs.

    def begin(self) -> None:
        self.programs += 1
        self.note(f"program {self.programs}")
        for world in self.both():
            for direct in world.direct.values():
                direct.rows("truncate note, ledger, pair")
                direct.rows("alter sequence counter restart")
        if self.reshaped:
            # By a client, for the proxy to know of it.
            self.reshaped = False
            for world in self.both():
                for database in DATABASES:
                    wire = world.login(Person(0, "app", database), {})
                    wire.query(_SHAPE)
                    wire.close()
                world.settled([])

    def end(self) -> None:
        for world in self.both():
            for client in world.clients.values():
                client.wire.close()
            world.clients.clear()
            world.settled([])

    def check_tables(self) -> None:
        """Nobody is there any more: what has been written is what has been written directly."""
        for database in DATABASES:
            for sql in (
                "select id, body, count(*) from note group by 1, 2 order by 1, 2",
                "select client, n, count(*) from ledger group by 1, 2 order by 1, 2",
                "select id from pair order by 1",
            ):
                expected, found = (world.direct[database].rows(sql) for world in self.both())
                if found != expected:
                    raise self.differ(f"{sql}\n{found}\nand directly\n{expected}")

    def check_rest(self) -> None:
        """Nobody is there, and nothing is out of step, or left."""
        servers = self.gauges("servers")
        off: dict[str, object] = {
            "out of sync": self.gauges("out_of_sync_total"),
            "busy servers": {labels: n for labels, n in servers.items() if labels[1] != "idle"},
            "more than the size": {labels: n for labels, n in servers.items() if n > self.size},
            "clients": self.gauges("clients"),
            "pinned": self.gauges("servers_pinned"),
            "listening": self.gauges("listening_clients"),
            "in a transaction, or with a lock": self.through.direct[MAIN].value(
                "select count(*) from pg_stat_activity a where datname = any (%s) and (state like 'idle in%%'"
                " or exists (select from pg_locks l where l.pid = a.pid and locktype = 'advisory'))",
                [list(DATABASES)],
            ),
        }
        if any(off.values()):
            raise self.differ(f"at rest: {off}")

    def close(self) -> None:
        for world in self.both():
            for direct in world.direct.values():
                direct.close()
