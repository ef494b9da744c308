"""A machine that runs random programs of several clients twice: through a proxy, where they share servers,
and each on a direct connection of its own, to a twin of the database. What they hear must be equal.

What may differ is written down here, where it is taken away: pids, tables' oids, where in its source
PostgreSQL raised an error, when between its exchanges a client hears a notification, and what
docs/differences.md says that no proxy can hide, or that poolproxy does differently and tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, SCHEMA, Direct
from tests.support.proxy import ProxyProcess
from tests.support.sessions import normalised
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire, cancel

TWIN = "twin"
CLIENTS = 3
SLEEP = "select pg_sleep(33)"

# Statements, by the rows of the design's table.

_VALUES = {
    "work_mem": ["'5MB'", "'6MB'"],
    "search_path": ["tenant_a", "tenant_b, public", "''", '"$user", public'],
    "datestyle": ["'sql, dmy'", "iso", "'mdy'"],
    "timezone": ["'Asia/Tokyo'", "-7", "default"],
    "intervalstyle": ["sql_standard", "default"],
    "app.tenant": ["'acme'", "'bolt'", "''"],
    "statement_timeout": ["'31s'", "default"],
    "default_transaction_read_only": ["on", "off"],
    "default_transaction_isolation": ["'repeatable read'", "default"],
    "client_encoding": ["'latin1'", "'utf8'"],
    "application_name": ["'machine'"],
    "extra_float_digits": ["0", "3"],
    "bytea_output": ["escape", "hex"],
    "role": ["other", "none"],
    "standard_conforming_strings": ["off", "on"],
    "no_such_setting": ["1"],
}
SETTING = [
    f"set {scope}{name} = {value}"
    for name, values in _VALUES.items()
    for value in values
    for scope in ("", "local ")
] + [
    "set time zone interval '+05:30' hour to minute",
    "set session characteristics as transaction isolation level serializable",
    "set session authorization app",
    "reset work_mem",
    "reset app.tenant",
    "reset search_path",
    "reset role",
    "reset session authorization",
    "reset all",
    "discard all",
    "discard plans",
    "select set_config('work_mem', '7MB', false)",
    "select set_config('app.tenant', 'bolt', false)",
    "select set_config('app.tenant', 'acme', true)",
    "select set_config('search_path', 'tenant_b', false)",
    "update pg_settings set setting = '8192' where name = 'work_mem'",
    "do $$ begin perform set_config('app.tenant', 'hidden', false); end $$",
    "select login('acme')",
    "select logout()",
    "select become('other')",
    "set work_mem = '5MB'; set app.tenant = 'two'; select 1",
    "set work_mem = '9MB'; select 1/0",
]
CONTROL = [
    "begin",
    "begin",
    "begin isolation level repeatable read",
    "begin read only",
    "commit",
    "commit",
    "rollback",
    "rollback",
    "savepoint a",
    "rollback to a",
    "release a",
    "commit and chain",
    "begin; insert into note values (1, 'b'); commit",
    "begin; set work_mem = '11MB'; rollback",
]
DATA = [
    "select 1",
    "select 'a' as a, null, 2.5::numeric",
    "insert into note values (1, 'one')",
    "insert into note select g, 'many' from generate_series(2, 4) g",
    "select count(*), min(body) from note",
    "delete from note where id = 1",
    "select name from whose",
    "select body from secret",
    "select timestamptz '2026-02-03 04:05:06+00', interval '1 day 2 hours', date '2026-03-04'",
    "select shout()",
    "copy (select id, body from note order by id, body) to stdout",
    "select repeat('x', 20000)",
    "",
    "-- nothing",
]
FAILING = ["select 1/0", "selec", "select * from nowhere", "insert into note values ('x', 'y')"]
LEFT = [
    "create temp table mine (a int)",
    "create temp table mine on commit drop as select 8 as a",
    "create temp table note (other text)",
    "insert into mine values (3)",
    "select * from mine",
    "drop table mine",
    "drop table note",  # the temporary one; the other one is not its own
    "discard temp",
    "select make_temp()",
    "drop table made",
    "select pg_try_advisory_lock(1)",
    "select pg_try_advisory_lock(2)",
    "select lock_me(1)",
    "select pg_try_advisory_xact_lock(1)",
    "select pg_advisory_unlock(1)",
    "select pg_advisory_unlock_all()",
    "declare c cursor with hold for select g from generate_series(1, 5) g",
    "declare c cursor for select g from generate_series(1, 5) g",
    "fetch 2 from c",
    "close c",
    "close all",
    "prepare p as select 41",
    "prepare p (int) as select $1 + 1",
    "execute p",
    "execute p (6)",
    "explain (costs off) execute p",
    "deallocate p",
    "deallocate all",
    "deallocate s1",
    "select setseed(0.25); select random()",
]
CHANNELS = [
    "listen a",
    "listen b",
    "unlisten a",
    "unlisten *",
    "notify a, 'x'",
    "notify b",
    "select pg_notify('a', 'y')",
    "listen a; notify a, 'z'",
    "notify a, 'twice'; notify a, 'twice'",
]
LOOK = [
    (
        "select current_setting('work_mem'), current_setting('search_path'), current_setting('datestyle'),"
        " current_setting('timezone'), nullif(current_setting('app.tenant', true), ''), current_user,"
        " session_user, current_setting('role'), current_setting('transaction_isolation'),"
        " current_setting('transaction_read_only'), current_setting('statement_timeout'),"
        " current_setting('intervalstyle'), current_setting('client_encoding'),"
        " current_setting('application_name'), current_setting('bytea_output')"
    ),
    (
        "select objid, count(*) from pg_locks where locktype = 'advisory' and granted and database ="
        " (select oid from pg_database where datname = current_database()) group by 1 order by 1"
    ),
    "select count(*) from pg_cursors where name <> ''",
    "select to_regclass('pg_temp.mine') is null, to_regclass('pg_temp.note') is null",
]
CHANGES = [*LEFT, *CONTROL, *CHANNELS]
#: One statement each: for a Parse.
SINGLE = [text for text in (*SETTING, *CONTROL, *DATA, *FAILING, *LEFT, *CHANNELS, *LOOK) if ";" not in text]
ANY = [*SETTING, *CONTROL, *CONTROL, *CONTROL, *DATA, *FAILING, *LEFT, *LEFT, *CHANNELS, *LOOK, *LOOK]
#: What may stand with others in one batch. Not what docs/differences.md excepts there.
IN_BATCH = [
    *DATA[:12],
    *FAILING,
    "begin",
    "commit",
    "set work_mem = '13MB'",
    "select pg_try_advisory_lock(3)",
]
PREPARED = [
    *DATA,
    *DATA,
    *FAILING,
    *LOOK,
    "begin",
    "commit",
    "rollback",
    "set work_mem = '14MB'",
    "notify a, 'p'",
]
STARTUP = [{}, {}, {"application_name": "starter"}, {"options": "-c work_mem=3MB"}, {"DateStyle": "German"}]

# Exchanges: bytes with a name to print.


@dataclass(frozen=True)
class Exchange:
    """What one client sends; it is answered by as many ReadyForQuery as there are Queries and Syncs."""

    said: str
    data: bytes

    def __repr__(self) -> str:
        return self.said if len(self.said) < 150 else self.said[:60] + "..."


def _query(text: str) -> Exchange:
    return Exchange(f"query({text!r})", m.query(text))


def _unnamed(text: str) -> Exchange:
    return Exchange(f"extended({text!r})", m.extended(text) + m.SYNC)


def _in_steps(text: str) -> Exchange:
    """As asyncpg does it without a cache."""
    data = m.parse(text) + m.describe_statement() + m.SYNC + m.bind() + m.execute() + m.SYNC
    return Exchange(f"in_steps({text!r})", data)


def _batch(texts: Sequence[str]) -> Exchange:
    return Exchange(f"batch({texts!r})", b"".join(map(m.extended, texts)) + m.SYNC)


def _parse(name: str, text: str) -> Exchange:
    return Exchange(f"parse({name}, {text!r})", m.parse(text, name) + m.SYNC)


def _parse_and_run(name: str, text: str) -> Exchange:
    data = m.parse(text, name) + m.describe_statement(name) + m.bind(statement=name) + m.execute() + m.SYNC
    return Exchange(f"parse_and_run({name}, {text!r})", data)


def _run(name: str) -> Exchange:
    return Exchange(f"run({name})", m.bind(statement=name) + m.execute() + m.SYNC)


def _describe(name: str) -> Exchange:
    return Exchange(f"describe({name})", m.describe_statement(name) + m.SYNC)


def _close(name: str) -> Exchange:
    return Exchange(f"close({name})", m.close_statement(name) + m.SYNC)


def _copy_in(good: bool) -> Exchange:
    rows = m.copy_data(b"7\tcopied\n") + m.copy_data(b"8\tcopied\n" if good else b"nonsense\n")
    return Exchange(f"copy_in({good})", m.query("copy note from stdin") + rows + m.COPY_DONE)


def _pipelined(exchanges: Sequence[Exchange]) -> Exchange:
    return Exchange(" + ".join(map(repr, exchanges)), b"".join(exchange.data for exchange in exchanges))


#: How one is made, the likelier ones more than once.
_KINDS = (
    "query", "query", "query", "query", "unnamed", "unnamed", "in_steps", "in_steps", "batch", "parse",
    "parse_and_run", "run", "run", "describe", "close", "copy_in",
)  # fmt: skip


@st.composite
def _one(draw: st.DrawFn) -> Exchange:
    kind = draw(st.sampled_from(_KINDS))
    if kind == "query":
        return _query(draw(st.sampled_from(ANY)))
    if kind == "unnamed":
        return _unnamed(draw(st.sampled_from(SINGLE)))
    if kind == "in_steps":
        return _in_steps(draw(st.sampled_from(SINGLE)))
    if kind == "batch":
        return _batch(draw(st.lists(st.sampled_from(IN_BATCH), min_size=2, max_size=4)))
    if kind == "copy_in":
        return _copy_in(draw(st.booleans()))
    name = draw(st.sampled_from(["s1", "s2"]))
    if kind == "parse":
        return _parse(name, draw(st.sampled_from(PREPARED)))
    if kind == "parse_and_run":
        return _parse_and_run(name, draw(st.sampled_from(PREPARED)))
    return {"run": _run, "describe": _describe, "close": _close}[kind](name)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """One, or several in one write."""
    if draw(st.integers(0, 4)):
        return draw(_one())
    return _pipelined(draw(st.lists(_one(), min_size=2, max_size=3)))


# Two worlds.


@dataclass
class Heard:
    """What an exchange was answered."""

    messages: list[str] = field(default_factory=list)
    notified: list[tuple[bool, bytes]] = field(default_factory=list)  #: (by itself, channel and payload)
    parameters: dict[str, str] = field(default_factory=dict)  #: reported since its login
    ended: bool = False


class World:
    """Clients of one kind: all through the proxy, or all straight at the twin."""

    def __init__(
        self, login: Callable[[dict[str, str]], Wire], settled: Callable[[list[Wire]], None]
    ) -> None:
        self.login = login
        self.settled = settled  #: waits until nothing is left of clients but of these
        self.clients: dict[int, Wire] = {}

    def ask(self, number: int, data: bytes, piece: int = 0) -> Heard:
        wire = self.clients[number]
        if piece:
            wire.send_split(data, piece)
        else:
            wire.send(data)
        return self.hear(number, sum(1 for letter in m.frontend_letters(data) if letter in "QS"))

    def hear(self, number: int, count: int) -> Heard:
        wire, heard = self.clients[number], Heard()
        try:
            while count:
                message = wire.read()
                if message.letter == "A":
                    own = int.from_bytes(message.body[:4], "big") == wire.pid
                    heard.notified.append((own, message.body[4:]))
                elif message.letter != "S":
                    heard.messages.append(normalised(message))
                count -= message.letter == "Z"
        except (EOFError, ConnectionResetError):
            heard.ended = True
        except TimeoutError:
            heard.messages.append("nothing more for as long as one waits")
        heard.parameters = dict(wire.parameters)
        return heard


class Worlds:
    """The proxy's and the direct one, on one PostgreSQL."""

    def __init__(self, stage: Stage, proxy: ProxyProcess) -> None:
        self.postgres = stage.postgres
        self.direct = {name: Direct(stage.postgres, name) for name in (DATABASE, TWIN)}
        self.proxy = proxy
        self.journal: deque[str] = deque(maxlen=200)
        self.differed = False  #: somebody has heard something else than directly
        address = (stage.postgres.host, stage.postgres.port)

        def straight(parameters: dict[str, str]) -> Wire:
            return Wire.login(address, "app", PASSWORDS["app"], TWIN, **parameters)

        self.through = World(lambda parameters: proxy.login(**parameters), self._proxy_settled)
        self.straight = World(straight, self._twin_settled)
        self.addresses = {id(self.through): proxy.address, id(self.straight): address}

    def both(self) -> tuple[World, World]:
        return self.straight, self.through

    def _proxy_settled(self, left: list[Wire]) -> None:
        def settled() -> bool:
            scrape = self.proxy.metrics()
            states = scrape.by("poolproxy_servers", "state")
            connected = scrape.value("poolproxy_clients_connected")
            return connected == len(left) and not states.get("resetting")

        try:
            eventually(settled, "the proxy has done with those that left")
        except AssertionError as error:
            journal = "\n".join(self.journal)
            raise AssertionError(
                f"client ?: {error}\nafter\n{journal}\n{self.proxy.log_text()[-2000:]}"
            ) from None

    def _twin_settled(self, left: list[Wire]) -> None:
        pids = {wire.pid for wire in left}
        mine = f"select pid from pg_stat_activity where datname = '{TWIN}' and usename = 'app'"
        eventually(
            lambda: {pid for (pid,) in self.direct[TWIN].rows(mine)} <= pids, "PostgreSQL has done with them"
        )

    def note(self, what: str) -> None:
        """For whoever reads of a failure: its cause may lie in an earlier program."""
        self.journal.append(what)

    def begin(self) -> None:
        self.note("a new program")
        for direct in self.direct.values():
            direct.rows("truncate note, ledger")

    def end(self) -> None:
        for world in self.both():
            for wire in world.clients.values():
                wire.close()
            world.clients.clear()
            world.settled([])

    def close(self) -> None:
        for direct in self.direct.values():
            direct.close()


