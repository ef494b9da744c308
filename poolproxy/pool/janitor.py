"""What has grown too old: decisions of the tick and the sweep, which serve all timers. Pure: time comes in,
lists go out."""

from __future__ import annotations

from collections.abc import Sequence

from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member, Waiter
from poolproxy.session.lifecycle import SERVER_RESETTING


def overdue_waiters(pool: Pool, now: float, timeout: float) -> list[Waiter]:
    """Clients that have waited `timeout` seconds or longer; the queue is in order of arrival."""
    found = []
    for client in pool.waiting:
        if now - client.waiting_since < timeout:
            break
        found.append(client)
    return found


def surplus_servers(pool: Pool, now: float, idle_timeout: float, jitter: float) -> list[Member]:
    """Idle servers to close: expired ones, then those idle for longer than `idle_timeout` (times 1 +
    `jitter`) above the pool's floor. The stack's bottom is the coldest."""
    expired = [server for server in pool.idle if server.expires and now >= server.expires]
    rest = [server for server in pool.idle if not (server.expires and now >= server.expires)]
    spare = max(0, pool.size() - len(expired) - pool.route.min_pool_size)
    patience = idle_timeout * (1.0 + jitter)
    cold = [server for server in rest[:spare] if idle_timeout and now - server.idle_since >= patience]
    return expired + cold


def excess_servers(pools: Sequence[Pool], idle_limit: int) -> list[Member]:
    """Idle servers to close: the coldest above `idle_limit`, which all pools of one database share, and none
    that a pool's floor needs."""
    excess = sum(len(pool.idle) for pool in pools) - idle_limit
    if excess <= 0:
        return []
    spare = [
        server for pool in pools for server in pool.idle[: max(0, pool.size() - pool.route.min_pool_size)]
    ]
    return sorted(spare, key=lambda server: server.idle_since)[:excess]


def overdue_rescues(pool: Pool, now: float) -> list[Member]:
    """Servers whose client has left and whose exchange has been given long enough."""
    return [server for server in pool.in_state(SERVER_RESETTING) if 0.0 < server.rescue_until <= now]
