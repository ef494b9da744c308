"""PostgreSQL's md5 password exchange (manual: Password Authentication; AuthenticationMD5Password).

Weak by today's measure and kept only for servers and clients that still ask for it. It must not know users'
settings: it is given names, passwords and hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import string

_HEX = frozenset(string.hexdigits)


def _hex(data: bytes) -> str:
    # Not for security as far as OpenSSL is asked: a FIPS build would refuse an exchange that the peer insists
    # on.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def md5_hash(user: str, password: str) -> str:
    """What pg_authid stores: "md5" and the hex digest of password and user name."""
    return "md5" + _hex((password + user).encode("utf-8", "surrogateescape"))


def is_md5_hash(text: str) -> bool:
    """Whether PostgreSQL would take this text for a stored md5 hash rather than for a password."""
    return len(text) == 35 and text.startswith("md5") and _HEX.issuperset(text[3:])


def md5_response(stored: str, salt: bytes) -> bytes:
    """The answer to AuthenticationMD5Password: the stored hash, hashed again with the salt of this login."""
    return b"md5" + _hex(stored[3:].lower().encode("ascii") + salt).encode("ascii")


def md5_matches(stored: str, salt: bytes, response: bytes) -> bool:
    """Whether a client's response proves that it knows the stored hash; in constant time."""
    return hmac.compare_digest(md5_response(stored, salt), response)
