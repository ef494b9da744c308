"""Sessions of a handler with its database: one face, two clients.

    session = await connect()                        # DATABASE_URL, STORM_CLIENT, STORM_STATEMENT_CACHE
    async with transaction(session):                 # BEGIN ... COMMIT, each an exchange of its own
        rows = await session.fetch("SELECT name FROM item WHERE id = $1", 7)

`session` is the face, with the metering; `full` is asyncpg behind it, for fidelity; `lean` is a client of our
own, for numbers: `address` where to, `encryption` its TLS, `messages` its bytes, `exchanges` its
conversations without a socket. `opening` chooses between the two. `errors` is what both raise, with SQLSTATE.
`meter` is what an invocation spent, for the runtime to read; `holdings` is what an environment holds, for the
runtime to freeze and kill. `cost` measures what one client costs. Nothing here knows Lambda's rules, targets
or reports.
"""

from benchmarks.storm.clients.errors import (
    CommitRefused,
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    ServerError,
    SessionError,
)
from benchmarks.storm.clients.holdings import HOLDINGS, Holdings
from benchmarks.storm.clients.meter import METER, Meter
from benchmarks.storm.clients.opening import Held, connect
from benchmarks.storm.clients.session import Session, transaction

__all__ = [
    "HOLDINGS",
    "METER",
    "CommitRefused",
    "ConnectFailed",
    "ConnectionLost",
    "Held",
    "Holdings",
    "Meter",
    "ProtocolError",
    "ServerError",
    "Session",
    "SessionError",
    "connect",
    "transaction",
]
