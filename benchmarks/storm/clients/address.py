"""Where and as whom to log in, read from a connection URL as asyncpg reads it.

For the lean client; asyncpg reads its URL itself. Must not know sockets or messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urlsplit

PLAIN_SSLMODES = ("disable", "allow", "prefer")  #: with these, libpq is content without TLS, and we have none
TLS_SSLMODES = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class Address:
    """A server and a login. `host` is a name, an address, or the folder of a Unix socket."""

    host: str
    port: int
    user: str
    password: str
    database: str
    parameters: tuple[tuple[str, str], ...] = ()  #: of the StartupMessage: `application_name` and the like
    sslmode: str = ""  #: one of TLS_SSLMODES; "" is without TLS
    sslrootcert: str = ""  #: a file of authorities, or `system`

    @property
    def socket_path(self) -> str:
        """The Unix socket, or "" for TCP."""
        return f"{self.host}/.s.PGSQL.{self.port}" if self.host.startswith("/") else ""

    def __str__(self) -> str:
        return self.socket_path or f"{self.host}:{self.port}"


@lru_cache(maxsize=64)
def parse(url: str) -> Address:
    """The address in `postgres://user:password@host:port/database?...`.

    `host`, `port`, `user`, `password`, `dbname`, `sslmode` and `sslrootcert` in the query are what they are
    to libpq; all else in it is sent in the StartupMessage. Raises ValueError for what the lean client cannot
    do; the message never has the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError("a connection URL begins with postgres:// or postgresql://")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    sslmode, sslrootcert = _encryption(query)
    user = query.pop("user", unquote(parts.username or ""))
    if not user:
        raise ValueError("the connection URL has no user")
    path = unquote(parts.path[1:])
    database = query.pop("dbname", query.pop("database", path)) or user
    return Address(
        host=query.pop("host", unquote(parts.hostname or "")) or "localhost",
        port=int(query.pop("port", parts.port or 5432)),
        user=user,
        password=query.pop("password", unquote(parts.password or "")),
        database=database,
        parameters=tuple(query.items()),
        sslmode=sslmode,
        sslrootcert=sslrootcert,
    )


def _encryption(query: dict[str, str]) -> tuple[str, str]:
    """Take `sslmode` and `sslrootcert` out of it."""
    sslmode, sslrootcert = query.pop("sslmode", "prefer"), query.pop("sslrootcert", "")
    if sslmode not in PLAIN_SSLMODES + TLS_SSLMODES:
        raise ValueError(f"sslmode={sslmode} is not one of {', '.join(PLAIN_SSLMODES + TLS_SSLMODES)}")
    for name in query:
        if name.startswith("ssl"):
            raise ValueError(f"the lean client does not know {name}")
    if sslmode.startswith("verify-") and not sslrootcert:
        raise ValueError(f"sslmode={sslmode} needs sslrootcert: a file of authorities, or system")
    return ("", "") if sslmode in PLAIN_SSLMODES else (sslmode, sslrootcert)
