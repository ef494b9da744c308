"""auth_query with a real PostgreSQL: who is found, who is not, and that nobody can tell from outside."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme

from poolproxy.backend.control import APPLICATION_NAME
from poolproxy.demo.postgres import LocalPostgres
from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct, make_postgres
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire, WireError

#: What docs/auth_query.md recommends.
FUNCTION = "select * from public.user_lookup($1)"
CATALOGUE = "select rolname, rolpassword from pg_authid where rolname = $1 and rolcanlogin"
#: Of a table of one's own.
TABLE = "select name, password from public.logins where name = $1"
#: Waits while somebody holds the lock, and notes each name that is asked for.
NOTED = "select * from public.noted_lookup($1)"

#: Of user_lookup.
BODY = """language sql security definer set search_path = pg_catalog as $$
        select rolname, rolpassword, rolvaliduntil from pg_authid where rolname = $1 and rolcanlogin
    $$"""

SCHEMA = f"""
create role looker login password 'looker secret';
grant select on pg_authid to looker;
create function user_lookup(inout name text, out password text, out valid_until timestamptz)
    {BODY};
revoke all on function user_lookup from public;
grant execute on function user_lookup to looker;
create table logins (name text, password text);
grant select on logins to looker;
create table asked (name text);
create function noted_lookup(inout name text, out password text, out valid_until timestamptz)
    language plpgsql security definer set search_path = pg_catalog as $$ begin
        insert into public.asked values ($1);
        perform pg_advisory_xact_lock_shared(4711);
        select * from public.user_lookup($1) into name, password, valid_until;
    end $$;
create role scrammed login password 'scrammed secret';
create role unset login;
create role stays_out password 'stays_out secret';
create role expired login password 'expired secret' valid until '2020-01-01';
set password_encryption = 'md5';
create role hashed login password 'hashed secret';
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    """A cluster of these tests' own: some stop it."""
    cluster = make_postgres()
    try:
        cluster.sql(f"set client_min_messages = error; {SCHEMA}", DATABASE)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def behind(postgres: LocalPostgres) -> Iterator[Direct]:
    """SQL as superuser on that cluster."""
    direct = Direct(postgres)
    yield direct
    direct.close()


Make = Callable[..., ProxyProcess]


@pytest.fixture
def make(stage: Stage, postgres: LocalPostgres) -> Make:
    """Makes proxies whose only user is `app`; whoever is found is `app` at the server."""

    def made(auth_query: str = FUNCTION, **settings: Any) -> ProxyProcess:
        place = f"{postgres.host}:{postgres.port}/{DATABASE}"
        databases = {
            DATABASE: {"url": f"postgres://app:app%20secret@{place}"},
            "lookup": {"url": f"postgres://looker:looker%20secret@{place}"},
            "own": {"url": f"postgres://{place}"},
        }
        ours = {"users": {}, "databases": databases, "auth_query_database": "lookup"}
        return stage.fresh(**{**ours, "auth_query": auth_query, **settings})

    return made


def enter(proxy: ProxyProcess, user: str, password: str | None = None, **options: Any) -> Wire:
    """Logged in; by its name and " secret" unless told otherwise."""
    return proxy.login(user, password=f"{user} secret" if password is None else password, **options)


def refused(proxy: ProxyProcess, user: str, password: str | None = None, **options: Any) -> str:
    """The SQLSTATE of the refusal."""
    with pytest.raises(WireError) as caught:
        enter(proxy, user, password, **options)
    return caught.value.sqlstate


def results(proxy: ProxyProcess) -> dict[str, float]:
    return proxy.metrics().by("poolproxy_auth_queries_total", "result")


