"""Cancel requests: to the query meant and to no other, in every state a client can be in."""

from __future__ import annotations

import threading

import pytest

from tests.support import messages as m
from tests.support.cluster import HELD, Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import cancel

#: Runs for as long as it is held, and a moment longer: so late, too, no cancel request may hit it.
KEPT = f"select {HELD}, pg_sleep(0.3)"


def test_a_running_query(narrow: ProxyProcess, direct: Direct) -> None:
    with narrow.login() as client:
        client.send(m.query("select pg_sleep(60)"))
        direct.wait_running("pg_sleep(60)")
        assert cancel(narrow.address, client.pid, client.key) == b""
        assert m.errors(client.read_ready()) == ["57014"]
        assert client.value("select 'unharmed'") == "unharmed"


def test_a_query_in_a_transaction(narrow: ProxyProcess, direct: Direct) -> None:
    with narrow.login() as client:
        client.query("begin")
        client.send(m.extended("select pg_sleep(60)") + m.SYNC)
        direct.wait_running("pg_sleep(60)")
        cancel(narrow.address, client.pid, client.key)
        assert m.errors(client.read_ready()) == ["57014"]
        assert client.status == "E"
        client.query("rollback")


def test_with_the_long_key_of_3_2(narrow: ProxyProcess, direct: Direct) -> None:
    with narrow.login(version=0x00030002) as client:
        client.send(m.query("select pg_sleep(60)"))
        direct.wait_running("pg_sleep(60)")
        cancel(narrow.address, client.pid, client.key)
        assert m.errors(client.read_ready()) == ["57014"]


def test_a_waiting_client_leaves_the_queue(narrow: ProxyProcess) -> None:
    with narrow.login() as holder, narrow.login() as waiting:
        holder.query("begin")
        waiting.send(m.query("insert into note values (1, 'never')"))
        narrow.wait_clients("waiting", 1)
        cancel(narrow.address, waiting.pid, waiting.key)
        answer = waiting.read_ready()
        assert m.letters(answer) == "EZ"
        assert answer[0].sqlstate == "57014"
        holder.query("commit")
        assert waiting.value("select count(*) from note where body = 'never'") == "0"


def test_a_waiting_pipeline_leaves_the_queue(narrow: ProxyProcess) -> None:
    """More input is waiting behind the cancelled exchange: ERROR or FATAL, but none of it runs (rule 16)."""
    with narrow.login() as holder, narrow.login() as waiting:
        holder.query("begin")
        waiting.send(
            m.query("begin") + m.query("insert into note values (1, 'autocommit')") + m.query("rollback")
        )
        narrow.wait_clients("waiting", 1)
        cancel(narrow.address, waiting.pid, waiting.key)
        holder.query("commit")
        first = waiting.read()
        assert (first.letter, first.sqlstate) == ("E", "57014")
        if first.fields["S"] == "FATAL":
            waiting.read_to_end()
        else:
            waiting.read_ready(3)
        assert holder.value("select count(*) from note where body = 'autocommit'") == "0"


def test_an_idle_client(narrow: ProxyProcess, direct: Direct) -> None:
    """Nothing runs: nothing happens, neither to it nor to whoever has the server now."""
    with narrow.login() as idle, narrow.login() as other:
        idle.value("select 1")
        with direct.holding():
            other.send(m.query(KEPT))
            narrow.wait_clients("active", 1)
            cancel(narrow.address, idle.pid, idle.key)
        assert m.errors(other.read_ready()) == []
        assert idle.value("select 'fine'") == "fine"


def test_an_idle_transaction(narrow: ProxyProcess) -> None:
    """PostgreSQL ignores a cancel between two statements, and the next statement is not hit by it."""
    with narrow.login() as client:
        client.query("begin")
        cancel(narrow.address, client.pid, client.key)
        assert client.value("select 'next'") == "next"
        client.query("commit")


@pytest.mark.parametrize("key", [b"\0\0\0\0", bytes(32), b"x" * 256])
def test_a_wrong_key(narrow: ProxyProcess, direct: Direct, key: bytes) -> None:
    with narrow.login() as client:
        with direct.holding():
            client.send(m.query(KEPT))
            direct.wait_running(KEPT)
            assert cancel(narrow.address, client.pid, key) == b""
            assert cancel(narrow.address, client.pid + 1, client.key) == b""
        assert m.errors(client.read_ready()) == []


