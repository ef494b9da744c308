"""Leaving databases for a while, so that somebody may drop, rename or copy them (sessions.md, rule 20).

PostgreSQL refuses that (55006) while anybody is connected, and it cannot know that an idle server of ours is
nobody. Must not know who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from poolproxy.backend.database import Database

#: Seconds that whoever asks is kept waiting: PostgreSQL itself waits for five more.
PATIENCE = 2.0

#: Seconds in which nothing is opened there that no client waits for.
REST = 10.0

_PAUSE = 0.01


async def leave(databases: Sequence[Database], done: Callable[[], None]) -> None:
    """Close our idle servers and hubs of these databases, wait for what is on its way back or being asked,
    and call `done`: what a client holds stays, as it does on a direct connection."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    try:
        while True:
            for database in databases:
                database.vacate(REST)
            if all(database.vacant() for database in databases) or loop.time() >= deadline:
                return
            await asyncio.sleep(_PAUSE)
    finally:
        done()
