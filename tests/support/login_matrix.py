"""Every way in by every way on, generated: what a client does, what the proxy knows of it, and what the
server behind it asks for. `gets_in` is the whole rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
import trustme

from poolproxy.demo.postgres import LocalPostgres
from poolproxy.protocol.scram import secret_from_password
from tests.support.certificates import Certificates
from tests.support.cluster import DATABASE
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage

PASSWORD = "right as rain"
PROOFS = ("right", "wrong", "unknown")
#: What the settings know of a user: its password, or what PostgreSQL stores of it (pass-through: the server
#: is opened by what the client has proved).
KNOWN = ("password", "stored")
#: Methods of servers, and the users whom they ask so. PostgreSQL reads no rule for `cert` but of hostssl.
ROLES = {
    "scram-sha-256": "by_scram",
    "md5": "by_md5",
    "password": "by_password",
    "trust": "by_trust",
    "reject": "by_reject",
    "cert": "by_cert",
}
#: Methods of clients.
METHODS = ("scram-sha-256", "md5", "password", "iam", "cert", "trust", "reject")
BINDINGS = ("disable", "require")


class Way(NamedTuple):
    """Of a client to us, or ours to a server."""

    method: str  #: by which the other end has it prove who it is
    line: str  #: unix, tcp (without TLS), or tls
    binding: str  #: libpq's channel_binding: for a Unix socket the settings take no `require`


class Cell(NamedTuple):
    client: Way
    server: Way
    proof: str


def ways(methods: Iterable[str], lines: Iterable[str]) -> list[Way]:
    """All that there are."""
    return [Way(*way) for way in product(methods, lines, BINDINGS) if way[1:] != ("unix", "require")]


# The rule.


def is_let_in(client: Way, known: str, proof: str) -> bool:
    """Whether we should believe it, or need not."""
    bound = client.line == "tls" and (
        client.method == "scram-sha-256" or (client.method == "md5" and known == "stored")
    )
    if client.method == "reject" or (client.binding == "require" and not bound):
        return False
    if client.method in ("password", "iam") and client.line == "tcp":
        return False  # anybody could listen
    if client.method == "cert" and client.line != "tls":
        return False
    return proof == "right" or (client.method == "trust" and proof == "wrong")


def brings(client: Way, known: str) -> str:
    """What we have for the server, once it is in: a `password`, SCRAM's `keys`, or `nothing`."""
    if known == "password" or client.method in ("password", "iam"):
        return "password"
    # By md5, who has a SCRAM secret proves that.
    return "keys" if client.method in ("scram-sha-256", "md5") else "nothing"


def opens(server: Way, brought: str) -> bool:
    if server.method == "reject":
        return False
    by_scram = server.method == "scram-sha-256" and brought != "nothing"
    if server.binding == "require":
        return by_scram and server.line == "tls"
    if server.method == "password":
        return brought == "password" and server.line != "tcp"
    return by_scram or server.method in ("trust", "cert") or (server.method, brought) == ("md5", "password")


def gets_in(cell: Cell, known: str) -> bool:
    client, server, proof = cell
    if client.method == "iam" and server.method in ("trust", "cert"):
        return False  # the server would take any token: what is it worth?
    return is_let_in(client, known, proof) and opens(server, brings(client, known))


# What it is tried with.


def make_roles(postgres: LocalPostgres) -> dict[str, str]:
    """The users of ROLES; what the server stores of each, or would, by SCRAM."""
    for method, role in ROLES.items():
        kind = "md5" if method == "md5" else "scram-sha-256"
        postgres.sql(
            f"set client_min_messages = error; set password_encryption = '{kind}'; "
            f"create role {role} login password '{PASSWORD}'"
        )
    with psycopg.connect(postgres.url(DATABASE, unix=True)) as connection:
        rows = connection.execute(
            "select rolname, rolpassword from pg_authid where rolname like 'by!_%' escape '!'"
        )
        stored: dict[str, str] = dict(rows.fetchall())
    return {**stored, ROLES["md5"]: secret_from_password(PASSWORD).format()}


def database(way: Way) -> str:
    return "-".join(way)


