"""Logging in to servers that follow a script: every method, every refusal, every way to break off."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from poolproxy.auth.server_login import ScramKeyCache, ServerGreeting, ServerRefusedLogin
from poolproxy.backend.connecting import describe, log_in
from poolproxy.backend.dialing import open_socket
from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.route import Target
from poolproxy.transport.poller import Poller
from poolproxy.transport.sockets import TcpOptions
from poolproxy.transport.stream import Stream
from tests.dialogues.words import answer, fatal, notice, parameter, row
from tests.fakes.routes import target_of
from tests.support import messages as m
from tests.support.polling import dialer_of
from tests.unit.backend.fake_postgres import (
    GREETING,
    KEY,
    OK,
    Caller,
    FakePostgres,
    Script,
    md5,
    saying,
    scram,
    trust,
)


async def entered(poller: Poller, target: Target) -> tuple[Stream, ServerGreeting]:
    async with asyncio.timeout(20):
        return await log_in(dialer_of(poller), target, ScramKeyCache())


async def refused(poller: Poller, folder: Path, script: Script, *, bytewise: bool = False) -> Exception:
    """What a login to a server of this script raises. The server sees the connection end."""
    fake = FakePostgres(script, bytewise)
    async with fake.serving(folder):
        with pytest.raises(Exception) as caught:
            await entered(poller, fake.target)
        async with asyncio.timeout(20):
            await fake.over.wait()
    return caught.value


class TestLoggingIn:
    @pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
    @pytest.mark.parametrize("script", [trust, md5, scram])
    async def test_every_method(self, poller: Poller, tmp_path: Path, script: Script, bytewise: bool) -> None:
        fake = FakePostgres(script, bytewise)
        async with fake.serving(tmp_path):
            stream, greeting = await entered(poller, fake.target)
            assert greeting.parameters == {b"server_version": b"18.1", b"TimeZone": b"UTC"}
            assert (greeting.pid, greeting.key, greeting.status) == (4711, KEY, ord("I"))
            assert stream.paused, "whoever gets it decides when to read on"
            stream.close()

    async def test_over_tcp_with_our_options(self, poller: Poller) -> None:
        fake = FakePostgres(trust)
        async with fake.serving():
            stream, _ = await entered(poller, fake.target)
            with socket.socket(fileno=os.dup(stream.fd)) as sock:
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            stream.close()

    async def test_it_says_who_and_where(self, poller: Poller, tmp_path: Path) -> None:
        asked: list[dict[str, str]] = []

        async def script(caller: Caller) -> None:
            asked.append(await caller.startup())
            await caller.say(OK + GREETING)
            await caller.gone()

        fake = FakePostgres(script)
        async with fake.serving(tmp_path):
            stream, _ = await entered(poller, fake.target)
            stream.close()
        assert asked == [{"user": "app", "database": "shop"}]

    async def test_what_follows_the_login_is_the_new_owners(self, poller: Poller, tmp_path: Path) -> None:
        """A notice that came in the same packet as ReadyForQuery is not lost."""
        fake = FakePostgres(saying(OK + GREETING + notice("and more")))
        async with fake.serving(tmp_path):
            stream, _ = await entered(poller, fake.target)
            assert stream.take_kept() == notice("and more")
            stream.close()

    @pytest.mark.parametrize("said", [answer("early"), notice("x") + row("early"), b"Z\0\0\0\0"])
    async def test_an_answer_behind_the_welcome(self, poller: Poller, tmp_path: Path, said: bytes) -> None:
        """Whoever asks first would take it for its own."""
        error = await refused(poller, tmp_path, saying(OK + GREETING + said))
        assert isinstance(error, UnexpectedServerAnswer), repr(error)

    @pytest.mark.parametrize("names", [1, 100_000])
    async def test_parameters_without_end(self, poller: Poller, tmp_path: Path, names: int) -> None:
        said = b"".join(parameter(f"name {number % names}", "x" * 10) for number in range(100_000))

        async def script(caller: Caller) -> None:
            with contextlib.suppress(ConnectionError):  # nobody hears it to the end
                await saying(OK + said + GREETING)(caller)

        error = await refused(poller, tmp_path, script)
        assert isinstance(error, UnexpectedServerAnswer), repr(error)
        assert "no end of parameters" in error.message

    async def test_notices_longer_than_a_client_may_send(self, poller: Poller, tmp_path: Path) -> None:
        fake = FakePostgres(saying(notice("x" * 50_000) + OK + GREETING), bytewise=False)
        async with fake.serving(tmp_path):
            stream, greeting = await entered(poller, fake.target)
            assert greeting.pid == 4711
            stream.close()


class TestRefusals:
    @pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
    async def test_by_postgresql(self, poller: Poller, tmp_path: Path, bytewise: bool) -> None:
        script = saying(fatal("53300", "sorry, too many clients already"), then_close=True)
        error = await refused(poller, tmp_path, script, bytewise=bytewise)
        assert isinstance(error, ServerRefusedLogin)
        assert (error.sqlstate, error.message) == ("53300", "sorry, too many clients already")

    async def test_nobody_listens(self, poller: Poller) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await entered(poller, target_of(host="127.0.0.1", port=port))

    async def test_no_socket_file(self, poller: Poller, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            await entered(poller, target_of(unix_path=str(tmp_path / ".s.PGSQL.1")))

    async def test_a_name_that_nobody_has(self, poller: Poller) -> None:
        with pytest.raises(socket.gaierror):
            await entered(poller, target_of(host="no-such-host.invalid"))

    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            b"\x00" * 20,
            b"R\xff\xff\xff\xff",
            m.message("R", b""),
            m.message("Z", b"I"),
            m.message("D", b"\0\0"),
            OK + m.message("S", b"no end"),
            OK + m.message("K", b"\0"),
            OK + m.message("Z", b"?"),
        ],
        ids=lambda said: ascii(said[:12]),
    )
    async def test_what_is_no_postgresql(self, poller: Poller, tmp_path: Path, said: bytes) -> None:
        """All of it is the same to the grower: an answer that was not the one expected."""
        error = await refused(poller, tmp_path, saying(said))
        assert isinstance(error, UnexpectedServerAnswer), repr(error)

    @pytest.mark.parametrize("letter", ["N", "E", "S", "R"])
    async def test_messages_that_have_no_end(self, poller: Poller, tmp_path: Path, letter: str) -> None:
        """Refused by its length: nobody waits for a gigabyte, nor keeps it."""
        script = saying(letter.encode() + struct.pack("!i", 1_000_000) + b"x" * 1000)
        error = await refused(poller, tmp_path, script)
        assert isinstance(error, UnexpectedServerAnswer), repr(error)
        assert "1000001 bytes during login" in error.message

    @pytest.mark.parametrize(
        "said",
        [b"", OK[:4], OK, OK + parameter("a", "b"), OK + GREETING[:-1]],
        ids=lambda said: str(len(said)),
    )
    async def test_it_hangs_up_early(self, poller: Poller, tmp_path: Path, said: bytes) -> None:
        error = await refused(poller, tmp_path, saying(said, then_close=True))
        assert isinstance(error, ConnectionResetError), repr(error)
        assert describe(error) == "connection lost during login: eof"

    async def test_it_hangs_up_while_the_password_is_stretched(self, poller: Poller, tmp_path: Path) -> None:
        async def script(caller: Caller) -> None:
            await caller.startup()
            await caller.say(m.message("R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
            nonce = (await caller.message("p")).partition(b"r=")[2]
            challenge = b"r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=50000"
            await caller.say(m.message("R", struct.pack("!i", 11) + challenge))

        error = await refused(poller, tmp_path, script)
        assert isinstance(error, ConnectionResetError), repr(error)

    async def test_one_who_is_tired_of_waiting_leaves_nothing_open(
        self, poller: Poller, tmp_path: Path
    ) -> None:
        fake = FakePostgres(saying(OK))
        async with fake.serving(tmp_path):
            login = asyncio.create_task(log_in(dialer_of(poller), fake.target, ScramKeyCache()))
            while not fake.calls:
                await asyncio.sleep(0)
            login.cancel()
            with pytest.raises(asyncio.CancelledError):
                await login
            async with asyncio.timeout(20):
                await fake.over.wait()


class TestOpenSocket:
    async def test_the_next_address_when_one_does_not_answer(
        self, poller: Poller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = closed.getsockname()
        fake = FakePostgres(trust)
        async with fake.serving():
            resolve(monkeypatch, nobody, ("127.0.0.1", fake.target.port))
            stream, _ = await entered(poller, target_of(host="two", port=fake.target.port))
            stream.close()
        assert fake.calls == 1

    async def test_the_last_problem_when_none_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = closed.getsockname()
        resolve(monkeypatch, nobody, nobody)
        with pytest.raises(ConnectionRefusedError):
            await open_socket(target_of(host="two"), TcpOptions())

    async def test_a_name_without_addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        resolve(monkeypatch)
        with pytest.raises(OSError, match="no address for two") as caught:
            await open_socket(target_of(host="two"), TcpOptions())
        assert caught.value.errno == errno.EADDRNOTAVAIL


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> None:
    """Whatever name is asked for has these addresses."""

    def getaddrinfo(host: str, port: int, **named: int) -> list[Any]:
        if named.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        assert threading.current_thread() is not threading.main_thread()
        return [(socket.AF_INET, named["type"], 0, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "timed out"),
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 5432)"),
            "Connection refused",
        ),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (ConnectionResetError("connection lost during login: eof"), "connection lost during login: eof"),
        (ServerRefusedLogin("28P01", "wrong"), "wrong"),
    ],
)
def test_describe(error: Exception, text: str) -> None:
    assert describe(error) == text
