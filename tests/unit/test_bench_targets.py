"""Targets of the benches are told apart by their names: each has a directory of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.targets import Earlier, Login, PgBouncer, Poolproxy
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
