"""The one PostgreSQL behind every target, and the data in it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.certificate import Certificate
from benchmarks.targets import DATABASE, HBA, SERVER_USER, USER, Login, over_tls
from benchmarks.workloads import COPY_FILE, Plan
from poolproxy.demo.postgres import LocalPostgres

OPTIONS = {"shared_buffers": "256MB", "jit": "off", "autovacuum": "off", "max_wal_size": "4GB"}
SPARE_CONNECTIONS = 200  #: beside the direct clients: the proxies' servers and our own


def make_postgres(plan: Plan) -> LocalPostgres:
    """A server that takes every client of the plan directly as well. Not started yet."""
    return LocalPostgres(hba=HBA, options=_options(plan))


def make_tls_postgres(plan: Plan, bin_dir: Path, certificate: Certificate) -> LocalPostgres:
    """The same with TLS, for those who come over TLS directly."""
    files = {"ssl_cert_file": str(certificate.file), "ssl_key_file": str(certificate.key)}
    options = {**_options(plan), "ssl": "on", **files}
    return LocalPostgres(bin_dir=bin_dir, hba=over_tls(HBA), options=options)


def _options(plan: Plan) -> dict[str, str]:
    return {**OPTIONS, "max_connections": str(plan.many_clients + SPARE_CONNECTIONS)}


def fill(postgres: LocalPostgres, plan: Plan, login: Login, directory: Path) -> None:
    """Make the roles, the database, its tables, and the file that COPY reads."""
    postgres.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{login.secret}'; CREATE ROLE {SERVER_USER} LOGIN")
    postgres.sql(f"CREATE DATABASE {DATABASE}")
    postgres.run("pgbench", "-i", "-q", "-I", "dtGvp", "-s", str(plan.scale), DATABASE)
    copied = plan.copy_megabytes * 10_000  # a line is 99 characters and its end
    postgres.sql(
        f"""
        CREATE UNLOGGED TABLE bench_rows AS
            SELECT repeat('x', 100) AS payload FROM generate_series(1, {plan.rows});
        CREATE UNLOGGED TABLE bench_copy AS
            SELECT repeat('x', 99) AS payload FROM generate_series(1, {copied});
        CREATE UNLOGGED TABLE bench_sink (payload text);
        GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {USER}, {SERVER_USER};
        """,
        DATABASE,
    )
    postgres.sql("VACUUM ANALYZE", DATABASE)
    line = b"x" * 99 + b"\n"
    with (directory / COPY_FILE).open("wb") as file:
        for _ in range(plan.copy_megabytes):
            file.write(line * 10_000)
