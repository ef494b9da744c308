"""`session_authorization` in a startup message: PostgreSQL checks whether one may, and then nothing follows.

A superuser who gives it is the one who logged in all the same (PostgreSQL 15 and 18); anybody else is refused
unless it is oneself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from poolproxy.frontend.client_session import ClientSession

AUTHORIZATION: Final = "session_authorization"


def prove_authorization(client: ClientSession) -> None:
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
