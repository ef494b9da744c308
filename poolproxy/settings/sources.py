"""Where a database's password comes from when neither its url nor [users] says it. Values and rules only.

Whoever reads files and asks AWS is `poolproxy.backend.providers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from poolproxy.settings.url import DatabaseUrl

#: The settings that name a source: a database has one of them at most.
SOURCES: Final = ("password_file", "password_secret", "iam_auth")

#: In these modes, libpq's, there may be no TLS.
_MAYBE_PLAIN: Final = ("disable", "allow", "prefer")


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """One of SOURCES. Nothing of it is secret."""

    setting: Literal["password_file", "password_secret", "iam_auth"]
    name: str = ""  #: the file's path, the secret's name or ARN
    region: str = ""  #: of AWS; empty = as the name or the host says, else botocore's default


def check_source(sources: list[str], location: DatabaseUrl, sslmode: str) -> None:
    """ValueError where the sources that a database's settings name cannot be used. `location`: its url."""
    if location.password is not None:
        sources = [*sources, "its url"]
    if len(sources) > 1:
        raise ValueError(f"its password has several sources, {' and '.join(sources)}: give one")
    (source,) = sources or ("",)
    if source in ("password_file", "password_secret") and location.user is None:
        raise ValueError(f"its url names no user, whose password {source} would have: name one")
    if source == "iam_auth" and location.unix_path is not None:
        raise ValueError("iam_auth is for servers that are reached over TLS, not by a Unix socket")
    if source == "iam_auth" and sslmode in _MAYBE_PLAIN:
        raise ValueError(
            f"iam_auth sends tokens, over TLS only, and with sslmode {sslmode} there may be none: "
            "set sslmode to require, verify-ca or, best, verify-full"
        )
