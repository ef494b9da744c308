"""Bugs that other proxies have had, where no other test of ours is about them (tests/rivals_bugs.md)."""

from __future__ import annotations

import pytest

from tests.support import messages as m
from tests.support.proxy import ProxyProcess
from tests.support.sessions import answers, straight
from tests.support.stage import Stage
from tests.support.wire import Wire


@pytest.fixture
def pair(stage: Stage) -> ProxyProcess:
    """Two servers."""
    return stage.proxy(pool_size=2)


def elsewhere(proxy: ProxyProcess) -> Wire:
    """Somebody who takes the server that was used last, and keeps it: others get the other one."""
    holder = proxy.login()
    holder.query("begin")
    return holder


def same_as_directly(stage: Stage, proxy: ProxyProcess, program: list[bytes]) -> list[list[str]]:
    """Behind the first exchange the client has another server."""
    with straight(stage) as direct:
        expected = list(answers(direct, program))
    with proxy.login() as client:
        found = list(answers(client, program[:1]))
        with elsewhere(proxy):
            found += answers(client, program[1:])
    assert found == expected
    return found


@pytest.mark.parametrize("text", ["select 1", "select $1::int", "insert into note values (1, 'x')", ""])
def test_a_lone_describe_on_another_server(stage: Stage, pair: ProxyProcess, text: str) -> None:
    """With its ParameterDescription, though there are no parameters."""
    program = [
        m.parse(text, "d") + m.SYNC,
        m.describe_statement("d") + m.SYNC,
        m.describe_statement("d") + m.SYNC,
    ]
    found = same_as_directly(stage, pair, program)
    assert [each[0][0] for each in found[1:]] == ["t", "t"]


def test_a_portal_closed_is_not_a_statement_closed(stage: Stage, pair: ProxyProcess) -> None:
    program = [
        m.parse("select 1", "c") + m.SYNC,
        m.bind(portal="c", statement="c") + m.close_portal("c") + m.SYNC,
        m.bind(statement="c") + m.execute() + m.SYNC,
        m.close_statement("c") + m.SYNC,
        m.bind(statement="c") + m.execute() + m.SYNC,
    ]
    assert "26000" in same_as_directly(stage, pair, program)[-1][0]


def test_what_ran_ahead_of_a_statement_parsed_again_is_undone_with_it(
    stage: Stage, pair: ProxyProcess
) -> None:
    """No Sync of ours comes between."""
    failing = m.parse("select 1 / $1::int", "f") + m.SYNC
    insert = m.extended("insert into note values (1, 'undone')")
    run = m.bind([b"0"], statement="f") + m.execute() + m.SYNC
    found = same_as_directly(stage, pair, [failing, insert + run, m.query("select count(*) from note")])
    assert "22012" in found[1][-2]


@pytest.mark.parametrize(
    "text", ["prepare p as select 1; select 2; execute p", "select 3; prepare p as selec"]
)
def test_prepare_among_other_statements(stage: Stage, pair: ProxyProcess, text: str) -> None:
    """And whoever comes next is in step, and knows nothing of it."""
    program = [m.query("select 0"), m.query(text), m.query("execute p"), m.query("deallocate all")]
    same_as_directly(stage, pair, program)
    with pair.login() as other:
        assert m.errors(other.ask(m.query("execute p"))) == ["26000"]
        assert other.value("select 'in step'") == "in step"


@pytest.mark.parametrize("reset", ["discard all", "deallocate all", "reset all"])
def test_names_are_free_again(stage: Stage, pair: ProxyProcess, reset: str) -> None:
    program = [
        m.parse("select 'old'", "n") + m.bind(statement="n") + m.execute() + m.SYNC,
        m.query(reset) + m.parse("select 'new'", "n") + m.SYNC,
        m.bind(statement="n") + m.execute() + m.SYNC,
        m.query(reset),
        m.bind(statement="n") + m.execute() + m.SYNC,
    ]
    same_as_directly(stage, pair, program)


def test_more_statements_in_a_batch_than_a_server_keeps(stage: Stage) -> None:
    """None is closed between its Parse and its Bind, nor while its batch waits at a Flush."""
    proxy = stage.proxy(pool_size=1, max_prepared_statements=2)
    names = [f"e{number}" for number in range(6)]
    parses = b"".join(m.parse(f"select {number}", name) for number, name in enumerate(names))
    binds = b"".join(m.bind(statement=name) + m.execute() for name in names)
    with proxy.login() as one, proxy.login() as other:
        for _ in range(2):
            one.send(parses + m.FLUSH)
            assert m.letters([one.read() for _ in names]) == "1" * len(names)
            one.send(binds + m.SYNC)
            assert [row[0] for row in m.rows(one.read_ready())] == [str(n).encode() for n in range(6)]
            assert m.errors(other.ask(m.extended("select 'other'", statement="e1") + m.SYNC)) == []
            other.ask(m.close_statement("e1") + m.SYNC)
            one.ask(b"".join(m.close_statement(name) for name in names) + m.SYNC)


def test_statements_of_one_batch_that_its_client_leaves(stage: Stage) -> None:
    """Ahead of its Sync, behind a Flush: the server is as good as before for the next one."""
    proxy = stage.proxy(pool_size=1)
    for vanish in (False, True):
        leaver = proxy.login()
        leaver.send(m.extended("insert into note values (1, 'left')", statement="l") + m.FLUSH)
        leaver.read_until("C")
        leaver.vanish() if vanish else leaver.close()
        with proxy.login() as other:
            assert m.errors(other.ask(m.bind(statement="l") + m.execute() + m.SYNC)) == ["26000"]
            assert other.value("select count(*) from note where body = 'left'") == "0"


def test_reported_settings_in_a_row(stage: Stage, pair: ProxyProcess) -> None:
    """Several ParameterStatus ahead of one ReadyForQuery, the last ones the true ones."""
    values = {
        "timezone": "'Asia/Tokyo'",
        "datestyle": "german",
        "application_name": "'row'",
        "intervalstyle": "iso_8601",
    }
    text = "; ".join(f"set {name} = {value}" for name, value in values.items())
    with straight(stage) as direct, pair.login() as client:
        for wire in (direct, client):
            wire.query(text)
            wire.query("reset all")
            wire.query(text)
        assert client.parameters == direct.parameters
        with elsewhere(pair):
            client.query("select 1")
        assert client.parameters == direct.parameters
