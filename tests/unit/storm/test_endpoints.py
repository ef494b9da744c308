"""What a storm is let loose on, as far as it takes nothing to be started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from urllib.error import URLError

import pytest

from benchmarks.certificate import Certificate
from benchmarks.storm.clients import ConnectFailed, lean
from benchmarks.storm.clients.address import Address
from benchmarks.storm.clients.session import Row
from benchmarks.storm.endpoints import Elsewhere, External, Limits, Local, make_local, server_user
from benchmarks.storm.results import UNKNOWN, TargetInfo
from benchmarks.targets import (
    SERVER_USER,
    USER,
    Direct,
    Login,
    PgBouncer,
    Poolproxy,
    Proxy,
    pgbouncer_program,
)
from poolproxy.demo.postgres import LocalPostgres
from tests.unit.storm.clients.fakes import FakeSession


class FakeConsole(FakeSession):
    """Has these rows for whatever is asked."""

    __slots__ = ("rows",)

    def __init__(self, rows: list[Row]) -> None:
        super().__init__()
        self.rows = rows

    async def _fetch(self, sql: str, args: Sequence[object]) -> list[Row]:
        await self._execute(sql, args)
        return self.rows


LOGIN = Login("secret", "SCRAM-SHA-256$...")


class Away:
    """A PostgreSQL that has not been started."""

    port = 5432

    @property
    def pid(self) -> int:
        raise RuntimeError("this PostgreSQL is not running")


def local(name: str, folder: Path, limits: Limits = Limits()) -> Local:  # noqa: B008 - it cannot be changed
    return make_local(name, cast("LocalPostgres", Away()), LOGIN, folder, limits)


@pytest.mark.parametrize("name", ["direct", "pgbouncer", "poolproxy"])
def test_of_what_is_not_there_nothing_is_known(name: str, tmp_path: Path) -> None:
    """A database that restarts, a proxy that has crashed: the trial goes on."""
    endpoint = local(name, tmp_path)
    assert (endpoint.cpu(), endpoint.memory()) == (UNKNOWN, UNKNOWN)


async def test_nor_of_a_proxy_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(target: Poolproxy, name: str) -> dict[str, float]:
        raise URLError("refused")

    monkeypatch.setattr(Poolproxy, "samples", refuse)
    endpoint = local("poolproxy", tmp_path)
    assert (await endpoint.clients(), await endpoint.waiting()) == (UNKNOWN, UNKNOWN)


async def test_nobody_waits_at_postgres_itself(tmp_path: Path) -> None:
    assert await local("direct", tmp_path).waiting() == 0


async def test_who_its_clients_are_postgres_does_not_say_apart_from_its_servers(tmp_path: Path) -> None:
    assert await local("direct", tmp_path).clients() == UNKNOWN


async def test_clients_at_poolproxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = """poolproxy_clients_connected 7
poolproxy_clients{database="bench",user="bench",state="idle"} 4
poolproxy_clients{database="bench",user="bench",state="waiting"} 2
poolproxy_clients{database="other",user="bench",state="waiting"} 1
poolproxy_clients_limit 10000
"""
    asked: list[str] = []

    def answer(_: Poolproxy, query: str) -> str:
        asked.append(query)
        return metrics

    monkeypatch.setattr(Poolproxy, "_metrics", answer)
    endpoint = local("poolproxy", tmp_path)
    assert (await endpoint.clients(), await endpoint.waiting()) == (7, 3)
    assert asked == ["?name[]=poolproxy_clients_connected", "?name[]=poolproxy_clients"], "a page is dear"


async def test_clients_at_pgbouncer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`SHOW POOLS` of PgBouncer 1.18; whoever asks is a client too, of another database."""
    console = FakeConsole(
        [
            (
                "bench",
                "bench",
                "5",
                "2",
                "0",
                "0",
                "0",
                "0",
                "5",
                "0",
                "0",
                "0",
                "0",
                "0",
                "0",
                "transaction",
            ),
            ("pgbouncer", "pgbouncer", "1", "0", "0", "0", "0", "0", "0", "0", "0", "0", "0", "0", "0", "st"),
        ]
    )

    async def open_session(place: Address) -> FakeConsole:
        assert place.database == "pgbouncer"
        return console

    monkeypatch.setattr(lean, "open_session", open_session)
    endpoint = local("pgbouncer", tmp_path)
    endpoint.url = "postgres://bench:secret@198.18.0.1:6432/bench"
    assert (await endpoint.clients(), await endpoint.waiting()) == (7, 2)
    assert console.said == ["SHOW POOLS", "SHOW POOLS"]
    assert console.log == ["abort", "abort"]


