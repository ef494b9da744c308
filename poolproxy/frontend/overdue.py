"""Ends what clients of a pool have waited for, or have left open, for too long.

Run by the front door's tick and sweep. Must not know logins.
"""

from __future__ import annotations

from poolproxy.backend.server import Server
from poolproxy.errors import DatabaseDown, IdleTransactionTimeout, PoolFull, PoolproxyError
from poolproxy.frontend.client_session import ClientSession
from poolproxy.pool.janitor import overdue_waiters
from poolproxy.pool.pool import Pool
from poolproxy.session.lifecycle import SERVER_ACTIVE


def end_waits(pool: Pool, now: float) -> None:
    """Who has waited for a server for longer than connection_borrow_timeout need not wait any more."""
    route = pool.route
    timeout = route.connection_borrow_timeout
    for client in overdue_waiters(pool, now, timeout):
        assert isinstance(client, ClientSession)
        if timeout == 0.0 and now - client.waiting_since < route.server_connect_timeout:
            continue  # a login that only learns what servers report; exchanges are not queued at all
        client.give_up(_in_vain(pool, round(now - client.waiting_since, 1)))


def end_transactions(pool: Pool, now: float) -> None:
    """Only who holds a server can be idle in a transaction: a look at the servers in use."""
    limit = pool.route.idle_transaction_timeout
    for server in pool.in_state(SERVER_ACTIVE) if limit else ():
        client = server.sink if isinstance(server, Server) else None
        if (
            isinstance(client, ClientSession)
            and now - client.last_active >= limit
            and client.idle_in_transaction()
        ):
            client.fail(IdleTransactionTimeout(seconds=limit))


def _in_vain(pool: Pool, seconds: float) -> PoolproxyError:
    """What to tell a client that waited so long: the pool is full, or why it has no server at all."""
    route = pool.route
    if pool.servers or (pool.up and not pool.connecting):
        return PoolFull(database=route.database, user=route.user, seconds=seconds)
    reason = pool.down_reason or "the first one is still being opened"
    return DatabaseDown(database=route.database, user=route.user, seconds=seconds, reason=reason)