def server_first(proxy: ProxyProcess, user: str) -> dict[str, str]:
    """The attributes of the challenge, by their letters."""
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": user, "database": DATABASE}))
        wire.read()
        first = b"n,,n=,r=clientnonce"
        wire.send(m.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        text = wire.read().body[4:].decode()
    return {part[0]: part[2:] for part in text.split(",")}


# Who is found.


@pytest.mark.parametrize("query", [FUNCTION, CATALOGUE, CATALOGUE + ";", CATALOGUE + " -- whom else?"])
def test_a_scram_secret(make: Make, query: str) -> None:
    proxy = make(query)
    for _ in range(3):
        with enter(proxy, "scrammed") as client:
            assert client.value("select current_user") == "app"
    assert results(proxy) == {"found": 1, "cached": 2}
    assert proxy.metrics().value("poolproxy_logins_total", method="scram-sha-256", result="ok") == 3


def test_as_the_page_says(stage: Stage, postgres: LocalPostgres, behind: Direct) -> None:
    """What docs/auth_query.md tells to do, as it stands there."""
    stage.expect_log("28P01|login")
    page = (Path(__file__).parents[2] / "docs" / "auth_query.md").read_text()
    sql, toml = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)[0] for kind in ("sql", "toml"))
    behind.rows("drop function user_lookup")
    behind.rows(sql)
    place = f"{postgres.host}:{postgres.port}/{DATABASE}"
    settings = tomllib.loads(toml.replace("app:...", "app:app%20secret").replace("@db/app", f"@{place}"))
    try:
        proxy = stage.fresh(users={}, **settings)
        with enter(proxy, "scrammed") as client:
            assert client.value("select current_user") == "app"
        assert refused(proxy, "nobody") == "28P01"
    finally:
        behind.rows(
            "drop function user_lookup; drop role poolproxy_lookup;"
            "create function user_lookup(inout name text, out password text, out valid_until timestamptz)"
            f" {BODY}; grant execute on function user_lookup to looker"
        )


def test_users_of_the_settings_win_and_are_not_asked_for(make: Make, behind: Direct) -> None:
    proxy = make(users={"scrammed": {"password": "another"}})
    with enter(proxy, "scrammed", "another"), enter(proxy, "app"):
        assert results(proxy) == {}
    assert behind.sessions(f"application_name = '{APPLICATION_NAME}' and usename = 'looker'") == []


def test_md5_takes_what_is_stored(stage: Stage, make: Make) -> None:
    """auth_method md5, as with PgBouncer: who has a SCRAM secret proves that; so does who is not there at
    all, as PostgreSQL has it where password_encryption is scram-sha-256."""
    stage.expect_log("28P01|login")
    proxy = make(auth_method="md5")
    with enter(proxy, "hashed"), enter(proxy, "scrammed"):
        pass
    assert refused(proxy, "hashed", "wrong") == refused(proxy, "nobody") == "28P01"
    logins = proxy.metrics()
    for method, result, count in (
        ("md5", "ok", 1),
        ("md5", "failed", 1),
        ("scram-sha-256", "ok", 1),
        ("scram-sha-256", "failed", 1),
    ):
        assert logins.value("poolproxy_logins_total", method=method, result=result) == count


def test_a_stored_md5_is_of_no_use_to_scram(stage: Stage, make: Make) -> None:
    stage.expect_log("28P01|login")
    assert refused(make(), "hashed") == "28P01"


@pytest.mark.parametrize("method", ["scram-sha-256", "md5"])
def test_passwords_in_a_table_of_ones_own(stage: Stage, make: Make, behind: Direct, method: str) -> None:
    stage.expect_log("28P01|login")
    behind.rows("truncate logins; insert into logins values ('tabled', 'tabled secret'), ('empty', '')")
    proxy = make(TABLE, auth_method=method)
    with enter(proxy, "tabled") as client:
        assert client.value("select 1") == "1"
    for user, password in (("tabled", "wrong"), ("untabled", "x"), ("empty", "")):
        assert refused(proxy, user, password) == "28P01"
    assert results(proxy) == {"found": 1, "unknown": 2, "cached": 1}


