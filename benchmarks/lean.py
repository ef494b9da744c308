"""A client that costs little: for what libpq's own work (PBKDF2 above all) would hide.

    python -m benchmarks.lean login|read|idle|stall --port N [--tls] ...   (PGPASSWORD has the password)

Blocking sockets and the few messages that are needed. `login` connects, logs in, asks one query and leaves,
over and over; `read` stays and asks one query over and over. Both run one process per client and print what
they did as JSON. `idle` holds many clients that have asked one query, `stall` some that read only the
beginning of a large result; both print a line when they stand, and stay until their input ends. With `--tls`
each connection has a handshake of its own: none is resumed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TypeAlias

from benchmarks.process import raise_file_limit
from benchmarks.scram import ScramLogin

IP_BIND_ADDRESS_NO_PORT = 24  #: the port is chosen at connect: one port serves several destinations
SOURCE_ADDRESSES = 16  #: 127.0.0.2 and up: each has ephemeral ports of its own

SSL_REQUEST = struct.pack(">II", 8, 80877103)

_READY = b"Z\0\0\0\5I"  #: ReadyForQuery, idle
_scratch = bytearray(256 * 1024)


@dataclass(frozen=True, slots=True)
class Place:
    """Where and as whom to log in."""

    host: str
    port: int
    user: str
    database: str
    password: str
    tls: bool = False


@dataclass(frozen=True, slots=True)
class LoopResult:
    """What one `login` or `read` run did."""

    count: int
    seconds: float
    mean_ms: float
    p99_ms: float


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """As libpq's `sslmode=require` has it: encrypted, with whomever."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


Body: TypeAlias = Callable[[Place, int, float, str], list[float]]


class LeanClient:
    """One connection. Any answer that is not the expected one raises RuntimeError."""

    def __init__(self, place: Place, source: int = 0) -> None:
        self._buffer = bytearray()
        self._socket: socket.socket = socket.socket()
        self._socket.settimeout(60.0)
        self._socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        self._socket.bind((f"127.0.0.{2 + source % SOURCE_ADDRESSES}", 0))
        try:
            self._socket.connect((place.host, place.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if place.tls:
                self._encrypt()
            self._login(place)
        except BaseException:
            self._socket.close()
            raise

    def query(self, sql: str) -> None:
        """Ask and read the whole answer."""
        self.send_query(sql)
        self._until_ready()

    def send_query(self, sql: str) -> None:
        self._send(b"Q", sql.encode() + b"\0")

    def discard_answer(self) -> None:
        """Read up to ReadyForQuery without a look at what comes before it."""
        view = memoryview(_scratch)
        last = b""
        while last != _READY:
            count = self._socket.recv_into(_scratch)
            if not count:
                raise RuntimeError("the connection was closed")
            last = (last + view[max(count - 6, 0) : count])[-6:]

    def read_some(self, count: int) -> None:
        """Take `count` bytes of the answer, whatever they are."""
        while count > 0:
            data = self._socket.recv(min(count, 65536))
            if not data:
                raise RuntimeError("the connection was closed")
            count -= len(data)

    def close(self) -> None:
        self._socket.sendall(b"X\0\0\0\4")
        self._socket.close()

    def _encrypt(self) -> None:
        self._socket.sendall(SSL_REQUEST)
        if self._socket.recv(1) != b"S":
            raise RuntimeError("the server has no TLS")
        self._socket = tls_context().wrap_socket(self._socket)

    def _login(self, place: Place) -> None:
        body = b"user\0%b\0database\0%b\0\0" % (place.user.encode(), place.database.encode())
        self._socket.sendall(struct.pack(">II", len(body) + 8, 196608) + body)
        scram = ScramLogin(place.password)
        self._authentication(10)
        first = scram.first()
        self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack(">I", len(first)) + first)
        self._send(b"p", scram.final(self._authentication(11)))
        scram.verify(self._authentication(12))
        self._authentication(0)
        self._until_ready()

    def _authentication(self, code: int) -> bytes:
        kind, body = self._receive()
        if kind != 0x52 or body[:4] != code.to_bytes(4, "big"):
            raise RuntimeError(f"no authentication request {code} but {chr(kind)} {body!r}")
        return body[4:]

    def _until_ready(self) -> None:
        kind = 0
        while kind != 0x5A:
            kind, body = self._receive()
            if kind == 0x45:
                raise RuntimeError(f"the server says {body!r}")

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + struct.pack(">I", len(body) + 4) + body)

    def _receive(self) -> tuple[int, bytes]:
        buffer = self._buffer
        need = 5
        while True:
            if len(buffer) >= 5:
                need = 1 + int.from_bytes(buffer[1:5], "big")
            if len(buffer) >= need:
                kind, body = buffer[0], bytes(buffer[5:need])
                del buffer[:need]
                return kind, body
            data = self._socket.recv(65536)
            if not data:
                raise RuntimeError("the connection was closed")
            buffer += data


def _log_in_repeatedly(place: Place, source: int, seconds: float, sql: str) -> list[float]:
    """Connect, log in, query, leave, until the time is over: the duration of each."""
    durations = []
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        client = LeanClient(place, source)
        client.query(sql)
        client.close()
        began, now = now, time.perf_counter()
        durations.append(now - began)
    return durations


def _read_repeatedly(place: Place, source: int, seconds: float, sql: str) -> list[float]:
    """Query on one connection until the time is over: the duration of each."""
    durations = []
    client = LeanClient(place, source)
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        client.send_query(sql)
        client.discard_answer()
        began, now = now, time.perf_counter()
        durations.append(now - began)
    client.close()
    return durations


def loop(body: Body, place: Place, clients: int, seconds: float, sql: str) -> LoopResult:
    """Run `body` in as many processes as there are clients."""
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(clients) as pool:
        jobs = [(place, client, seconds, sql) for client in range(clients)]
        durations = sorted(value for part in pool.starmap(body, jobs, 1) for value in part)
    elapsed = time.perf_counter() - began
    mean = sum(durations) / len(durations)
    return LoopResult(len(durations), elapsed, mean * 1e3, durations[int(len(durations) * 0.99)] * 1e3)


def idle(place: Place, clients: int) -> None:
    """Hold clients that have logged in and asked one query, until standard input ends."""
    if raise_file_limit(clients + 100) < clients + 100:
        raise SystemExit(f"cannot open {clients} connections: the limit on open files is too low")
    held = []
    for number in range(clients):
        client = LeanClient(place, number)
        client.query("SELECT 1")
        held.append(client)
    _stand()
    for client in held:
        client.close()


def stall(place: Place, clients: int, sql: str) -> None:
    """Ask for a result and stop reading it after 64 KiB, until standard input ends."""
    held = [LeanClient(place, number) for number in range(clients)]
    for client in held:
        client.send_query(sql)
        client.read_some(65536)
    _stand()


def _stand() -> None:
    print("standing", flush=True)
    sys.stdin.read()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lean")
    parser.add_argument("what", choices=("login", "read", "idle", "stall"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--sql", default="SELECT 1")
    parser.add_argument("--tls", action="store_true")
    chosen = parser.parse_args()
    place = Place(
        chosen.host, chosen.port, chosen.user, chosen.database, os.environ["PGPASSWORD"], chosen.tls
    )
    if chosen.what in ("login", "read"):
        body = _log_in_repeatedly if chosen.what == "login" else _read_repeatedly
        print(json.dumps(asdict(loop(body, place, chosen.clients, chosen.seconds, chosen.sql))))
    elif chosen.what == "idle":
        idle(place, chosen.clients)
    else:
        stall(place, chosen.clients, chosen.sql)


if __name__ == "__main__":
    main()
