"""Who one is: roles from the startup message, and those that ALTER ROLE gives (rules 8, 10, 18)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.proxy import ProxyProcess
from tests.support.sessions import answers
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError

WHO = m.query("select current_user, session_user, current_setting('role')")


@pytest.fixture
def default_role(direct: Direct) -> Iterator[None]:
    """RESET ROLE goes back to it."""
    direct.rows("alter role app set role = other")
    yield
    direct.rows("alter role app reset role")


def same(stage: Stage, proxy: ProxyProcess, texts: list[str], **parameters: str) -> None:
    """Each text, and who one is behind it, while another client uses the server in between."""
    program = [WHO] + [exchange for text in texts for exchange in (m.query(text), WHO)]
    address = (stage.postgres.host, stage.postgres.port)
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE, **parameters) as direct:
        expected = [sorted(answer) for answer in answers(direct, program)]
        nobody = direct.rows("select 1")
    with proxy.login(**parameters) as client, proxy.login() as other:
        for exchange, right in zip(program, expected, strict=True):
            (answer,) = answers(client, [exchange])
            assert sorted(answer) == right, exchange
            if client.status == "I":
                assert other.rows("select 1") == nobody


PROGRAMS = {
    "reset": ["set role none", "reset role"],
    "another and back": ["set role app", "reset role", "set role none"],
    "reset all leaves it": ["set role none", "reset all", "set role other", "reset all"],
    "discard all": ["set role none", "discard all"],
    "discard all by the extended protocol": ["set role none", "discard all "],
    "session authorization": ["reset session authorization", "set session authorization app"],
    "session authorization default": ["set role none", "set session authorization default"],
    "in a transaction": [
        "begin",
        "set role none",
        "reset role",
        "commit",
        "begin",
        "set role none",
        "commit",
    ],
    "rolled back": ["begin", "set role none", "rollback", "begin", "reset role", "rollback"],
    "local": ["begin", "set local role none", "commit"],
    "by a function": [
        "select set_config('role', 'none', false)",
        "select set_config('role', 'other', false)",
    ],
    "in one text": ["set role none; select 1", "begin; set role other; commit"],
    "to default": ["set role to none", "set role to default"],
}


@pytest.mark.parametrize("texts", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize(
    "parameters", [{}, {"role": "other"}, {"role": "none"}, {"options": "-c role=other"}], ids=str
)
def test_as_on_a_direct_connection(
    stage: Stage, narrow: ProxyProcess, texts: list[str], parameters: dict[str, str]
) -> None:
    same(stage, narrow, texts, **parameters)


@pytest.mark.parametrize("texts", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("parameters", [{}, {"role": "none"}], ids=str)
def test_where_the_role_has_a_default(
    stage: Stage, direct: Direct, default_role: None, texts: list[str], parameters: dict[str, str]
) -> None:
    same(stage, stage.fresh(pool_size=1), texts, **parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"role": "md5user"},
        {"role": "nobody_here"},
        {"session_authorization": "other"},
        {"session_authorization": "nobody_here"},
        {"session_authorization": "app"},
        {"exit_on_error": "perhaps"},
        {"is_superuser": "on"},
        {"options": "-d 2"},
        {"options": "-O"},
        {"options": "-s"},
        {"options": "-tpa"},
        {"options": "-B 100"},
        {"options": "-N 10"},
        {"options": "-l"},
        {"options": "-F"},
        {"options": "-h x"},
        {"options": "-p 5"},
        {"options": "-S abc"},
        {"options": "-z"},
        {"options": "-fz"},
        {"options": "-c work_mem"},
        {"options": "--version"},
        {"options": "-c =5"},
        {"options": "-c 1a=5"},
        {"a.": "5"},
    ],
    ids=str,
)
def test_what_is_refused_is_refused_at_login_in_the_same_words(
    stage: Stage, narrow: ProxyProcess, parameters: dict[str, str]
) -> None:
    stage.expect_log("login refused|server")
    told: list[object] = []
    for address in ((stage.postgres.host, stage.postgres.port), narrow.address):
        try:
            with Wire.login(address, "app", PASSWORDS["app"], DATABASE, **parameters) as wire:
                told.append(wire.rows("select current_user, session_user"))
        except WireError as error:
            told.append({field: error.fields.get(field) for field in "SCMH"})
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "options",
    [
        "-e",
        "-S 8192",
        "-S8192",
        "-fh -fm",
        "-eS 8192",
        "-n -b -E",
        "-c datestyle=SQL -e",
        "-c  work_mem=\\ 9MB",
        "-S 8MB",
    ],
)
def test_switches_that_stand_for_settings(stage: Stage, narrow: ProxyProcess, options: str) -> None:
    sql = "select name, setting from pg_settings order by name"
    address = (stage.postgres.host, stage.postgres.port)
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE, options=options) as direct:
        expected = direct.rows(sql)
    with narrow.login(options=options) as client, narrow.login() as other:
        for _ in range(2):
            assert client.rows(sql) == expected
            assert other.value("show work_mem") == "4MB"


def test_session_authorization_of_a_superuser_is_taken_and_means_nothing(stage: Stage) -> None:
    postgres = stage.postgres
    proxy = stage.fresh(users={"postgres": {"password": postgres.password}}, pool_size=1)
    answers = []
    for address in ((postgres.host, postgres.port), proxy.address):
        with Wire.login(
            address, "postgres", postgres.password, DATABASE, session_authorization="other"
        ) as wire:
            answers.append(
                (wire.rows("select current_user, session_user"), wire.parameters["session_authorization"])
            )
            wire.query("reset session authorization")
            answers[-1] += (wire.rows("select current_user, session_user"),)
    assert answers[0] == answers[1]


def test_exit_on_error_is_for_its_client_alone(stage: Stage) -> None:
    stage.expect_log("server")
    proxy = stage.proxy(pool_size=2)
    with proxy.login(exit_on_error="on") as client, proxy.login() as other:
        assert client.value("show exit_on_error") == "on"
        assert m.errors(other.ask(m.query("select 1 / 0"))) == ["22012"]
        assert client.value("select 1") == "1"
        client.send(m.query("select 1 / 0"))
        (error,) = [message for message in client.read_to_end() if message.letter == "E"]
        assert (error.fields["S"], error.sqlstate) == ("FATAL", "22012")
        assert other.value("show exit_on_error") == "off"
