"""All logged-in clients by the pid they were given: whom a cancel request means.

A pid of ours lies above 2**22, where no PostgreSQL pid is; in session mode a client has its server's own. An
interface for what comes later (cancel requests that reach the wrong process), with the single-process
implementation. Compiled.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator

from poolproxy.auth.randomness import RandomBytes
from poolproxy.frontend.client_session import ClientSession
from poolproxy.frontend.connection import ClientConnection
from poolproxy.protocol.messages import uint32

#: Above every pid that Linux gives (PID_MAX_LIMIT), within the protocol's Int32.
FIRST_PID = 2**22 + 1
LAST_PID = 2**31 - 1

#: Bytes of a cancel key, for protocols below 3.2 and from it on.
SHORT_KEY = 4
LONG_KEY = 32


class Directory:
    """See the module."""

    __slots__ = ("_clients", "_random_bytes")

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._clients: dict[int, ClientSession] = {}
        self._random_bytes = random_bytes

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[ClientSession]:
        return iter(self._clients.values())

    def new_key(self, minor: int) -> bytes:
        """A cancel key for a client of protocol 3.`minor`."""
        return self._random_bytes.take(LONG_KEY if minor >= 2 else SHORT_KEY)

    def enlist(self, client: ClientSession) -> None:
        """Give `client` a pid of ours and remember it under it."""
        # A pid is no secret, its key is: any spread will do.
        pid = FIRST_PID + uint32(self._random_bytes.take(4), 0) % (LAST_PID - FIRST_PID + 1)
        while pid in self._clients:
            pid = pid + 1 if pid < LAST_PID else FIRST_PID
        client.pid = pid
        self._clients[pid] = client

    def silent_since(self, moment: float) -> list[ClientSession]:
        """The clients that neither asked nor got anything after this moment (monotonic seconds)."""
        silent = []
        for client in self._clients.values():  # not a comprehension: its variable would not be typed
            if client.last_active <= moment:
                silent.append(client)
        return silent

    def rename(self, client: ClientConnection, pid: int) -> None:
        """Give it its server's pid, unless somebody has the same one of another server."""
        if pid not in self._clients:
            self._clients[pid] = self._clients.pop(client.pid)
            client.pid = pid

    def remove(self, client: ClientConnection) -> None:
        """It has left."""
        self._clients.pop(client.pid, None)

    def find(self, pid: int, key: bytes) -> ClientSession | None:
        """Whom this cancel request means; None for anyone who only guesses."""
        client = self._clients.get(pid)
        # The same work for an unknown pid: whether one exists is not told.
        matches = hmac.compare_digest(client.key if client is not None else b"\0" * len(key), key)
        return client if matches else None
