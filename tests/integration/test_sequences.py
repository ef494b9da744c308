"""lastval() and currval() in a database where no hand-over needs a reset: one's own number or 55000, never
one that another client has drawn (sessions.md, rule 14)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import messages as m
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def _sequence(session_stage: Stage) -> Iterator[None]:
    session_stage.postgres.sql(
        "create table plain (id int); grant all on plain to public;"
        "create table drawn (id serial); grant all on drawn, drawn_id_seq to public",
        "second",
    )
    yield
    session_stage.postgres.sql("drop table plain, drawn", "second")


@pytest.fixture
def proxy(stage: Stage, _sequence: None) -> ProxyProcess:
    """One server, in a database that is known to be harmless."""
    url = f"postgres://{stage.postgres.host}:{stage.postgres.port}/second"
    proxy = stage.fresh(databases={"second": {"url": url}}, pool_size=1)
    with proxy.login(database="second") as client:
        client.query("select 1")
        proxy.wait_log(lambda line: line["event"] == "catalogue read", timeout=10)
    return proxy


@pytest.fixture
def client(proxy: ProxyProcess) -> Iterator[Wire]:
    """One whose server another client has drawn a number on."""
    before = proxy.metrics().value("poolproxy_handover_resets_total")
    with proxy.login(database="second") as other:
        other.query("insert into drawn default values")
    with proxy.login(database="second") as client:
        client.query("select 1")
        assert proxy.metrics().value("poolproxy_handover_resets_total") == before
        yield client


LAST = ["select lastval()", "select currval('drawn_id_seq')"]


@pytest.mark.parametrize(
    "before",
    [
        b"",
        m.query("select 1"),
        m.query("select 1") + m.query("begin"),
        m.query("begin") + m.query("select 1/0") + m.query("rollback"),
        m.extended("select 1") + m.SYNC,
    ],
    ids=["at once", "behind a query", "in a transaction", "behind one that failed", "behind a batch"],
)
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_in_one_write_with_other_things(client: Wire, before: bytes, extended: bool) -> None:
    asked = m.extended(LAST[0]) + m.SYNC if extended else m.query(LAST[0])
    client.send(before + asked + m.query("rollback") + m.query("select 'after'"))
    answer = client.read_ready(sum(letter in "QS" for letter in m.frontend_letters(before)) + 3)
    assert m.errors(answer)[-1] == "55000"
    assert m.rows(answer)[-1] == [b"after"]


@pytest.mark.parametrize("last", LAST)
def test_behind_what_writes_and_draws_nothing(proxy: ProxyProcess, client: Wire, last: str) -> None:
    client.ask(m.query(last))  # somebody asks for last numbers here
    with proxy.login(database="second") as other:
        other.query("insert into drawn default values")
    client.query("begin")
    client.query("insert into plain values (1)")
    assert m.errors(client.ask(m.query(last))) == ["55000"]
    client.query("rollback")


@pytest.mark.parametrize("last", LAST)
def test_on_a_pinned_server(client: Wire, last: str) -> None:
    client.query("create temp table mine (id int)")
    assert m.errors(client.ask(m.query(last))) == ["55000"]
    client.query("insert into drawn default values")
    number = client.value("select max(id) from drawn")
    assert client.value(last) == number  # it is kept, and so is what it draws
    client.query("drop table mine")


@pytest.mark.parametrize("last", LAST)
def test_behind_what_draws(client: Wire, last: str) -> None:
    client.query("begin")
    client.query("insert into drawn default values")
    assert client.value(last) == client.value("select max(id) from drawn")
    client.query("commit")
    client.send(m.extended("insert into drawn default values") + m.extended(last) + m.SYNC)
    answer = client.read_ready()
    assert m.errors(answer) == []
    assert client.value("select max(id) from drawn") == m.rows(answer)[-1][0].decode()  # type: ignore[union-attr]
