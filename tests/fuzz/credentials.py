"""Targets: whom a certificate's name may be, what auth_query's rows say, and passwords that come from
elsewhere."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from poolproxy.auth import ident
from poolproxy.auth.credentials import is_stored, user_secret
from poolproxy.auth.lookups import Answer, OddAnswer, password_of, time_of
from poolproxy.backend.aws import SecretSource
from poolproxy.backend.passwords import NoPassword
from poolproxy.backend.plain import usable
from poolproxy.protocol import messages as m
from tests.fuzz.readers import holds, text_of
from tests.fuzz.target import Target


def _included(name: str, file: str) -> tuple[str, str]:
    if name == "more":
        return name, "more /^(.*)@x$ \\1\n"
    raise FileNotFoundError(2, "no such file", name)


def _listed(name: str, file: str) -> list[str]:
    return ["more", "lost"] if name == "dir" else ["more"]


def ident_maps(data: bytes) -> None:
    """The maps of a file, and behind an empty line names that they are asked for."""
    text, _, names = text_of(data).partition("\n\n")
    try:
        maps = ident.parse("ident", text, _included, _listed)
    except ident.InvalidRules as error:
        holds(
            error.problems and all(len(p.splitlines()) < 3 for p in error.problems), "problems without a word"
        )
        return
    lines = [line.split() for line in text.split("\n")]
    literal = all(len(line) == 3 and all(word.isalnum() for word in line) for line in lines if line)
    for name in ("app", names):
        for user in ("app", "all", names):
            holds(maps.lets("", name, user) == (name == user), "another name without a map")
            holds(not maps.lets("none at all", name, user), "a map that there is not")
            for line in lines[:8] if literal else ():
                if line:
                    wanted = any(
                        each[0] == line[0] and each[1] == name and each[2] in ("all", user)
                        for each in lines
                        if each
                    )
                    holds(maps.lets(line[0], name, user) == wanted, "not what the line says")


def auth_rows(data: bytes) -> None:
    """Rows between lines, columns between commas; a column that is empty is null, `!` and what follows
    something else than text."""
    rows = [
        [None if not column else 1 if column[0] == "!" else column for column in f"{line},,".split(",")]
        for line in text_of(data).split("\n")
    ]
    if data[:1] == b"\xff":
        rows = []
    until = rows[0][2] if rows else None
    try:
        password = password_of("app", rows)
        ends = time_of(datetime.fromisoformat(until) if isinstance(until, str) else until)
    except OddAnswer as error:
        holds("column" in str(error) or "row" in str(error), "it does not say how")
        return
    except (ValueError, OverflowError):
        return  # no time at all: ours, and not PostgreSQL's
    if password is None:
        return
    holds(rows[0][:2] == ["app", password], "a password of somebody else's")
    if not is_stored(password):
        return  # stretched, which takes a while
    try:
        secret = user_secret("app", password, bytes(32))
    except ValueError as error:
        holds(len(str(error)) < 100, "it repeats what is stored")
        return
    answer = Answer(secret, found=True, valid_until=ends)
    for wall in (0.0, 4e9):
        now = answer.secret_at(wall)
        holds(now.scram.salt == secret.scram.salt, "another salt")
        holds(now.known == (ends >= wall), "the time is not kept to")
    holds(math.isinf(ends) or until is not None, "an end that nobody has set")


class _Asked:
    """Secrets Manager, with the same answer for each version."""

    def __init__(self, text: str) -> None:
        self._text = text

    def ask(self, setting: str, method: str, **arguments: object) -> dict[str, Any]:
        return {"SecretString": self._text}


def passwords(data: bytes) -> None:
    """A secret of Secrets Manager."""
    text = data.decode("utf-8", "replace")
    source = SecretSource(_Asked(text), "name", "app")  # type: ignore[arg-type]
    for thorough in (False, True):
        try:
            found = source.fetch(thorough)
        except NoPassword as error:
            holds(len(error.message) < 300 and error.message.startswith("password_"), "it does not say what")
            holds(error.__cause__ is None and error.__context__ is None, "it carries more than it says")
            continue
        for password in found.passwords:
            holds(usable("again", password) == password, "it is none any more")
            m.password_message(password)


TARGETS = (
    Target(
        "ident_maps",
        ident_maps,
        (
            b"m app app\n",
            b"m /^(.*)@x$ \\1\n",
            b"all",
            b'"all"',
            b"+",
            b"/",
            b"@more",
            b"include more\n",
            b"include_dir dir\n",
            b"\n\n",
            b"#",
        ),
    ),
    Target(
        "auth_rows",
        auth_rows,
        (b"app,", b"md5", b"SCRAM-SHA-256$4096:", b",2030-01-01T00:00:00+00:00", b"\n", b"!", b"infinity"),
    ),
    Target(
        "passwords",
        passwords,
        (
            b'{"username":"app","password":"',
            b'"}',
            b"\\ud800",
            b"\\u0000",
            b'{"a":',
            b"[",
            b"md5",
            b"SCRAM-SHA-256$",
        ),
    ),
)
