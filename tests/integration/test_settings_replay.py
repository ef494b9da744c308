"""Settings of a session over shared servers: each client finds its own, and nobody finds another's."""

from __future__ import annotations

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, HELD, PASSWORDS, Direct
from tests.support.messages import Message
from tests.support.proxy import ProxyProcess
from tests.support.sessions import straight
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError


def parameter_changes(messages: list[Message]) -> dict[str, str]:
    return dict(message.pair for message in messages if message.letter == "S")


def test_set_follows_its_client(narrow: ProxyProcess) -> None:
    with narrow.login() as one, narrow.login() as two:
        for _ in range(3):
            one.query("set work_mem = '7MB'")
            two.query("set work_mem = '9MB'")
            assert one.value("show work_mem") == "7MB"
            assert two.value("show work_mem") == "9MB"
        with narrow.login() as third:
            assert third.value("show work_mem") == "4MB"


@pytest.mark.parametrize("ending", ["commit", "rollback"])
@pytest.mark.parametrize("name", ["", "s"])
def test_set_in_a_batch_that_a_query_ends(narrow: ProxyProcess, name: str, ending: str) -> None:
    """In a transaction a Query may end a batch; what that sets is looked at all the same."""
    with narrow.login() as one, narrow.login() as two:
        one.query("begin")
        one.send(m.extended("set work_mem = '7MB'", statement=name) + m.query(ending))
        assert m.errors(one.read_ready()) == []
        assert two.value("show work_mem") == "4MB"
        assert one.value("show work_mem") == ("7MB" if ending == "commit" else "4MB")
        assert narrow.metrics().by("poolproxy_servers_pinned", "reason") == {}


@pytest.mark.parametrize(
    ("statement", "name", "value"),
    [
        ("SET work_mem TO '6MB'", "work_mem", "6MB"),
        ("set session work_mem = 7168", "work_mem", "7MB"),
        ("set statement_timeout = 12345", "statement_timeout", "12345ms"),
        ("set search_path to tenant_a, public", "search_path", "tenant_a, public"),
        ('set search_path = "$user", tenant_b', "search_path", '"$user", tenant_b'),
        ("set search_path = 'tenant_a, tenant_b'", "search_path", '"tenant_a, tenant_b"'),
        ("set datestyle = 'SQL, DMY'", "datestyle", "SQL, DMY"),
        ("set time zone 'Europe/Prague'", "timezone", "Europe/Prague"),
        ("set timezone = 'America/New_York'", "timezone", "America/New_York"),
        ("set client_min_messages = error", "client_min_messages", "error"),
        ("set bytea_output = 'escape'", "bytea_output", "escape"),
        ("set app.tenant = 'it''s \\ a ''value'''", "app.tenant", "it's \\ a 'value'"),
        ("set application_name = 'naïve'", "application_name", None),
        ("set extra_float_digits = -1;", "extra_float_digits", "-1"),
        ("set jit = off", "jit", "off"),
        ("set default_transaction_read_only to on", "default_transaction_read_only", "on"),
        (
            "set default_transaction_isolation = 'serializable'",
            "default_transaction_isolation",
            "serializable",
        ),
    ],
)
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_forms_of_set(
    narrow: ProxyProcess, statement: str, name: str, value: str | None, extended: bool
) -> None:
    """Set, then let somebody else use the only server, then look again."""
    with narrow.login() as client, narrow.login() as other:
        untouched = other.value(f"select current_setting('{name}', true)")
        client.ask(m.extended(statement) + m.SYNC if extended else m.query(statement))
        before = client.value(f"select current_setting('{name}', true)")
        if value is not None:
            assert client.value(f"select current_setting('{name}', true)") == value
        if client.status == "I" and _server_is_free(narrow):
            assert (other.value(f"select current_setting('{name}', true)") or "") == (untouched or "")
        assert client.value(f"select current_setting('{name}', true)") == before


def _server_is_free(proxy: ProxyProcess) -> bool:
    """Whether the pool's only server can serve another client now, that is, is not pinned."""
    return proxy.metrics().value("poolproxy_servers_pinned") == 0


