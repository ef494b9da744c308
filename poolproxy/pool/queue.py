"""The order in which waiting clients are served: first come first served, but for one courtesy.

A server that holds the settings of one of the next few goes to that one, which saves the switch; nobody is
overtaken in this way more than a few times while first.

A linked list through the clients themselves, because any of them may leave from the middle at any time (a
timeout, a cancel, a hang-up) and every queueing is on the hot path.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolproxy.errors import PoolproxyError
from poolproxy.session.parameters import EMPTY, ParameterSet
from poolproxy.transport.stream import Handler

#: How many of the first are looked at for one with the settings of a server that has become free, and how
#: often the first may be overtaken for it. Which server becomes free next is chance: where the clients are of
#: two kinds, the first 8 are all of one kind every few transactions (one in five had a switch), the first 64
#: hardly ever.
NEXT_FEW = 64
OVERTAKEN = 8


class Waiter(Handler):
    """What a pool must know of a client, which is a stream's handler as well (a compiled class has one base).
    `granted` is called with the server that it waited for."""

    __slots__ = ("_ahead", "_behind", "client_state", "overtaken", "parameters", "waiting_since")

    def __init__(self) -> None:
        self.client_state = 0
        self.waiting_since = 0.0
        self.overtaken = 0  #: times that another was served while it was first
        self.parameters: ParameterSet = EMPTY  #: what a server must hold for it
        self._ahead: Waiter | None = None
        self._behind: Waiter | None = None

    def granted(self, server: Member) -> None:
        """This client's turn has come; the server is attached already as far as the pool is concerned."""
        raise NotImplementedError

    def give_up(self, error: PoolproxyError) -> None:
        """It waits in vain."""
        raise NotImplementedError


class Member(Handler):
    """What a pool must know of a server; a stream's handler as well."""

    __slots__ = (
        "born", "expires", "idle_since", "parameters", "pin", "pinned_at", "rescue_until", "server_state",
    )  # fmt: skip

    def __init__(self) -> None:
        self.server_state = 0
        self.parameters: ParameterSet = EMPTY  #: the settings it holds, where they differ from its defaults
        self.born = 0.0
        self.expires = 0.0  #: when it is too old; 0 = never
        self.idle_since = 0.0
        self.pin = ""  #: why it stays with its client between transactions; "" = it does not
        self.pinned_at = 0.0
        self.rescue_until = 0.0  #: when an exchange whose client has left is given up; 0 = none


class Queue:
    """First in, first out, and out of the middle at any time. A waiter is in at most one queue."""

    __slots__ = ("_length", "first", "last")

    def __init__(self) -> None:
        self.first: Waiter | None = None
        self.last: Waiter | None = None
        self._length = 0

    def next_for(self, server: Member, first: Waiter) -> Waiter:
        """Who is to have this server: `first`, or one behind it."""
        if first.parameters is server.parameters or first.overtaken >= OVERTAKEN:
            return first
        waiter = first._behind
        left = NEXT_FEW
        while waiter is not None and left > 1:
            if waiter.parameters is server.parameters:
                first.overtaken += 1
                return waiter
            waiter = waiter._behind
            left -= 1
        return first

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Waiter]:
        """In order of service; the queue must not change meanwhile."""
        waiter = self.first
        while waiter is not None:
            yield waiter
            waiter = waiter._behind

    def size(self) -> int:
        """How many wait."""
        return self._length

    def push(self, waiter: Waiter) -> None:
        """Behind everyone else."""
        waiter._ahead = self.last
        waiter._behind = None
        waiter.overtaken = 0
        if self.last is None:
            self.first = waiter
        else:
            self.last._behind = waiter
        self.last = waiter
        self._length += 1

    def remove(self, waiter: Waiter) -> None:
        """Whatever its place; it must be in this queue."""
        ahead, behind = waiter._ahead, waiter._behind
        if ahead is None:
            self.first = behind
        else:
            ahead._behind = behind
        if behind is None:
            self.last = ahead
        else:
            behind._ahead = ahead
        waiter._ahead = waiter._behind = None
        self._length -= 1
