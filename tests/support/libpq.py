"""How clients of libpq come in over TLS, what becomes of it, and what should (manual 32.1.2 and 32.19).

A client is asked what has happened as libpq tells it, attempt by attempt: in `prefer` and `allow` it has two.
`expected` is the rule, written down from the manual; tests hold it against PostgreSQL itself, and then
everybody else against it.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from tests.support.certificates import Certificates
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.wire import Address

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

DIRECT = ("sslnegotiation", "direct")
BINDS = ("channel_binding", "require")
TLS_1_2 = (("ssl_max_protocol_version", "TLSv1.2"),)
TLS_1_1 = (("ssl_min_protocol_version", "TLSv1"), ("ssl_max_protocol_version", "TLSv1.1"))

#: How it ended: "tls" or "plain" for who is in; otherwise why not, for each attempt.
Outcome = tuple[str, ...]

#: What libpq, PostgreSQL or the proxy says, and what it means. The first that is found counts.
_MEANINGS = {
    r"server does not support SSL": "no tls",
    r"channel binding required, but (SSL not in use|server authenticated client without)": "not bound",
    r"channel binding required( but not supported|, but server did not)": "not bound",
    r"channel binding is required": "not bound",
    r"certificate verify failed": "not believed",
    r"does not match host name": "another host's",
    r"root certificate file .* does not exist": "no authorities",
    r"no encryption|connection requires TLS": "plain refused",
    r"connection requires a valid client certificate": "certificate wanted",
    # PostgreSQL asks for the password first, and says no more than that it was not enough.
    r"certificate authentication failed|password authentication failed": "another user's",
    r"alert (certificate expired|unknown ca|certificate revoked|decrypt error)": "certificate refused",
    r"alert (protocol version|no application protocol)": "no tls in common",
    r"unsupported protocol|no protocols available": "no tls in common",
    # PostgreSQL says nothing to who begins TLS where there is none, the proxy an error in plain text.
    r"wrong version number|server closed the connection unexpectedly": "closed",
    r"Connection reset|unexpected eof|Broken pipe": "closed",
}


def meaning(text: str) -> Outcome:
    """What a failed connection's messages mean, one for each attempt."""
    attempts = re.split(r"connection to server at [^\n]*? failed: ", text.strip())[1:] or [text]
    return tuple(_meaning(attempt) for attempt in attempts)


def _meaning(text: str) -> str:
    for pattern, found in _MEANINGS.items():
        if re.search(pattern, text):
            return found
    return text.strip()


@dataclass(frozen=True)
class Way:
    """How a client comes. Files by their names in `Certificates`, empty = none."""

    sslmode: str
    root: str = ""
    identity: str = ""
    user: str = "app"
    host: str = "127.0.0.1"
    more: tuple[tuple[str, str], ...] = ()  #: further parameters of libpq's

    def __str__(self) -> str:
        more = [f"{name}={value}" for name, value in self.more]
        return " ".join(filter(None, (self.user, self.sslmode, self.root, self.identity, *more)))

    @property
    def direct(self) -> bool:
        return DIRECT in self.more

    @property
    def binds(self) -> bool:
        """It insists on that."""
        return BINDS in self.more

    @property
    def older(self) -> bool:
        """It knows no TLS 1.3."""
        return any(name == "ssl_max_protocol_version" for name, _ in self.more)

    @property
    def oldest(self) -> bool:
        """Nor TLS 1.2."""
        return set(TLS_1_1) <= set(self.more)

    def parameters(self, certificates: Certificates) -> dict[str, str]:
        """Those of libpq."""
        found = {
            "sslmode": self.sslmode,
            "user": self.user,
            "dbname": DATABASE,
            "host": self.host,
            **dict(self.more),
        }
        found["sslrootcert"] = str(getattr(certificates, self.root)) if self.root else "/nonexistent/root.crt"
        if self.identity:
            shown = getattr(certificates, self.identity)
            found |= {"sslcert": str(shown.certificate), "sslkey": str(shown.key)}
        return found


@dataclass(frozen=True)
class Host:
    """What is connected to: `mode` as in the proxy's `tls_mode`; `identity` by its name in `Certificates`."""

    mode: str = "prefer"
    identity: str = "server"
    direct: bool = True  #: as PostgreSQL has it from 17 on

    @property
    def rules(self) -> tuple[str, ...]:
        """The same in pg_hba.conf."""
        type_, option = {
            "require": ("hostssl", ""),
            "verify-ca": ("hostssl", "clientcert=verify-ca"),
            "verify-full": ("hostssl", "clientcert=verify-full"),
        }.get(self.mode, ("host", ""))
        return tuple(
            f"{type_} all {user} all {method} {option}"
            for user, method in (("md5user", "md5"), ("all", "scram-sha-256"))
        )


def every_way() -> Iterator[Way]:
    """The whole table's clients."""
    shown = ("", "app", "other", "app_expired", "app_stranger", "app_revoked")
    for mode, root, identity in itertools.product(MODES, ("", "ca", "stranger_ca"), shown):
        yield Way(mode, root, identity)
        if root != "stranger_ca":
            yield Way(mode, root, identity, more=TLS_1_2)
        if mode in ("require", "verify-ca", "verify-full"):  # libpq refuses it with less
            yield Way(mode, root, identity, more=(DIRECT,))
    for mode, user, binding in itertools.product(MODES, ("app", "md5user"), ("disable", "prefer", "require")):
        yield Way(mode, "ca", user=user, more=(("channel_binding", binding),))
    for mode in MODES:
        yield Way(mode, "ca", more=TLS_1_1)


