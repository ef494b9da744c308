"""What must hold after every integration test, whatever it did: nothing is left over, nothing was out of
step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from tests.support.cluster import Direct
from tests.support.proxy import ProxyProcess
from tests.support.waiting import eventually

#: What a proxy at rest needs: its main task, and that of the HTTP connection which asks.
TASKS_AT_REST = 2


def gauges_off_baseline(proxy: ProxyProcess) -> dict[str, object]:
    """What differs from a proxy that nobody uses: empty when all is well. Idle servers may stay."""
    scrape = proxy.metrics()
    clients = scrape.by("poolproxy_clients", "state")
    servers = scrape.by("poolproxy_servers", "state")
    opened = scrape.value("poolproxy_database_servers")
    off: dict[str, object] = {
        "clients by state": clients,
        "clients connected": scrape.value("poolproxy_clients_connected"),
        "clients in login": scrape.value("poolproxy_clients_in_login"),
        "servers that are not idle": {state: n for state, n in servers.items() if state != "idle"},
        "pinned": scrape.by("poolproxy_servers_pinned", "reason"),
        "listening": scrape.value("poolproxy_listening_clients"),
        "longest wait": scrape.value("poolproxy_longest_wait_seconds"),
    }
    own = scrape.value("poolproxy_database_control_connections")
    # At most: a proxy may have been on the way to a warm server when its descriptors were counted first.
    if (found := proxy.descriptors()) > (most := proxy.base_descriptors + opened + own):
        off["descriptors"] = f"{found:g}, not {most:g}"
    if (found := scrape.value("poolproxy_tasks")) != (expected := TASKS_AT_REST + own):
        off["tasks"] = f"{found:g}, not {expected:g}"
    return {what: value for what, value in off.items() if value}


def check_at_rest(proxy: ProxyProcess) -> None:
    """All clients of the test have gone: gauges, descriptors and tasks must come back, and nothing was out
    of step.
    """
    last: dict[str, object] = {}

    def at_rest() -> bool:
        last.clear()
        last.update(gauges_off_baseline(proxy))
        return not last

    try:
        eventually(at_rest, "gauges at their baseline")
    except AssertionError:
        raise AssertionError(f"{proxy} did not come to rest: {last}") from None
    out_of_sync = proxy.metrics().value("poolproxy_out_of_sync_total")
    assert out_of_sync == 0, f"{out_of_sync:g} servers gave another answer than the one expected"


def check_client_sum(proxy: ProxyProcess) -> None:
    """The states of the clients, with those in login, add up to the clients. Holds at any moment."""
    scrape = proxy.metrics()
    by_state = scrape.by("poolproxy_clients", "state")
    total = sum(by_state.values()) + scrape.value("poolproxy_clients_in_login")
    assert total == scrape.value("poolproxy_clients_connected"), by_state


def check_sessions(direct: Direct) -> None:
    """No session was left in a transaction."""
    eventually(
        lambda: not direct.sessions("state like 'idle in transaction%'"), "no session idle in transaction"
    )


def check_log(proxy: ProxyProcess, since: int, declared: Sequence[re.Pattern[str]]) -> None:
    """No warning and no error but those that the test declared."""
    lines = [json.dumps(line) for line in proxy.troubles(since)]
    unexpected = [line for line in lines if not any(pattern.search(line) for pattern in declared)]
    assert not unexpected, "undeclared log lines:\n" + "\n".join(unexpected)
