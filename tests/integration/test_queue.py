"""The queue for a server: first come, first served, for as long as connection_borrow_timeout says."""

from __future__ import annotations

import time

import pytest

from tests.support import messages as m
from tests.support.cluster import Direct
from tests.support.invariants import check_client_sum
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage


def test_first_come_first_served(narrow: ProxyProcess, direct: Direct) -> None:
    direct.rows("truncate ledger")
    holder = narrow.login()
    holder.query("begin")
    queue = [narrow.login() for _ in range(8)]
    for place, client in enumerate(queue, 1):
        client.send(m.query(f"insert into ledger select 'fifo', {place} + 0 * (select count(*) from ledger)"))
        narrow.wait_clients("waiting", place)
    check_client_sum(narrow)
    holder.query("commit")
    for client in queue:
        assert m.tags(client.read_ready()) == ["INSERT 0 1"]
    served = [n for (n,) in direct.rows("select n from ledger order by ctid")]
    assert served == list(range(1, 9))
    for client in [holder, *queue]:
        client.close()


def test_a_client_that_was_served_goes_to_the_end(narrow: ProxyProcess, direct: Direct) -> None:
    """A busy client cannot keep the server: between its transactions those in the queue come first."""
    with narrow.login() as busy, narrow.login() as patient:
        busy.query("begin")
        moment = m.query("select extract(epoch from statement_timestamp())")
        patient.send(moment)
        narrow.wait_clients("waiting", 1)
        busy.query("commit")
        busy.send(moment)
        ((first,),) = m.rows(patient.read_ready())
        ((second,),) = m.rows(busy.read_ready())
        assert first is not None
        assert second is not None
        assert float(first) < float(second)


@pytest.mark.parametrize("timeout", [0, 1])
def test_borrow_timeout(stage: Stage, timeout: float) -> None:
    """0 = never wait. The error is no end of the session, and names the pool."""
    stage.expect_log("53300")
    proxy = stage.proxy(pool_size=1, connection_borrow_timeout=timeout)
    with proxy.login() as holder, proxy.login() as late:
        holder.query("begin")
        started = time.monotonic()
        answer = late.ask(m.query("select 1"))
        assert timeout <= time.monotonic() - started < timeout + 2
        assert m.letters(answer) == "EZ"
        error = answer[0]
        assert (error.sqlstate, error.fields["S"]) == ("53300", "ERROR")
        assert "app/app" in error.fields["M"]
        assert "connection_borrow_timeout" in error.fields["M"]
        holder.query("commit")
        assert late.value("select 'the session goes on'") == "the session goes on"


def test_borrow_timeout_of_a_batch(stage: Stage) -> None:
    """One error up to the Sync, as PostgreSQL would answer, then one ReadyForQuery."""
    stage.expect_log("53300")
    proxy = stage.proxy(pool_size=1, connection_borrow_timeout=0)
    with proxy.login() as holder, proxy.login() as late:
        holder.query("begin")
        late.send(m.extended("select 1") + m.FLUSH)
        assert late.read().sqlstate == "53300"
        late.send(m.extended("insert into note values (1, 'skipped')") + m.SYNC)
        assert m.letters(late.read_ready()) == "Z"
        holder.query("commit")
        assert late.value("select count(*) from note where body = 'skipped'") == "0"


@pytest.mark.parametrize(
    "batch",
    [
        m.query("begin") + m.query("insert into note values (1, 'outside')") + m.query("rollback"),
        m.query("begin"),
        m.extended("begin") + m.SYNC + m.extended("insert into note values (1, 'outside')") + m.SYNC,
    ],
    ids=["pipeline", "begin", "extended"],
)
def test_borrow_timeout_never_lets_a_rest_run_outside_its_transaction(stage: Stage, batch: bytes) -> None:
    """Rule 16: after a failed BEGIN the insert behind it must not run in autocommit. FATAL says so."""
    stage.expect_log("53300")
    proxy = stage.proxy(pool_size=1, connection_borrow_timeout=0)
    with proxy.login() as holder, proxy.login() as late:
        holder.query("begin")
        late.send(batch)
        error, *rest = late.read_to_end()
        assert (error.sqlstate, error.fields["S"], rest) == ("53300", "FATAL", [])
        holder.query("commit")
        assert holder.value("select count(*) from note where body = 'outside'") == "0"