def test_reset_returns_to_the_clients_own_startup_value(narrow: ProxyProcess) -> None:
    """Rule 10: what came with the startup message is the default of this session."""
    with narrow.login(options="-c work_mem=8MB") as client, narrow.login() as other:
        assert client.value("show work_mem") == "8MB"
        assert other.value("show work_mem") == "4MB"
        client.query("set work_mem = '9MB'")
        assert client.value("show work_mem") == "9MB"
        for reset in ("reset work_mem", "reset all", "set work_mem to default", "discard all"):
            client.query("set work_mem = '9MB'")
            client.query(reset)
            assert client.value("show work_mem") == "8MB", reset


@pytest.mark.parametrize(
    "options",
    [
        "-c work_mem=8MB -c app.tenant=acme",
        "--work_mem=8MB --app.tenant=acme",
        "-cwork_mem=8MB -c app.tenant=acme",
        "-c work-mem=8MB -c app.tenant=acme",
        "  -c   work_mem=8MB   -c app.tenant=acme ",
    ],
)
def test_options_of_the_startup_message(narrow: ProxyProcess, options: str) -> None:
    with narrow.login(options=options) as client, narrow.login() as other:
        for _ in range(2):
            assert client.value("show work_mem") == "8MB"
            assert client.value("show app.tenant") == "acme"
            assert other.value("show work_mem") == "4MB"
            assert not other.value("select current_setting('app.tenant', true)")


def test_escaped_blanks_in_options(narrow: ProxyProcess) -> None:
    with narrow.login(options=r"-c app.name=two\ words\\and -c search_path=tenant_a,\ public") as client:
        assert client.value("show app.name") == "two words\\and"
        assert client.value("select name from whose") == "a"


@pytest.mark.parametrize("options", ["-c", "nonsense", "-c work_mem", "-z 1"])
def test_malformed_options(narrow: ProxyProcess, stage: Stage, options: str) -> None:
    stage.expect_log(".")
    with pytest.raises(WireError) as caught:
        narrow.login(options=options)
    assert caught.value.sqlstate in {"42601", "0A000", "22023"}


@pytest.mark.parametrize(
    ("parameters", "sqlstates"),
    [
        ({"work_mem": "nonsense"}, {"22023"}),
        ({"no_such_setting": "1"}, {"42704"}),
        ({"options": "-c log_connections=on"}, {"42501"}),
        ({"shared_buffers": "1GB"}, {"55P02"}),
        ({"log_statement": "all"}, {"42501"}),
    ],
)
def test_startup_parameters_that_cannot_be(
    narrow: ProxyProcess, stage: Stage, parameters: dict[str, str], sqlstates: set[str]
) -> None:
    """PostgreSQL's own refusal."""
    stage.expect_log(".")
    with pytest.raises(WireError) as caught, narrow.login(**parameters) as client:
        client.query("select 1")
    assert caught.value.sqlstate in sqlstates
    with narrow.login() as client:
        assert client.value("select 1") == "1"


def test_startup_parameters(narrow: ProxyProcess) -> None:
    with (
        narrow.login(timezone="Asia/Tokyo", search_path="tenant_a", extra_float_digits="2") as one,
        narrow.login(timezone="UTC", search_path="tenant_b", DateStyle="German") as two,
    ):
        for _ in range(2):
            assert one.rows("select name, current_setting('timezone') from whose") == [["a", "Asia/Tokyo"]]
            assert two.rows("select name, current_setting('timezone') from whose") == [["b", "UTC"]]
            assert two.value("show datestyle") == "German, DMY"


def test_application_name_is_seen_in_pg_stat_activity(narrow: ProxyProcess, direct: Direct) -> None:
    with (
        narrow.login(application_name="first app") as one,
        narrow.login(application_name="second app") as two,
    ):
        for client, name in ((one, "first app"), (two, "second app"), (one, "first app")):
            with direct.holding():
                client.send(m.query(f"select {HELD}, '{name}'"))
                (pid,) = direct.wait_running(name)
                seen = direct.value("select application_name from pg_stat_activity where pid = %s", [pid])
            assert seen == name
            client.read_ready()


def test_parameter_status_is_the_clients_own(narrow: ProxyProcess) -> None:
    """What one client sets is reported to it, never to the next one on the same server."""
    with narrow.login() as one, narrow.login() as two:
        assert parameter_changes(one.query("set timezone = 'Asia/Tokyo'")) == {"TimeZone": "Asia/Tokyo"}
        assert parameter_changes(two.query("select 1")) == {}
        assert two.value("show timezone") == two.parameters["TimeZone"]
        assert parameter_changes(one.query("select 1")) == {}
        assert one.value("show timezone") == "Asia/Tokyo"
        assert parameter_changes(one.query("reset timezone")) == {"TimeZone": two.parameters["TimeZone"]}


