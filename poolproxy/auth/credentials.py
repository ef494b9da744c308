"""The secrets that clients are checked against, and mocks for names that have none. No settings, no messages.

Everything slow (key stretching, about a millisecond for each password) happens here when settings are loaded;
a login only looks up. A mock is what makes an unknown user look like a known one: it has the salt length and
the iterations of one of the real secrets and serves the same methods, its salt is the same at every attempt,
and no proof in the world matches it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import blake2s

from poolproxy.protocol.md5 import is_md5_hash, md5_hash
from poolproxy.protocol.scram import DEFAULT_ITERATIONS, SALT_LENGTH, ScramSecret, secret_from_password

_SCRAM_PREFIX = "SCRAM-SHA-256$"

#: Bytes of the salt of a mock, at most, and of the lot that is drawn for it beside that.
LONGEST_SALT = 28
_LOT = 3


class UserSecret:
    """What one user is checked against, by either method. A mock stands where the method cannot succeed.
    `scram_only`: SCRAM can, and md5 cannot."""

    __slots__ = ("known", "md5", "scram", "scram_only")

    def __init__(self, scram: ScramSecret, md5: str, known: bool, scram_only: bool = False) -> None:
        self.scram = scram
        self.md5 = md5
        self.known = known
        self.scram_only = scram_only

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UserSecret):
            return NotImplemented
        return self.scram == other.scram and self.md5 == other.md5 and self.known == other.known

    def __hash__(self) -> int:
        return hash((self.scram, self.md5, self.known))


class _Kind:
    """What of a real secret can be seen without knowing it: `secret` has its iterations."""

    __slots__ = ("salt_length", "scram_only", "secret")

    def __init__(self, iterations: int, salt_length: int, scram_only: bool) -> None:
        self.secret = ScramSecret(iterations, b"", os.urandom(32), os.urandom(32))
        self.salt_length = salt_length
        self.scram_only = scram_only


class _Mocks:
    """Makes secrets that nobody can match: their keys are random and derived from nothing."""

    __slots__ = ("_kinds", "_salt", "md5")

    def __init__(self, process_key: bytes, users: Iterable[UserSecret] = ()) -> None:
        """`users`: whose secrets there are. Each name that nobody has is of the kind of one of them, as if
        drawn by lot, and always of the same one."""
        # The key just goes ahead of the name: BLAKE2 has no length extension, so this is as good as its keyed
        # mode, and one block instead of two: a tenth of what an HMAC costs, and every login has to pay it.
        self._salt = blake2s(process_key, digest_size=LONGEST_SALT + _LOT)
        seen = sorted((user.scram.iterations, len(user.scram.salt), user.scram_only) for user in users)
        seen = seen or [(DEFAULT_ITERATIONS, SALT_LENGTH, False)]
        kinds = {each: _Kind(*each) for each in seen}
        self._kinds = [kinds[each] for each in seen]
        self.md5 = "md5" + os.urandom(16).hex()

    def _drawn(self, user: str) -> bytes:
        digest = self._salt.copy()
        digest.update(user.encode("utf-8", "surrogateescape"))
        return digest.digest()

    def salt(self, user: str) -> bytes:
        """A salt for this user, the same as long as the process key is: across logins and across reloads."""
        return self._drawn(user)[:SALT_LENGTH]

    def scram(self, user: str) -> ScramSecret:
        return self.secret(user).scram

    def secret(self, user: str) -> UserSecret:
        drawn = self._drawn(user)
        lot = drawn[LONGEST_SALT] << 16 | drawn[LONGEST_SALT + 1] << 8 | drawn[LONGEST_SALT + 2]
        kind = self._kinds[lot * len(self._kinds) >> 24]
        # Not by a call of the class, which costs more than all that is done here but the salt.
        mock = UserSecret.__new__(UserSecret)
        mock.scram = kind.secret.salted(drawn[: min(kind.salt_length, LONGEST_SALT)])
        mock.md5 = self.md5
        mock.known = False
        mock.scram_only = kind.scram_only
        return mock


def process_key(configured: str) -> bytes:
    """What salts are derived from: the same wherever the same is configured; random where nothing is."""
    return blake2s(configured.encode(), person=b"salt key").digest() if configured else os.urandom(32)


def is_stored(text: str) -> bool:
    """Whether it is what PostgreSQL stores of a password, and not one itself."""
    return text.startswith(_SCRAM_PREFIX) or is_md5_hash(text)


def user_secret(user: str, password_or_secret: str, process_key: bytes) -> UserSecret:
    """From a password, a `SCRAM-SHA-256$...` secret or an `md5...` hash, told apart as CREATE ROLE does.

    A password serves both methods; a stored form serves its own, and the other one always fails. An empty
    password is none, as in PostgreSQL: it always fails. ValueError, which names neither user nor secret,
    where a `SCRAM-SHA-256$...` is malformed.
    """
    mocks = _Mocks(process_key)
    if password_or_secret.startswith(_SCRAM_PREFIX):
        return UserSecret(ScramSecret.parse(password_or_secret), mocks.md5, known=True, scram_only=True)
    if is_md5_hash(password_or_secret):
        return UserSecret(mocks.scram(user), password_or_secret.lower(), known=True)
    if not password_or_secret:
        return UserSecret(mocks.scram(user), mocks.md5, known=True)
    # Not a random salt: one that changed with every reload would tell a known user from an unknown one.
    scram = secret_from_password(password_or_secret, salt=mocks.salt(user))
    return UserSecret(scram, md5_hash(user, password_or_secret), known=True)


class Credentials:
    """All users that may log in. Immutable: a reload makes a new one, with the same process key."""

    __slots__ = ("_mocks", "_users")

    def __init__(self, users: Mapping[str, UserSecret], process_key: bytes) -> None:
        """`process_key`: at least 16 random bytes, chosen once in the life of the process, or longer ago."""
        if len(process_key) < 16:
            raise ValueError("the process key has at least 16 bytes")
        self._users = dict(users)
        self._mocks = _Mocks(process_key, self._users.values())

    @classmethod
    def from_passwords(cls, passwords: Mapping[str, str], process_key: bytes) -> Credentials:
        """From user -> whatever `user_secret` takes. About a millisecond for each plain password."""
        return cls(
            {user: user_secret(user, text, process_key) for user, text in passwords.items()}, process_key
        )

    def lookup(self, user: str) -> UserSecret:
        """This user's secret, or a mock. Never fails, and does the same work for every name."""
        # The mock is made even where it is not needed: time must not tell which names exist. It costs 0.6 us.
        mock = self._mocks.secret(user)
        return self._users.get(user, mock)

    def __contains__(self, user: str) -> bool:
        return user in self._users

    def __len__(self) -> int:
        return len(self._users)

    def __repr__(self) -> str:
        return f"<Credentials of {len(self)} users>"
