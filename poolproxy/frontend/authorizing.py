"""`session_authorization` in a startup message: PostgreSQL checks whether one may, and then nothing follows.

A superuser who gives it is the one who logged in all the same (PostgreSQL 15 and 18); anybody else is refused
unless it is oneself.
"""

from __future__ import annotations

from typing import Final, Protocol

from poolproxy.backend.server import Server
from poolproxy.session.parameters import ParameterSet

AUTHORIZATION: Final = "session_authorization"


class GreetedClient(Protocol):
    """What is asked of a client that is being greeted (client_session.py says what these are)."""

    server: Server | None
    holding: bool
    startup: ParameterSet

    def refuse(self, refusal: dict[str, str]) -> None:
        """PostgreSQL does not take its parameters."""

    def _settle_parameters(self) -> None:
        """They are others now."""

    def apply_parameters(self) -> None:
        """Have the server take them."""


def prove_authorization(client: GreetedClient) -> None:
    """Have the attached server check it, then go on with the greeting without it."""
    assert client.server is not None
    client.holding = True
    wanted = client.startup.values[AUTHORIZATION]

    def proved(refusal: dict[str, str] | None) -> None:
        if client.server is None:
            return  # it has left meanwhile
        if refusal is not None:
            client.refuse(refusal)
            return
        client.startup = client.startup.assign(AUTHORIZATION, None)
        client._settle_parameters()
        client.apply_parameters()

    client.server.ask(f"SET LOCAL SESSION AUTHORIZATION {wanted}".encode("utf-8", "surrogateescape"), proved)
