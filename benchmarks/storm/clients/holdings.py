"""The sessions that one execution environment holds: what its freeze, its thaw and its kill act upon.

An environment that is a process needs none of this (SIGSTOP and SIGKILL do it); one that is a task among
others in a process does. The runtime sets `HOLDINGS` in the environment's context, `connect` adds to it.
Sessions are held weakly: what a handler lets go of is let go of, as far as its driver does so. Must not know
any driver.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol
from weakref import ref


class Holdable(Protocol):
    """What a session offers to those who act for the platform."""

    @property
    def closed(self) -> bool: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def abort(self) -> None: ...


class Holdings:
    """Open sessions of one environment, the oldest first."""

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: list[ref[Holdable]] = []

    def __repr__(self) -> str:
        return f"<Holdings of {len(self.sessions())}>"

    def sessions(self) -> list[Holdable]:
        """Those that are still open."""
        found = [reference() for reference in self._references]
        return [session for session in found if session is not None and not session.closed]

    def add(self, session: Holdable) -> None:
        """Take note of a session, and forget those that are over."""
        self._references = [ref(held) for held in self.sessions()]
        self._references.append(ref(session))

    def freeze(self) -> None:
        """No socket is read any more. To be called after the last piece of the environment's code has run."""
        for session in self.sessions():
            session.freeze()

    def thaw(self) -> None:
        """Read again, first of all what has arrived meanwhile."""
        for session in self.sessions():
            session.thaw()

    def kill(self) -> None:
        """Close every socket as the kernel does for a killed process: no Terminate, no CancelRequest.

        Call it *before* the environment's task is cancelled: asyncpg sends a CancelRequest for a statement
        whose task is cancelled, which a killed process never does.
        """
        for session in self.sessions():
            session.abort()
        self._references.clear()


HOLDINGS: ContextVar[Holdings | None] = ContextVar("HOLDINGS", default=None)
"""Of the environment whose code runs; None where nobody wants to know."""
