"""The states of clients and servers, and every legal move between them: tables, one place.

Must not know what makes a connection move. `ARCHITECTURE.md` shows these tables; a test compares.
"""

from __future__ import annotations

from typing import Final

# A client, from its login to its end.
CLIENT_LOGIN: Final = 0  #: proving who it is; belongs to no pool yet
CLIENT_IDLE: Final = 1  #: logged in, without a server
CLIENT_WAITING: Final = 2  #: in its pool's queue
CLIENT_ACTIVE: Final = 3  #: with a server
CLIENT_CLOSED: Final = 4

CLIENT_STATES: Final = ("login", "idle", "waiting", "active", "closed")

CLIENT_MOVES: Final[dict[int, tuple[int, ...]]] = {
    CLIENT_LOGIN: (CLIENT_IDLE, CLIENT_CLOSED),
    CLIENT_IDLE: (CLIENT_WAITING, CLIENT_ACTIVE, CLIENT_CLOSED),
    CLIENT_WAITING: (CLIENT_ACTIVE, CLIENT_IDLE, CLIENT_CLOSED),
    CLIENT_ACTIVE: (CLIENT_IDLE, CLIENT_CLOSED),
    CLIENT_CLOSED: (),
}

# A server, from its connecting to its end.
SERVER_CONNECTING: Final = 0  #: a place taken; the connection is being opened and logged in
SERVER_IDLE: Final = 1  #: ready for any client of its pool
SERVER_ACTIVE: Final = 2  #: attached to a client
SERVER_RESETTING: Final = 3  #: its client has left; finishing, rolling back, discarding
SERVER_CLOSED: Final = 4

SERVER_STATES: Final = ("connecting", "idle", "active", "resetting", "closed")

SERVER_MOVES: Final[dict[int, tuple[int, ...]]] = {
    SERVER_CONNECTING: (SERVER_IDLE, SERVER_CLOSED),
    SERVER_IDLE: (SERVER_ACTIVE, SERVER_CLOSED),
    SERVER_ACTIVE: (SERVER_IDLE, SERVER_RESETTING, SERVER_CLOSED),
    SERVER_RESETTING: (SERVER_IDLE, SERVER_CLOSED),
    SERVER_CLOSED: (),
}


class IllegalMove(Exception):
    """A connection was to make a move that its table does not have: our own mistake, never a peer's."""


def legal(moves: dict[int, tuple[int, ...]]) -> bytes:
    """A flat table for the hot path: byte `5 * old + new` is 1 where the move is legal."""
    return bytes(1 if new in moves[old] else 0 for old in range(5) for new in range(5))


CLIENT_TABLE: Final = legal(CLIENT_MOVES)
SERVER_TABLE: Final = legal(SERVER_MOVES)