class Front:
    """Proxies that have their clients prove themselves by one method, and lead to all these servers."""

    def __init__(
        self,
        stage: Stage,
        postgres: LocalPostgres,
        certificates: Certificates,
        folder: Path,
        stored: dict[str, str],
    ) -> None:
        self._stage = stage
        self._postgres = postgres
        self._certificates = certificates
        self._folder = folder
        self._stored = stored
        #: Of clients, the proxy as its servers' one among them.
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "clients.pem")

    def certificate(self, name: str) -> dict[str, str]:
        """Whose CN is this name, by libpq's parameters."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        if not key.exists():
            issued = self.authority.issue_cert(common_name=name)
            issued.cert_chain_pems[0].write_to_path(certificate)
            key.touch(mode=0o600)
            issued.private_key_pem.write_to_path(key)
        return {"sslcert": str(certificate), "sslkey": str(key)}

    def url(self, way: Way) -> str:
        place = str(self._postgres.socket_dir) if way.line == "unix" else self._postgres.host
        # Who wants to be bound wants TLS, and finds out that a server has none.
        tls = {"sslmode": "disable" if way.binding == "disable" else "prefer"}
        if way.line == "tls":
            tls = {"sslmode": "verify-full", "sslrootcert": str(self._certificates.ca)}
        if way.method == "cert":
            tls |= self.certificate(ROLES["cert"])
        options = {"host": place, "port": str(self._postgres.port), "channel_binding": way.binding, **tls}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return f"postgres:///{DATABASE}?{query}"

    def proxy(self, method: str, known: str, servers: Sequence[Way]) -> ProxyProcess:
        asked: dict[str, Any] = {"auth_method": method}
        if method == "reject":
            rules = self._folder / "rules"  # there is no other way to say it
            rules.write_text("local all all reject\nhost all all all reject\n")
            asked = {"auth_hba_file": str(rules)}
        issued = self._certificates.server
        return self._stage.fresh(
            databases={database(way): {"url": self.url(way)} for way in servers},
            users={
                role: {"password": PASSWORD if known == "password" else self._stored[role]}
                for role in ROLES.values()
            },
            tls_cert_file=str(issued.certificate),
            tls_key_file=str(issued.key),
            tls_ca_file=str(self._folder / "clients.pem"),
            unix_socket_dir=str(self._folder),
            failed_login_delay=0,
            pool_size=2,
            **asked,
        )

    def tried(self, proxy: ProxyProcess, cell: Cell) -> bool:
        client, server, proof = cell
        owner = ROLES[server.method]
        options: dict[str, Any] = {"sslmode": "require" if client.line == "tls" else "disable"}
        if client.method == "cert":
            options |= self.certificate({"right": owner, "wrong": "somebody", "unknown": "nobody"}[proof])
        try:
            with psycopg.connect(
                host=str(self._folder) if client.line == "unix" else proxy.host,
                port=proxy.port,
                user="nobody" if proof == "unknown" else owner,
                password="wrong as can be" if proof == "wrong" else PASSWORD,
                dbname=database(server),
                channel_binding=client.binding,
                **options,
            ) as connection:
                assert connection.execute("select session_user").fetchone() == (owner,)
        except psycopg.OperationalError:
            return False
        return True

    def check(self, method: str, known: str, servers: Sequence[Way]) -> None:
        """All cells of this method's, several at once: a pool that is open for one is there for all."""
        proxy = self.proxy(method, known, servers)
        self._stage.expect_log("login|server connect failed|catalogue not read|control query failed|token")
        for name in (*ROLES.values(), "somebody", "nobody"):
            self.certificate(name)
        cells = [Cell(*cell) for cell in product(ways([method], ["unix", "tcp", "tls"]), servers, PROOFS)]
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda cell: self.tried(proxy, cell), cells))
        wrong = [
            f"{'in' if is_in else 'out'}: {cell}"
            for cell, is_in in zip(cells, found, strict=True)
            if is_in is not gets_in(cell, known)
        ]
        assert not wrong, "\n".join(wrong)
        print(f"{method}, {known}: {len(cells)} cells, {sum(found)} of them in")
