"""The lean session on a transport that is none: every dialogue in one piece, and byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from benchmarks.storm.clients.errors import ConnectionLost, ProtocolError, ServerError, SessionError
from benchmarks.storm.clients.lean import LeanSession
from tests.dialogues import words
from tests.support import messages as m
from tests.unit.storm.clients import backend


class FakeTransport(asyncio.Transport):
    """Notes what is said and done; tells the protocol of its end as an event loop does, a moment later."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.said = b""
        self.log: list[str] = []
        self._protocol = protocol
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._closing
        self.said += bytes(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._finish("close")

    def abort(self) -> None:
        self._finish("abort")

    def pause_reading(self) -> None:
        self.log.append("pause")

    def resume_reading(self) -> None:
        self.log.append("resume")

    def _finish(self, how: str) -> None:
        if not self._closing:
            self._closing = True
            self.log.append(how)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


class Stage:
    """A session that is logged in, its transport, and the server's voice."""

    def __init__(self, whole: bool) -> None:
        self.session = LeanSession()
        self.transport = FakeTransport(self.session)
        self.session.connection_made(self.transport)
        self._whole = whole

    def says(self, data: bytes) -> None:
        for piece in [data] if self._whole else [data[at : at + 1] for at in range(len(data))]:
            self.session.data_received(piece)

    async def ask(self, sql: str = "select 1", *args: object) -> asyncio.Task[list[tuple[object, ...]]]:
        """A statement under way: the server has heard it."""
        task = asyncio.create_task(self.session.fetch(sql, *args))
        await asyncio.sleep(0)
        return task


@pytest.fixture(params=["whole", "byte by byte"])
async def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param == "whole")


async def test_a_statement_without_parameters_is_a_query(stage: Stage) -> None:
    asked = await stage.ask("select 1")
    assert stage.transport.said == m.query("select 1")
    assert repr(stage.session) == "<LeanSession busy>"
    stage.says(backend.described(a=backend.INT4) + backend.row(b"1") + words.done("SELECT 1"))
    assert await asked == [(1,)]
    assert repr(stage.session) == "<LeanSession idle>"


async def test_a_statement_with_parameters_is_one_batch(stage: Stage) -> None:
    asked = await stage.ask("select $1", 7)
    assert stage.transport.said == m.extended("select $1", b"7") + m.SYNC
    answered = words.PARSED + words.BOUND + backend.described(a=backend.INT4) + backend.row(b"7")
    stage.says(answered + words.done("SELECT 1"))
    assert await asked == [(7,)]


async def test_the_tag_of_a_statement(stage: Stage) -> None:
    task = asyncio.create_task(stage.session.execute("insert into t values (1)"))
    await asyncio.sleep(0)
    stage.says(words.done("INSERT 0 1"))
    assert await task == "INSERT 0 1"


async def test_after_an_error_the_session_goes_on(stage: Stage) -> None:
    asked = await stage.ask("select 1/0")
    stage.says(words.error("22012", "division by zero") + words.ready())
    with pytest.raises(ServerError, match="division by zero") as caught:
        await asked
    assert caught.value.sqlstate == "22012"
    asked = await stage.ask()
    stage.says(words.done("SELECT 0"))
    assert await asked == []


async def test_one_statement_at_a_time(stage: Stage) -> None:
    asked = await stage.ask("select pg_sleep(1)")
    with pytest.raises(SessionError, match="another statement is under way"):
        await stage.session.fetch("select 2")
    stage.says(words.done("SELECT 1"))
    assert await asked == []


async def test_cut_in_the_middle_of_a_statement(stage: Stage) -> None:
    asked = await stage.ask()
    stage.says(backend.described(a=backend.INT4) + backend.row(b"1")[:4])
    stage.session.connection_lost(None)
    with pytest.raises(ConnectionLost, match="closed the connection in the middle of a statement"):
        await asked
    assert stage.session.closed
    assert repr(stage.session) == "<LeanSession closed>"


async def test_reset_in_the_middle_of_a_statement(stage: Stage) -> None:
    asked = await stage.ask()
    stage.session.connection_lost(ConnectionResetError("reset by peer"))
    with pytest.raises(ConnectionLost, match="in the middle of a statement: reset by peer"):
        await asked


async def test_a_fatal_error_ends_it_at_once(stage: Stage) -> None:
    """Though the server does not close."""
    asked = await stage.ask()
    stage.says(words.fatal("57P01", "terminating connection"))
    with pytest.raises(ServerError, match="terminating connection"):
        await asked
    assert stage.session.closed
    assert stage.transport.log == ["abort"]
    with pytest.raises(ServerError) as caught:
        await stage.session.fetch("select 1")
    assert caught.value.sqlstate == "57P01"