def test_the_servers_own_key_is_not_the_clients(narrow: ProxyProcess, direct: Direct) -> None:
    """The pid that pg_backend_pid() tells is no name for a client."""
    with narrow.login() as client:
        with direct.holding():
            client.send(m.query(KEPT))
            (pid,) = direct.wait_running(KEPT)
            cancel(narrow.address, pid, client.key)
        assert m.errors(client.read_ready()) == []


def test_a_client_that_has_gone(narrow: ProxyProcess, direct: Direct) -> None:
    """A stale key hits nobody, above all not the next user of the server."""
    with narrow.login() as gone:
        gone.value("select 1")
        pid, key = gone.pid, gone.key
    with narrow.login() as client:
        with direct.holding():
            client.send(m.query(KEPT))
            direct.wait_running(KEPT)
            cancel(narrow.address, pid, key)
        assert m.errors(client.read_ready()) == []


def test_cancel_counts(stage: Stage, direct: Direct) -> None:
    proxy = stage.fresh(pool_size=1)
    with proxy.login() as client:
        cancel(proxy.address, client.pid, client.key)
        cancel(proxy.address, client.pid, b"nope")
        client.send(m.query("select pg_sleep(60)"))
        direct.wait_running("pg_sleep(60)")
        cancel(proxy.address, client.pid, client.key)
        client.read_ready()
        # It is counted when PostgreSQL has closed its connection, which the error may overtake.
        proxy.wait_gauge("poolproxy_cancels_total", 1, result="forwarded")
        assert proxy.metrics().by("poolproxy_cancels_total", "result") == {
            "idle": 1,
            "unknown": 1,
            "forwarded": 1,
        }


def test_a_storm_of_cancels(stage: Stage) -> None:
    """One server, two clients: one cancels itself all the time, the other must never see a 57014."""
    proxy = stage.proxy(pool_size=1)
    rounds = 300
    stop = threading.Event()
    foreign: list[str] = []
    with proxy.login() as victim, proxy.login() as innocent:

        def live_peacefully() -> None:
            while not stop.is_set():
                foreign.extend(m.errors(innocent.ask(m.query("select count(*) from item"))))
                foreign.extend(m.errors(innocent.ask(m.extended("select 1") + m.SYNC)))

        peaceful = threading.Thread(target=live_peacefully)
        peaceful.start()
        try:
            for n in range(rounds):
                # Of every three: one has time to start, one is cancelled at once, one has most likely ended.
                victim.send(m.query(f"select pg_sleep({(0.05, 0.002, 0)[n % 3]})"))
                cancel(proxy.address, victim.pid, victim.key)
                assert set(m.errors(victim.read_ready())) <= {"57014"}
                # Its next query is not the one that was cancelled.
                assert victim.value("select 'next'") == "next"
        finally:
            stop.set()
            peaceful.join()
    assert foreign == []


def cancel_late(proxy: ProxyProcess, count: int) -> list[str]:
    """One server, two clients: each cancels what has been answered already, or is about to be. The errors of
    queries that were not cancelled by their own client."""
    foreign: list[str] = []

    def ask_and_cancel() -> None:
        with proxy.login() as client:
            for n in range(count // 2):
                client.send(m.query("select 1"))
                early = n % 4 == 0
                if not early:
                    foreign.extend(m.errors(client.read_ready()))
                cancel(proxy.address, client.pid, client.key)
                if early:
                    assert set(m.errors(client.read_ready())) <= {"57014"}
                if n % 3 != 0:
                    foreign.extend(m.errors(client.ask(m.extended("select 2") + m.SYNC)))

    both = [threading.Thread(target=ask_and_cancel) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    return foreign


def test_late_cancels_hit_nobody(stage: Stage) -> None:
    assert cancel_late(stage.proxy(pool_size=1), 10_000) == []


def test_cancels_from_many_sides_at_once(stage: Stage, direct: Direct) -> None:
    """Twenty cancel connections for the same query: it is cancelled, and the next one is not."""
    proxy = stage.proxy(pool_size=1)
    with proxy.login() as client:
        client.send(m.query("select pg_sleep(60)"))
        direct.wait_running("pg_sleep(60)")
        senders = [
            threading.Thread(target=cancel, args=(proxy.address, client.pid, client.key)) for _ in range(20)
        ]
        for sender in senders:
            sender.start()
        assert m.errors(client.read_ready()) == ["57014"]
        for _ in range(20):
            assert m.errors(client.ask(m.query("select 1"))) == []
        for sender in senders:
            sender.join()
        assert client.value("select 'after all of them'") == "after all of them"
