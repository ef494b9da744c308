"""Logging in to PostgreSQL with whatever the target's password is by now.

Where that comes from a provider, a refusal may mean that it has changed: the next one is tried, on a new
connection, within the same login. Policy is the grower's. Must not know where passwords come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from poolproxy.auth.server_login import ScramKeyCache, ServerGreeting, ServerRefusedLogin
from poolproxy.backend import connecting
from poolproxy.backend.dialing import Dialer
from poolproxy.route import Target
from poolproxy.transport.stream import Stream


async def log_in(
    dialer: Dialer, target: Target, keys: ScramKeyCache, at_start: Iterable[tuple[str, str]] = ()
) -> tuple[Stream, ServerGreeting]:
    """As connecting.log_in, for a target that may have a provider. Raises ServerRefusedLogin also where there
    is no password to try."""
    if target.provider is None:
        return await connecting.log_in(dialer, target, keys, at_start)
    trial = await target.provider.trial()
    while True:
        known = replace(target, password=trial.password, provider=None)
        try:
            session = await connecting.log_in(dialer, known, keys, at_start)
        except ServerRefusedLogin as refusal:
            if not await trial.another(refusal.sqlstate, refusal.message):
                raise
        else:
            trial.accepted()
            return session
