"""Clients that do nothing for too long: idle ones, and those that sit on a transaction."""

from __future__ import annotations

import time

import pytest

from tests.support import messages as m
from tests.support.stage import Stage


def test_idle_client_timeout(stage: Stage) -> None:
    stage.expect_log("57P05|idle")
    proxy = stage.proxy(idle_client_timeout=1)
    with proxy.login() as client:
        started = time.monotonic()
        client.value("select 1")
        (error,) = client.read_to_end()
        assert (error.sqlstate, error.fields["S"]) == ("57P05", "FATAL")
        assert time.monotonic() - started >= 0.9


def test_idle_client_timeout_spares_the_busy(stage: Stage) -> None:
    """Neither a long query nor an open transaction nor the wait for a server is idleness."""
    proxy = stage.proxy(idle_client_timeout=1, pool_size=1)
    with proxy.login() as client, proxy.login() as waiting:
        client.send(m.query("select pg_sleep(1.6)"))
        waiting.send(m.query("select 'waited'"))
        assert m.errors(client.read_ready()) == []
        assert m.rows(waiting.read_ready()) == [[b"waited"]]


@pytest.mark.parametrize("pinned", [False, True])
def test_idle_client_timeout_of_a_pinned_client(stage: Stage, pinned: bool) -> None:
    stage.expect_log("57P05|idle")
    proxy = stage.proxy(idle_client_timeout=1, pool_size=1)
    with proxy.login() as client:
        client.query("listen x" if pinned else "select 1")
        (error,) = client.read_to_end()
        assert error.sqlstate == "57P05"
    with proxy.login() as next_one:
        assert next_one.value("select count(*) from pg_listening_channels()") == "0"


@pytest.mark.parametrize("failed", [False, True], ids=["open", "failed"])
def test_idle_transaction_timeout(stage: Stage, failed: bool) -> None:
    """Rolled back and given to others; the client is told 25P03, at the latest at its next message."""
    stage.expect_log("25P03|idle")
    proxy = stage.proxy(idle_transaction_timeout=1, pool_size=1)
    with proxy.login() as frozen, proxy.login() as other:
        frozen.query("begin")
        frozen.query("insert into note values (1, 'frozen')")
        if failed:
            frozen.ask(m.query("select 1/0"))
        assert other.value("select count(*) from note where body = 'frozen'") == "0"
        frozen.send(m.query("commit"))
        answer = frozen.read_to_end()
        assert m.errors(answer) == ["25P03"]
        assert answer[-1].fields["S"] == "FATAL"
        assert other.value("select count(*) from note where body = 'frozen'") == "0"


def test_idle_transaction_timeout_of_a_half_batch(stage: Stage) -> None:
    """An unsynced batch holds its server as a transaction does."""
    stage.expect_log("25P03|idle")
    proxy = stage.proxy(idle_transaction_timeout=1, pool_size=1)
    with proxy.login() as frozen, proxy.login() as other:
        frozen.send(m.extended("insert into note values (1, 'unsynced')") + m.FLUSH)
        frozen.read_until("C")
        assert other.value("select count(*) from note where body = 'unsynced'") == "0"


def test_idle_transaction_timeout_spares_the_busy(stage: Stage) -> None:
    proxy = stage.proxy(idle_transaction_timeout=1, pool_size=1)
    with proxy.login() as client:
        client.query("begin")
        client.query("select pg_sleep(1.5)")
        client.query("commit")
        client.query("listen x")  # pinned, but in no transaction
        started = time.monotonic()
        client.query("select pg_sleep(0.1)")
        assert time.monotonic() - started < 1
