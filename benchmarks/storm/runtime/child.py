"""What runs in an environment that is a process: the handler's code, asked over a channel, piece by piece.

As in Lambda's own Python runtime the process waits, calls and answers in turn; it ends when its INIT fails or
when the channel is closed. An `async def` handler runs in the process's one event loop, which also runs,
while the process waits for the next request, whatever tasks the handler has left behind. A plain `def` is
called with no loop running: it may block, and may use `asyncio.run`. Must not know who forked it, nor what a
freeze is.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from benchmarks.storm.clients import HOLDINGS, METER, Holdings, Meter
from benchmarks.storm.clients.errors import gist, label
from benchmarks.storm.context import Context
from benchmarks.storm.loading import Handler, HandlerSource
from benchmarks.storm.runtime.channel import Channel, Document, answer_as_document
from benchmarks.storm.runtime.runtime import Answer

T = TypeVar("T")


def main(sock: socket.socket, source: HandlerSource, scale: float) -> NoReturn:
    """Serve `sock` to its end, and end the process, whatever happens: the caller is a copy of the zygote."""
    status = 1
    try:
        status = Child(source, scale).serve(sock)
    except SystemExit as end:  # the handler's own wish
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):  # the handler may have closed them
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 0xFF)


class Child:
    """`scale`: Lambda seconds that pass in one of the machine's."""

    def __init__(self, source: HandlerSource, scale: float) -> None:
        self._source = source
        self._scale = scale
        self._handler: Handler | None = None
        self._holdings = Holdings()
        HOLDINGS.set(self._holdings)  # for the count alone: freezes and kills are the kernel's
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)

    def serve(self, sock: socket.socket) -> int:
        """Answer until the channel is closed; returns the exit status."""
        channel = self._run(Channel.open(sock))
        while (asked := self._run(channel.receive())) is not None:
            if asked["invoke"]:
                answer = self._answer(lambda request=asked: self._invoke(request))  # type: ignore[misc]
            else:
                answer = self._answer(self._initialise)
            sessions = len(self._holdings.sessions())
            self._run(channel.send({"sessions": sessions, **answer_as_document(answer)}))
            if answer.failed and not asked["invoke"]:
                return 1
        return 0

    def _initialise(self) -> None:
        self._handler = self._source.load()
        self._run(self._handler.initialise())

    def _invoke(self, asked: Document) -> None:
        assert self._handler is not None, "INIT comes before INVOKE"
        context = Context(
            asked["function"],
            asked["memory"],
            asked["invocation"],
            asked["deadline"] * self._scale,
            lambda: time.monotonic() * self._scale,
            attempt=asked["attempt"],
            environment=asked["environment"],
        )
        if self._handler.plain:
            self._handler.call(asked["event"], context)
        else:
            self._run(self._handler.invoke(asked["event"], context))

    def _answer(self, code: Callable[[], None]) -> Answer:
        """Run a piece of the environment's code to its end, and meter it."""
        meter = Meter()
        context = contextvars.copy_context()
        context.run(METER.set, meter)
        try:
            context.run(code)
        except (Exception, asyncio.CancelledError) as error:
            return Answer(True, label(error), gist(error), meter)
        return Answer(meter=meter)

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(doing)