def test_an_odd_row_is_nobody(stage: Stage, make: Make, behind: Direct) -> None:
    """Two of one name, somebody else's name, what only looks like a secret: to the log, not to clients."""
    stage.expect_log("28P01|login|oddly")
    behind.rows(
        "truncate logins; insert into logins values ('two', 'a'), ('two', 'a'), ('Case', 'case secret')"
    )
    behind.rows("insert into logins values ('broken', 'SCRAM-SHA-256$hidden')")
    proxy = make("select name, password from public.logins where lower(name) = $1")
    for user, password in (("two", "a"), ("case", "case secret"), ("broken", "SCRAM-SHA-256$hidden")):
        assert refused(proxy, user, password) == "28P01"
    assert results(proxy) == {"unknown": 3}
    assert "hidden" not in proxy.log_text()


@pytest.mark.parametrize("query", [FUNCTION, CATALOGUE])
@pytest.mark.parametrize("user", ["unset", "stays_out", "expired", "nobody"])
def test_who_may_not_come_in(stage: Stage, make: Make, query: str, user: str) -> None:
    """No password, NOLOGIN, VALID UNTIL (which the query does not look at), no such role."""
    stage.expect_log("28P01|login")
    proxy = make(query)
    for _ in range(2):
        assert refused(proxy, user) == "28P01"
    outcome = "expired" if user == "expired" else "unknown"
    assert results(proxy) == {outcome: 1, "cached": 1}


@pytest.mark.parametrize("query", [FUNCTION, CATALOGUE])
def test_a_password_that_expires_while_it_is_known(
    stage: Stage, make: Make, behind: Direct, query: str
) -> None:
    """CVE-2025-2291, and what a cache could make of it. Its salt stays what it was."""
    stage.expect_log("28P01|login")
    proxy = make(query, auth_query_ttl=3600)
    behind.rows("create role passing login password 'passing secret'")
    try:
        behind.rows("do $$ begin execute format('alter role passing valid until %L', now() + '8 s'); end $$")
        with enter(proxy, "passing"):
            pass
        salt = server_first(proxy, "passing")["s"]

        def expired() -> dict[str, float]:
            try:
                enter(proxy, "passing").close()
            except WireError as error:
                return results(proxy) if error.sqlstate == "28P01" else {}
            return {}

        found = eventually(expired, "it has expired", 30)
        assert (found["found"], found.keys()) == (1, {"found", "cached"})
        assert server_first(proxy, "passing")["s"] == salt
    finally:
        behind.rows("drop role passing")


def test_what_has_changed_is_seen_after_the_ttl(stage: Stage, make: Make, behind: Direct) -> None:
    """A role that is dropped, and one that is new; another password at once, when the old one has failed."""
    stage.expect_log("28P01|login")
    proxy = make(auth_query_ttl=0.5)
    behind.rows("create role short_lived login password 'short_lived secret'")
    enter(proxy, "short_lived").close()
    behind.rows("drop role short_lived")

    def answered(password: str, wanted: str) -> bool:
        try:
            enter(proxy, "short_lived", password).close()
        except WireError as error:
            return error.sqlstate == wanted
        return wanted == ""

    eventually(lambda: answered("short_lived secret", "28P01"), "it is gone")
    behind.rows("create role short_lived login password 'reborn'")
    try:
        eventually(lambda: answered("reborn", ""), "it is back")
    finally:
        behind.rows("drop role short_lived")