def make_twin(stage: Stage) -> None:
    """The same tables and functions once more, where nobody shares anything."""
    stage.postgres.sql(f"create database {TWIN} template template0")  # nobody is in there
    stage.postgres.sql(f"grant all on database {TWIN} to public")
    stage.postgres.sql(SCHEMA, TWIN)


# The machine.


class Machine(RuleBasedStateMachine):
    """See the module. `worlds` is set in a subclass."""

    worlds: Worlds

    @initialize()
    def begin(self) -> None:
        self.worlds.begin()

    def _log_in(self, number: int, parameters: dict[str, str]) -> None:
        told = []
        self.worlds.note(f"log_in({number}, {parameters})")
        for world in self.worlds.both():
            world.clients[number] = world.login(parameters)
            told.append(world.clients[number].parameters)
        assert told[1] == told[0]

    def _client(self, number: int) -> None:
        if number not in self.worlds.through.clients:
            self._log_in(number, {})

    def _compare(self, number: int, expected: Heard, found: Heard) -> None:
        if found != expected:
            self.worlds.differed = True
            journal = "\n".join(self.worlds.journal)
            raise AssertionError(
                f"client {number} heard\n{found}\nand directly\n{expected}\nafter\n{journal}"
            )
        if found.ended:
            self._forget(number)

    def _forget(self, number: int) -> None:
        self.worlds.note(f"leave({number})")
        for world in self.worlds.both():
            world.clients.pop(number).close()
            world.settled(list(world.clients.values()))

    @rule(
        number=st.integers(0, CLIENTS - 1), exchange=exchanges(), piece=st.sampled_from([0, 0, 0, 1, 7, 100])
    )
    def ask(self, number: int, exchange: Exchange, piece: int) -> None:
        self._client(number)
        self.worlds.note(f"ask({number}, {exchange}, {piece})")
        expected = self.worlds.straight.ask(number, exchange.data)
        found = self.worlds.through.ask(number, exchange.data, piece)
        self._compare(number, expected, found)

    @rule(number=st.integers(0, CLIENTS - 1), exchange=exchanges())
    def again(self, number: int, exchange: Exchange) -> None:
        """More of the same: most rules should be exchanges."""
        self.ask(number, exchange, 0)

    @rule(
        number=st.integers(0, CLIENTS - 1),
        at=st.integers(0, len(CHANGES) - 1),
        look=st.integers(0, len(LOOK) - 1),
    )
    def change_and_look(self, number: int, at: int, look: int) -> None:
        self.ask(number, _query(CHANGES[at]), 0)
        for other in range(CLIENTS):
            self.ask(other, _query(LOOK[look]), 0)

    @rule(number=st.integers(0, CLIENTS - 1), parameters=st.sampled_from(STARTUP))
    def leave_and_come(self, number: int, parameters: dict[str, str]) -> None:
        if number in self.worlds.through.clients:
            self._forget(number)
        self._log_in(number, parameters)

    @rule(number=st.integers(0, CLIENTS - 1))
    def vanish(self, number: int) -> None:
        if number in self.worlds.through.clients:
            self.worlds.note(f"vanish({number})")
            for world in self.worlds.both():
                world.clients.pop(number).vanish()
                world.settled(list(world.clients.values()))

    @rule(number=st.integers(0, CLIENTS - 1), exchange=exchanges())
    def ask_and_terminate(self, number: int, exchange: Exchange) -> None:
        """What was sent before a Terminate is run (rule 23)."""
        self._client(number)
        self.worlds.note(f"ask_and_terminate({number}, {exchange})")
        for world in self.worlds.both():
            wire = world.clients.pop(number)
            wire.send(exchange.data + m.TERMINATE)
            wire.read_to_end()
            wire.close()
            world.settled(list(world.clients.values()))

    @rule(number=st.integers(0, CLIENTS - 1), other=st.integers(0, CLIENTS - 1))
    def cancel_late(self, number: int, other: int) -> None:
        """Of what has been answered: it hits nobody's next query."""
        self._client(number)
        self._client(other)
        heard = []
        self.worlds.note(f"cancel_late({number}, {other})")
        for world in self.worlds.both():
            wire = world.clients[number]
            cancel(self.worlds.addresses[id(world)], wire.pid, wire.key)
            heard.append(world.ask(other, m.query("select pg_sleep(0.02)")))
        self._compare(other, *heard)

    @rule(number=st.integers(0, CLIENTS - 1))
    def cancel_what_runs(self, number: int) -> None:
        self._client(number)
        if self.worlds.straight.clients[number].status == "E":
            return
        heard = []
        self.worlds.note(f"cancel_what_runs({number})")
        for world, name in zip(self.worlds.both(), (TWIN, DATABASE), strict=True):
            wire = world.clients[number]
            wire.send(m.query(SLEEP))
            mine = f"datname = '{name}' and query = '{SLEEP}' and wait_event = 'PgSleep'"
            running = f"select 1 from pg_stat_activity where {mine}"
            eventually(lambda: self.worlds.direct[name].rows(running), "it runs")  # noqa: B023 - called at once
            cancel(self.worlds.addresses[id(world)], wire.pid, wire.key)
            heard.append(world.hear(number, 1))
        self._compare(number, *heard)

    def teardown(self) -> None:
        self.worlds.end()
