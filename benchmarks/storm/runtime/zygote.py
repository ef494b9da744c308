"""The warm parent of environments that are processes: everything is imported, and a fork is an environment.

A clean process with one thread, started once per trial: `python -m benchmarks.storm.runtime.zygote CONTROL
HANDLER SCALE`. The handler's code is compiled here and run in the forks alone. CONTROL is the number of an
inherited Unix socket (SOCK_SEQPACKET) over which one JSON document per message goes:

    ◄── {"fork": 7}, with the environment's end of its channel as a file descriptor
    ──► {"forked": 7, "pid": 4711}, or {"unforked": 7, "reason": "..."}
    ──► {"ended": 7, "status": 1}       exit status, or minus the signal
    ◄── {"reap": 7}                     the parent sends no signal to this pid any more: it may be used again

Each fork leads a process group of its own, so that what a handler starts is stopped and killed with it.
Nothing outlives the parent: its death, or its close, is the end of CONTROL, upon which every fork is killed,
stopped or not, and reaped, and so are the orphans it leaves, which the kernel hands to the zygote
(PR_SET_CHILD_SUBREAPER). No fork outlives the zygote: each has asked the kernel for a SIGKILL at the death of
its parent (PR_SET_PDEATHSIG). Must not know Lambda's rules, nor what goes over the channels.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import benchmarks.storm.ledger  # noqa: F401  what the built-in handlers import beside the clients
from benchmarks.storm.loading import HandlerNotFound, HandlerSource
from benchmarks.storm.runtime import child

MESSAGE = 4096  #: bytes, more than any message has
PR_SET_PDEATHSIG = 1  #: linux/prctl.h, as the next
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Fork:
    """A process that has not been reaped. `watch` is a pidfd: readable when the process has ended."""

    pid: int
    watch: int


class Zygote:
    """Forks, watches and reaps as `control` says, until it ends."""

    def __init__(self, control: socket.socket, source: HandlerSource, scale: float) -> None:
        self._control = control
        self._source = source
        self._scale = scale
        self._forks: dict[int, Fork] = {}  # by the parent's number
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> None:
        gc.collect()
        gc.freeze()  # a collection in a fork would write to, and so copy, every page of these objects
        try:
            say(self._control, ready=os.getpid())
            while self._turn():
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # the parent is gone
        finally:
            self._end()

    def _turn(self) -> bool:
        """Do what is to be done now. False when the parent is gone."""
        for key, _ in self._selector.select():
            if key.fileobj is not self._control:
                self._tell_end(key.data)
            elif not self._obey():
                return False
        return True

    def _obey(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        asked = json.loads(data)
        if "reap" in asked:
            self._reap(asked["reap"])
        else:
            with socket.socket(fileno=descriptors[0]) as channel:
                self._fork(asked["fork"], channel)
        return True

    def _fork(self, number: int, channel: socket.socket) -> None:
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            say(self._control, unforked=number, reason=str(error))
            return
        if pid == 0:
            self._become_child(zygote, channel)
        os.setpgid(pid, pid)  # before anybody knows of it: a signal to its group finds the group
        watch = os.pidfd_open(pid)
        self._forks[number] = Fork(pid, watch)
        self._selector.register(watch, selectors.EVENT_READ, number)
        say(self._control, forked=number, pid=pid)

    def _become_child(self, zygote: int, channel: socket.socket) -> None:
        """Never returns."""
        try:
            die_with_parent(zygote)
            self._selector.close()
            self._control.close()
            for fork in self._forks.values():
                os.close(fork.watch)
            child.main(channel, self._source, self._scale)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _tell_end(self, number: int) -> None:
        """One has ended. It stays a zombie, and its pid its own, until the parent lets it be reaped."""
        fork = self._forks[number]
        self._selector.unregister(fork.watch)
        kill_group(fork.pid)  # what the handler has started
        found = os.waitid(os.P_PID, fork.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None, "without WNOHANG there is always one"
        status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        say(self._control, ended=number, status=status)

    def _reap(self, number: int) -> None:
        """And the orphans of its group, which have been killed with it."""
        fork = self._forks.pop(number)
        os.close(fork.watch)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-fork.pid, 0)

    def _end(self) -> None:
        """Kill and reap all, until there is no child any more, nor an orphan that has become one."""
        for fork in self._forks.values():
            kill_group(fork.pid)
        with contextlib.suppress(ChildProcessError):
            while True:
                for pid in children():
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(-1, 0)


def say(control: socket.socket, **document: object) -> None:
    control.send(json.dumps(document).encode())


def kill_group(pid: int) -> None:
    """SIGKILL takes stopped ones too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when `parent`, which has forked it, dies; at once when it has."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def children() -> list[int]:
    """Of this process, which has one thread: those it has forked, and orphans that it has been given."""
    with contextlib.suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_CHILDREN
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def prctl(option: int, value: int) -> None:
    """prctl(2). Raises OSError."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def main(descriptor: str, handler: str, scale: str) -> int:
    control = socket.socket(fileno=int(descriptor))
    control.set_inheritable(False)
    try:
        source = HandlerSource.find(handler)
    except HandlerNotFound as error:
        say(control, failed=str(error))
        return 1
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    Zygote(control, source, float(scale)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