NAMES = [
    'double"quote',
    "single'quote",
    "back\\slash\\",
    "%u",
    "$1",
    "'; drop table asked; --",
    "üñïçødé 名",
    " blank ",
    "x" * 63,
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name(stage: Stage, make: Make, behind: Direct, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    secret = "'" + f"{name} secret".replace("'", "''") + "'"
    behind.rows(f"set standard_conforming_strings = on; create role {quoted} login password {secret}")
    try:
        for query in (FUNCTION, CATALOGUE):
            proxy = make(query)
            with enter(proxy, name) as client:
                assert client.value("select current_user") == "app"
            assert results(proxy) == {"found": 1}
        stage.expect_log("28P01|login")
        assert refused(proxy, name + "y") == "28P01"
    finally:
        behind.rows(f"drop role {quoted}")


@pytest.mark.parametrize("query", [FUNCTION, CATALOGUE])
@pytest.mark.parametrize("name", [b"x" * 64, b"x" * 200, b"\xff\xfe", b"half \xc3"])
def test_names_that_nobody_can_have(stage: Stage, make: Make, query: str, name: bytes) -> None:
    """Too long for `name`, or no text at all: strangers like others."""
    stage.expect_log("28P01|login")
    proxy = make(query)
    packet = b"user\0" + name + b"\0database\0" + DATABASE.encode() + b"\0\0"
    with Wire(proxy.address) as wire:
        wire.send(struct.pack("!ii", 8 + len(packet), m.PROTOCOL_3_0) + packet)
        with pytest.raises(WireError, match="28P01"):
            wire.authenticate("x", "x")
    assert results(proxy) == {"unknown": 1}


# What others can see.


def dialogue(proxy: ProxyProcess, user: str, password: str) -> list[tuple[str, int, str]]:
    """Each message of a failing login: letter, length and, of an error, its fields without the name."""
    seen = []
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": user, "database": DATABASE}))
        with contextlib.suppress(WireError):
            wire.authenticate(user, password)
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": user, "database": DATABASE}))
        scram = None
        while True:
            message = wire.read()
            fields = json.dumps(message.fields).replace(user, "NAME") if message.letter == "E" else ""
            seen.append((message.letter, len(message.body) if not fields else 0, fields))
            if message.letter == "E":
                with pytest.raises(EOFError):
                    wire.read()
                return seen
            scram = wire._answer(message.body, user, password, scram)


@pytest.mark.parametrize("query", [FUNCTION, CATALOGUE])
def test_the_known_and_the_unknown_are_alike(stage: Stage, make: Make, query: str) -> None:
    """The first login of each, which is asked for, and the second, which is not."""
    stage.expect_log("28P01|login")
    proxy = make(query)
    users = ("scrammed", "nobodies", "unset", "expired", "stays_out", "hashed")
    found = [dialogue(proxy, user, "wrong") for user in users]
    assert [letter for letter, _, _ in found[0]] == ["R", "R", "E"]
    assert all(each == found[0] for each in found)


def test_salts_are_stable_and_that_of_a_role_is_its_own(stage: Stage, make: Make, behind: Direct) -> None:
    stage.expect_log("28P01|login")
    proxy = make(auth_query_ttl=0)
    stored = behind.value("select rolpassword from pg_authid where rolname = 'scrammed'")
    known, unknown = (server_first(proxy, user) for user in ("scrammed", "nobody"))
    assert f"SCRAM-SHA-256${known['i']}:{known['s']}$" in stored
    assert unknown["i"] == known["i"] == "4096"
    assert len(unknown["s"]) == len(known["s"]) == 24
    assert server_first(proxy, "nobody")["s"] == unknown["s"]
    assert server_first(proxy, "another")["s"] != unknown["s"]
    assert results(proxy) == {"found": 1, "unknown": 3}


def test_mocks_are_like_postgresqls_own(make: Make, behind: Direct) -> None:
    """Who has other scram_iterations than the default would know strangers by theirs."""
    if behind.value("select current_setting('server_version_num')::int") < 160000:
        return
    behind.rows("alter role looker set scram_iterations = 5000")
    try:
        proxy = make()
        assert server_first(proxy, "nobody")["i"] == "5000"
    finally:
        behind.rows("alter role looker reset scram_iterations")


# CVE-2025-12819.


@pytest.mark.parametrize(
    "parameters",
    [{"search_path": "evil, pg_catalog"}, {"options": "-c search_path=evil,pg_catalog"}],
    ids=["parameter", "options"],
)
def test_no_clients_search_path(stage: Stage, make: Make, behind: Direct, parameters: dict[str, str]) -> None:
    """A schema with a pg_authid and an operator of its own would be found first by whoever looked there: a
    client's parameter does not get there, nor does what the role itself is set to."""
    stage.expect_log("28P01|login")
    behind.rows("create schema evil; grant usage on schema evil to public")
    try:
        behind.rows(
            "create table evil.seen (what text); grant all on evil.seen to public;"
            "create view evil.pg_authid as select rolname, 'evil'::text as rolpassword, true as rolcanlogin"
            " from pg_catalog.pg_authid; grant select on evil.pg_authid to public;"
            "create function evil.same(name, name) returns bool language plpgsql as"
            " $$ begin insert into evil.seen values ($2); return true; end $$;"
            "create operator evil.= (leftarg = name, rightarg = name, function = evil.same);"
            "alter role looker set search_path = evil, pg_catalog"
        )
        behind.rows("set search_path = evil, pg_catalog")
        assert (
            behind.value("select rolpassword from pg_authid where rolname = 'looker'::name limit 1") == "evil"
        )
        behind.rows("reset search_path; truncate evil.seen")
        proxy = make(CATALOGUE)
        for _ in range(2):
            with enter(proxy, "scrammed", **parameters) as client:
                assert str(client.value("show search_path")).startswith("evil")
        assert refused(proxy, "hashed", "evil", **parameters) == "28P01"
        assert behind.value("select count(*) from evil.seen") == 0
    finally:
        behind.rows("reset search_path; alter role looker reset search_path")
        behind.rows("set client_min_messages = error; drop schema evil cascade; reset client_min_messages")


# When it cannot be asked.


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select * from public.not_there($1)", "42883"),
        ("select rolname from pg_roles where rolname = $1", "1 columns"),
        ("select rolname, '', now(), 4 from pg_roles where rolname = $1", "4 columns"),
        ("select rolname, '', now()::date from pg_roles where rolname = $1", "valid_until"),
        ("select $1::text, $2::text", "one parameter"),
        ("select $1::text, 1 / (random() * 0)::int::text::int::text", "42"),
        ("select $1::text, (1 / length(left($1, 0)))::text", "22012"),
        ("select $1::text, 'x' where pg_sleep(600) is null", "timed out|57014"),
        ("selec $1", "42601"),
    ],
)
def test_a_query_that_cannot_be_answered(stage: Stage, make: Make, query: str, reason: str) -> None:
    """Known and unknown are told the same; those of the settings come in."""
    stage.expect_log(f"auth_query failed.*({reason})")
    # Its half is what a question may take: next to nothing only where it takes for ever.
    proxy = make(query, client_login_timeout=2 if "pg_sleep" in query else 30)
    with enter(proxy, "app"):
        for user in ("scrammed", "nobody"):
            with pytest.raises(WireError) as caught:
                enter(proxy, user)
            assert caught.value.fields["M"] == "users cannot be looked up now (auth_query)"
            assert (caught.value.fields["S"], caught.value.sqlstate) == ("FATAL", "57P03")
    assert results(proxy) == {"failed": 2}
    assert proxy.metrics().value("poolproxy_rejections_total", reason="auth_query") == 2


