"""Accepting: bursts, whose address it is, pausing, and running out of descriptors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from poolproxy.transport.listener import Listener, Peer
from poolproxy.transport.sockets import TcpOptions, listen_tcp, listen_unix
from tests.unit.transport.table import Table, said


class Door:
    """A listener, whom it let in, and the clients outside."""

    def __init__(self, table: Table, sock: socket.socket) -> None:
        self.address = sock.getsockname()
        self.family = sock.family
        self.descriptors: list[int] = []
        self.addresses: list[str] = []
        self.exhausted = 0
        self.on: Callable[[], None] | None = None
        self.listener = Listener(table.poller, sock.detach(), self._accept, self._exhausted)
        self._clients: list[socket.socket] = []

    def _accept(self, fd: int, peer: Peer) -> None:
        self.descriptors.append(fd)
        self.addresses.append(str(peer))
        if self.on is not None:
            self.on()

    def _exhausted(self, listener: Listener) -> None:
        assert listener is self.listener
        self.exhausted += 1

    def knock(self, count: int = 1) -> list[socket.socket]:
        """So many clients connect."""
        for _ in range(count):
            client = socket.socket(self.family)
            self._clients.append(client)
            client.connect(self.address)
        return self._clients[-count:]

    def close(self) -> None:
        self.listener.close()
        for client in self._clients:
            client.close()
        for fd in self.descriptors:
            os.close(fd)


@pytest.fixture
def door(table: Table) -> Iterator[Door]:
    """A door on loopback."""
    (sock,) = listen_tcp("127.0.0.1", 0, TcpOptions())
    door = Door(table, sock)
    yield door
    door.close()


class TestAccepting:
    def test_whoever_knocks_is_let_in_with_an_address(self, table: Table, door: Door) -> None:
        (client,) = door.knock()
        table.settle()
        host, port = client.getsockname()
        assert door.addresses == [f"{host}:{port}"]
        said(client, b"hello")
        with socket.socket(fileno=os.dup(door.descriptors[0])) as accepted:
            accepted.settimeout(10)
            assert accepted.recv(10) == b"hello"
        assert not os.get_blocking(door.descriptors[0])
        assert not os.get_inheritable(door.descriptors[0])

    def test_over_a_unix_socket(self, table: Table, tmp_path: Path) -> None:
        door = Door(table, listen_unix(str(tmp_path), 5432, 0o700))
        door.knock()
        table.settle()
        door.close()
        assert door.addresses == ["unix"]

    def test_over_version_six(self, table: Table) -> None:
        try:
            (sock,) = listen_tcp("::1", 0, TcpOptions())
        except OSError:
            return  # this machine has no IPv6: nobody can knock
        door = Door(table, sock)
        (client,) = door.knock()
        port = client.getsockname()[1]
        table.settle()
        door.close()
        assert door.addresses == [f"[::1]:{port}"]

    def test_a_storm_is_let_in_completely(self, table: Table, door: Door) -> None:
        door.knock(200)
        table.settle()
        assert len(door.descriptors) == 200
        assert len(set(door.addresses)) == 200

    def test_a_storm_does_not_hold_up_those_who_are_in(self, table: Table, door: Door) -> None:
        _, handler, far = table.pair()
        door.knock(100)
        said(far, b"x")
        let_in_before: list[int] = []
        handler.on = lambda _: let_in_before.append(len(door.descriptors))
        table.settle()
        assert let_in_before[0] <= 16
        assert len(door.descriptors) == 100

    def test_one_who_left_before_is_let_in_and_found_gone(self, table: Table, door: Door) -> None:
        (client,) = door.knock()
        client.close()
        table.settle()
        stream, handler = table.adopt(socket.socket(fileno=door.descriptors.pop()))
        table.settle()
        assert handler.lost == ["eof"]
        assert stream.closed

    def test_an_error_of_whoever_receives_them_keeps_nobody_out(self, table: Table, door: Door) -> None:
        def refuse() -> None:
            if len(door.descriptors) == 1:
                raise RuntimeError("the first one")

        door.on = refuse
        door.knock(3)
        table.settle()
        assert [pollable for pollable, _ in table.errors] == [door.listener]
        assert len(door.descriptors) == 3


class TestPausing:
    def test_whoever_knocks_meanwhile_waits(self, table: Table, door: Door) -> None:
        door.listener.pause()
        paused = not door.listener.accepting
        door.knock(3)
        table.settle()
        assert paused
        assert door.descriptors == []
        assert not table.wanted, "they do not wake us"
        door.listener.resume()
        assert door.listener.accepting
        table.settle()
        assert len(door.descriptors) == 3

    def test_in_the_middle_of_a_burst(self, table: Table, door: Door) -> None:
        """As the front door does it at max_client_connections."""
        door.on = door.listener.pause
        door.knock(3)
        table.settle()
        assert len(door.descriptors) == 1
        door.listener.resume()
        table.settle()
        assert len(door.descriptors) == 2

    def test_twice_is_once(self, table: Table, door: Door) -> None:
        for _ in range(2):
            door.listener.pause()
        for _ in range(2):
            door.listener.resume()
        door.knock()
        table.settle()
        assert len(door.descriptors) == 1


class TestClosing:
    def test_nobody_is_let_in_any_more(self, table: Table, door: Door) -> None:
        door.listener.close()
        with pytest.raises(ConnectionRefusedError):
            door.knock()
        door.listener.pause()
        door.listener.resume()
        table.settle()
        assert door.descriptors == []

    def test_in_the_middle_of_a_burst(self, table: Table, door: Door) -> None:
        door.on = door.listener.close
        door.knock(3)
        table.settle()
        assert len(door.descriptors) == 1
        assert not table.errors


@pytest.mark.parametrize("option", ["TCP_NODELAY", "SO_KEEPALIVE", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT"])
def test_options_of_the_listening_socket_are_handed_down(table: Table, option: str) -> None:
    """That they need not be set for each client is a promise of Linux; this holds it to it."""
    options = TcpOptions(keepalive_idle=33, keepalive_interval=7, keepalive_count=4, user_timeout=12.5)
    (sock,) = listen_tcp("127.0.0.1", 0, options)
    door = Door(table, sock)
    door.knock()
    table.settle()
    with socket.socket(fileno=os.dup(door.descriptors[0])) as accepted:
        level = socket.SOL_SOCKET if option.startswith("SO_") else socket.IPPROTO_TCP
        value = accepted.getsockopt(level, getattr(socket, option))
        rest = [
            accepted.getsockopt(socket.IPPROTO_TCP, number)
            for number in (socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        ]
    door.close()
    wanted = {"TCP_NODELAY": 1, "SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 33, "TCP_USER_TIMEOUT": 12_500}
    assert (value, rest) == (wanted[option], [7, 4])


#: Three descriptors are left for seven who knock. In a process of its own, which may run out.
PROGRAM = """
import os, resource, socket
from poolproxy.transport.listener import Listener, Peer
from poolproxy.transport.poller import Poller
from poolproxy.transport.sockets import TcpOptions, listen_tcp

errors, accepted, exhausted = [], [], []
poller = Poller(lambda pollable, error: errors.append(error))
(sock,) = listen_tcp("127.0.0.1", 0, TcpOptions())
address = sock.getsockname()
clients = [socket.create_connection(address) for _ in range(7)]
listener = Listener(poller, sock.detach(), lambda fd, address: accepted.append(fd), exhausted.append)

spare = os.dup(0)
os.close(spare)
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 3, hard))

for _ in range(5):
    poller.wait(0.0)
print("first", len(accepted), len(exhausted), exhausted[0] is listener, listener.accepting)

for fd in (accepted.pop(), accepted.pop()):
    os.close(fd)
listener.resume()
for _ in range(5):
    poller.wait(0.0)
print("second", len(accepted), len(exhausted), listener.accepting)

resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 50, hard))
listener.resume()
poller.wait(0.0)
print("third", len(accepted), len(exhausted), listener.accepting)
print("errors", errors)
"""


def test_running_out_of_descriptors_pauses_and_loses_nobody() -> None:
    """Level-triggered accepting would spin; those who knock wait in the backlog and are let in later."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "first 3 1 True False",
        "second 3 2 False",
        "third 5 2 True",
        "errors []",
    ]
