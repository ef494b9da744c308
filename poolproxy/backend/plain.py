"""Passwords as text: what can be sent to a server, and a file that holds one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from poolproxy.backend.passwords import Found, NoPassword
from poolproxy.errors import shown
from poolproxy.settings.model import stored_form

#: Bytes: longer ones are no password, but a wrong path.
_LONGEST: Final = 10_000


def usable(setting: str, password: str) -> str:
    """`password`, if it can be one. Raises NoPassword."""
    if not password:
        raise NoPassword(f"{setting}: it is empty")
    if "\0" in password or len(password) > _LONGEST:
        raise NoPassword(
            f"{setting}: it is no password: it has a zero byte, or more than {_LONGEST} characters"
        )
    if not _encodable(password):  # JSON can say half of a character
        raise NoPassword(f"{setting}: it is no text that UTF-8 can hold")
    if stored_form(password) is not None:
        raise NoPassword(f"{setting}: it is a stored form of a password: servers want the password itself")
    return password


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class FileSource:
    """A file with a password, less the newline at its end. It is read for each login: that costs no more than
    to look whether it has changed, and nothing is overlooked."""

    free = True
    refusals = frozenset({"28P01"})

    def __init__(self, path: str) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"password_file {shown(self._path, 150)}"

    def fetch(self, thorough: bool) -> Found:
        try:
            with Path(self._path).open("rb") as stream:
                data = stream.read(_LONGEST * 4 + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no path"
            raise NoPassword(f"password_file: it cannot be read ({reason})") from None
        try:
            text: str | None = data.decode()
        except UnicodeDecodeError:
            text = None
        if text is None:  # raised here: a chained error would carry the bytes along
            raise NoPassword("password_file: it is no UTF-8 text")
        return Found((usable("password_file", text.rstrip("\r\n")),))
