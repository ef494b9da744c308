"""Routes with small defaults, for tests that begin below the router."""

from __future__ import annotations

from typing import Any

from poolproxy.route import Route, Target


def target_of(**differing: Any) -> Target:
    """A server nobody reaches, unless `differing` says where one is."""
    values: dict[str, Any] = {
        "host": "db",
        "port": 5432,
        "unix_path": None,
        "dbname": "shop",
        "user": "app",
        "password": "secret",
    }
    return Target(**{**values, **differing})


def route_of(**differing: Any) -> Route:
    """Three servers in transaction mode, ten of the whole database, and no timeouts but generous ones."""
    values: dict[str, Any] = {
        "database": "shop",
        "user": "app",
        "target": target_of(),
        "pool_mode": "transaction",
        "pool_size": 3,
        "min_pool_size": 0,
        "max_connections": 10,
        "max_connections_percent": 100,
        "max_idle_connections_percent": 100,
        "max_parallel_connects": 4,
        "connection_borrow_timeout": 120.0,
        "idle_transaction_timeout": 0.0,
        "server_connect_timeout": 15.0,
        "server_lifetime": 0.0,
        "server_idle_timeout": 600.0,
        "server_rescue_timeout": 10.0,
        "max_prepared_statements": 200,
        "max_client_prepared_statements": 1000,
        "handover_reset": "auto",
        "session_pinning_filters": frozenset(),
        "pin_on": (),
        "catalogue_poll_interval": 0.0,
        "listener_loss": "disconnect",
        "client_loss": "finish",
        "init_query": "",
    }
    return Route(**{**values, **differing})
