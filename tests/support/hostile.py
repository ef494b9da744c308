"""Around a hostile peer: a proxy with a good database and an evil one, a bystander, and what it all cost."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support import messages as m
from tests.support.invariants import gauges_off_baseline
from tests.support.proxy import ProxyProcess
from tests.support.waiting import eventually
from tests.support.wire import Wire

#: A server's words at a login that asks for nothing.
OK = m.message("R", struct.pack("!i", 0))
WELCOME = (
    OK
    + m.message("S", m.text("server_version") + m.text("18.6"))
    + m.message("S", m.text("client_encoding") + m.text("UTF8"))
    + m.message("K", struct.pack("!iI", 4711, 42))
    + m.message("Z", b"I")
)


class EvilServer:
    """Plays `script(connection)` to each that connects, once its startup message has been read. A script that
    ends hangs up."""

    def __init__(self) -> None:
        self.script: Callable[[socket.socket], None] = lambda connection: None
        self.answer: Callable[[str, bytes], bytes] = lambda letter, body: b""  #: for scripts that converse
        self.calls = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(30)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, struct.error):
            packet = self._packet(connection)
            while packet in (m.ssl_request()[4:], m.gssenc_request()[4:]):
                connection.sendall(b"N")
                packet = self._packet(connection)
            if packet[:4] == m.cancel_request(0, b"")[4:8]:
                return
            self.calls += 1
            self._open.append(connection)
            self.script(connection)

    @staticmethod
    def _packet(connection: socket.socket) -> bytes:
        """A first packet, without its length."""
        (length,) = struct.unpack("!i", exactly(connection, 4))
        return exactly(connection, length - 4)

    def hang_up(self) -> None:
        """On everybody; a query that nobody answers would be waited for."""
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.hang_up()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(35)


def exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes, fewer at the end. With a timeout MSG_WAITALL gives what there is."""
    heard = b""
    while len(heard) < count and (more := connection.recv(count - len(heard))):
        heard += more
    return heard


def gone(connection: socket.socket) -> None:
    """Until the other end has hung up."""
    while connection.recv(1 << 16):
        pass


class Bystander:
    """A client of the good database that asks all the time; whoever disturbs it is found out."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy
        self._over = threading.Event()
        self._begun = threading.Event()
        self.answers = 0
        self.slowest = 0.0
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        try:
            with Wire.login(self._proxy.address, "app", "app secret", "app") as wire:
                while not self._over.is_set() or not self.answers:
                    began = time.monotonic()
                    word = f"bystander {self.answers}"
                    assert wire.value(f"select '{word}'") == word
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.answers += 1
                    self._begun.set()
                    self._over.wait(0.002)
        except BaseException as problem:
            self.problem = problem
        finally:
            self._begun.set()

    def __enter__(self) -> Bystander:
        """It is in before anybody is hostile: who comes behind a crowd waits with it."""
        self._thread.start()
        self._begun.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def watched(
    proxy: ProxyProcess, what: str, megabytes: float = 24, cpu: float = 10, lines: int = 12
) -> Iterator[None]:
    """While somebody is hostile: what the proxy may take of memory, of CPU and of its log, generously; and
    afterwards everything is as before."""
    memory, seconds, since = proxy.resident_bytes(), cpu_seconds(proxy.pid), len(proxy.log)
    with Bystander(proxy) as bystander:
        yield
        grown = (proxy.resident_bytes() - memory) / 2**20
    assert bystander.problem is None, repr(bystander.problem)
    spent = cpu_seconds(proxy.pid) - seconds
    print(
        f"{what}: {grown:.1f} MB, {spent:.2f} s of CPU, bystander {bystander.answers} answers, "
        f"slowest {1000 * bystander.slowest:.0f} ms, {len(proxy.log) - since} lines of log"
    )
    assert grown < megabytes, f"{grown:.1f} MB"
    assert spent < cpu, f"{spent:.2f} s of CPU"
    assert bystander.answers > 0
    _comes_to_rest(proxy)
    told = proxy.troubles(since)
    assert len(told) <= lines, proxy.log_text(since)
    assert not [entry for entry in told if "internal" in entry["event"] or entry["level"] == "unparsable"], (
        told
    )


def _comes_to_rest(proxy: ProxyProcess) -> None:
    last: list[dict[str, object]] = [{}]

    def at_rest() -> bool:
        last[0] = gauges_off_baseline(proxy)
        return not last[0]

    with contextlib.suppress(AssertionError):
        eventually(at_rest, "gauges at their baseline", 20)
    assert not last[0], f"not at rest: {last[0]}"