def test_details_of_an_error_are_not_logged(stage: Stage, make: Make, behind: Direct) -> None:
    behind.rows("truncate logins; insert into logins values ('tabled', 'tabled secret')")
    stage.expect_log("auth_query failed")
    behind.rows(
        "create or replace function leaky(text) returns setof logins language plpgsql as $$ begin"
        " raise 'broken' using detail = (select password from public.logins limit 1), hint = 'tabled secret';"
        " end $$"
    )
    proxy = make("select * from public.leaky($1)")
    assert refused(proxy, "tabled") == "57P03"
    proxy.wait_log(lambda line: line["event"] == "auth_query failed" and "broken" in line["reason"])
    assert "tabled secret" not in proxy.log_text()


def test_the_server_is_away(stage: Stage, make: Make, postgres: LocalPostgres, behind: Direct) -> None:
    """Who has been found goes on logging in; others are told, and come in as soon as it is back."""
    stage.expect_log(
        "auth_query failed|server connect failed|control query failed|catalogue not read|08006|57P"
    )
    proxy = make()
    with enter(proxy, "scrammed"):
        pass
    postgres.stop()
    try:
        assert refused(proxy, "hashed") == refused(proxy, "nobody") == "57P03"
        with Wire(proxy.address) as wire:
            wire.send(m.startup({"user": "scrammed", "database": DATABASE}))
            first = wire.read()
            assert (first.letter, first.body[:4]) == ("R", struct.pack("!i", 10))
    finally:
        postgres.start()
    behind.rows("alter role stays_out login")
    try:

        def back() -> bool:
            with contextlib.suppress(WireError):
                enter(proxy, "stays_out").close()
                return True
            return False

        eventually(back, "it is asked again")
    finally:
        behind.rows("alter role stays_out nologin")