async def test_the_console_of_a_pgbouncer_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    async def open_session(place: Address) -> FakeConsole:
        asked.append((place.database, place.sslmode))
        return FakeConsole([])

    monkeypatch.setattr(lean, "open_session", open_session)
    endpoint = local("pgbouncer", tmp_path)
    endpoint.url = "postgres://bench:secret@127.0.0.1:6432/bench?sslmode=require"
    assert await endpoint.waiting() == 0
    assert asked == [("pgbouncer", "require")]


@pytest.mark.parametrize("name", ["direct", "pgbouncer", "poolproxy"])
def test_who_has_a_certificate_is_come_to_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And who has none is not."""
    monkeypatch.setattr(Proxy, "start", lambda target: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # a target is started without settings of ours
    queries = []
    for certificate in (None, Certificate(tmp_path / "crt", tmp_path / "key")):
        endpoint = make_local(name, cast("LocalPostgres", Away()), LOGIN, tmp_path, Limits(), certificate)
        endpoint.start()
        queries.append(endpoint.url.rpartition("/bench")[2])
        assert endpoint.target.tls == (certificate is not None)
    assert queries == ["", "?sslmode=require"]


async def test_clients_of_a_pgbouncer_that_refuses_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def open_session(place: Address) -> FakeConsole:
        raise ConnectFailed("refused")

    monkeypatch.setattr(lean, "open_session", open_session)
    endpoint = local("pgbouncer", tmp_path)
    endpoint.url = "postgres://bench:secret@198.18.0.1:6432/bench"
    assert (await endpoint.clients(), await endpoint.waiting()) == (UNKNOWN, UNKNOWN)


def test_whom_the_servers_are_logged_in_as(tmp_path: Path) -> None:
    users = {name: server_user(local(name, tmp_path)) for name in ("direct", "pgbouncer", "poolproxy")}
    assert users == {"direct": USER, "pgbouncer": SERVER_USER, "poolproxy": SERVER_USER}
    kinds = [type(local(name, tmp_path).target) for name in users]
    assert kinds == [Direct, PgBouncer, Poolproxy]


def test_there_is_no_other_target(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no target pgpool: it is one of direct, pgbouncer, poolpr"):
        local("pgpool", tmp_path)


def test_the_proxies_are_told_the_same_limits(tmp_path: Path) -> None:
    limits = Limits(3.0, 2, 1, 4, 5.5)
    assert limits.for_pgbouncer() == {
        "idle_transaction_timeout": "3",
        "tcp_keepalive": "1",
        "tcp_keepidle": "2",
        "tcp_keepintvl": "1",
        "tcp_keepcnt": "4",
        "tcp_user_timeout": "5500",
    }
    assert limits.for_poolproxy() == {
        "idle_transaction_timeout": 3.0,
        "tcp_keepalive_idle": 2,
        "tcp_keepalive_interval": 1,
        "tcp_keepalive_count": 4,
        "tcp_user_timeout": 5.5,
    }


async def test_what_a_dsn_leads_to_is_nobody_s_to_look_into() -> None:
    endpoint = External("mine", "postgres://me:secret@db.example:6543/shop")
    endpoint.start()
    endpoint.stop()
    assert endpoint.info() == TargetInfo("db.example:6543")
    assert (await endpoint.clients(), await endpoint.waiting()) == (UNKNOWN, UNKNOWN)
    assert (endpoint.cpu(), endpoint.memory()) == (UNKNOWN, UNKNOWN)
    with pytest.raises(Elsewhere, match="mine is not on this machine"):
        endpoint.start("198.18.0.1")


def test_pgbouncer_is_the_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pgbouncer"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin")
    assert pgbouncer_program() == str(program)
