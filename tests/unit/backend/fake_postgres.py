"""Servers that follow a script: what a PostgreSQL, or something else on its port, might say."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from poolproxy.protocol.scram import ScramServer, secret_from_password
from poolproxy.route import Target
from tests.dialogues.words import error, parameter, ready
from tests.fakes.routes import target_of
from tests.support import messages as m

PASSWORD = "correct horse"
KEY = b"k" * 32
OK = m.message("R", struct.pack("!i", 0))
GREETING = (
    parameter("server_version", "18.1")
    + parameter("TimeZone", "UTC")
    + m.message("K", struct.pack("!i", 4711) + KEY)
    + ready()
)


class Caller:
    """One connection, as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytewise: bool) -> None:
        self.reader = reader
        self.writer = writer
        self._bytewise = bytewise

    async def startup(self) -> dict[str, str]:
        """The parameters of the startup message, which asks for 3.2. There is no TLS for who asks."""
        (length,) = struct.unpack("!i", await self.reader.readexactly(4))
        body = await self.reader.readexactly(length - 4)
        if body == m.ssl_request()[4:]:
            self.writer.write(b"N")
            return await self.startup()
        assert body[:4] == struct.pack("!hh", 3, 2)
        words = body[4:-2].decode().split("\0")
        return dict(zip(words[::2], words[1::2], strict=True))

    async def message(self, letter: str) -> bytes:
        """The body of the next message, which is of this type."""
        head = await self.reader.readexactly(5)
        assert head[:1].decode() == letter
        return await self.reader.readexactly(int.from_bytes(head[1:], "big") - 4)

    async def say(self, data: bytes) -> None:
        pieces = [data[i : i + 1] for i in range(len(data))] if self._bytewise else [data]
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if self._bytewise:
                await asyncio.sleep(0)  # the loop's turn: the proxy reads this byte alone

    async def gone(self) -> None:
        """Until the other end has hung up."""
        with contextlib.suppress(ConnectionResetError):
            while await self.reader.read(1000):
                pass


Script = Callable[[Caller], Awaitable[None]]


class FakePostgres:
    """A listening server that plays `script` to each caller; mistakes in it come out of `serving`."""

    def __init__(self, script: Script, bytewise: bool = False) -> None:
        self.script = script
        self.bytewise = bytewise
        self.calls = 0
        self.problems: list[BaseException] = []
        self.over = asyncio.Event()  #: a caller has been served to the end of the script
        self.target: Target = target_of(password=PASSWORD)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        try:
            await self.script(Caller(reader, writer, self.bytewise))
        except (Exception, asyncio.CancelledError) as problem:
            self.problems.append(problem)
        finally:
            self.over.set()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def serving(self, folder: Path | None = None) -> AsyncIterator[FakePostgres]:
        """On a Unix socket in `folder`, or on a free port of loopback."""
        if folder is not None:
            path = str(folder / ".s.PGSQL.5432")
            server = await asyncio.start_unix_server(self._serve, path)
            self.target = target_of(host=str(folder), unix_path=path, password=PASSWORD)
        else:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            self.target = target_of(host="127.0.0.1", port=port, password=PASSWORD)
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()
        if self.problems:
            raise self.problems[0]


# Scripts.


async def trust(caller: Caller) -> None:
    """Lets everyone in, and waits until they leave."""
    await caller.startup()
    await caller.say(OK + GREETING)
    await caller.gone()


async def md5(caller: Caller) -> None:
    user = (await caller.startup())["user"]
    await caller.say(m.message("R", struct.pack("!i", 5) + b"salt"))
    inner = hashlib.md5((PASSWORD + user).encode()).hexdigest()
    expected = "md5" + hashlib.md5(inner.encode() + b"salt").hexdigest()
    given = await caller.message("p")
    await caller.say(OK + GREETING if given == expected.encode() + b"\0" else error("28P01", "wrong"))
    await caller.gone()


async def scram(caller: Caller) -> None:
    await caller.startup()
    server = ScramServer(secret_from_password(PASSWORD))
    await caller.say(m.message("R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
    first = await caller.message("p")
    assert first.startswith(b"SCRAM-SHA-256\0")
    challenge = server.first(first[len(b"SCRAM-SHA-256\0") + 4 :])
    await caller.say(m.message("R", struct.pack("!i", 11) + challenge))
    proof = server.final(await caller.message("p"))
    await caller.say(m.message("R", struct.pack("!i", 12) + proof) + OK + GREETING)
    await caller.gone()


def saying(data: bytes, *, then_close: bool = False) -> Script:
    """Answers the startup message with these bytes, whatever they are."""

    async def script(caller: Caller) -> None:
        await caller.startup()
        await caller.say(data)
        if not then_close:
            await caller.gone()

    return script
