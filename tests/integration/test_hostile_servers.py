"""A PostgreSQL that attacks the proxy, at its login, behind it, on the hub and when it is asked about itself.

A bystander of another database goes on, memory, CPU and log stay bounded, and the figures are printed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import messages as m
from tests.support.hostile import OK, WELCOME, EvilServer, exactly, gone, watched
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import WireError

Script = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def evil() -> Iterator[EvilServer]:
    server = EvilServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def target(
    session_stage: Stage, evil: EvilServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyProcess]:
    settings = session_stage.settings(
        connection_borrow_timeout=2, server_connect_timeout=2, server_rescue_timeout=1
    )
    settings["databases"]["evil"] = {"url": f"postgres://127.0.0.1:{evil.port}/evil", "pool_size": 2}
    proxy = ProxyProcess(tmp_path_factory.mktemp("target"), settings)
    yield proxy
    assert proxy.stop() == 0, proxy.log_text()


def saying(data: bytes) -> Script:
    """Says these bytes at once, whatever it is asked, and waits for the end."""

    def script(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(data)
            gone(connection)

    return script


def answering(evil: EvilServer) -> Script:
    """Lets everybody in, and answers each message with what `evil.answer(letter, body)` gives by then."""

    def script(connection: socket.socket) -> None:
        connection.sendall(WELCOME)
        while head := exactly(connection, 5):
            size = int.from_bytes(head[1:], "big") - 4
            body = exactly(connection, size)
            connection.sendall(evil.answer(chr(head[0]), body))

    return script


def authentication(code: int, data: bytes) -> bytes:
    return m.message("R", struct.pack("!i", code) + data)


SASL = authentication(10, b"SCRAM-SHA-256\0\0")


def flood(names: int) -> bytes:
    return b"".join(
        m.message("S", m.text(f"name {number % names}") + m.text("x")) for number in range(100_000)
    )


AT_LOGIN = {
    "a parameter of a new name, 100,000 times": OK + flood(100_000),
    "an error without a code": m.message("E", b"SFATAL\0Mno\0\0"),
    "an error without a text": m.message("E", b"SFATAL\0C28000\0\0"),
    "an error without an end": m.message("E", b"SFATAL\0C28000\0Mno"),
    "an error of unknown fields": m.message("E", b"?x\0\xffy\0\0"),
    "an error of nothing": m.message("E"),
    "an error of 1 MB": m.message("E", b"SFATAL\0C28000\0M" + b"x" * (1 << 20) + b"\0\0"),
    "an error with lines and escapes": m.message("E", b"SFATAL\0C28000\0Mno\n\x1b[31m{\"level\": 1}\0\0"),
    "a claim of 2^31-1": b"R" + struct.pack("!I", 2**31 - 1),
    "a claim of 2^32-1": b"R" + struct.pack("!I", 2**32 - 1),
    "a claim of 0": b"R\0\0\0\0",
    "a claim of 3": b"R\0\0\0\3",
    "SCRAM before it is asked": SASL + authentication(11, b"r=x,s=AAAA,i=4096"),
    "SCRAM's end first": authentication(12, b"v=AAAA"),
    "notices without end": (m.message("N", b"SNOTICE\0M" + b"x" * 60_000 + b"\0\0")) * 500,
    "an answer behind the welcome": WELCOME + m.message("D", b"\0\0"),
    "not one of these": bytes(range(256)) * 500,
}  # fmt: skip


def refused(target: ProxyProcess, what: str) -> str:
    """What is logged while a client asks for a server in vain, which costs nobody anything."""
    line = len(target.log)
    with watched(target, f"login: {what}", lines=20):
        with (
            pytest.raises((WireError, EOFError, ConnectionError)) as caught,
            target.login("app", "evil") as client,
        ):
            client.query("select 1")
        if isinstance(caught.value, WireError):
            assert caught.value.sqlstate[:2] in ("08", "53", "57"), caught.value
    text = target.log_text(line)
    assert len(text) < 20_000, "what it said was logged as it is"
    assert "\x1b" not in text
    return text


@pytest.mark.parametrize("said", AT_LOGIN)
def test_at_the_login(target: ProxyProcess, evil: EvilServer, said: str) -> None:
    evil.script = saying(AT_LOGIN[said])
    refused(target, said)


class Scram:
    """A server that goes on with the exchange as it should, so that what it adds is read: `more` of its first
    message comes behind our nonce, `final` behind our proof."""

    def __init__(self, more: bytes, final: bytes) -> None:
        self.more = more
        self.final = final
        self.nonces: list[bytes] = []  #: of ours
        self.proofs: list[bytes] = []

    def play(self, connection: socket.socket) -> None:
        connection.sendall(SASL)
        nonce = self._heard(connection).partition(b"r=")[2]
        if not nonce:
            return
        self.nonces.append(nonce)
        connection.sendall(authentication(11, b"r=" + nonce + self.more))
        if proof := self._heard(connection):
            self.proofs.append(proof)
            connection.sendall(authentication(12, self.final))
            gone(connection)

    @staticmethod
    def _heard(connection: socket.socket) -> bytes:
        """The body of the next message; empty where the proxy has hung up."""
        head = connection.recv(5, socket.MSG_WAITALL)
        return connection.recv(int.from_bytes(head[1:], "big") - 4, socket.MSG_WAITALL) if head else b""


OUR_NONCE = 24
ASKS = b",s=AAAA,i=4096"
ROUNDS = "SCRAM iterations not within 1 to 100000"
NONCE = "SCRAM server nonce does not continue ours"
IMPOSTOR = "its SCRAM signature is wrong: it does not know our password"
#: More of its first message, its final one, and why it is refused. Next to what is too much: the most that is
#: not, which is answered with a proof, and so shows that nothing else was wrong with it.
BY_SCRAM = {
    "two billion rounds": (b"x,s=AAAA,i=2000000000", b"", ROUNDS),
    "a round too many": (b"x,s=AAAA,i=100001", b"", ROUNDS),
    "the most rounds": (b"x,s=AAAA,i=100000", b"v=AAAA", IMPOSTOR),
    "a nonce of 1 MB": (b"n" * (1 << 20) + ASKS, b"", f"a message of {9 + 2 + OUR_NONCE + (1 << 20) + 14}"),
    "a nonce of 60 kB": (b"n" * 60_000 + ASKS, b"", NONCE),
    "a nonce too long": (b"n" * (2049 - OUR_NONCE) + ASKS, b"", NONCE),
    "the longest nonce": (b"n" * (2048 - OUR_NONCE) + ASKS, b"v=AAAA", IMPOSTOR),
    "a salt of 60 kB": (b"x,s=" + b"AAAA" * 15_000 + b",i=4096", b"", "malformed SCRAM salt"),
    "a signature of 60 kB": (b"x" + ASKS, b"v=" + b"AAAA" * 15_000, IMPOSTOR),
    "a signature of 1 MB": (b"x" + ASKS, b"v=" + b"AAAA" * (1 << 18), f"a message of {9 + 2 + (1 << 20)} "),
}


@pytest.mark.parametrize("said", BY_SCRAM)
def test_by_scram(target: ProxyProcess, evil: EvilServer, said: str) -> None:
    """Each is refused for what it is named after, and where it is said: too much of it is given no proof."""
    more, final, reason = BY_SCRAM[said]
    server = Scram(more, final)
    evil.script = server.play
    text = refused(target, said)
    assert {len(nonce) for nonce in server.nonces} == {OUR_NONCE}
    assert bool(server.proofs) is bool(final), "it was refused elsewhere"
    (end,) = [line for line in text.splitlines() if "could be made ready" in line]
    assert reason in end, end


READY = m.message("Z", b"I")
QUERY_ANSWER = (
    m.message("T", b"\0\0") + m.message("D", b"\0\0") + m.message("C", b"SELECT 1\0") + m.message("Z", b"I")
)
DONE = m.message("C", b"SET\0") + m.message("Z", b"I")


def greets(letter: str, body: bytes) -> bytes:
    """What sets a session up succeeds."""
    return DONE if letter == "Q" else m.message("Z", b"I") if letter == "S" else b""


#: What it says to a query of the client's.
IN_QUERY = {
    "a parameter of a new name, 100,000 times": flood(100_000),
    "a parameter of two names, 100,000 times": flood(2) + QUERY_ANSWER,
    "an error of 1 MB": m.message("E", b"SERROR\0C22012\0M" + b"x" * (1 << 20) + b"\0\0") + READY,
    "an error of nothing": m.message("E") + m.message("Z", b"I"),
    "columns and no rows": m.message("D", b"\xff\xff") + QUERY_ANSWER,
    "a row of -2": m.message("D", b"\0\1\xff\xff\xff\xfe") + QUERY_ANSWER,
    "a row of -2^31": m.message("D", b"\0\1\x80\0\0\0") + QUERY_ANSWER,
    "a claim of 2^32-1": b"D\xff\xff\xff\xff",
    "answers, twice": QUERY_ANSWER * 2,
    "a hundred thousand notices": m.message("N", b"SNOTICE\0C00000\0Mx\0\0") * 100_000 + QUERY_ANSWER,
    "a hundred thousand notifications": m.message("A", b"\0\0\0\1x\0y\0") * 100_000 + QUERY_ANSWER,
}  # fmt: skip


@pytest.fixture
def within(target: ProxyProcess, evil: EvilServer) -> Iterator[EvilServer]:
    """The evil server, which greets everybody well, until the test says otherwise."""
    evil.script = answering(evil)
    evil.answer = greets

    def gets_in() -> bool:
        """After what other tests have done to its logins the proxy takes its time."""
        with (
            contextlib.suppress(WireError, EOFError, OSError),
            target.login("app", "evil", timeout=5) as client,
        ):
            return client.query("select 1") is not None
        return False

    eventually(gets_in, "somebody gets in", 30)
    yield evil
    evil.answer = greets


@pytest.mark.parametrize("said", IN_QUERY)
def test_in_a_query(target: ProxyProcess, within: EvilServer, said: str) -> None:
    """Its own client may hear nonsense, and is then let go; nobody else."""
    asked: list[bytes] = []

    def answer(letter: str, body: bytes) -> bytes:
        if b"mine" not in body:
            return greets(letter, body)
        asked.append(body)
        return IN_QUERY[said]

    within.answer = answer
    with watched(target, f"in a query: {said}", lines=20), target.login("app", "evil", timeout=20) as client:
        client.send(m.query("select 'mine'"))
        with contextlib.suppress(EOFError, ConnectionError):
            client.read_until("Z")
    assert asked


#: What it says wherever the proxy asks for itself: an audit, a reset, LISTEN on the hub.
OF_OURS = {
    "an error of nothing": m.message("E") + m.message("Z", b"I"),
    "an error of 1 MB": m.message("E", b"SERROR\0C22012\0M" + b"x" * (1 << 20) + b"\0\0")
    + m.message("Z", b"I"),
    "a row of two columns": m.message("T", b"\0\0") + m.message("D", b"\0\2\0\0\0\1x\0\0\0\1x") + DONE,
    "a row of -2": m.message("T", b"\0\0") + m.message("D", b"\0\3\xff\xff\xff\xfe") + DONE,
    "parameters": flood(100_000),
}


@pytest.mark.parametrize(
    "sql", ["select set_config('a.b', 'c', false)", "listen x", "create temp table t ()"]
)
@pytest.mark.parametrize("said", OF_OURS)
def test_where_it_is_asked_by_us(target: ProxyProcess, within: EvilServer, said: str, sql: str) -> None:
    asked: list[bytes] = []

    def answer(letter: str, body: bytes) -> bytes:
        if letter != "Q" or body in (m.text(sql), m.text("select 'mine'")):
            return greets(letter, body)
        asked.append(body)
        return OF_OURS[said]

    with watched(target, f"{sql}: {said}", lines=20), target.login("app", "evil", timeout=20) as client:
        within.answer = answer
        with contextlib.suppress(WireError, EOFError, ConnectionError):
            client.query(sql)
            client.query("select 'mine'")
    assert asked


@pytest.mark.parametrize(
    "said",
    [
        b"", b"D\xff\xff\xff\xff", m.message("D", b"\xff\xff"), m.message("T", b"\0\1x"), m.message("E"),
        bytes(1000), flood(100_000), b"D\x3f\xff\xff\xfe" + bytes(60 << 20), b"T\0\0\0\3" * 10,
    ],
    ids=["nothing", "length", "row", "description", "error", "zeros", "parameters", "a gigabyte", "three"],
)  # fmt: skip
def test_where_it_is_asked_about_itself(stage: Stage, evil: EvilServer, said: bytes, tmp_path: Path) -> None:
    """By a connection of our own, which is asyncpg's to read: a length of zero sent it round for ever."""
    evil.script = answering(evil)
    evil.answer = lambda letter, body: said
    settings = stage.settings(
        connection_borrow_timeout=1,
        server_connect_timeout=1,
        catalogue_poll_interval=1,
        server_rescue_timeout=1,
    )
    settings["databases"]["evil"] = {"url": f"postgres://127.0.0.1:{evil.port}/evil"}
    proxy = ProxyProcess(tmp_path, settings)
    try:
        calls = evil.calls
        with watched(proxy, f"control: {said[:10]!r}", lines=30):
            with contextlib.suppress(WireError, EOFError, OSError):
                proxy.login("app", "evil", timeout=4).query("select 1")
            proxy.close_wires()
            assert evil.calls > calls
            evil.script = lambda connection: None
            evil.hang_up()
        assert proxy.stop() == 0, proxy.log_text()
    finally:
        evil.answer = greets
        if proxy.running:
            proxy.kill()
