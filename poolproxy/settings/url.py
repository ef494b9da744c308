"""Reads a database URL, `postgres://user:password@host:port/dbname?name=value` (manual: Connection URIs).

Own code and not urllib's, because a URL holds a password: no message from here repeats any part of it, not
even of one that is cut up wrongly because its password has unescaped characters. Must not know about pools.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote

DEFAULT_PORT: Final = 5432

_SCHEMES: Final = ("postgres", "postgresql")
_PARTS: Final = re.compile(r"(?P<place>[^/?#]*)(?:/(?P<path>[^?#]*))?(?:\?(?P<query>[^#]*))?(?P<rest>#.*)?")
_PLACE: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

#: Parameters of libpq's that are settings of ours as well: what the url says wins.
_OF_TLS: Final = ("sslrootcert", "sslcert", "sslkey")
#: And those that have a few values only.
_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "channel_binding": ("disable", "prefer", "require"),
}


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a database is and who we are there; None stands for what the URL leaves out."""

    host: str  #: a name, an address (IPv6 without brackets), or the directory of a Unix socket
    port: int
    user: str | None
    password: str | None = field(repr=False)
    dbname: str | None
    tls: tuple[tuple[str, str], ...] = ()  #: what the url says of TLS, by libpq's names

    @property
    def unix_path(self) -> str | None:
        """The path of the Unix socket, or None for TCP."""
        return socket_path(self.host, self.port)

    @property
    def place(self) -> str:
        """Host and port (or socket path) for people: nothing secret."""
        return place_of(self.host, self.port)


def socket_path(host: str, port: int) -> str | None:
    """The path of the Unix socket if `host` is a directory, as PostgreSQL names it."""
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else None


def place_of(host: str, port: int) -> str:
    """Host and port, or the socket's path, for people."""
    return socket_path(host, port) or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def parse_url(text: str) -> DatabaseUrl:
    """The parts of a database URL, percent-decoded. ValueError says what is wrong, without repeating it."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError("a database url starts with postgres:// or postgresql://")
    if not rest.isprintable():
        raise ValueError("the url has unprintable characters: percent-encode them")
    parts = _PARTS.fullmatch(rest)
    assert parts is not None  # the pattern fits any text
    path, query = parts["path"] or "", parts["query"] or ""
    # A password with an unescaped / ? or # ends up here in pieces, its @ included.
    if parts["rest"] or "@" in path or "@" in query:
        raise ValueError(
            "percent-encode special characters in user, password and database name "
            "(@ is %40, / is %2F, # is %23, ? is %3F)"
        )
    login, _, place = parts["place"].rpartition("@")
    user, _, password = login.partition(":")
    host, port = _host_and_port(place)
    url = DatabaseUrl(
        host=host,
        port=port,
        user=_decode(user, "user") or None,
        password=_decode(password, "password") or None,
        dbname=_decode(path, "database name") or None,
    )
    url = _with_parameters(url, query)
    if not url.host:
        raise ValueError("the url names no host")
    if "," in url.host:
        raise ValueError("the url names several hosts: give one")
    return url


def _host_and_port(place: str) -> tuple[str, int]:
    parts = _PLACE.fullmatch(place)
    if parts is None:
        raise ValueError("the url's host is malformed (an IPv6 address needs brackets)")
    host = _decode(parts["host"].strip("[]"), "host")
    return host, _port(parts["port"]) if parts["port"] else DEFAULT_PORT


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536:
        return int(text)
    raise ValueError("the url's port is not a number from 1 to 65535")


def _decode(text: str, what: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError(f"the url's {what} has a % without two hexadecimal digits (a % itself is %25)")
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"the url's {what} is not UTF-8 after percent-decoding") from None
    if "\0" in decoded:
        raise ValueError(f"the url's {what} has a zero byte")
    return decoded


def _with_parameters(url: DatabaseUrl, query: str) -> DatabaseUrl:
    """The url with its query parameters applied: they win over the parts before them, as in libpq."""
    setters: dict[str, Callable[[str], DatabaseUrl]] = {
        "host": lambda value: replace(url, host=value),
        "port": lambda value: replace(url, port=_port(value)),
        "user": lambda value: replace(url, user=value),
        "password": lambda value: replace(url, password=value),
        "dbname": lambda value: replace(url, dbname=value),
    }
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        # Only what looks like a parameter's name is repeated: anything else may be a piece of a password.
        shown = f'"{name}"' if re.fullmatch(r"[a-z][a-z_]{0,40}", name) and equals else "one"
        if name not in (*setters, *_CHOICES, *_OF_TLS) or not equals:
            known = ", ".join((*setters, *_CHOICES, *_OF_TLS))
            raise ValueError(f"the url has a parameter that is not supported: {shown} (known: {known})")
        decoded = _decode(value, name)
        if decoded:
            url = setters[name](decoded) if name in setters else _with_tls(url, name, decoded)
    return url


def _with_tls(url: DatabaseUrl, name: str, value: str) -> DatabaseUrl:
    choices = _CHOICES.get(name)
    if choices is not None and value not in choices:
        raise ValueError(f"the url's {name} is none of {', '.join(choices)}")
    return replace(url, tls=(*url.tls, (name, value)))