async def test_last_words_while_idle_are_what_the_next_statement_hears(stage: Stage) -> None:
    """How a thawed client learns that its transaction was ended while it was frozen."""
    stage.says(words.fatal("25P03", "terminating connection due to idle-in-transaction timeout"))
    stage.session.connection_lost(None)
    for _ in range(2):
        with pytest.raises(ServerError, match="idle-in-transaction") as caught:
            await stage.session.execute("COMMIT")
        assert caught.value.sqlstate == "25P03"
    assert stage.transport.said == b""


async def test_last_words_right_behind_an_answer(stage: Stage) -> None:
    asked = await stage.ask()
    stage.says(words.done("SELECT 0") + words.fatal("57P01", "shutdown"))
    assert await asked == []
    assert stage.session.closed
    with pytest.raises(ServerError, match="shutdown"):
        await stage.session.fetch("select 1")


async def test_cut_while_idle(stage: Stage) -> None:
    stage.session.connection_lost(None)
    assert stage.session.closed
    with pytest.raises(ConnectionLost, match="between two statements"):
        await stage.session.fetch("select 1")


async def test_asides_while_idle(stage: Stage) -> None:
    stage.says(words.notice("hello") + words.parameter("TimeZone", "UTC") + words.notification("c", "p"))
    assert not stage.session.closed


async def test_an_answer_to_nothing(stage: Stage) -> None:
    """Somebody else's answer, above all: a proxy must not do that."""
    stage.says(words.done("SELECT 1"))
    assert stage.session.closed
    with pytest.raises(ProtocolError, match="'C' though nothing was asked"):
        await stage.session.fetch("select 1")


async def test_nonsense_in_an_answer(stage: Stage) -> None:
    asked = await stage.ask()
    stage.says(b"HTTP/1.1 400 Bad Request\r\n\r\n"[:5])
    with pytest.raises(ProtocolError, match="no PostgreSQL speaks like this"):
        await asked
    assert stage.transport.log == ["abort"]


async def test_who_gives_up_a_statement_gives_up_the_connection(stage: Stage) -> None:
    asked = await stage.ask("select pg_sleep(100)")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert stage.transport.log == ["abort"]
    assert stage.transport.said == m.query("select pg_sleep(100)")  # neither Terminate nor anything else
    assert stage.session.closed


async def test_an_answer_that_comes_in_the_turn_that_gives_it_up(stage: Stage) -> None:
    asked = await stage.ask()
    asked.cancel()
    stage.says(words.done("SELECT 1"))
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert stage.transport.log == ["abort"]


async def test_goodbye(stage: Stage) -> None:
    await stage.session.close()
    assert stage.transport.said == m.TERMINATE
    assert stage.transport.log == ["close"]
    await stage.session.close()
    with pytest.raises(ConnectionLost, match="this side has closed it"):
        await stage.session.fetch("select 1")


def end_by_abort(session: LeanSession) -> None:
    session.abort()


def end_by_close(session: LeanSession) -> None:
    asyncio.get_running_loop().create_task(session.close())


@pytest.mark.parametrize("end", [end_by_abort, end_by_close])
async def test_killed_in_the_middle_of_a_statement(stage: Stage, end: Callable[[LeanSession], None]) -> None:
    asked = await stage.ask("select pg_sleep(100)")
    end(stage.session)
    with pytest.raises(ConnectionLost, match="this side has closed it"):
        await asked
    assert stage.transport.said == m.query("select pg_sleep(100)")
    assert stage.transport.log == ["abort"]


async def test_frozen_it_does_not_read(stage: Stage) -> None:
    stage.session.freeze()
    stage.session.freeze()
    assert repr(stage.session) == "<LeanSession frozen, idle>"
    stage.session.thaw()
    stage.session.thaw()
    assert stage.transport.log == ["pause", "resume"]


async def test_killed_while_frozen(stage: Stage) -> None:
    stage.session.freeze()
    stage.session.abort()
    await asyncio.sleep(0)
    stage.session.thaw()
    assert stage.transport.log == ["pause", "abort"]


async def test_goodbye_of_a_frozen_one(stage: Stage) -> None:
    stage.session.freeze()
    await stage.session.close()
    assert stage.transport.log == ["pause", "resume", "close"]


async def test_one_that_was_never_connected() -> None:
    session = LeanSession()
    assert session.closed
    await session.close()
    session.abort()
    with pytest.raises(ConnectionLost):
        await session.fetch("select 1")


async def test_a_client_has_no_dictionary() -> None:
    """10,000 of them: `python -m benchmarks.storm.clients.cost` measures 1.5 kB for an idle one, uvloop's
    transport included; a dictionary would add a quarter of a kilobyte."""
    assert not hasattr(LeanSession(), "__dict__")