def test_client_encoding(stage: Stage) -> None:
    """One speaks latin1, the other UTF-8, values set in one survive (rule 8). Two servers, should one be
    pinned.
    """
    proxy = stage.proxy(pool_size=2)
    with proxy.login(client_encoding="LATIN1") as latin, proxy.login() as utf:
        for _ in range(2):
            answer = latin.ask(m.query("set app.v = 'sch\u00e9ma'".encode("latin1")))
            assert m.errors(answer) == []
            assert utf.value("select length('schéma')") == "6"
            assert m.rows(latin.ask(m.query("select length(current_setting('app.v'))"))) == [[b"6"]]
            assert m.rows(latin.ask(m.query("select current_setting('app.v')"))) == [
                ["schéma".encode("latin1")]
            ]


def test_values_that_want_out_of_their_literal(stage: Stage) -> None:
    """Rule 8: with standard_conforming_strings off at the server, a replayed value stays a value."""
    proxy = stage.proxy(pool_size=2)
    with proxy.login() as holder, proxy.login() as client:
        client.query("set app.v = '\\''; set work_mem to 77000; --'")
        before = client.value("show app.v")
        holder.query("set standard_conforming_strings = off")
        for _ in range(2):
            assert holder.value("show standard_conforming_strings") == "off"
            assert client.value("show app.v") == before
            assert client.value("show work_mem") == "4MB"


def test_a_set_that_failed_is_not_remembered(narrow: ProxyProcess) -> None:
    with narrow.login() as client, narrow.login() as other:
        assert m.errors(client.ask(m.query("set work_mem = 'nonsense'"))) == ["22023"]
        other.query("set work_mem = '9MB'")
        assert client.value("show work_mem") == "4MB"


def test_a_set_that_was_rolled_back(narrow: ProxyProcess) -> None:
    with narrow.login() as client, narrow.login() as other:
        client.query("begin")
        client.query("set work_mem = '9MB'")
        client.query("rollback")
        assert client.value("show work_mem") == "4MB"
        client.close()
        assert other.value("show work_mem") == "4MB"


def test_a_set_in_a_failing_pipeline(narrow: ProxyProcess) -> None:
    """Tag seen, then rolled back with its batch (rule 11)."""
    with narrow.login() as client:
        client.ask(m.extended("set work_mem = '9MB'") + m.extended("select 1/0") + m.SYNC)
        assert client.value("show work_mem") == "4MB"
        with narrow.login() as other:
            client.close()
            assert other.value("show work_mem") == "4MB"


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("set work_mem = '9MB'; select 1/0", "4MB"),
        ("select 1; set work_mem = '9MB'", "9MB"),
        ("set work_mem = '9MB'; reset work_mem", "4MB"),
        ("begin; set work_mem = '9MB'; rollback", "4MB"),
        ("begin; set work_mem = '9MB'; commit", "9MB"),
        ("set work_mem = '9MB'; begin; set work_mem = '8MB'; rollback", "4MB"),
        ("set local work_mem = '9MB'; show work_mem", "4MB"),
    ],
)
def test_set_among_other_statements(narrow: ProxyProcess, sql: str, value: str) -> None:
    """Whatever the proxy makes of it: this client has its own value, and the next one has none of it."""
    with narrow.login() as client:
        client.ask(m.query(sql))
        assert client.value("show work_mem") == value
        if _server_is_free(narrow):
            with narrow.login() as other:
                assert other.value("show work_mem") == "4MB"
        assert client.value("show work_mem") == value
    with narrow.login() as stranger:
        assert stranger.value("show work_mem") == "4MB"


def test_set_local_ends_with_its_transaction(narrow: ProxyProcess) -> None:
    with narrow.login() as client, narrow.login() as other:
        client.query("begin")
        client.query("set local app.tenant = 'acme'")
        assert client.rows("select body from secret") == [["of acme"]]
        assert client.value("show app.tenant") == "acme"
        client.query("commit")
        assert not other.value("select current_setting('app.tenant', true)")


