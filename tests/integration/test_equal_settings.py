"""Equal settings, however they were made: they share statements, and servers without a switch."""

from __future__ import annotations

import pytest

from tests.support import messages as m
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire

PREPARE = m.parse("select 'shared'", "s") + m.SYNC
RUN = m.bind(statement="s") + m.execute() + m.SYNC

#: work_mem = 9 MB, search_path = tenant_a, statement_timeout = 1 min, enable_seqscan off
WAYS = {
    "as pg_settings has it": [
        "set work_mem = 9216",
        "set search_path = 'tenant_a'",
        "set statement_timeout = 60000",
        "set enable_seqscan = 'off'",
    ],
    "as people write it": [
        "set work_mem to '9MB'",
        "set search_path to tenant_a",
        "set statement_timeout to '1min'",
        "set enable_seqscan to false",
    ],
    "by a function": [
        "select set_config('work_mem', '9MB', false), set_config('search_path', 'tenant_a', false)",
        "select set_config('statement_timeout', '60s', false), set_config('enable_seqscan', 'f', false)",
    ],
    "in a transaction": [
        "begin; set work_mem = '9216kB'; set search_path = tenant_a; commit",
        "begin",
        "set enable_seqscan = 0",
        "set statement_timeout = '60s'",
        "commit",
    ],
}
STARTUP = {"work_mem": "9MB", "search_path": "tenant_a", "options": "-c statement_timeout=1min -fs"}


@pytest.fixture
def proxy(stage: Stage) -> ProxyProcess:
    """One server; what kinds of settings it has is known."""
    proxy = stage.fresh(pool_size=1)
    proxy.login().query("select 1")
    proxy.wait_log(lambda line: line.get("event") == "catalogue read")
    return proxy


def look(wire: Wire) -> list[list[str | None]]:
    return wire.rows(
        "select current_setting('work_mem'), current_setting('search_path'),"
        " current_setting('statement_timeout'), current_setting('enable_seqscan')"
    )


def test_all_of_them_share_what_they_prepare(proxy: ProxyProcess) -> None:
    wires = [proxy.login() for _ in WAYS]
    for wire, texts in zip(wires, WAYS.values(), strict=True):
        for text in texts:
            wire.query(text)
    wires.append(proxy.login(**STARTUP))
    before = proxy.metrics().value("poolproxy_parses_total")
    for wire in wires:
        assert m.errors(wire.ask(PREPARE)) == []
    for wire in wires:
        assert m.rows(wire.ask(RUN)) == [[b"shared"]]
        assert look(wire) == [["9MB", "tenant_a", "1min", "off"]]
    assert proxy.metrics().value("poolproxy_parses_total") == before + 1
    with proxy.login() as other:
        assert look(other) == [["4MB", '"$user", public', "0", "on"]]
