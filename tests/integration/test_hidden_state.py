"""Session state that no client's text shows: a trigger, a view, a default, a policy (rule 2). Whoever has the
server next finds nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import messages as m
from tests.support.cluster import Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually

SCHEMA = """
create table visit (tenant text);
create table secret (owner name, body text);
alter table secret enable row level security;
create policy own on secret using (owner = current_setting('app.tenant', true));
insert into secret values ('acme', 'of acme'), ('bolt', 'of bolt');
grant all on all tables in schema public to public;
"""

#: What makes state appear, and the statement that does not show it.
HIDDEN = {
    "a trigger": (
        (
            "create function on_visit() returns trigger language plpgsql as"
            " $$ begin perform set_config('app.tenant', new.tenant, false); return new; end $$;"
            "create trigger on_visit before insert on visit for each row execute function on_visit()"
        ),
        "insert into visit values ('acme')",
        "drop trigger on_visit on visit; drop function on_visit",
    ),
    "a view": (
        "create view seen as select set_config('app.tenant', 'acme', false); grant all on seen to public",
        "select * from seen",
        "drop view seen",
    ),
    "a default": (
        "alter table visit alter tenant set default set_config('app.tenant', 'acme', false)",
        "insert into visit default values",
        "alter table visit alter tenant drop default",
    ),
    "a lock in a check": (
        (
            "create function lock_it() returns boolean language sql as 'select pg_try_advisory_lock(99)';"
            "alter table visit add constraint locks check (lock_it())"
        ),
        "insert into visit values ('x')",
        "alter table visit drop constraint locks; drop function lock_it",
    ),
    "a partition key": (
        (
            "create function key_of(text) returns text language plpgsql immutable as"
            " $$ begin return set_config('app.tenant', $1, false); end $$;"
            "create table parted (tenant text) partition by list (key_of(tenant));"
            "create table parted_acme partition of parted default; grant insert on parted to public"
        ),
        "insert into parted values ('acme')",
        "drop table parted; drop function key_of",
    ),
    "an operator": (
        (
            "create function become(text, text) returns text language plpgsql as"
            " $$ begin return set_config($1, $2, false); end $$;"
            "create operator ==> (leftarg = text, rightarg = text, function = become)"
        ),
        "select 'app.tenant'::text ==> 'acme'::text",
        "drop operator ==> (text, text); drop function become",
    ),
}


@pytest.fixture(scope="module")
def second(session_stage: Stage) -> Iterator[Direct]:
    direct = Direct(session_stage.postgres, "second")
    session_stage.postgres.sql(SCHEMA, "second")
    yield direct
    session_stage.postgres.sql("drop table visit, secret", "second")


def proxy_of(stage: Stage, **settings: object) -> ProxyProcess:
    url = f"postgres://{stage.postgres.host}:{stage.postgres.port}/second"
    return stage.fresh(databases={"second": {"url": url}}, pool_size=1, **settings)


def is_untouched(proxy: ProxyProcess) -> None:
    with proxy.login(database="second") as client:
        assert m.rows(client.query("select body from secret")) == []
        assert client.value("select coalesce(current_setting('app.tenant', true), '')") == ""
        assert client.value("select count(*) from pg_locks where locktype = 'advisory'") == "0"


@pytest.mark.parametrize("kind", HIDDEN)
@pytest.mark.parametrize("known", [False, True], ids=["at once", "looked at"])
def test_nobody_finds_what_a_statement_did_not_show(
    stage: Stage, second: Direct, kind: str, known: bool
) -> None:
    make, use, unmake = HIDDEN[kind]
    stage.postgres.sql(make, "second")
    try:
        proxy = proxy_of(stage)
        with proxy.login(database="second") as client:
            if known:
                wait_for_the_look(proxy)
            client.query(use)
            is_untouched(proxy)
            client.query("begin")
            client.query(use)
        is_untouched(proxy)
    finally:
        stage.postgres.sql(unmake, "second")


def wait_for_the_look(proxy: ProxyProcess) -> None:
    """The catalogue is read as soon as somebody uses the database."""
    with proxy.login(database="second") as client:
        client.query("select 1")
        proxy.wait_log(lambda line: line["event"] == "catalogue read", timeout=10)


@pytest.mark.parametrize(("handover_reset", "resets"), [("auto", 0), ("always", 10)])
def test_resets_in_a_harmless_database(
    stage: Stage, second: Direct, handover_reset: str, resets: int
) -> None:
    proxy = proxy_of(stage, handover_reset=handover_reset)
    wait_for_the_look(proxy)
    before = proxy.metrics().value("poolproxy_handover_resets_total")
    with proxy.login(database="second") as one, proxy.login(database="second") as other:
        for _ in range(5):
            one.query("select 1")
            other.query("select 2")
    assert proxy.metrics().value("poolproxy_handover_resets_total") == before + resets


def test_a_function_that_is_made_through_the_proxy_counts_at_once(stage: Stage, second: Direct) -> None:
    proxy = proxy_of(stage)
    wait_for_the_look(proxy)
    stage.postgres.sql("grant create on schema public to public", "second")
    with proxy.login(database="second") as client:
        client.query(
            "create function sneak() returns text language plpgsql as"
            " $$ begin return set_config('app.tenant', 'acme', false); end $$;"
            "create view sneaky as select sneak()"
        )
        client.query("select * from sneaky")
        is_untouched(proxy)
        client.query("drop view sneaky; drop function sneak")


RUN_NAMED = m.bind(statement="s") + m.execute() + m.SYNC
RUN_UNNAMED = m.bind() + m.execute() + m.SYNC


@pytest.mark.parametrize(("name", "run"), [("s", RUN_NAMED), ("", RUN_UNNAMED)], ids=["named", "unnamed"])
def test_a_function_that_becomes_hazardous_after_a_statement_was_parsed(
    stage: Stage, second: Direct, name: str, run: bytes
) -> None:
    """The text was looked at when nothing in it was suspect; what it is run with is another function."""
    header = "create or replace function turncoat(text) returns text language plpgsql as"
    stage.postgres.sql(f"{header} $$ begin return $1; end $$", "second")
    proxy = proxy_of(stage, catalogue_poll_interval=0.2)
    wait_for_the_look(proxy)
    try:
        with proxy.login(database="second") as client:
            assert m.errors(client.ask(m.parse("select turncoat('acme')", name) + m.SYNC)) == []
            assert m.errors(client.ask(run)) == []
            looks = len(proxy.log)
            stage.postgres.sql(
                f"{header} $$ begin return set_config('app.tenant', $1, false); end $$", "second"
            )
            with proxy.login(database="second") as other:
                eventually(
                    lambda: (
                        bool(other.query("select 1"))
                        and any(line["event"] == "catalogue read" for line in proxy.log[looks:])
                    ),
                    "a look at the catalogue",
                )
            assert m.rows(client.ask(run)) == [[b"acme"]]
            is_untouched(proxy)
            assert m.rows(client.ask(m.query("select body from secret"))) == [[b"of acme"]], "it is its own"
    finally:
        stage.postgres.sql("drop function turncoat", "second")


def test_an_index_on_a_function_that_was_known_already(stage: Stage, second: Direct) -> None:
    stage.postgres.sql(
        "create function key_of(text) returns text language plpgsql immutable as"
        " $$ begin return set_config('app.tenant', $1, false); end $$",
        "second",
    )
    try:
        proxy = proxy_of(stage, catalogue_poll_interval=0.2)
        wait_for_the_look(proxy)
        looks = len(proxy.log)
        stage.postgres.sql("create index keyed on visit (key_of(tenant))", "second")
        with proxy.login(database="second") as client:
            eventually(
                lambda: (
                    bool(client.query("select 1"))
                    and any(line.get("hidden") is True for line in proxy.log[looks:])
                ),
                "a look at the catalogue",
            )
            client.query("insert into visit values ('acme')")
            is_untouched(proxy)
    finally:
        stage.postgres.sql("drop index if exists keyed; drop function key_of; truncate visit", "second")


def test_an_extension_that_sets_something_of_its_own(stage: Stage, second: Direct) -> None:
    stage.postgres.sql("create extension pg_trgm", "second")
    try:
        proxy = proxy_of(stage)
        wait_for_the_look(proxy)
        with proxy.login(database="second") as client, proxy.login(database="second") as other:
            client.query("select set_limit(0.9)")
            assert other.value("select show_limit()") == "0.3"
            assert client.value("select show_limit()") == "0.9"
    finally:
        stage.postgres.sql("drop extension pg_trgm", "second")


def test_pin_on(stage: Stage, second: Direct) -> None:
    """Who needs lastval() in a later transaction keeps its server."""
    proxy = proxy_of(stage, pin_on=["lastval"])
    stage.postgres.sql("create sequence tick; grant all on tick to public", "second")
    try:
        with proxy.login(database="second") as client:
            assert m.errors(client.ask(m.query("select lastval()"))) == ["55000"]
            assert proxy.metrics().by("poolproxy_servers_pinned", "reason") == {"function": 1}
            number = client.value("select nextval('tick')")
            assert client.value("select lastval()") == number
    finally:
        stage.postgres.sql("drop sequence tick", "second")


LAST = "select lastval()"
BEGIN = m.parse("begin") + m.bind() + m.execute()

#: Ways to ask for another client's number, with how many ReadyForQuery they get.
ASKING = {
    "behind a setting": (m.query("set work_mem to '5MB'") + m.query(LAST), 2),
    "behind begin": (m.query("begin") + m.query(LAST), 2),
    "in one batch with begin": (BEGIN + m.extended(LAST) + m.SYNC, 1),
    "by name in one batch with begin": (BEGIN + m.extended(LAST, statement="s") + m.SYNC, 1),
    "a query behind begin": (BEGIN + m.query(LAST), 1),
    "in an implicit transaction": (m.extended("select 1") + m.extended(LAST) + m.SYNC, 1),
    "by name in an implicit one": (m.extended("select 1") + m.extended(LAST, statement="s") + m.SYNC, 1),
}


@pytest.mark.parametrize("asking", ASKING)
def test_nobody_is_told_anothers_number(stage: Stage, second: Direct, asking: str) -> None:
    """In a database where no hand-over resets anything (rule 14)."""
    stage.postgres.sql("create sequence tick; grant all on tick to public", "second")
    try:
        proxy = proxy_of(stage)
        wait_for_the_look(proxy)
        with proxy.login(database="second") as drawing, proxy.login(database="second") as client:
            assert drawing.value("select nextval('tick')") == "1"
            question, answers = ASKING[asking]
            client.send(question)
            said = [client.read_ready() for _ in range(answers)][-1]
            assert m.errors(said) == ["55000"]
            client.query("rollback")
            assert client.value("select 1") == "1"
    finally:
        stage.postgres.sql("drop sequence tick", "second")


@pytest.mark.parametrize("name", ["", "s"])
def test_ones_own_number_is_told_in_a_batch(stage: Stage, second: Direct, name: str) -> None:
    proxy = proxy_of(stage)
    stage.postgres.sql("create sequence tick; grant all on tick to public", "second")
    try:
        with proxy.login(database="second") as client:
            draw = m.extended("select nextval('tick')")
            for batch in (
                BEGIN + draw + m.extended(LAST, statement=name) + m.SYNC,
                m.query("commit"),
                draw + m.extended(LAST, statement=name and "t") + m.SYNC,
            ):
                said = client.ask(batch)
                assert m.errors(said) == []
                rows = m.rows(said)
                assert not rows or rows[0] == rows[1]
    finally:
        stage.postgres.sql("drop sequence tick", "second")
