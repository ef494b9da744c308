"""SCRAM-SHA-256 of a client that logs in thousands of times with one password: PBKDF2 is done once per salt.

The benchmark's own, so that a fast client measures every target alike; the product has another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from functools import lru_cache

ITERATIONS = 4096


def stored_secret(password: str) -> str:
    """What PostgreSQL keeps in pg_authid, with a fresh salt: `SCRAM-SHA-256$4096:SALT$STORED:SERVER`."""
    salt = os.urandom(16)
    client_key, server_key = _keys(password, salt, ITERATIONS)
    stored_key = hashlib.sha256(client_key).digest()
    parts = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


@lru_cache(maxsize=16)
def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return hmac.digest(salted, b"Client Key", "sha256"), hmac.digest(salted, b"Server Key", "sha256")


class ScramLogin:
    """One login (RFC 5802): `first`, then `final` with the server's first message, then `verify` its last."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._bare = b"n=,r=" + base64.b64encode(os.urandom(18))
        self._signature = b""

    def first(self) -> bytes:
        return b"n,," + self._bare

    def final(self, server_first: bytes) -> bytes:
        fields = {part[:1]: part[2:] for part in server_first.split(b",")}
        client_key, server_key = _keys(self._password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        without_proof = b"c=biws,r=" + fields[b"r"]
        text = b",".join((self._bare, server_first, without_proof))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), text, "sha256")
        proof = (int.from_bytes(client_key, "big") ^ int.from_bytes(signature, "big")).to_bytes(32, "big")
        self._signature = hmac.digest(server_key, text, "sha256")
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, server_final: bytes) -> None:
        """Raises ValueError unless the server has shown that it knows the secret."""
        if server_final != b"v=" + base64.b64encode(self._signature):
            raise ValueError("the server does not know the secret")
