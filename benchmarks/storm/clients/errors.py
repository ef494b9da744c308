"""What a session raises, the same for every client, and the name under which a report counts it.

Must not know any driver.
"""

from __future__ import annotations


class SessionError(Exception):
    """Something went wrong between a handler and its database. `sqlstate` is "" unless a server said it."""

    sqlstate = ""


class ServerError(SessionError):
    """A server's (or a proxy's) ErrorResponse: SQLSTATE, severity (`ERROR`, `FATAL`, `PANIC`) and message."""

    def __init__(self, sqlstate: str, severity: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.severity = severity

    def __repr__(self) -> str:
        return f"<ServerError {self.severity} {self.sqlstate} {str(self)!r}>"

    @property
    def fatal(self) -> bool:
        """Whether the session is over. PostgreSQL manual, "Error and Notice Message Fields", field V."""
        return self.severity in ("FATAL", "PANIC")


class ConnectFailed(SessionError):
    """There is no session, and no server said why: nobody listens, no answer in time, cut during login."""


class ConnectionLost(SessionError):
    """The session is over, and no server said why."""


class CommitRefused(SessionError):
    """COMMIT was answered by ROLLBACK: the transaction had failed before, and nothing of it is there."""


class ProtocolError(SessionError):
    """The other side says what no PostgreSQL says at this point."""


def label(error: BaseException) -> str:
    """The name to count an error under: its SQLSTATE when a server sent it, else its class's name.

    psycopg's and asyncpg's own exceptions have the attribute too, so a user's own handler is counted alike.
    """
    sqlstate = getattr(error, "sqlstate", None)
    return sqlstate if isinstance(sqlstate, str) and sqlstate else type(error).__name__


def gist(error: BaseException) -> str:
    """The first line of what an error says, at most 200 characters: an example for a report."""
    return str(error).partition("\n")[0][:200]
