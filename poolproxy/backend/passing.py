"""Logging in to PostgreSQL by what a client has proved to us: then the settings need no password of its user.

Of SCRAM that is the client's key, which its proof shows to whoever holds the secret that it is checked
against (RFC 5802, 3): it opens servers that hold the same secret, salt and iterations included, and
nothing else. Of a password in clear text it is the password. Kept in memory, by user and server, as long as
a pool of theirs is there. Must not know connections.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from poolproxy.protocol.scram import ScramProof


class PassedTrial:
    """One login with what is known (route.PasswordTrial). There is nothing else to try."""

    __slots__ = ("password",)

    def __init__(self, password: str | ScramProof | None) -> None:
        self.password: str | ScramProof | None = password

    async def another(self, sqlstate: str, message: str) -> bool:
        return False

    def accepted(self) -> None:
        """As it was expected."""


class PassedOn:
    """What clients of one user have proved: the last of them counts, his is the newest
    (route.PasswordProvider)."""

    __slots__ = ("__weakref__", "_proof")

    def __init__(self) -> None:
        self._proof: str | ScramProof | None = None

    def __repr__(self) -> str:
        return f"<PassedOn {'nothing yet' if self._proof is None else 'known'}>"

    def learn(self, proof: str | ScramProof | None) -> None:
        """A client has logged in; None: by nothing that could be passed on."""
        if proof is not None:
            self._proof = proof

    async def trial(self) -> PassedTrial:
        """See route.PasswordProvider. Without anything: the server may ask for nothing."""
        return PassedTrial(self._proof)


class PassThrough:
    """All users whose own proofs are used."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, str, int], PassedOn] = WeakValueDictionary()

    def provider(self, user: str, host: str, port: int) -> PassedOn:
        """Of this user at this server: what was proved for one is not shown to another."""
        key = user, host, port
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = PassedOn()
        return found
