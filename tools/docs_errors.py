"""The text of docs/errors.md, made from the error classes."""

from __future__ import annotations

import re
from typing import Final

from poolproxy.errors import Fault, PoolproxyError, told_errors

INTRODUCTION: Final = """\
# Errors

Every error that poolproxy itself sends to a client. Anything else a client sees is PostgreSQL's own and
reaches it unchanged. After a FATAL the connection closes; after an ERROR it goes on. What is listed as an
ERROR is sent as FATAL where going on would not be safe: during the login, or where more was sent behind the
statement and would run without it. Words in `<...>` are filled in. The metrics `poolproxy_errors_total` and
`poolproxy_login_errors_total` count by SQLSTATE class,
which is the first two characters.
"""

FAULTS: Final[dict[Fault, str]] = {
    "client": "what the client sent or did",
    "server": "PostgreSQL, or the way to it",
    "us": "poolproxy's own limits or state",
}


def page() -> str:
    """docs/errors.md."""
    errors = [*told_errors(), PoolproxyError]
    rows = "".join(
        f"| [{error.sqlstate}](#{anchor(error)}) | {error.severity} | {message(error)} |\n"
        for error in errors
    )
    overview = f"| SQLSTATE | severity | message |\n| --- | --- | --- |\n{rows}"
    return "\n".join([INTRODUCTION, overview, *(section(error) for error in errors)])


def section(error: type[PoolproxyError]) -> str:
    """One error in full."""
    lines = [
        f"## {title(error)}",
        "",
        f"{error.severity} {error.sqlstate} {message(error)}",
        "",
        f"- Comes from: {FAULTS[error.fault]}.",
        f"- Cause: {error.cause}",
        f"- Cure: {error.cure}",
    ]
    if error.hint:
        lines.append(f"- Hint sent along: {error.hint}")
    return "\n".join(lines) + "\n"


def title(error: type[PoolproxyError]) -> str:
    """The class name in words: `TooManyClients` -> "Too many clients"."""
    if error is PoolproxyError:
        return "Internal error"
    return re.sub(r"(?<!^)([A-Z])", lambda found: " " + found[1].lower(), error.__name__)


def anchor(error: type[PoolproxyError]) -> str:
    """What the forges make of that heading."""
    return title(error).lower().replace(" ", "-")


def message(error: type[PoolproxyError]) -> str:
    """The template as code, its fields as `<name>`."""
    return "`" + re.sub(r"\{(\w+)[^}]*\}", r"<\1>", error.template) + "`"
