"""What the proxy's end of a login costs in hashes, in whichever build runs: `python -m tests.unit.auth.work`.

A compiled method cannot be replaced, so the counters are below it, in hashlib and hmac, and there before
anything of poolproxy is imported, which takes from them what it keeps. Prints JSON: login -> [whether it
succeeds, what was computed]. In a process of its own, for what a module has taken it never gives back.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tests.support import interpreted

#: Each of them has the same password; who else is asked for has a name as long, for lengths are counted.
STRANGERS = {"bob": "nob", "stored": "nobody", "hashed": "nobody", "empty": "nobod"}
RIGHT, WRONG = "pencil", "pencel"
BINDING = b"certificate"
#: Name -> method, whether there is something to bind to, whether the client binds, whether the proxy works
#: ahead of it.
WAYS = {
    "scram-sha-256": ("scram-sha-256", False, False, False),
    "scram-sha-256, ahead": ("scram-sha-256", False, False, True),
    "scram-sha-256, binding offered": ("scram-sha-256", True, False, True),
    "scram-sha-256-plus": ("scram-sha-256", True, True, False),
    "scram-sha-256-plus, ahead": ("scram-sha-256", True, True, True),
    "md5": ("md5", False, False, False),
    "password": ("password", False, False, False),
}


class Work:
    """What has been computed, while it is the proxy that computes and not the client."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._counting = False

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        self._counting = True
        try:
            yield
        finally:
            self._counting = False

    def say(self, what: str) -> None:
        if self._counting:
            self.done.append(what)


WORK = Work()


class Hash:
    """A hash of hashlib's; what has gone into it is told when its digest is taken."""

    def __init__(self, name: str, state: Any, size: int) -> None:
        self._name = name
        self._state = state
        self._size = size

    def update(self, data: bytes) -> None:
        self._state.update(data)
        self._size += len(data)

    def copy(self) -> Hash:
        return Hash(self._name, self._state.copy(), self._size)

    def digest(self) -> bytes:
        WORK.say(f"{self._name} of {self._size}")
        found: bytes = self._state.digest()
        return found

    def hexdigest(self) -> str:
        return self.digest().hex()


def hashing(name: str, function: Callable[..., Any]) -> Callable[..., Hash]:
    return lambda data=b"", **options: Hash(name, function(data, **options), len(data))


def count() -> None:
    """From here on; whoever has imported a function before keeps that."""
    assert not [name for name in sys.modules if name.startswith("poolproxy.protocol")]
    for name in ("sha256", "md5", "blake2s"):
        setattr(hashlib, name, hashing(name, getattr(hashlib, name)))
    stretch, mac, compare = hashlib.pbkdf2_hmac, hmac.digest, hmac.compare_digest

    def pbkdf2_hmac(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        WORK.say(f"pbkdf2 of {len(password)} and {len(salt)}, {iterations} times")
        return stretch(name, password, salt, iterations)

    def digest(key: bytes, message: bytes, name: str) -> bytes:
        WORK.say(f"hmac of {len(message)}")
        return mac(key, message, name)

    def compare_digest(one: Any, other: Any) -> bool:
        WORK.say(f"comparison of {len(one)}")
        return compare(one, other)

    hashlib.pbkdf2_hmac = pbkdf2_hmac  # type: ignore[assignment]
    hmac.digest = digest  # type: ignore[assignment]
    hmac.compare_digest = compare_digest


def tried(way: str, user: str, password: str) -> tuple[bool, list[str]]:
    """One login, whole, by somebody who keeps to the protocol."""
    from poolproxy.auth.client_login import client_login
    from poolproxy.errors import AuthenticationFailed
    from tests.unit.auth.driven import DrivenClient
    from tests.unit.auth.test_client_login import Kept, answer, scram_answers, zeros

    method, offered, bound, ahead = WAYS[way]
    login = client_login(method, user, Kept(), zeros, BINDING if offered else None)  # type: ignore[arg-type]

    class Counted(DrivenClient):
        def feed(self, data: bytes) -> bytes:
            with WORK.counted():
                sent = super().feed(data)
                if ahead and not self.done:
                    login.ahead()
                return sent

    WORK.done = []
    with WORK.counted():
        driven = Counted(login)
        if ahead:
            login.ahead()
    if method == "scram-sha-256":
        last = scram_answers(driven, password, BINDING if bound else None)
    else:
        last = answer(method, driven, user, password)  # type: ignore[arg-type]
    with contextlib.suppress(AuthenticationFailed):
        driven.feed(last)
    return driven.done, WORK.done


def main() -> None:
    if interpreted.wanted():
        interpreted.install()
    count()
    found = {}
    for way in WAYS:
        for user, stranger in STRANGERS.items():
            found[f"{way}: {user}, right"] = tried(way, user, RIGHT)
            found[f"{way}: {user}, wrong"] = tried(way, user, WRONG)
            found[f"{way}: {user}, unknown"] = tried(way, stranger, RIGHT)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
