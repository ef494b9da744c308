"""How many connections may be open on one database: all pools of it, and our own control connections,
together.

An interface for what comes later (several processes sharing one budget), with the single-process
implementation.
"""

from __future__ import annotations

from typing import Final

#: Servers while the limit is not known, beside the control connection that asks for it. Any more could be too
#: many; none at all would make clients wait for an answer that may never come.
CAUTIOUS: Final = 1

#: Servers where nobody but PostgreSQL says how many: it refuses what is too much (53300, see `refused`).
UNBOUNDED: Final = 1_000_000


class Budget:
    """Counts connections of one database against its limit. `limit` 0 = not known yet: then `unknown` servers
    are allowed."""

    __slots__ = ("_name", "control", "limit", "refused_at", "servers", "unknown")

    def __init__(self, name: str, limit: int = 0) -> None:
        self._name = name
        self.limit = limit
        self.unknown = CAUTIOUS  #: servers allowed while `limit` is 0, control connections not counted
        self.servers = 0  #: open or being opened
        self.control = 0  #: of our own
        self.refused_at = 0  #: PostgreSQL said "too many" with so many open: feedback, until some are closed

    def __repr__(self) -> str:
        return f"<Budget {self._name} {self.servers}+{self.control} of {self.limit or 'unknown'}>"

    def room(self) -> int:
        """Connections that may be opened now."""
        used = self.servers + self.control
        room = self.limit - used if self.limit else self.unknown - self.servers
        return max(0, min(room, self.refused_at - used)) if self.refused_at else max(0, room)

    def take(self) -> bool:
        """Take a place for a server; False when there is none."""
        if self.room() == 0:
            return False
        self.servers += 1
        return True

    def give(self) -> None:
        """A server's place is free again; what PostgreSQL said of the number before no longer counts."""
        self.servers -= 1
        self.refused_at = 0

    def refused(self) -> None:
        """PostgreSQL refused a connection for want of slots (53300): with this many open there is no room."""
        self.refused_at = max(1, self.servers + self.control)

    def accepted(self) -> None:
        """PostgreSQL has taken a connection: what it said of the number before no longer counts."""
        self.refused_at = 0


def database_limit(max_connections: int, percent: int, usable: int) -> int:
    """The limit of a database: absolute if set, else a percentage of what PostgreSQL lets ordinary users
    have. Never below the server and the control connection that are open before it is known."""
    return max_connections if max_connections else max(CAUTIOUS + 1, usable * percent // 100)