def test_without_patience_the_limit_of_the_database_counts_too(stage: Stage) -> None:
    """max_connections is tighter than pool_size: nobody waits for a place that others hold."""
    stage.expect_log("53300")
    settings = stage.settings()
    settings["databases"]["app"]["max_connections"] = 1
    proxy = stage.proxy(**settings, connection_borrow_timeout=0)
    with proxy.login() as holder, proxy.login() as late, proxy.login("other") as other:
        holder.query("begin")
        for refused in (late, other):
            error = refused.ask(m.query("select 1"))[0]
            assert (error.sqlstate, "within 0 s" in error.fields["M"]) == ("53300", True)
        holder.query("commit")
        assert other.value("select 'an idle server makes way'") == "an idle server makes way"


def test_timeouts_end_in_order(stage: Stage) -> None:
    """Everybody gets an answer at the deadline of its own, though nobody gets a server."""
    stage.expect_log("53300")
    proxy = stage.proxy(pool_size=1, connection_borrow_timeout=3)  # long enough for all to wait at once
    with proxy.login() as holder:
        holder.query("begin")
        late = [proxy.login() for _ in range(5)]
        for place, client in enumerate(late, 1):
            client.send(m.query("select 1"))
            proxy.wait_clients("waiting", place)
        assert proxy.metrics().value("poolproxy_longest_wait_seconds") > 0
        for client in late:
            assert m.errors(client.read_ready()) == ["53300"]
            client.close()
        holder.query("commit")


def test_a_waiting_client_that_leaves_frees_its_place(narrow: ProxyProcess) -> None:
    with narrow.login() as holder, narrow.login() as patient:
        holder.query("begin")
        impatient = narrow.login()
        impatient.send(m.query("insert into note values (1, 'from the grave')"))
        narrow.wait_clients("waiting", 1)
        patient.send(m.query("select count(*) from note where body = 'from the grave'"))
        narrow.wait_clients("waiting", 2)
        impatient.vanish()
        narrow.wait_clients("waiting", 1)
        holder.query("commit")
        assert m.rows(patient.read_ready()) == [[b"0"]]


def test_pools_do_not_share_servers(stage: Stage) -> None:
    """One full pool does not hold up another user's."""
    proxy = stage.proxy(pool_size=1, connection_borrow_timeout=5)
    with proxy.login("app") as holder, proxy.login("other") as other:
        holder.query("begin")
        assert other.value("select 1") == "1"
        holder.query("commit")


def test_per_user_and_per_database_pool_size(stage: Stage) -> None:
    """[users.NAME] before [databases.NAME] before the top."""
    stage.expect_log("53300")
    settings = stage.settings()
    settings["databases"]["app"]["pool_size"] = 1
    settings["users"]["other"]["pool_size"] = 2
    proxy = stage.proxy(**settings, connection_borrow_timeout=0)
    for user, servers in (("app", 1), ("other", 2)):
        clients = [proxy.login(user) for _ in range(servers + 1)]
        for client in clients[:servers]:
            client.query("begin")
        assert m.errors(clients[-1].ask(m.query("select 1"))) == ["53300"]
        for client in clients:
            client.close()


def test_borrow_metrics(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=1)
    names = ["borrow_duration_seconds_count", "queries_total", "transactions_total"]
    names += ["query_duration_seconds_count", "transaction_duration_seconds_count"]
    with proxy.login() as client:
        client.query("select 1")
        before = proxy.metrics()
        for _ in range(5):
            client.query("select 1")
        client.query("begin")
        client.query("select 1")
        client.query("commit")
    scrape = proxy.metrics()
    grown = [scrape.value(f"poolproxy_{name}") - before.value(f"poolproxy_{name}") for name in names]
    assert grown == [6, 8, 6, 8, 6]
    assert scrape.by("poolproxy_server_connects_total", "result") == {"ok": 1}
    assert scrape.by("poolproxy_logins_total", "result") == {"ok": 1}
