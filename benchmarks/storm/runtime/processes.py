"""Environments as processes: at most 200, forked from a warm parent, for true freezes and true kills.

A freeze is SIGSTOP to the environment and all that its handler has started: no timer, no thread and no
library of it runs, and the kernel alone keeps its sockets, which are neither read nor written. A kill is
SIGKILL, frozen or not: the kernel closes the sockets, with FIN, or with RST where something was left unread.
See `zygote` for what happens when the parent dies. Linux only.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.storm.clock import Clock
from benchmarks.storm.runtime.channel import Document, answer_from_document
from benchmarks.storm.runtime.forks import Fork, Forks, HostFailed, Room
from benchmarks.storm.runtime.runtime import EXITED, Answer, Host, Killed, Request, Runtime


class ProcessRuntime(Runtime):
    """One environment. Its process is another one after every kill and every INIT that is not its first."""

    __slots__ = ("_fork", "_forks", "_fresh", "_kills", "_scale", "_sessions")

    def __init__(self, forks: Forks, scale: float, fork: Fork) -> None:
        self._forks = forks
        self._scale = scale
        self._fork = fork
        self._fresh = True  # no code has run in it
        self._kills = 0
        self._sessions = 0

    def __repr__(self) -> str:
        return f"<ProcessRuntime {self._fork!r}>"

    @property
    def pid(self) -> int:
        """Of its process, which may have ended."""
        return self._fork.pid

    async def initialise(self) -> Answer:
        if not (self._fresh and self._fork.alive):
            self._fork.kill()
            kills = self._kills
            fork = await self._forks.fork()
            if kills != self._kills:  # meanwhile; another INIT may be under way already
                fork.kill()
                raise Killed
            self._fork = fork
            self._sessions = 0
        self._fresh = False
        return await self._ask({"invoke": False})

    async def invoke(self, request: Request) -> Answer:
        document = dataclasses.asdict(request)
        remaining = document.pop("remaining") / self._scale
        # CLOCK_MONOTONIC is the same in all processes, and goes on while one is stopped.
        return await self._ask({"invoke": True, **document, "deadline": time.monotonic() + remaining})

    def sessions(self) -> int:
        """Of our own clients, when it answered last."""
        return self._sessions if self._fork.alive else 0

    def freeze(self) -> None:
        self._fork.stop()

    def thaw(self) -> None:
        self._fork.go_on()

    def kill(self) -> None:
        self._kills += 1
        self._fork.kill()

    async def _ask(self, document: Document) -> Answer:
        fork = self._fork
        try:
            await fork.channel.send(document)
            answer = await fork.channel.receive()
            if fork.killed:
                raise Killed
            if answer is not None:
                self._sessions = answer["sessions"]
                return answer_from_document(answer)
            status = await asyncio.shield(fork.ended)
        except asyncio.CancelledError:  # the trial ends
            fork.kill()
            raise
        if fork.killed:
            raise Killed
        if status is None:
            raise HostFailed("the zygote has ended, and all environments with it")
        return Answer(True, EXITED, f"Runtime exited {reason(status)}", exited=True)


class ProcessHost(Host):
    """Forks them all from one zygote, which compiles `handler` (as `HandlerSource.find` takes it) at `start`.

    `variables` are the environment variables of the handlers, DATABASE_URL among them; default: those of
    now. `room` is to be shared by hosts that run side by side. `command` is put in front of the zygote's
    command line, such as that of a `Namespace`.
    """

    def __init__(
        self,
        handler: str,
        clock: Clock,
        *,
        variables: Mapping[str, str] | None = None,
        room: Room | None = None,
        command: Sequence[str] = (),
    ) -> None:
        if sys.platform != "linux":
            raise HostFailed("environments can be processes on Linux only")
        self._scale = clock.scale
        variables = dict(os.environ) if variables is None else variables
        self._forks = Forks(handler, clock.scale, variables, room or Room(), command)
        self._started: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the zygote. Raises HostFailed before `start`."""
        return self._forks.pid

    async def start(self) -> None:
        if self._started is None:
            self._started = asyncio.get_running_loop().create_task(self._forks.start())
        await asyncio.shield(self._started)

    async def make(self) -> Runtime:
        """Raises TooManyProcesses, and HostFailed when it cannot be had."""
        await self.start()
        return ProcessRuntime(self._forks, self._scale, await self._forks.fork())

    async def close(self) -> None:
        if self._started is not None:
            await asyncio.wait([self._started])
            await self._forks.close()


def reason(status: int) -> str:
    """Of an end, in Lambda's words. `status`: exit status, or minus the signal."""
    if status == 0:
        return "without providing a reason"
    if status > 0:
        return f"with error: exit status {status}"
    return f"with error: signal: {signal.strsignal(-status) or -status}".lower()
