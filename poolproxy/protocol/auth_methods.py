"""How a server may have us prove who we are, by the names of libpq's require_auth (manual 32.1.2)."""

from __future__ import annotations

from typing import Final

PASSWORD: Final = "password"
MD5: Final = "md5"
SCRAM: Final = "scram-sha-256"
#: It asks for no proof.
NONE: Final = "none"

ALL: Final = frozenset({PASSWORD, MD5, SCRAM, NONE})

#: What libpq knows besides: allowed in a list, and never what happens.
_OTHERS: Final = frozenset({"gss", "sspi", "oauth"})


def required_methods(text: str) -> frozenset[str]:
    """Which of ALL a require_auth allows: names between commas, or what is not meant, each with `!`. An empty
    one allows all. ValueError says what is wrong with it."""
    if not text:
        return ALL
    words = [word.strip() for word in text.split(",")]
    negated = words[0].startswith("!")
    names = []
    for word in words:
        if word.startswith("!") is not negated:
            raise ValueError("either all methods have a ! before them, or none has")
        name = word[1:] if negated else word
        if name not in ALL | _OTHERS:
            raise ValueError(f"no authentication method is called {name!r}")
        if name in names:
            raise ValueError(f"method {name} stands there twice")
        names.append(name)
    allowed = ALL - set(names) if negated else ALL & set(names)
    if not allowed:
        raise ValueError("no method that we speak is left")
    return allowed
