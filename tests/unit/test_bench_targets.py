"""Targets of the benches are told apart by their names: each has a directory of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.certificate import Certificate
from benchmarks.targets import HBA, Earlier, Login, PgBouncer, Poolproxy, Proxy, over_tls
from poolproxy.demo.postgres import LocalPostgres

LOGIN = Login("secret", "SCRAM-SHA-256$...")


def test_names_differ(tmp_path: Path) -> None:
    postgres = LocalPostgres()
    targets = [
        PgBouncer(postgres, LOGIN, tmp_path, "pgbouncer"),
        PgBouncer(postgres, LOGIN, tmp_path, "pgbouncer-64k", pkt_buf="65536"),
        Poolproxy(postgres, LOGIN, tmp_path),
        Poolproxy(postgres, LOGIN, tmp_path, "poolproxy-always", handover_reset="always"),
        Earlier(postgres, LOGIN, tmp_path, tmp_path),
    ]
    names = [target.name for target in targets]
    assert names == ["pgbouncer", "pgbouncer-64k", "poolproxy", "poolproxy-always", "poolproxy-earlier"]


def test_extra_settings_are_published(tmp_path: Path) -> None:
    always = Poolproxy(LocalPostgres(), LOGIN, tmp_path, "poolproxy-always", handover_reset="always")
    assert 'handover_reset = "always"\n' in always.configuration()
    assert "handover_reset" not in Poolproxy(LocalPostgres(), LOGIN, tmp_path).configuration()


def test_who_has_a_certificate_takes_clients_in_over_tls_alone(tmp_path: Path) -> None:
    """What is published says so, and not where the files are."""
    certificate = Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    wanted = (
        "client_tls_sslmode = require\nclient_tls_cert_file = tls.crt\nclient_tls_key_file = tls.key\n",
        'tls_mode = "require"\ntls_cert_file = "tls.crt"\ntls_key_file = "tls.key"\n',
    )
    postgres = LocalPostgres()
    with_tls: list[Proxy] = [
        PgBouncer(postgres, LOGIN, tmp_path, "pgbouncer", certificate),
        Poolproxy(postgres, LOGIN, tmp_path, certificate=certificate),
    ]
    without: list[Proxy] = [
        PgBouncer(postgres, LOGIN, tmp_path, "pgbouncer"),
        Poolproxy(postgres, LOGIN, tmp_path),
    ]
    for said, encrypted, plain in zip(wanted, with_tls, without, strict=True):
        assert (encrypted.tls, plain.tls) == (True, False)
        assert said in encrypted.configuration()
        assert str(tmp_path) not in encrypted.configuration()
        assert "tls" not in plain.configuration()
    assert "NumTickets = 0" in with_tls[0].configuration()


def test_nobody_else_comes_to_postgres_itself() -> None:
    rules = over_tls(HBA)
    assert "hostssl all bench 127.0.0.0/8 scram-sha-256" in rules
    assert [rule for rule in rules if not rule.startswith("hostssl")] == [HBA[0], HBA[2]]