def test_a_connection_that_is_lost_is_replaced(make: Make, behind: Direct) -> None:
    """One that nobody has seen end, and one whose query means something else by now."""
    proxy = make(auth_query_ttl=0)
    enter(proxy, "scrammed").close()
    ended = behind.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        f" where application_name = '{APPLICATION_NAME}' and usename = 'looker'"
    )
    assert len(ended) == 1
    enter(proxy, "scrammed").close()
    assert results(proxy) == {"found": 2}


def test_a_query_that_means_something_else(make: Make, behind: Direct) -> None:
    """PostgreSQL refuses what was prepared for the table that it was."""
    behind.rows("drop table if exists changing; create table changing (name text, password varchar)")
    behind.rows("insert into changing values ('tabled', 'tabled secret'); grant select on changing to looker")
    proxy = make("select * from public.changing where name = $1", auth_query_ttl=0)
    enter(proxy, "tabled").close()
    behind.rows("alter table changing alter password type text, alter name type varchar")
    enter(proxy, "tabled").close()
    behind.rows("drop table changing")


# Many at once.


@contextlib.contextmanager
def held(behind: Direct) -> Iterator[None]:
    """noted_lookup waits."""
    behind.rows("truncate asked")
    behind.rows("select pg_advisory_lock(4711)")
    try:
        yield
    finally:
        behind.rows("select pg_advisory_unlock(4711)")


def knock(proxy: ProxyProcess, user: str, stack: contextlib.ExitStack) -> Wire:
    wire = stack.enter_context(Wire(proxy.address, timeout=30))
    wire.send(m.startup({"user": user, "database": DATABASE}))
    return wire


def test_two_hundred_of_one_name_ask_once(stage: Stage, make: Make, behind: Direct) -> None:
    stage.expect_log("28P01|login")
    proxy = make(NOTED)
    with contextlib.ExitStack() as stack:
        with held(behind):
            wires = [knock(proxy, "nobody", stack) for _ in range(200)]
            eventually(lambda: results(proxy) == {"cached": 199}, "all wait")
            proxy.wait_gauge("poolproxy_clients_in_login", 200)
        for wire in wires:
            with pytest.raises(WireError, match="28P01"):
                wire.authenticate("nobody", "x")
    assert behind.rows("select * from asked") == [("nobody",)]
    assert results(proxy) == {"unknown": 1, "cached": 199}


def test_who_gives_up_takes_nobody_along(stage: Stage, make: Make, behind: Direct) -> None:
    """Some leave while they wait, by a reset or in an orderly way; others of the same name come in, and
    those of the settings have never waited."""
    proxy = make(NOTED)
    with contextlib.ExitStack() as stack:
        with held(behind):
            wires = [knock(proxy, "scrammed", stack) for _ in range(6)]
            eventually(lambda: results(proxy) == {"cached": 5}, "all wait")
            wires[0].vanish()
            wires[1].sock.close()
            proxy.wait_gauge("poolproxy_clients_in_login", 5)
            with enter(proxy, "app") as client:
                assert client.value("select 1") == "1"
        for wire in wires[2:]:
            wire.authenticate("scrammed", "scrammed secret")
            assert wire.value("select 1") == "1"
    assert results(proxy) == {"found": 1, "cached": 5}


