"""Big results, big messages and slow readers: memory stays bounded, and others are served meanwhile."""

from __future__ import annotations

import hashlib
import time

import pytest

from tests.support import messages as m
from tests.support.cluster import Direct
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually

MIB = 1 << 20


def quiet_memory(proxy: ProxyProcess) -> int:
    """Resident memory once the proxy has served a first client of this kind."""
    with proxy.login() as client:
        client.query("select repeat('x', 100) from generate_series(1, 1000)")
    return proxy.resident_bytes()


def test_clients_that_stop_reading(stage: Stage) -> None:
    """Four results of 200 MB that nobody reads: the servers wait, the proxy does not collect them."""
    proxy = stage.fresh(pool_size=5, server_rescue_timeout=1)
    before = quiet_memory(proxy)
    slow = [proxy.login(receive_buffer=4096) for _ in range(4)]
    for client in slow:
        client.send(m.query("select repeat('x', 100000) from generate_series(1, 2000)"))
        client.read_until("D")
    sent = -1.0

    def stands_still() -> bool:
        nonlocal sent
        last, sent = sent, proxy.metrics().value("poolproxy_sent_bytes_total")
        return sent == last

    eventually(stands_still, "everybody blocked")
    assert proxy.resident_bytes() - before < 8 * MIB
    with proxy.login() as other:
        started = time.monotonic()
        assert other.value("select 'served'") == "served"
        assert time.monotonic() - started < 1
    # One of them wakes up and gets everything, in order and complete.
    rest = slow[0].read_ready()
    assert sum(1 for message in rest if message.letter == "D") == 1999
    assert proxy.resident_bytes() - before < 8 * MIB
    for client in slow:
        client.vanish()


def test_a_server_that_is_not_read_by_copy(stage: Stage, direct: Direct) -> None:
    """COPY IN towards a server that stands still (a lock): the client is stopped, memory stays."""
    proxy = stage.fresh(pool_size=2)
    before = quiet_memory(proxy)
    with proxy.login() as locker, proxy.login() as client:
        client.sock.settimeout(1)  # not before: a login may take longer
        locker.query("begin")
        locker.query("lock table note in access exclusive mode")
        client.send(m.query("copy note from stdin"))
        row = m.copy_data(b"1\t" + b"y" * 10_000 + b"\n")
        with pytest.raises(TimeoutError):
            client.send(row * 20_000)
        assert proxy.resident_bytes() - before < 8 * MIB
        locker.query("rollback")
        client.vanish()


@pytest.mark.parametrize("size", [1 * MIB, 40 * MIB])
def test_a_huge_row(stage: Stage, size: int) -> None:
    """One DataRow goes through in pieces."""
    proxy = stage.fresh()
    before = quiet_memory(proxy)
    with proxy.login() as client:
        ((value,),) = m.rows(client.query(f"select repeat('0123456789abcdef', {size // 16})"))
        assert value is not None
        assert hashlib.md5(value).digest() == hashlib.md5(b"0123456789abcdef" * (size // 16)).digest()
    assert proxy.resident_bytes() - before < 12 * MIB


@pytest.mark.parametrize("size", [1 * MIB, 40 * MIB])
def test_a_huge_bind(stage: Stage, size: int) -> None:
    """A parameter goes through in pieces, whole and unchanged."""
    proxy = stage.fresh()
    before = quiet_memory(proxy)
    value = b"0123456789abcdef" * (size // 16)
    with proxy.login() as client:
        answer = client.ask(m.extended("select md5($1::text)", value) + m.SYNC)
        assert m.rows(answer) == [[hashlib.md5(value).hexdigest().encode()]]
    assert proxy.resident_bytes() - before < 12 * MIB


def test_copy_both_ways_in_bulk(stage: Stage, direct: Direct) -> None:
    proxy = stage.fresh()
    direct.rows("truncate note")
    before = quiet_memory(proxy)
    with proxy.login() as client:
        client.send(m.query("copy note from stdin"))
        client.read_until("G")
        block = m.copy_data(b"7\t" + b"z" * 1000 + b"\n") * 500
        for _ in range(60):
            client.send(block)
        assert m.tags(client.ask(m.COPY_DONE)) == ["COPY 30000"]
        answer = client.query("copy note to stdout")
        assert sum(len(message.body) for message in answer if message.letter == "d") == 30_000 * 1003
    assert proxy.resident_bytes() - before < 12 * MIB
    direct.rows("truncate note")


def test_both_directions_full(stage: Stage) -> None:
    """Large queries are sent without reading their large answers: no deadlock, everything in order at the
    end.
    """
    proxy = stage.fresh()
    with proxy.login() as client:
        count = 30
        client.sock.setblocking(False)
        pending = b"".join(m.query(f"select {n}, '{'w' * 300_000}'") for n in range(count))
        at = 0
        read = bytearray()
        while at < len(pending):
            try:
                at += client.sock.send(pending[at : at + MIB])
            except BlockingIOError:
                # Both sides are full: take a little, as a driver that has to.
                try:
                    read += client.sock.recv(65536)
                except BlockingIOError:
                    time.sleep(0.001)
        client.sock.settimeout(15)
        client.unread(bytes(read))
        answers = m.rows(client.read_ready(count))
        assert [int(row[0] or 0) for row in answers] == list(range(count))
        assert all(len(row[1] or b"") == 300_000 for row in answers)


def test_a_small_query_beside_a_flood(stage: Stage) -> None:
    """One client drinks a large result as fast as it comes; a small query beside it is quick."""
    proxy = stage.fresh()
    with proxy.login() as flood, proxy.login() as other:
        flood.send(m.query("select repeat('x', 10000) from generate_series(1, 10000)"))
        flood.read_until("D")
        longest = 0.0
        for _ in range(20):
            started = time.monotonic()
            other.query("select 1")
            longest = max(longest, time.monotonic() - started)
            for _ in range(100):
                flood.read()
        assert longest < 0.5
        flood.read_ready()
