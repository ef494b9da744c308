"""Clients that attack: a bystander goes on all the while, memory, CPU and log stay bounded.

The figures are printed (`pytest -s`). What one malformed packet does is in test_hostile.py.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.hostile import watched
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import Wire

FRONTEND = "QPBDECSHFdcfXp"
LENGTHS = (0, 3, 2**31 - 1, 2**32 - 1)


@pytest.fixture(scope="module")
def target(session_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    settings = session_stage.settings(max_client_connections=500)
    proxy = ProxyProcess(tmp_path_factory.mktemp("target"), settings)
    yield proxy
    assert proxy.stop() == 0, proxy.log_text()


def hear(sock: socket.socket) -> bytes:
    """All that is said, up to the end."""
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            heard += data
    return heard


def refusal(heard: bytes) -> str:
    """The SQLSTATE of the FATAL that it ends with."""
    at = heard.rfind(b"E\0\0")
    assert at >= 0, heard
    fields = m.Message("E", heard[at + 5 :]).fields
    assert fields["S"] == fields["V"] == "FATAL"
    return fields["C"]


def told(proxy: ProxyProcess, *said: bytes) -> bytes:
    """What somebody hears who says these, one after the other, each once it has been answered."""
    with socket.create_connection(proxy.address, timeout=20) as sock:
        for part in said[:-1]:
            sock.sendall(part)
            assert sock.recv(1 << 16)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(said[-1])
        return hear(sock)


STARTUP = m.startup({"user": "app", "database": DATABASE})


def initial(inner: bytes, data: bytes = b"n,,n=,r=abcdef") -> bytes:
    return m.message("p", b"SCRAM-SHA-256\0" + inner + data)


FIRST = initial(struct.pack("!i", 14))


def test_every_message_as_the_first_one(target: ProxyProcess) -> None:
    with watched(target, "every message as the first"):
        for letter in FRONTEND:
            for packet in (
                m.message(letter, b"x\0"),
                *(letter.encode() + struct.pack("!I", n) for n in LENGTHS),
            ):
                assert refusal(told(target, packet)) == "08P01", packet


@pytest.mark.parametrize("before", [[STARTUP], [STARTUP, FIRST]], ids=["asked", "challenged"])
def test_every_message_in_each_state_of_a_login(target: ProxyProcess, before: list[bytes]) -> None:
    """Of any length, too."""
    with watched(target, f"every message after {len(before)} packets"):
        for letter in FRONTEND:
            for packet in (
                m.message(letter, b"x\0"),
                *(letter.encode() + struct.pack("!I", n) for n in LENGTHS),
            ):
                assert refusal(told(target, *before, packet)) == "08P01", packet


@pytest.mark.parametrize("inner", [0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 0, 13, 15])
def test_a_length_within_a_sasl_message(target: ProxyProcess, inner: int) -> None:
    with watched(target, f"SASL length {inner:#x}"):
        assert refusal(told(target, STARTUP, initial(struct.pack("!I", inner)))) == "08P01"


@pytest.mark.parametrize(
    "said",
    [
        [initial(struct.pack("!i", 1008), b"n,,n=,r=" + b"n" * 1000), b"p\0\0\x27\x10" + b"c" * 9996],
        [initial(struct.pack("!i", 9000), b"n,,n=,r=" + b"n" * 8992)],
        [m.message("p", b"c=biws,r=abcdef,p=" + b"A" * 44)],
        [FIRST, FIRST],
        [FIRST, m.message("p", b"c=biws,r=abcdef,p=" + b"A" * 44)],
        [FIRST, m.message("p", b"p=,p=,p=,p=" + b"," * 5000)],
        [initial(struct.pack("!i", 28), b"n,,n=,r=abcdef,r=abcdef,r=gh")[:-1] + b",", FIRST],
        [initial(struct.pack("!i", 14), b"n,,r=abcdef,n=")],
        [initial(struct.pack("!i", 14), b"p=x,,n=,r=abcd")],
        [initial(struct.pack("!i", 14), b"n,,n=,r=abc\0\xff\xfe")],
    ],
    ids=["long nonce", "longer nonce", "final first", "first twice", "short nonce", "attributes", "nonces",
         "order", "binding", "bytes"],
)  # fmt: skip
def test_scram_that_is_none(target: ProxyProcess, said: list[bytes]) -> None:
    with watched(target, "SCRAM"):
        assert refusal(told(target, STARTUP, *said)) in ("08P01", "28P01")


def test_a_byte_at_a_time_and_then_nothing(target: ProxyProcess) -> None:
    """Two hundred at once, each with half a startup message of the longest that there is."""
    packet = struct.pack("!II", 10_000, 0x30000) + b"user\0" + b"x" * 5000
    with watched(target, "200 slow startups"), contextlib.ExitStack() as open_sockets:
        slow = [
            open_sockets.enter_context(socket.create_connection(target.address, timeout=20))
            for _ in range(200)
        ]
        for start in range(0, 60):
            for sock in slow:
                sock.sendall(packet[start : start + 1])
        for sock in slow:
            sock.sendall(packet[60:])


def test_a_gigabyte_is_taken_as_it_comes(target: ProxyProcess) -> None:
    """Claims of one: before the login it is refused at its four bytes, afterwards it passes in pieces."""
    with watched(target, "a gigabyte claimed"):
        assert refusal(told(target, struct.pack("!II", 1 << 30, 0x30000))) == "08P01"
        with target.login() as client:
            client.send(b"Q" + struct.pack("!I", (1 << 30) - 2) + b"select '")
            for _ in range(64):
                client.send(b"x" * (1 << 20))
            assert target.resident_bytes() < 200 << 20


@pytest.mark.parametrize("size", [63, 64, 65, 1000, 9000])
@pytest.mark.parametrize("field", ["user", "database", "application_name", "options"])
def test_long_names(target: ProxyProcess, field: str, size: int) -> None:
    value = "-c app.x=" + "x" * (size - 9) if field == "options" else "x" * size
    known = {"user": "app", "database": DATABASE, field: value}
    with watched(target, f"{field} of {size} bytes"), Wire(target.address) as wire:
        wire.send(m.startup(known))
        if field in ("user", "database"):
            assert wire.read().letter == "R"  # unknown names are not told before the proof
            wire.send(m.message("p", b"x"))
            assert m.errors(wire.read_to_end()) == ["08P01"]
        else:
            wire.authenticate("app", PASSWORDS["app"])
            assert wire.value("select 1") == "1"
            if field == "application_name":
                assert wire.value("show application_name") == "x" * 63


def test_encryption_is_asked_for_ten_thousand_times(target: ProxyProcess) -> None:
    with watched(target, "10,000 requests for encryption"):
        heard = told(target, (m.ssl_request() + m.gssenc_request()) * 5000)
        assert heard[:2] == b"NN"
        assert refusal(heard) == "08P01"


@pytest.mark.timeout(180)
def test_ten_thousand_who_say_nothing(stage: Stage, tmp_path: Path) -> None:
    """Places for logins are few: who says nothing is sent away soon, and a real client gets in between."""
    settings = stage.settings(max_client_connections=1000)
    proxy = ProxyProcess(tmp_path, settings)
    try:
        _crowd(proxy)
        assert proxy.stop() == 0, proxy.log_text()
    finally:
        if proxy.running:
            proxy.kill()


def _crowd(proxy: ProxyProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    batch = min(10_000, hard - 500)  # at once, where so many descriptors are allowed
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, batch + 400), hard))
    came = 0
    try:
        with watched(proxy, "10,000 silent connections", megabytes=40, cpu=30):
            while came < 10_000:
                with contextlib.ExitStack() as crowd:
                    for _ in range(batch):
                        crowd.enter_context(_silent(proxy))
                        came += 1
                    if came == batch:  # the first crowd stays until somebody has come in past it
                        assert proxy.descriptors() < 1100
                        with proxy.login(timeout=120) as client:
                            assert client.value("select 1") == "1"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    eventually(lambda: proxy.metrics().value("poolproxy_clients_connected") == 0, "all have gone", 30)
    with proxy.login() as client:
        assert client.value("select 1") == "1"


def _silent(proxy: ProxyProcess) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(proxy.address)
    return sock
