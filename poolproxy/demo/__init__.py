"""The demonstration: a real PostgreSQL, the proxy in front of it, and a storm of clients.

`clients.py` is a worker process full of short-lived asyncpg clients, `storm.py` sends several of them at one
address and looks into pg_stat_activity meanwhile, `figures.py` adds up what both report, `display.py` shows
it live, `summary.py` says at the end what was promised and whether it held, and `run.py` puts these together
with `postgres.py` (a private PostgreSQL) and `proxy.py` (`poolproxy run` as a child process). The storm comes
twice: through the proxy, and straight at PostgreSQL.
"""

from __future__ import annotations


def run_demo(clients: int = 500, pool_size: int = 20, keep: bool = False) -> int:
    """Run the demo on this terminal; under a minute, plain lines where standard output is no terminal.

    `keep` leaves PostgreSQL and the proxy running at the end, until Ctrl-C. Returns the exit status: 0 when
    every promise was kept, 1 when one was broken or something did not start, 130 after Ctrl-C. Raises
    ValueError when `clients` or `pool_size` is out of range.
    """
    # Imported here: the tests and benchmarks want `demo.postgres` alone, and no terminal library with it.
    from rich.console import Console

    from poolproxy.demo.run import Plan, run

    return run(Plan(clients=clients, pool_size=pool_size, keep=keep), Console())
