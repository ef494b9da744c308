"""The event loop: asyncio and the data plane share one thread, neither waits for the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from poolproxy.event_loop import EventLoop
from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.stream import Stream
from tests.unit.transport.table import Handler, said

#: Longer than anything here takes, and than a test may.
NEVER = 1000.0


class Plane:
    """A loop, and streams over socket pairs that it serves."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.poller = Poller(self._on_error)
        self.loop = EventLoop(self.poller)
        self._opened: list[Stream | socket.socket] = []

    def _on_error(self, pollable: Pollable, error: Exception) -> None:
        self.errors.append(error)

    def pair(self, on: Callable[[bytes], object] | None = None) -> socket.socket:
        """The far end of a stream; `on` hears what it is sent."""
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        handler = Handler()
        handler.stream = Stream(self.poller, near.detach(), handler)
        handler.on = on  # type: ignore[assignment]
        self._opened += [handler.stream, far]
        return far

    def chatter(self) -> None:
        """Two streams that never come to rest."""
        ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
            handler = Handler()
            handler.stream = stream = Stream(self.poller, end.detach(), handler)
            handler.on = stream.send
            self._opened.append(stream)
        stream.send(b"x")

    def run(self, main: Awaitable[object], seconds: float = 10.0) -> None:
        """Until `main` is done; an error when that takes too long."""

        async def bounded() -> None:
            async with asyncio.timeout(seconds):
                await main

        self.loop.run_until_complete(bounded())
        assert self.errors == []

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self.loop.close()


@pytest.fixture
def plane() -> Iterator[Plane]:
    plane = Plane()
    yield plane
    plane.close()


@pytest.fixture(params=[False, True], ids=["quiet", "busy"])
def crowded(request: pytest.FixtureRequest, plane: Plane) -> Plane:
    """The same while nothing else happens, and while the data plane always has something to do."""
    if request.param:
        plane.chatter()
    return plane


class TestAskedFromTheDataPlane:
    """asyncio sleeps for ever as far as it knows, and a handler asks for something."""

    def asked(self, plane: Plane, ask: Callable[[Callable[[], None]], object]) -> None:
        over = asyncio.Event()
        far = plane.pair(lambda _: ask(over.set))
        plane.loop.call_later(NEVER, over.set)
        said(far, b"x")
        plane.run(over.wait())

    def test_a_call(self, crowded: Plane) -> None:
        self.asked(crowded, crowded.loop.call_soon)

    def test_a_call_in_a_while(self, crowded: Plane) -> None:
        self.asked(crowded, partial(crowded.loop.call_later, 0.02))

    def test_a_call_at_a_time(self, crowded: Plane) -> None:
        self.asked(crowded, lambda call: crowded.loop.call_at(crowded.loop.time() + 0.02, call))

    def test_a_task(self, crowded: Plane) -> None:
        async def work(done: Callable[[], None]) -> None:
            await asyncio.sleep(0)
            done()

        self.asked(crowded, lambda done: crowded.loop.create_task(work(done)))

    def test_an_answer_that_somebody_awaits(self, crowded: Plane) -> None:
        answer = crowded.loop.create_future()
        far = crowded.pair(answer.set_result)
        said(far, b"x")
        crowded.run(answer)
        assert answer.result() == b"x"

    def test_the_end_of_a_task(self, crowded: Plane) -> None:
        task = crowded.loop.create_task(asyncio.sleep(NEVER))
        far = crowded.pair(lambda _: task.cancel())
        said(far, b"x")
        crowded.run(asyncio.wait([task]))
        assert task.cancelled()

    def test_from_another_thread(self, crowded: Plane) -> None:
        over = asyncio.Event()
        far = crowded.pair(
            lambda _: threading.Thread(
                target=crowded.loop.call_soon_threadsafe, args=[over.set], daemon=True
            ).start()
        )
        said(far, b"x")
        crowded.run(over.wait())


