"""Sockets as they are made: options, addresses, and the fate of socket files that lie in the way."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolproxy.transport.sockets import TcpOptions, listen_tcp, listen_unix, peer_uid

WATCHED = {
    "nodelay": (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "idle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    "interval": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    "count": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    "user_timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
}


def options_of(sock: socket.socket) -> dict[str, int]:
    return {name: sock.getsockopt(level, option) for name, (level, option) in WATCHED.items()}


class TestTcpOptions:
    def test_all_are_set(self) -> None:
        with socket.socket() as sock:
            TcpOptions(33, 7, 4, 12.5).set_on(sock)
            assert options_of(sock) == {
                "nodelay": 1,
                "keepalive": 1,
                "idle": 33,
                "interval": 7,
                "count": 4,
                "user_timeout": 12_500,
            }

    def test_zero_leaves_it_to_the_system(self) -> None:
        with socket.socket() as sock:
            before = options_of(sock)
            TcpOptions(0, 0, 0, 0).set_on(sock)
            assert options_of(sock) == {**before, "nodelay": 1, "keepalive": 1}

    def test_unix_sockets_have_none(self) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            TcpOptions().set_on(sock)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


class TestListenTcp:
    def test_a_port_of_its_own(self) -> None:
        (sock,) = listen_tcp("127.0.0.1", 0, TcpOptions())
        with sock:
            assert not sock.getblocking()
            with socket.create_connection(sock.getsockname(), timeout=10):
                pass

    def test_the_port_asked_for_even_right_after_it_was_used(self) -> None:
        """A restart must not wait for TIME_WAIT to pass."""
        (first,) = listen_tcp("127.0.0.1", 0, TcpOptions())
        port = first.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        first.setblocking(True)
        accepted, _ = first.accept()
        accepted.close()
        client.close()
        first.close()
        (second,) = listen_tcp("127.0.0.1", port, TcpOptions())
        second.close()

    def test_a_port_that_is_taken(self) -> None:
        (first,) = listen_tcp("127.0.0.1", 0, TcpOptions())
        port = first.getsockname()[1]
        with first, pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: ") as caught:
            listen_tcp("127.0.0.1", port, TcpOptions())
        assert caught.value.errno == errno.EADDRINUSE

    def test_every_address_of_a_host_on_one_port(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
        found = listen_tcp("both", 0, TcpOptions())
        try:
            assert [sock.getsockname()[0] for sock in found] == ["127.0.0.1", "127.0.0.2"]
            assert len({sock.getsockname()[1] for sock in found}) == 1
        finally:
            for sock in found:
                sock.close()

    def test_one_address_that_cannot_be_had_gives_up_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """192.0.2.1 is nobody's: it is kept for documentation."""
        self.resolve(monkeypatch, "127.0.0.1", "192.0.2.1")
        made: list[socket.socket] = []

        class Watched(socket.socket):
            def __init__(self, *arguments: int) -> None:
                super().__init__(*arguments)
                made.append(self)

        monkeypatch.setattr("poolproxy.transport.sockets.socket.socket", Watched)
        with pytest.raises(OSError, match="cannot listen on both:0: "):
            listen_tcp("both", 0, TcpOptions())
        assert [sock.fileno() for sock in made] == [-1, -1]

    def test_a_name_that_nobody_has(self) -> None:
        with pytest.raises(socket.gaierror):
            listen_tcp("no-such-host.invalid", 0, TcpOptions())

    def resolve(self, monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, 0)) for host in hosts]
        monkeypatch.setattr(
            "poolproxy.transport.sockets.socket.getaddrinfo", lambda *arguments, **named: found
        )


class TestListenUnix:
    @pytest.fixture
    def listening(self, tmp_path: Path) -> Iterator[socket.socket]:
        with listen_unix(str(tmp_path), 6432, 0o770) as sock:
            yield sock

    def test_the_file_has_the_name_and_the_mode(self, listening: socket.socket, tmp_path: Path) -> None:
        path = tmp_path / ".s.PGSQL.6432"
        assert listening.getsockname() == str(path)
        assert not listening.getblocking()
        assert stat.S_IMODE(path.stat().st_mode) == 0o770
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_a_dead_file_is_replaced(self, tmp_path: Path) -> None:
        """Left by a process that was killed."""
        listen_unix(str(tmp_path), 6432, 0o700).close()
        path = tmp_path / ".s.PGSQL.6432"
        assert path.exists()
        with listen_unix(str(tmp_path), 6432, 0o700), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_a_live_one_is_refused_and_lives_on(self, listening: socket.socket, tmp_path: Path) -> None:
        with pytest.raises(OSError, match=r"cannot listen on .*\.s\.PGSQL\.6432: somebody does already"):
            listen_unix(str(tmp_path), 6432, 0o700)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(listening.getsockname())

    @pytest.mark.timeout(10)
    def test_a_live_one_that_is_busy_is_refused_without_waiting_for_it(self, tmp_path: Path) -> None:
        """Its backlog is full: an ordinary connect would hang, and our start with it."""
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
            busy.bind(str(tmp_path / ".s.PGSQL.6432"))
            busy.listen(0)
            client.connect(busy.getsockname())
            with pytest.raises(OSError, match="somebody does already"):
                listen_unix(str(tmp_path), 6432, 0o700)
            assert (tmp_path / ".s.PGSQL.6432").exists()

    def test_what_is_no_socket_is_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / ".s.PGSQL.6432"
        path.write_text("somebody's notes")
        with pytest.raises(OSError, match="cannot listen on "):
            listen_unix(str(tmp_path), 6432, 0o700)
        assert path.read_text() == "somebody's notes"

    @pytest.mark.parametrize("folder", ["missing", "x" * 120], ids=["missing", "too long"])
    def test_a_folder_that_will_not_do(self, tmp_path: Path, folder: str) -> None:
        if folder != "missing":
            (tmp_path / folder).mkdir()
        with pytest.raises(OSError, match="cannot listen on "):
            listen_unix(str(tmp_path / folder), 6432, 0o700)

    def test_nothing_is_left_of_one_that_failed_halfway(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(path: Path, mode: int) -> None:
            assert path.exists()
            raise PermissionError(1, "not yours")

        monkeypatch.setattr(Path, "chmod", refused)
        with pytest.raises(OSError, match="not yours"):
            listen_unix(str(tmp_path), 6432, 0o700)
        assert list(tmp_path.iterdir()) == []


def test_the_peer_of_a_unix_socket() -> None:
    """The descriptor stays what it was."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        assert peer_uid(ours.fileno()) == os.geteuid()
        assert not ours.getblocking()
        assert not os.get_blocking(ours.fileno())
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
