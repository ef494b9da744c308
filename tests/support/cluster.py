"""The PostgreSQL behind the tests: its users and tables, and a superuser connection that goes past the
proxy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from poolproxy.backend.control import APPLICATION_NAME
from poolproxy.demo.postgres import LocalPostgres
from tests.support.waiting import eventually

DATABASE = "app"
#: Every role of the cluster that clients use, and its password. Each may do anything in the database `app`.
PASSWORDS = {"app": "app secret", "other": "other/secret", "md5user": "md5 secret", "trusted": ""}

HBA = (
    "local all all scram-sha-256",
    "host all md5user all md5",
    "host all trusted all trust",
    "host all all all scram-sha-256",
)

#: Tables and functions of `app`.
SCHEMA = """
create table item (id int primary key, name text);
insert into item select n, 'item ' || n from generate_series(1, 100) n;
create table note (id int, body text);
create table ledger (client text, n int);
create table secret (owner name, body text);
alter table secret enable row level security;
create policy own on secret using (owner = current_setting('app.tenant', true));
insert into secret values ('acme', 'of acme'), ('bolt', 'of bolt');
grant all on all tables in schema public to public;
grant create on schema public to public;
create schema tenant_a;
create schema tenant_b;
grant all on schema tenant_a, tenant_b to public;
create table tenant_a.whose as select 'a' as name;
create table tenant_b.whose as select 'b' as name;
grant all on all tables in schema tenant_a, tenant_b to public;
create sequence counter;
grant all on sequence counter to public;
create function login(tenant text) returns void language plpgsql as
    $$ begin perform set_config('app.tenant', tenant, false); end $$;
create function logout() returns void language plpgsql as $$ begin reset app.tenant; end $$;
create function login_twice(tenant text) returns void language plpgsql as
    $$ begin perform login('first'); perform login(tenant); end $$;
create function become(who text) returns void language plpgsql as
    $$ begin perform set_config('role', who, false); end $$;
create function make_temp() returns void language plpgsql as $$ begin create temp table made (a int); end $$;
create function lock_me(which bigint) returns boolean language sql as 'select pg_try_advisory_lock(which)';
create function shout() returns int language plpgsql as
    $$ begin raise notice 'hello from %', current_user; return 7; end $$;
"""


#: Proxies that tests share keep their servers: some forty of them, and a test may want fifty more.
ROOM = {"max_connections": "200"}


def make_postgres(**options: Any) -> LocalPostgres:
    """A running cluster with the roles and tables of the tests. `options` are LocalPostgres's own."""
    postgres = LocalPostgres(**{"hba": HBA, "options": ROOM, **options})
    postgres.start()
    try:
        roles = "".join(
            f"set password_encryption = '{'md5' if user == 'md5user' else 'scram-sha-256'}';"
            f"create role {user} login password '{password}';"
            for user, password in PASSWORDS.items()
        )
        postgres.sql(
            f"set client_min_messages = error; {roles} grant other to app; create database {DATABASE};"
        )
        postgres.sql(
            f"grant all on database {DATABASE} to public; create database second; create database bounded;"
        )
        postgres.sql(SCHEMA, DATABASE)
    except BaseException:
        postgres.close()
        raise
    return postgres


_LOCK = 20_000_001
HELD = f"pg_advisory_xact_lock_shared({_LOCK})"


class Direct:
    """SQL as superuser, past the proxy; connects when first asked, and again after the server was away."""

    def __init__(self, postgres: LocalPostgres, database: str = DATABASE) -> None:
        self.postgres = postgres
        self._database = database
        self._connection: psycopg.Connection[Any] | None = None

    def rows(self, sql: str, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement in autocommit; its rows, or nothing when it returns none."""
        try:
            return self._ask(sql, values)
        except psycopg.OperationalError:
            if self._connection is not None and not self._connection.broken:
                raise
            return self._ask(sql, values)  # the server was away since the last question

    def _ask(self, sql: str, values: Sequence[Any] | None) -> list[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed or self._connection.broken:
            url = self.postgres.url(self._database)
            self._connection = psycopg.connect(url, autocommit=True, application_name="direct")
        cursor = self._connection.execute(sql.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, values: Sequence[Any] | None = None) -> Any:
        """The single value of a query."""
        ((value,),) = self.rows(sql, values)
        return value

    def sessions(self, where: str = "true") -> list[tuple[int, str, str]]:
        """(pid, state, query) of every client session but our own, narrowed by `where`."""
        return [
            (pid, state, query)
            for pid, state, query in self.rows(
                "select pid, state, query from pg_stat_activity where backend_type = 'client backend'"
                f" and application_name <> 'direct' and ({where}) order by pid"
            )
        ]

    def pids(self) -> set[int]:
        """Of every client session but our own: a proxy that tests share keeps some of its own open. What it
        asks for itself, at any time, does not count."""
        return {pid for pid, _, _ in self.sessions(f"application_name <> '{APPLICATION_NAME}'")}

    def wait_running(self, fragment: str, count: int = 1) -> list[int]:
        """The pids of the sessions that run a statement with `fragment` in it, as soon as there are
        `count`.
        """

        def running() -> list[int]:
            found = self.sessions("state = 'active'")
            pids = [pid for pid, _, query in found if fragment in query]
            return pids if len(pids) >= count else []

        return eventually(running, f"{count} running {fragment!r}")

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Whoever selects HELD waits meanwhile: it is seen to run, however late somebody looks."""
        self.rows(f"select pg_advisory_lock({_LOCK})")
        try:
            yield
        finally:
            self.rows(f"select pg_advisory_unlock({_LOCK})")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