ATTEMPTS: Mapping[str, tuple[str, ...]] = {
    "disable": ("plain",),
    "allow": ("plain", "tls"),
    "prefer": ("tls", "plain"),
    "require": ("tls",),
    "verify-ca": ("tls",),
    "verify-full": ("tls",),
}


def expected(way: Way, host: Host) -> Outcome:
    """What becomes of it."""
    heard: list[str] = []
    for attempt in ATTEMPTS[way.sslmode]:
        refused = _refused_plain(way, host) if attempt == "plain" else _refused_tls(way, host)
        if refused is None:
            return (attempt,)
        if refused == "no tls" and way.sslmode == "prefer":
            continue  # the same connection goes on without
        heard.append(refused)
        # In TLS 1.3 the client takes itself for connected before its certificate is looked at.
        if refused == "not bound" or (refused == "certificate refused" and not way.older):
            break
    return tuple(heard)


def _refused_plain(way: Way, host: Host) -> str | None:
    if host.mode in ("require", "verify-ca", "verify-full"):
        return "plain refused"
    return "not bound" if way.binds else None


def _refused_tls(way: Way, host: Host) -> str | None:
    if way.direct:
        if way.sslmode.startswith("verify") and not way.root:
            return "no authorities"
        if host.mode == "disable" or not host.direct:
            return "closed"
    elif host.mode == "disable":
        return "no tls"
    return _refused_handshake(way, host) or _refused_login(way, host)


def _refused_handshake(way: Way, host: Host) -> str | None:
    if way.sslmode.startswith("verify") and not way.root:
        return "no authorities"
    if way.oldest:
        return "no tls in common"
    # Who names authorities believes nobody else, in every mode.
    authority = "stranger_ca" if host.identity == "server_stranger" else "ca"
    if way.root and (way.root != authority or host.identity == "server_expired"):
        return "not believed"
    if way.sslmode == "verify-full" and host.identity == "server_elsewhere":
        return "another host's"
    if way.identity in ("app_expired", "app_stranger", "app_revoked"):
        return "certificate refused"
    return None


def _refused_login(way: Way, host: Host) -> str | None:
    if host.mode in ("verify-ca", "verify-full") and not way.identity:
        return "certificate wanted"
    if way.binds and way.user == "md5user":
        return "not bound"
    if host.mode == "verify-full" and way.identity != way.user:
        return "another user's"
    return None


class Psql:
    """The program of a PostgreSQL."""

    def __init__(self, bin_dir: Path, certificates: Certificates) -> None:
        self._program = bin_dir / "psql"
        self._certificates = certificates

    def run(self, way: Way, address: Address, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What it says to `arguments`."""
        parameters = way.parameters(self._certificates) | {"port": str(address[1])}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.run(
            [str(self._program), "-XAtq", *arguments, " ".join(f"{a}='{b}'" for a, b in parameters.items())],
            env={**inherited, "PGPASSWORD": PASSWORDS[way.user], "HOME": "/nonexistent", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def __call__(self, way: Way, address: Address) -> Outcome:
        """What becomes of it."""
        done = self.run(way, address, "-c", r"\conninfo", "-c", "select 42")
        if done.returncode:
            return meaning(done.stderr.removeprefix("psql: error: "))
        assert done.stdout.endswith("42\n"), done.stdout
        told = re.search(r"^SSL Connection\|(true|false)$", done.stdout, re.M)
        encrypted = told[1] == "true" if told else "SSL connection" in done.stdout  # 18, and 15
        return ("tls" if encrypted else "plain",)


class Psycopg:
    """The libpq that psycopg brings along."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def connect(self, way: Way, address: Address) -> psycopg.Connection:
        parameters = way.parameters(self._certificates) | {"port": str(address[1])}
        return psycopg.connect(
            "", **parameters, password=PASSWORDS[way.user], autocommit=True, connect_timeout=30
        )

    def __call__(self, way: Way, address: Address) -> Outcome:
        """What becomes of it."""
        try:
            with self.connect(way, address) as connection:
                assert connection.execute("select 42").fetchone() == (42,)
                return ("tls" if connection.pgconn.ssl_in_use else "plain",)
        except psycopg.OperationalError as error:
            return meaning(str(error))


def ways_of_ours() -> Iterator[Way]:
    """Those of the table that the proxy can be told to take to its servers: it asks for authorities where
    libpq has a file by default, and knows no old version of TLS.
    """
    for way in every_way():
        # libpq connects so, to say afterwards that it cannot be; here it is an error at the start.
        contradicts = way.binds and way.sslmode == "disable"
        if not (contradicts or way.older or (way.sslmode.startswith("verify") and not way.root)):
            yield way


def other_hosts(sslmode: str) -> Iterator[tuple[Way, Host]]:
    """The same mode and servers that are not whom they should be."""
    shown = ("server", "server_rsa", "server_elsewhere", "server_expired", "server_stranger")
    for identity, root in itertools.product(shown, ("", "ca", "stranger_ca")):
        yield Way(sslmode, root), Host(identity=identity)
    yield Way(sslmode), Host("disable")
    yield replace(Way(sslmode), root="ca"), Host("disable")


def surprises(found: Mapping[Way, Outcome], host: Host) -> str:
    """Where a table is not as expected, one line each."""
    wanted = {way: expected(way, host) for way in found}
    return "\n".join(
        f"{way}: {outcome}, not {wanted[way]}" for way, outcome in found.items() if outcome != wanted[way]
    )
