"""Who meets in a pool: a client that remembers what it was granted, a bare server."""

from __future__ import annotations

from typing import Any

from poolproxy.pool.pool import Pool
from poolproxy.pool.queue import Member, Waiter
from poolproxy.session.lifecycle import CLIENT_IDLE, SERVER_IDLE
from tests.fakes.routes import route_of


class Client(Waiter):
    """Waits, and remembers with which server it was served."""

    def __init__(self, name: str = "client") -> None:
        super().__init__()
        self.name = name
        self.server: Member | None = None

    def __repr__(self) -> str:
        return self.name

    def granted(self, server: Member) -> None:
        assert self.server is None, f"{self.name} has a server already"
        self.server = server


class Server(Member):
    """Nothing but a place in the pool."""


def pool_of(needs: list[Pool] | None = None, spare: int = 1000, **limits: Any) -> Pool:
    """A pool; `needs` hears when it could use a server, and `spare` is what its database could give."""
    return Pool(route_of(**limits), (needs if needs is not None else []).append, lambda _: spare)


def connected(pool: Pool, now: float = 0.0) -> Server:
    """A server that has just been opened, as the grower does it; whoever waits gets it."""
    server = Server()
    pool.connecting += 1
    pool.move_server(server, SERVER_IDLE)
    server.idle_since = now
    pool.serve(now)
    return server


def arrived(pool: Pool, name: str = "client") -> Client:
    """A client that has logged in."""
    client = Client(name)
    pool.move_client(client, CLIENT_IDLE)
    return client


def served(pool: Pool, name: str = "client", now: float = 0.0) -> tuple[Client, Member]:
    """A client that has a server at once."""
    client = arrived(pool, name)
    server = pool.borrow(client, now)
    assert server is not None, f"{pool} has no server for {name}"
    client.server = server
    return client, server


def gives_back(pool: Pool, client: Client, now: float = 0.0) -> None:
    """The client's transaction is over: first it is without a server, then the server is anybody's."""
    server, client.server = client.server, None
    assert server is not None
    pool.move_client(client, CLIENT_IDLE)
    pool.release(server, now)