class TestAsyncioHasItsTurn:
    def test_timers_are_in_time(self, crowded: Plane) -> None:
        async def sleeps() -> None:
            for seconds in (0.05, 0.0003, 0.0):
                began = time.monotonic()
                await asyncio.sleep(seconds)
                assert time.monotonic() - began >= seconds

        crowded.run(sleeps())

    def test_sockets_of_its_own_are_served(self, crowded: Plane) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read())
            writer.close()

        async def ask() -> None:
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"x" * 1_000_000)
                writer.write_eof()
                assert await reader.read() == b"x" * 1_000_000
                writer.close()

        crowded.run(ask())

    def test_a_signal_is_handled(self, crowded: Plane) -> None:
        over = asyncio.Event()
        crowded.loop.add_signal_handler(signal.SIGUSR1, over.set)
        threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        crowded.run(over.wait())
        crowded.loop.remove_signal_handler(signal.SIGUSR1)

    def test_a_signal_that_asyncio_knows_nothing_of_is_handled(self, plane: Plane) -> None:
        """As Runner's own of SIGINT is: Python runs it between two steps, and no sleep may keep it."""
        over = asyncio.Event()

        def handle(number: int, frame: object) -> None:
            plane.loop.call_soon_threadsafe(over.set)

        before = signal.signal(signal.SIGUSR1, handle)
        try:
            threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR1]).start()
            plane.run(over.wait())
        finally:
            signal.signal(signal.SIGUSR1, before)


class TestOtherThreads:
    """A thread that sleeps here keeps the GIL only where nobody else could want it."""

    def test_one_that_lives_on_runs_meanwhile(self, plane: Plane) -> None:
        """It needs the GIL a thousand times while the loop has nothing to do."""
        over = asyncio.Event()

        def work() -> None:
            for _ in range(1000):
                time.sleep(1e-6)
            plane.loop.call_soon_threadsafe(over.set)

        thread = threading.Thread(target=work)
        thread.start()
        plane.run(over.wait())
        thread.join()

    def test_one_that_was_started_from_the_data_plane(self, plane: Plane) -> None:
        over = asyncio.Event()

        def start(_: bytes) -> None:
            threading.Thread(target=lambda: plane.loop.call_soon_threadsafe(over.set), daemon=True).start()

        said(plane.pair(start), b"x")
        plane.run(over.wait())

    def test_an_executor_is_awaited(self, plane: Plane) -> None:
        async def wait() -> None:
            for _ in range(3):
                await asyncio.to_thread(time.sleep, 0.01)

        plane.run(wait())


class TestTheDataPlaneHasItsTurn:
    def test_while_asyncio_sleeps(self, plane: Plane) -> None:
        """Without one turn of asyncio's: that is what it is for."""
        heard: list[bytes] = []
        turns = 0
        over = asyncio.Event()

        def hear(chunk: bytes) -> None:
            heard.append(chunk)
            if len(heard) < 100:
                said(far, b"x")
            else:
                plane.loop.call_soon(over.set)

        class Counting(EventLoop):
            def _run_once(self) -> None:
                nonlocal turns
                turns += 1
                super()._run_once()  # type: ignore[misc]

        plane.loop.__class__ = Counting
        far = plane.pair(hear)
        said(far, b"x")
        plane.run(over.wait())
        assert len(heard) == 100
        assert turns < 10

    def test_while_asyncio_is_busy(self, plane: Plane) -> None:
        over = asyncio.Event()
        far = plane.pair(lambda _: over.set())

        async def busy() -> None:
            while not over.is_set():
                await asyncio.sleep(0)

        said(far, b"x")
        plane.run(busy())

    def test_what_was_queued_by_asyncio(self, plane: Plane) -> None:
        """Nothing becomes readable by it, and nobody is told."""
        heard = asyncio.Event()
        near, far = socket.socketpair()
        near.setblocking(False)
        handler = Handler()
        handler.stream = stream = Stream(plane.poller, near.detach(), handler)
        handler.on = lambda _: heard.set()
        stream.pause()

        async def resume() -> None:
            far.send(b"x")
            await asyncio.sleep(0.05)
            assert not heard.is_set()
            stream.resume()
            await heard.wait()

        plane.run(resume())
        stream.close()
        far.close()


class TestItsEnd:
    def test_nothing_is_left_open(self) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        loop = EventLoop(Poller(lambda pollable, error: None))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_a_runner_ends_what_still_runs(self) -> None:
        ended: list[str] = []

        async def for_ever() -> None:
            try:
                await asyncio.sleep(NEVER)
            finally:
                ended.append("task")

        async def main() -> None:
            task = asyncio.create_task(for_ever())
            await asyncio.sleep(0)
            assert not task.done()

        poller = Poller(lambda pollable, error: None)
        with asyncio.Runner(loop_factory=partial(EventLoop, poller)) as runner:
            runner.run(main())
        assert ended == ["task"]

    def test_an_interrupt_from_the_keyboard_ends_it(self) -> None:
        poller = Poller(lambda pollable, error: None)
        with (
            contextlib.suppress(KeyboardInterrupt),
            asyncio.Runner(loop_factory=partial(EventLoop, poller)) as runner,
        ):
            threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
            runner.run(asyncio.sleep(NEVER))
            pytest.fail("it went on")