@pytest.mark.parametrize("how", ["set app.tenant = 'acme'", "select set_config('app.tenant', 'acme', false)"])
def test_a_tenant_never_leaks(narrow: ProxyProcess, how: str) -> None:
    """The row-level-security idiom: after this client, the next one is nobody's tenant."""
    with narrow.login() as client:
        client.query(how)
        assert client.rows("select body from secret") == [["of acme"]]
        assert client.value("select current_setting('app.tenant')") == "acme"
    with narrow.login() as stranger:
        assert not stranger.value("select current_setting('app.tenant', true)")
        assert stranger.rows("select body from secret") == []


FORMS_OF_CUSTOM = {
    "quoted": "set \"odd.quoted\" = 'v'",
    "by_parts": 'set "odd"."by_parts" = \'v\'',
    "spaced": "set odd . spaced = 'v'",
    "commented": "set /* why */ odd.commented = 'v'",
    "dollars": "select set_config($$odd.dollars$$, 'v', false)",
    "tagged": "select set_config($q$odd.tagged$q$, 'v', false)",
    "schöne": "set odd.schöne = 'v'",
}


@pytest.mark.parametrize("name", FORMS_OF_CUSTOM)
@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a transaction"])
def test_custom_settings_in_any_spelling(stage: Stage, name: str, block: bool) -> None:
    proxy = stage.proxy(pool_size=2)
    text = FORMS_OF_CUSTOM[name]
    with proxy.login() as client, proxy.login() as other:
        client.query(f"begin; {text}; commit" if block else text)
        ask = f"select current_setting('odd.' || '{name}', true)"
        assert not other.value(ask)
        other.query("begin")  # takes the server that was used last, if it is free
        assert client.value(ask) == "v"
        other.query("rollback")


def test_more_custom_settings_than_names_are_remembered(narrow: ProxyProcess) -> None:
    with narrow.login() as client, narrow.login() as other:
        client.query("; ".join(f"set many.v{n} = '{n}'" for n in range(1500)))
        client.query("do $$ begin end $$")  # is audited
        other.query("select 1")
        assert client.value(
            "select count(*) from generate_series(0, 1499) n where current_setting('many.v' || n) = n::text"
        ) == "1500"  # fmt: skip


@pytest.mark.parametrize("filters", [[], ["advisory_lock"]], ids=["the next client", "a filter"])
def test_defaults_that_make_others_wait_do_not(stage: Stage, filters: list[str]) -> None:
    """Serializable, read only and deferrable, a transaction waits for all that write: not for a server's next
    client to be let in, nor for what is discarded behind a client."""
    proxy = stage.fresh(pool_size=1, session_pinning_filters=filters)
    with proxy.login() as client:
        client.query("select 1")
        proxy.wait_log(lambda line: line["event"] == "catalogue read")  # from now on nothing needs a reset
    with straight(stage) as writer, proxy.login() as client, proxy.login(search_path="") as other:
        writer.query("begin isolation level serializable")
        writer.query("update item set name = name where id = 1")
        client.query("set default_transaction_isolation = 'serializable'")
        client.query("set default_transaction_read_only = on")
        client.query("set default_transaction_deferrable = on")
        if filters:
            client.query("begin isolation level read committed; select pg_advisory_lock(1); commit")
        assert other.value("show search_path") == ""
        writer.query("rollback")


def test_a_hand_over_leaves_no_setting(stage: Stage, direct: Direct) -> None:
    """An audit behind it finds what the client has set, and nothing of ours."""
    proxy = stage.fresh(pool_size=1, handover_reset="always")
    ask = (
        "select string_agg(name, ' ') from pg_settings"
        " where source = 'session' and name not like 'transaction%'"  # what any SET TRANSACTION leaves
    )
    with proxy.login() as client, proxy.login() as other:
        for _ in range(2):
            for wire in (client, other):
                wire.query("set statement_timeout = '1min'")
                wire.query("do $$ begin end $$")
                assert wire.value(ask) == "statement_timeout"


def test_operators_of_the_clients_own_do_not_reach_the_audit(stage: Stage, direct: Direct) -> None:
    direct.rows(
        "create schema evil; grant usage on schema evil to public;"
        "create function evil.equal(text, text) returns boolean language plpgsql as"
        " $$ begin raise exception 'reached'; end $$;"
        "create operator evil.= (leftarg = text, rightarg = text, function = evil.equal)"
    )
    try:
        proxy = stage.fresh(pool_size=1)
        with proxy.login() as client:
            client.query("set search_path = evil, pg_catalog")
            client.query("do $$ begin perform set_config('work_mem', '9MB', false); end $$")
            assert proxy.metrics().by("poolproxy_pins_total", "reason") == {}
            assert client.value("show work_mem") == "9MB"
    finally:
        direct.rows("drop schema evil cascade")