def test_several_names_wait_in_line(make: Make, behind: Direct) -> None:
    proxy = make(NOTED)
    users = {"scrammed": "scrammed secret", "md5user": "x", "other": PASSWORDS["other"]}
    with contextlib.ExitStack() as stack:
        with held(behind):
            wires = {user: knock(proxy, user, stack) for user in users}
            behind.wait_running("noted_lookup")
            proxy.wait_gauge("poolproxy_clients_in_login", 3)
        for user in ("other", "scrammed"):
            wires[user].authenticate(user, users[user])
    # Whose turn it was last the two that are in need not know.
    eventually(
        lambda: sorted(behind.rows("select name from asked")) == [("md5user",), ("other",), ("scrammed",)],
        "each is asked for once",
    )


def test_a_hasty_client(make: Make) -> None:
    """What it sends behind its startup message is read when it is its turn."""
    proxy = make()
    first = b"n,,n=,r=clientnonce"
    sasl = m.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "scrammed", "database": DATABASE}) + sasl)
        asked, challenge = wire.read(), wire.read()
        assert asked.body[:4] == struct.pack("!i", 10)
        assert challenge.body[:4] == struct.pack("!i", 11)
        assert challenge.body[4:].startswith(b"r=clientnonce")


def test_over_tls(make: Make, tmp_path: Path) -> None:
    """A login waits within TLS as it does without; a hasty client's bytes are kept there, too."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    proxy = make(tls_cert_file=str(tmp_path / "pem"), tls_key_file=str(tmp_path / "key"), auth_query_ttl=0)
    place = f"host=127.0.0.1 port={proxy.port} dbname={DATABASE} user=scrammed password='scrammed secret'"
    with psycopg.connect(f"{place} sslmode=verify-full sslrootcert={tmp_path / 'ca'}") as connection:
        assert connection.execute("select current_user").fetchone() == ("app",)
    first = b"n,,n=,r=clientnonce"
    sasl = m.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
    context = ssl.create_default_context(cafile=str(tmp_path / "ca"))
    with socket.create_connection((proxy.host, proxy.port), timeout=15) as plain:
        plain.sendall(struct.pack("!ii", 8, 80877103))
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            sock.sendall(m.startup({"user": "scrammed", "database": DATABASE}) + sasl)
            heard = b""
            while b"r=clientnonce" not in heard:
                heard += sock.recv(4096)
    assert results(proxy) == {"found": 2}


def test_a_question_without_an_answer_holds_nobody_for_ever(stage: Stage, make: Make, behind: Direct) -> None:
    """Half of client_login_timeout; and the question ends at the server as well."""
    stage.expect_log("auth_query failed")
    proxy = make(NOTED, client_login_timeout=2)
    with held(behind):
        began = time.monotonic()
        assert refused(proxy, "scrammed") == "57P03"
        assert time.monotonic() - began >= 0.9
        eventually(
            lambda: not behind.sessions("usename = 'looker' and state = 'active'"), "nothing is left running"
        )
    enter(proxy, "scrammed").close()


# Its place among other connections.


def test_it_is_a_connection_of_our_own(make: Make, behind: Direct) -> None:
    """In the budget and in the metrics, under its own name, and it leaves a database that is to be copied."""
    proxy = make()
    behind.rows(f"alter role app createdb; alter database {DATABASE} owner to app")
    with enter(proxy, "scrammed", application_name="mine") as client:
        mine = f"application_name = '{APPLICATION_NAME}' and usename = 'looker'"
        assert len(behind.sessions(mine)) == 1
        assert proxy.metrics().value("poolproxy_database_control_connections") >= 1
        behind.close()  # in the way as any other
        client.query(f"create database copied template {DATABASE}")
        assert not behind.sessions(mine)
        client.query("drop database copied")
    behind.rows(f"alter role app nocreatedb; alter database {DATABASE} owner to postgres")


@pytest.mark.parametrize("limit", [1, 2])
def test_it_makes_room_and_takes_what_it_needs(make: Make, behind: Direct, limit: int) -> None:
    """Where there are next to no connections it takes turns with servers, and no limit is ever broken."""
    proxy = make(max_connections=limit, auth_query_ttl=0, connection_borrow_timeout=20)
    for _ in range(3):
        with enter(proxy, "scrammed") as client:
            assert client.value(
                "select count(*) from pg_stat_activity where usename in ('app', 'looker')"
            ) in [str(number) for number in range(1, limit + 1)]
    with enter(proxy, "app") as busy:
        busy.query("begin")
        if limit == 2:
            with enter(proxy, "scrammed"):
                pass
        busy.query("commit")


def test_the_lookup_database_is_for_lookups_alone(stage: Stage, make: Make) -> None:
    """Whoever is found would be the looker there, and might ask for everybody's secret."""
    stage.expect_log("3D000|login")
    proxy = make()
    assert refused(proxy, "scrammed", database="lookup") == "3D000"
    with enter(proxy, "looker", database="lookup") as client:
        assert client.value("select current_user") == "looker"


