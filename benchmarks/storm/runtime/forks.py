"""The parent's side of a zygote: starts it, has it fork, and knows which of its forks live.

Every call returns at once or awaits; the event loop is never blocked. Signals go straight to the process
groups: the zygote reaps a pid only when this side has promised to send it none any more, so no signal ever
meets a stranger. Must not know Lambda's rules, nor what goes over a channel.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import Mapping, Sequence

from benchmarks.storm.runtime.channel import Channel, Document

MOST = 200
"""Environments that may be processes at a time: each costs some megabytes, and its share of the cores."""
START_TIMEOUT = 60.0  #: seconds
END_TIMEOUT = 10.0  #: seconds
MESSAGE = 4096  #: bytes, more than any message has


class HostFailed(Exception):
    """The zygote could not be started, could not fork, or has ended."""


class TooManyProcesses(HostFailed):
    """More environments were wanted than may be processes at a time."""


class Room:
    """How many forks may live at a time; zygotes may share one."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.taken = 0

    def take(self) -> None:
        """Raises TooManyProcesses."""
        if self.taken >= self.most:
            raise TooManyProcesses(
                f"at most {self.most} execution environments can be processes at a time: let fewer run"
                " (reserved concurrency), or run them as tasks"
            )
        self.taken += 1

    def give_back(self) -> None:
        self.taken -= 1


class Fork:
    """A forked process. Its room is given back when it is killed or has ended."""

    __slots__ = ("_room", "channel", "ended", "killed", "pid")

    def __init__(self, pid: int, channel: Channel, room: Room) -> None:
        self.pid = pid
        self.channel = channel
        self.killed = False
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """Exit status or minus the signal; None when it ended with its zygote."""
        self._room = room

    def __repr__(self) -> str:
        state = "ended" if self.ended.done() else "killed" if self.killed else "alive"
        return f"<Fork {self.pid} {state}>"

    @property
    def alive(self) -> bool:
        return not self.killed and not self.ended.done()

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.alive:
            self._signal(signal.SIGKILL)
            self.killed = True
            self._room.give_back()

    def end(self, status: int | None) -> None:
        """It has ended."""
        if not self.ended.done():
            if not self.killed:
                self._room.give_back()
            self.ended.set_result(status)
            self.channel.close()

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            os.killpg(self.pid, number)


class Forks:
    """A zygote and its forks. `command` is put in front of the zygote's: it must become it (exec)."""

    def __init__(
        self,
        handler: str,
        scale: float,
        variables: Mapping[str, str],
        room: Room,
        command: Sequence[str] = (),
    ) -> None:
        self._arguments = (handler, repr(scale))
        self._variables = {**variables, "PYTHONPATH": os.pathsep.join(entry or "." for entry in sys.path)}
        self._command = (*command, sys.executable, "-m", "benchmarks.storm.runtime.zygote")
        self._room = room
        self._zygote: Process | None = None
        self._control: socket.socket | None = None  # None: not started, or gone
        self._outgoing: deque[tuple[Document, socket.socket | None]] = deque()
        self._numbers = itertools.count()
        self._ready: asyncio.Future[None] | None = None
        self._births: dict[int, tuple[Channel, asyncio.Future[Fork]]] = {}
        self._forks: dict[int, Fork] = {}

    @property
    def pid(self) -> int:
        """Of the zygote. Raises HostFailed before `start`."""
        if self._zygote is None:
            raise HostFailed("there is no zygote yet")
        return self._zygote.pid

    async def start(self) -> None:
        """Start the zygote; returns when it is warm. Raises HostFailed, also without such a handler."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_reader(self._control, self._read)
        with theirs:
            self._zygote = await asyncio.create_subprocess_exec(
                *self._command,
                str(theirs.fileno()),
                *self._arguments,
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=self._variables,
                start_new_session=True,  # Ctrl-C at a terminal is for us
            )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._ready
        except TimeoutError:
            raise HostFailed(f"the zygote was not ready within {START_TIMEOUT:g} s") from None

    async def fork(self) -> Fork:
        """A new process. Raises TooManyProcesses, and HostFailed when there is no memory or no zygote."""
        if self._control is None:
            raise HostFailed("the zygote has ended")
        self._room.take()
        born: asyncio.Future[Fork] = asyncio.get_running_loop().create_future()
        try:
            ours, theirs = socket.socketpair()
            channel = await Channel.open(ours)
        except BaseException:
            self._room.give_back()
            raise
        number = next(self._numbers)
        self._births[number] = channel, born
        self._post({"fork": number}, theirs)
        return await born

    async def close(self) -> None:
        """Kill all forks and end the zygote: when this returns, none of them is there any more."""
        for fork in self._forks.values():
            fork.kill()
        self._lose("the zygote was closed")
        if self._zygote is not None:
            try:
                async with asyncio.timeout(END_TIMEOUT):
                    await self._zygote.wait()
            except TimeoutError:
                self._zygote.kill()  # its forks die with it
                await self._zygote.wait()

    # The zygote's socket.

    def _post(self, document: Document, descriptor: socket.socket | None = None) -> None:
        """Send, as soon as there is room; `descriptor` is the zygote's from then on."""
        self._outgoing.append((document, descriptor))
        if len(self._outgoing) == 1:
            self._write()

    def _write(self) -> None:
        if self._control is None:
            return
        loop = asyncio.get_running_loop()
        while self._outgoing:
            document, descriptor = self._outgoing[0]
            numbers = [] if descriptor is None else [descriptor.fileno()]
            try:
                socket.send_fds(self._control, [json.dumps(document).encode()], numbers)
            except BlockingIOError:
                loop.add_writer(self._control, self._write)
                return
            except ConnectionError:
                self._lose("the zygote has ended")
                return
            self._outgoing.popleft()
            if descriptor is not None:
                descriptor.close()
        loop.remove_writer(self._control)

    def _read(self) -> None:
        while self._control is not None:
            try:
                data = self._control.recv(MESSAGE)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if data:
                self._hear(json.loads(data))
            else:
                self._lose("the zygote has ended")

    def _hear(self, said: Document) -> None:
        match said:
            case {"forked": number, "pid": pid}:
                channel, born = self._births.pop(number)
                self._forks[number] = fork = Fork(pid, channel, self._room)
                if born.done():  # whoever wanted it has been cancelled
                    fork.kill()
                else:
                    born.set_result(fork)
            case {"unforked": number, "reason": reason}:
                self._stillborn(number, f"no process could be forked: {reason}")
            case {"ended": number, "status": status}:
                self._forks.pop(number).end(status)
                self._post({"reap": number})
            case {"ready": _}:
                assert self._ready is not None
                self._ready.set_result(None)
            case {"failed": reason}:
                self._lose(reason)

    def _stillborn(self, number: int, reason: str) -> None:
        channel, born = self._births.pop(number)
        channel.close()
        self._room.give_back()
        if not born.done():
            born.set_exception(HostFailed(reason))

    def _lose(self, reason: str) -> None:
        """Close the control socket; upon which the zygote ends, if it has not, and all forks with it."""
        if self._control is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._control)
        loop.remove_writer(self._control)
        self._control.close()
        self._control = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(HostFailed(reason))
        for _, descriptor in self._outgoing:
            if descriptor is not None:
                descriptor.close()
        self._outgoing.clear()
        for number in list(self._births):
            self._stillborn(number, reason)
        for fork in self._forks.values():
            fork.end(None)
        self._forks.clear()