def test_role_never_leaks(narrow: ProxyProcess, direct: Direct) -> None:
    direct.rows("grant other to app")
    with narrow.login() as client:
        client.query("set role other")
        assert client.value("select current_user") == "other"
    with narrow.login() as stranger:
        assert stranger.value("select current_user") == "app"
    direct.rows("revoke other from app")


def test_defaults_of_the_role_are_the_baseline(stage: Stage, direct: Direct) -> None:
    direct.rows("alter role app set work_mem = '13MB'")
    try:
        proxy = stage.fresh(pool_size=1)
        with proxy.login() as client, proxy.login() as other:
            other.query("set work_mem = '2MB'")
            assert client.value("show work_mem") == "13MB"
            other.query("reset work_mem")
            assert other.value("show work_mem") == "13MB"
    finally:
        direct.rows("alter role app reset work_mem")


def test_settings_survive_the_loss_of_a_server(stage: Stage, direct: Direct) -> None:
    """They belong to the client, so a new server gets them, too."""
    stage.expect_log("server")
    proxy = stage.proxy(pool_size=1)
    with proxy.login() as client:
        client.query("set work_mem = '7MB'")
        pid = client.value("select pg_backend_pid()")
        direct.rows("select pg_terminate_backend(%s::int)", [pid])
        proxy.wait_gauge("poolproxy_servers", 0, state="idle")  # before that it would get the FATAL
        assert client.value("show work_mem") == "7MB"
        assert client.value("select pg_backend_pid()") != pid


def test_defaults_equal_those_of_a_direct_connection(narrow: ProxyProcess, stage: Stage) -> None:
    """Every setting, after a predecessor that changed several, is what a direct connection has."""
    with narrow.login(application_name="x") as busy:
        busy.query("set work_mem = '7MB'")
        busy.query("set enable_seqscan = off")
        busy.query("select set_config('statement_timeout', '9s', false)")
    sql = "select name, setting from pg_settings where name not in ('application_name') order by name"
    address = (stage.postgres.host, stage.postgres.port)
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE) as straight, narrow.login() as client:
        assert client.rows(sql) == straight.rows(sql)


@pytest.mark.parametrize("sent", [["reset all", "{}"], ["begin", "reset work_mem", "{}", "commit"]], ids=len)
@pytest.mark.parametrize("pipelined", [False, True], ids=["one by one", "pipelined"])
def test_reset_returns_to_what_the_client_started_with(
    narrow: ProxyProcess, sent: list[str], pipelined: bool
) -> None:
    """Where the next statement sees it already, and for good (sessions.md, rule 10)."""
    show = "select current_setting('work_mem') || current_setting('search_path')"
    with narrow.login(work_mem="9MB", search_path="tenant") as client:
        client.query("set search_path = other")
        texts = [m.query(text.format(show)) for text in sent]
        if pipelined:
            client.send(b"".join(texts))
            answers = client.read_ready(len(texts))
        else:
            answers = [answer for text in texts for answer in client.ask(text)]
        [row] = [answer.row for answer in answers if answer.letter == "D"]
        expected = b"9MBtenant" if sent[0] == "reset all" else b"9MBother"
        assert row == [expected]
        assert client.value(show) == expected.decode()


def test_what_the_database_cannot_hold_ends_in_an_error_before_anything_is_run(
    stage: Stage, direct: Direct
) -> None:
    """A database without an encoding takes bytes as they come, but no character of another one."""
    stage.postgres.sql("create database bytes encoding 'SQL_ASCII' locale 'C' template template0")
    url = f"postgres://{stage.postgres.host}:{stage.postgres.port}/bytes"
    proxy = stage.fresh(databases={"bytes": {"url": url}}, pool_size=1)
    try:
        stage.postgres.sql("create table seen (v text); grant all on seen to public", "bytes")
        with proxy.login(database="bytes") as client, proxy.login(database="bytes") as other:
            client.query("begin; set app.v = 'é'; commit")
            other.query("set app.v = 'of another'")
            answer = client.ask(m.query("insert into seen values (current_setting('app.v'))"))
            found = other.rows("select v from seen")
            assert found == ([] if m.errors(answer) else [["é"]])
    finally:
        proxy.stop()
        direct.rows("drop database bytes with (force)")
