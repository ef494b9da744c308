"""Health, readiness and metrics of a running proxy, as a probe and as Prometheus see them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.support import messages as m
from tests.support.cluster import DATABASE
from tests.support.invariants import check_client_sum
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import WireError


def test_health_and_ready(proxy: ProxyProcess) -> None:
    assert proxy.get("/health")[0] == 200
    assert proxy.get("/ready")[0] == 200
    assert proxy.get("/nothing")[0] == 404


def test_no_series_before_a_login_succeeds(stage: Stage) -> None:
    """Strangers cannot make series: neither a wrong password nor a database that is not there has any."""
    stage.expect_log("28P01|3D000|login|database")
    proxy = stage.fresh()
    for user, database, password in (
        ("app", DATABASE, "wrong"),
        ("nobody", "x", "y"),
        ("app", "nosuch", None),
    ):
        try:
            proxy.login(user, database, password=password)
        except WireError:
            continue
        raise AssertionError("that login must fail")
    labelled = [sample for sample in proxy.metrics().samples if "user" in sample.labels]
    assert labelled == []
    logins = proxy.metrics().by("poolproxy_logins_total", "result")
    assert logins == {"failed": 2, "refused": 1}


def test_gauges_follow_the_clients(stage: Stage) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login() as idle, proxy.login() as active, proxy.login() as waiting:
        idle.value("select 1")
        active.query("begin")
        waiting.send(m.query("select 1"))
        proxy.wait_clients("waiting", 1)
        scrape = proxy.metrics()
        assert scrape.by("poolproxy_clients", "state") == {"idle": 1, "active": 1, "waiting": 1}
        assert scrape.by("poolproxy_servers", "state") == {"active": 1}
        assert scrape.value("poolproxy_clients_connected") == 3
        check_client_sum(proxy)
        active.query("rollback")
        waiting.read_ready()
    assert proxy.metrics().value("poolproxy_pool_size", database=DATABASE, user="app") == 1


def test_errors_by_class(stage: Stage) -> None:
    proxy = stage.fresh()
    with proxy.login() as client:
        client.ask(m.query("select 1/0"))
        client.ask(m.query("selec"))
        client.ask(m.query("select nosuch"))
    assert proxy.metrics().by("poolproxy_errors_total", "sqlstate_class") == {"22": 1, "42": 2}


def test_bytes_are_counted(stage: Stage) -> None:
    proxy = stage.fresh()
    with proxy.login() as client:
        before = proxy.metrics()
        client.query("select repeat('x', 1000000)")
        after = proxy.metrics()
    sent = after.value("poolproxy_sent_bytes_total") - before.value("poolproxy_sent_bytes_total")
    received = after.value("poolproxy_received_bytes_total") - before.value("poolproxy_received_bytes_total")
    assert 1_000_000 < sent < 1_001_000
    assert received == len(m.query("select repeat('x', 1000000)"))


def test_scrapes_under_load_add_up(stage: Stage) -> None:
    """Metrics are read again and again while queries run: all are answered."""
    proxy = stage.fresh(pool_size=4)

    def work(n: int) -> int:
        with proxy.login() as client:
            return sum(int(client.value(f"select {n}") or 0) for _ in range(50))

    with ThreadPoolExecutor(9) as threads:
        results = [threads.submit(work, n) for n in range(8)]
        scrapes = [threads.submit(proxy.metrics) for _ in range(20)]
        assert [result.result() for result in results] == [n * 50 for n in range(8)]
        for scrape in scrapes:
            scrape.result()
    assert proxy.metrics().value("poolproxy_queries_total") == 400