def test_who_is_himself_at_the_server_gets_in_by_what_he_has_proved(stage: Stage, make: Make) -> None:
    """A database whose url names no user: the secret that was looked up is the server's own."""
    with enter(make(), "scrammed", database="own") as client:
        assert client.value("select current_user") == "scrammed"


def test_where_the_server_wants_a_password_that_nobody_knows(stage: Stage, make: Make) -> None:
    """What proves an md5 hash to us proves nothing to the server, which has a salt of its own."""
    stage.expect_log("none is configured")
    proxy = make(auth_method="md5")
    with pytest.raises(WireError) as caught, enter(proxy, "hashed", database="own") as client:
        client.query("select 1")
    assert caught.value.sqlstate == "08006"
    assert "give the database a url with user and password, or add [users.NAME]" in caught.value.fields["M"]


def test_rules_that_want_no_secret_ask_for_none(stage: Stage, make: Make, tmp_path: Any) -> None:
    stage.expect_log("without a password|28000|28P01|login")
    rules = tmp_path / "hba"
    rules.write_text(
        "host all nobody all trust\nhost all unset all reject\nhost all hashed,scrammed all md5\n"
        "host all all all scram-sha-256\n"
    )
    proxy = make(auth_hba_file=str(rules))
    with enter(proxy, "nobody"):
        pass
    assert refused(proxy, "unset") == "28000"
    assert results(proxy) == {}
    with enter(proxy, "hashed"), enter(proxy, "scrammed"):
        assert results(proxy) == {"found": 2}


def test_the_password_itself(stage: Stage, make: Make, tmp_path: Any) -> None:
    """Over a Unix socket, where nobody can listen: compared with whatever is stored."""
    stage.expect_log("28P01|login")
    rules = tmp_path / "hba"
    rules.write_text("local all all password\nhost all all all scram-sha-256\n")
    with tempfile.TemporaryDirectory(prefix="pp") as folder:
        proxy = make(auth_hba_file=str(rules), unix_socket_dir=folder)
        path = str(Path(folder) / f".s.PGSQL.{proxy.port}")
        for user in ("scrammed", "hashed"):
            with Wire.login(path, user, f"{user} secret", DATABASE) as client:
                assert client.value("select current_user") == "app"
        for user in ("scrammed", "hashed", "expired", "unset", "nobody"):
            with pytest.raises(WireError, match="28P01"):
                Wire.login(path, user, "wrong", DATABASE)
        with pytest.raises(WireError, match="28P01"):
            Wire.login(path, "expired", "expired secret", DATABASE)


def test_the_only_database_serves_both(stage: Stage, postgres: LocalPostgres) -> None:
    """It works, and is warned of: all are the looker at the server."""
    stage.expect_log("auth_query_database is not set")
    url = f"postgres://looker:looker%20secret@{postgres.host}:{postgres.port}/{DATABASE}"
    proxy = stage.fresh(databases={DATABASE: {"url": url}}, users={}, auth_query=FUNCTION)
    with enter(proxy, "scrammed") as client:
        assert client.value("select current_user") == "looker"
