"""What nobody sane sends: lengths that lie, half messages, other protocols, clients that stop."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError


@pytest.fixture(autouse=True)
def _violations_are_logged(stage: Stage) -> None:
    stage.expect_log("08P01|protocol|0A000|54000")


def still_serves(proxy: ProxyProcess) -> bool:
    with proxy.login() as client:
        return client.value("select 1") == "1"


@pytest.mark.parametrize("length", [0, 3, 4, 7, 10_005, 2**31 - 1, 2**31, 2**32 - 1])
def test_startup_length_out_of_range(proxy: ProxyProcess, length: int) -> None:
    """Refused as soon as the four bytes are there: nothing else has been sent."""
    with Wire(proxy.address) as wire:
        wire.send(struct.pack("!I", length))
        answer = wire.read_to_end()
        assert m.errors(answer) in (["08P01"], []), answer
        assert all(error.fields["S"] == "FATAL" for error in answer)
    assert still_serves(proxy)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: database\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        bytes(64),
        b"\xff" * 64,
    ],
    ids=["http", "tls", "ssh", "zeros", "ones"],
)
def test_other_protocols(proxy: ProxyProcess, data: bytes) -> None:
    with Wire(proxy.address) as wire:
        wire.send(data)
        assert m.errors(wire.read_to_end()) in (["08P01"], [])
    assert still_serves(proxy)


@pytest.mark.parametrize("version", [0x00020000, 0x00040000, 0, 80877101])
def test_unknown_major_version(proxy: ProxyProcess, version: int) -> None:
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE}, version))
        (error,) = wire.read_to_end()
        assert error.sqlstate in {"0A000", "08P01"}


@pytest.mark.parametrize(
    "body",
    [
        struct.pack("!i", 196608),
        struct.pack("!i", 196608) + b"user\0app",
        struct.pack("!i", 196608) + b"user\0app\0",
        struct.pack("!i", 196608) + b"user\0\0",
        struct.pack("!i", 196608) + b"user\0app\0\0trailing",
        struct.pack("!i", 80877102),
        struct.pack("!i", 80877102) + b"123",
        struct.pack("!i", 80877102) + bytes(300),
    ],
    ids=["empty", "cut value", "no end", "no value", "rest", "cancel", "short cancel", "long cancel"],
)
def test_malformed_first_packets(proxy: ProxyProcess, body: bytes) -> None:
    with Wire(proxy.address) as wire:
        wire.send(m.untyped(body))
        answer = wire.read_to_end()
        assert set(m.errors(answer)) <= {"08P01", "28000"}, answer
    assert still_serves(proxy)


def test_the_whole_login_byte_by_byte(proxy: ProxyProcess) -> None:
    with Wire(proxy.address) as wire:
        whole = wire.send
        wire.send = wire.send_split  # type: ignore[method-assign]
        wire.send(m.ssl_request())
        assert wire.read_exactly(1) == b"N"
        wire.send(m.startup({"user": "app", "database": DATABASE, "application_name": "slow"}))
        wire.authenticate("app", PASSWORDS["app"])
        wire.send = whole  # type: ignore[method-assign]
        assert wire.value("show application_name") == "slow"


def test_queries_behind_the_last_login_message(stage: Stage) -> None:
    """A client that does not wait for ReadyForQuery: its query is answered after the login, not lost."""
    proxy = stage.proxy(auth_method="trust")
    with Wire(proxy.address) as wire:
        packet = m.startup({"user": "trusted", "database": DATABASE})
        wire.send(packet + m.query("select 'early'"))
        wire.read_ready()
        assert m.rows(wire.read_ready()) == [[b"early"]]


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_login_that_stops(stage: Stage, count: int) -> None:
    """A client that goes silent in mid-packet is sent away after client_login_timeout."""
    stage.expect_log("login")
    proxy = stage.proxy(client_login_timeout=1)
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE})[:count])
        assert still_serves(proxy)
        (error,) = wire.read_to_end()
        assert error.sqlstate == "08P01"


def test_login_that_stops_before_the_password(stage: Stage) -> None:
    stage.expect_log("login")
    proxy = stage.proxy(client_login_timeout=1)
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE}))
        assert wire.read().letter == "R"
        (error,) = wire.read_to_end()
        assert error.sqlstate == "08P01"


@pytest.mark.parametrize("letter", ["Q", "S", "X", "d", "\0"])
def test_another_message_in_place_of_the_password(proxy: ProxyProcess, letter: str) -> None:
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE}))
        assert wire.read().letter == "R"
        wire.send(m.message(letter, b"select 1\0"))
        assert set(m.errors(wire.read_to_end())) <= {"08P01", "28P01"}
    assert still_serves(proxy)


@pytest.mark.parametrize("length", [3, 0, 70_000, 2**31 - 1, 2**32 - 1])
def test_password_length_out_of_range(proxy: ProxyProcess, length: int) -> None:
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE}))
        wire.read()
        wire.send(b"p" + struct.pack("!I", length))
        assert set(m.errors(wire.read_to_end())) <= {"08P01", "54000", "28P01"}
    assert still_serves(proxy)


@pytest.mark.parametrize(
    "exchange",
    [
        b"SCRAM-SHA-256\0" + struct.pack("!i", 5000) + b"n,,n=,r=x",
        b"NO-SUCH\0" + struct.pack("!i", -1),
        b"",
        b"\0" * 20,
    ],
    ids=["length", "mechanism", "empty", "zeros"],
)
def test_malformed_sasl(proxy: ProxyProcess, stage: Stage, exchange: bytes) -> None:
    stage.expect_log("28P01|login")
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE}))
        wire.read()
        wire.send(m.message("p", exchange))
        assert set(m.errors(wire.read_to_end())) <= {"08P01", "28P01"}
    assert still_serves(proxy)


@pytest.mark.parametrize("length", [0, 3, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("letter", ["Q", "P", "d", "S"])
def test_message_length_out_of_range(proxy: ProxyProcess, letter: str, length: int) -> None:
    """After the login: FATAL at the five bytes, and memory is not taken by a claim."""
    before = proxy.resident_bytes()
    with proxy.login() as client:
        client.send(letter.encode() + struct.pack("!I", length))
        answer = client.read_to_end()
        assert set(m.errors(answer)) <= {"08P01", "54000"}
        assert answer[-1].fields["S"] == "FATAL"
    assert proxy.resident_bytes() - before < 16 << 20
    assert still_serves(proxy)


@pytest.mark.parametrize("letter", ["z", "\0", "R", "Z", "1"])
def test_unknown_message_type(proxy: ProxyProcess, letter: str) -> None:
    with proxy.login() as client:
        client.query("begin")
        client.send(m.message(letter, b"data"))
        answer = client.read_to_end()
        assert m.errors(answer)[-1] == "08P01"
        assert answer[-1].fields["S"] == "FATAL"
    assert still_serves(proxy)


@pytest.mark.parametrize("part", [1, 4, 5, 6, 100])
def test_a_client_that_stops_in_mid_message_holds_no_server_of_others(
    narrow: ProxyProcess, part: int
) -> None:
    """Half a Query reaches nobody, and is gone with its client; the only server still serves the others."""
    data = m.query("insert into note values (1, 'half a message: " + "x" * 500 + "')")
    with narrow.login() as stuck:
        stuck.value("select 1")
        stuck.send(data[:part])
        with narrow.login() as other:
            assert other.value("select 2") == "2"
    assert still_serves(narrow)


def test_a_large_message_that_stops(narrow: ProxyProcess) -> None:
    """A Query that claims 100 MB: whatever it holds while it stands still, it gives back when the client
    leaves.
    """
    before = narrow.resident_bytes()
    with narrow.login() as stuck:
        stuck.send(b"Q" + struct.pack("!I", 100 << 20) + b"select '" + b"x" * 1000)
        with narrow.login() as other:
            other.send(m.query("select 1"))
        assert narrow.resident_bytes() - before < 8 << 20
    assert still_serves(narrow)


def test_backend_messages_from_a_client(proxy: ProxyProcess) -> None:
    """CopyData and CopyDone outside a COPY are dropped, as PostgreSQL drops them."""
    with proxy.login() as client:
        client.send(m.copy_data(b"late") + m.COPY_DONE + m.copy_fail("late") + m.query("select 1"))
        assert m.letters(client.read_ready()) == "TDCZ"


def test_a_wrong_password_cannot_be_tried_twice(proxy: ProxyProcess, stage: Stage) -> None:
    stage.expect_log("28P01|login")
    with Wire(proxy.address) as wire:
        wire.send(m.startup({"user": "app", "database": DATABASE}))
        with pytest.raises(WireError):
            wire.authenticate("app", "wrong")
        with pytest.raises((EOFError, ConnectionError)):
            wire.authenticate("app", PASSWORDS["app"])


def test_last_words_reach_one_who_has_sent_much_more(proxy: ProxyProcess) -> None:
    """Closing with unread input would reset the connection: the error must be read, and then the end."""
    with socket.create_connection(proxy.address, timeout=10) as sock:
        sock.sendall(struct.pack("!I", 3) + bytes(300_000))
        heard = b""
        while chunk := sock.recv(4096):
            heard += chunk
    assert b"C08P01\0" in heard
    assert still_serves(proxy)
