"""Users and passwords in the format of PgBouncer's userlist.txt (its manual: Authentication file format)."""

from __future__ import annotations

import re
from typing import Final

_LINE: Final = re.compile(r'\s*"((?:[^"]|"")+)"\s+"((?:[^"]|"")*)"')


class BrokenUserlist(ValueError):
    """A line is not `"NAME" "PASSWORD"`. Says which, and nothing of what is in it."""


def read_userlist(text: str) -> dict[str, str]:
    """Each user's password, or what PostgreSQL stores of it; the last line of a user counts.

    Who has an empty password is left out: it could not log in. What stands behind the password is ignored,
    and so are empty lines and those that begin with `;`.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise BrokenUserlist(f'line {number} is not "NAME" "PASSWORD"')
        name, password = (part.replace('""', '"') for part in match.groups())
        users.pop(name, None)
        if password:
            users[name] = password
    return users
