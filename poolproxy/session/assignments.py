"""Reading SET, RESET and DISCARD: what a plain one assigns, and why a server must be asked after any other.

Plain means: one name, and a value of tokens that mean the same wherever they are repeated (ASCII, no
backslash, no placeholder). Everything that depends on something else - a role, another setting, the
transaction - is not plain (sessions.md, rules 8 and 11). Cold code: it runs once per SET. Must not know
servers or what is in force.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: The names in an Assignment that stand for all settings at once: RESET ALL, which leaves who one is, and
#: DISCARD ALL.
ALL: Final = "*"
EVERYTHING: Final = "**"

#: Lists of names that must be repeated name by name (guc_tables.c: GUC_LIST_QUOTE).
LIST_QUOTE: Final = frozenset(
    {
        "search_path",
        "temp_tablespaces",
        "session_preload_libraries",
        "shared_preload_libraries",
        "local_preload_libraries",
    }
)

#: Settings that no statement means anything else for: names, times, logs, and those of applications.
NO_MATTER: Final = re.compile(r"application_name$|client_min_messages$|log_|.*_timeout$|.*\.")

#: Settings of the transaction alone: assigning them outside one changes nothing (variable.c).
_TRANSACTION: Final = frozenset({"transaction_isolation", "transaction_read_only", "transaction_deferrable"})

#: Settings whose assignment does not tell what is assigned, or that are more than values -> why to ask.
_NOT_PLAIN: Final = {
    "role": "role",
    "session_authorization": "role",
    "seed": "seed",
    "exit_on_error": "setting",  # guards our own assignments
    "default_text_search_config": "setting",  # means another object under another search_path
    "idle_session_timeout": "setting",  # would end an idle server
    "temp_buffers": "setting",  # refused wherever temporary tables were used
    "is_superuser": "setting",
}

_TOKEN = re.compile(
    rb"""\s+ | (?P<string>'[^'\\]*(?:''[^'\\]*)*') | (?P<name>"[^"\\]+") | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
    | (?P<number>[+-]?[0-9]+(?:\.[0-9]+)?) | (?P<mark>[=,.;])""",
    re.VERBOSE,
)


_DISCARD_ALL = re.compile(rb"\s*discard\s+all\s*;?\s*", re.IGNORECASE)

_RESET_ROLE = re.compile(
    rb"reset\s+(?:session\s+authorization|session_authorization|role)\b"
    rb"|set\s+(?:session\s+)?session\s+authorization\s+default\b"
    rb"|set\s+(?:session\s+)?(?:role|session_authorization)\s*(?:=|to)\s*default\b",
    re.IGNORECASE,
)

#: SET of a name with letters beyond ASCII: only a setting of an application's own, and no audit asks for it.
_FOREIGN_NAME = re.compile(
    rb"set\s++(?!local\s)(?=[^=']{0,99}\.)[^=']{0,99}?[\x80-\xff][^=']{0,99}?(?:=|\sto\b)", re.IGNORECASE
)

_LOCAL = re.compile(rb"set\s+local\s+([a-z_][a-z0-9_.]*)\s*(?:=|to\b)", re.IGNORECASE)

_DEALLOCATION = re.compile(
    rb"""deallocate\s+(?:prepare\s+)?(?:(?P<all>all)|"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[a-z_\x80-\xff][\w$\x80-\xff]*))
    \s*;?\s*""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Assignment:
    """`name` (lower case, or ALL) is set to `fragment`, the SQL right of TO; None: back to the default."""

    name: str
    fragment: str | None


def literal(value: str, escape: bool = False) -> str:
    """A string constant that reads the same under any standard_conforming_strings (manual 4.1.2.2), and with
    `escape` under any client_encoding."""
    if escape and not value.isascii():
        return " E'" + "".join(map(_escaped, value)) + "'"
    quoted = value.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in value else "'" + quoted + "'"


def _escaped(character: str) -> str:
    """A character in an E'' constant; a byte that is of none (in a database without an encoding) stays."""
    if character in "'\\":
        return character * 2
    code = ord(character)
    return character if code < 0x80 or 0xD800 <= code < 0xE000 else f"\\U{code:08x}"


def read_assignment(text: bytes) -> Assignment | str | None:
    """What one SET, RESET or DISCARD statement does: an Assignment, why to ask, or None when it leaves
    nothing.

    Also takes any other statement of a text that holds one: None. `text` begins at the statement's first word
    and may end with `;`.
    """
    tokens = _tokens(text)
    if tokens is None:
        lead = text[:7].lower()
        if _FOREIGN_NAME.match(text):
            return "unaudited"
        return "setting" if lead.startswith((b"set", b"reset", b"discard")) else None
    first = tokens[0][1].lower() if tokens else ""
    words = [value.lower() if kind == "word" else value for kind, value in tokens]
    if first == "reset":
        return _read_reset(words)
    if first == "discard":
        return _read_discard(words)
    return _read_set(tokens[1:], words[1:]) if first == "set" else None


def is_discard_all(text: bytes) -> bool:
    """Whether a whole text is that and nothing else."""
    return _DISCARD_ALL.fullmatch(text) is not None


def resets_role(text: bytes) -> bool:
    """Whether one statement takes the role back to what the session began with."""
    return _RESET_ROLE.match(text) is not None


def is_local(text: bytes) -> bool:
    """Whether one statement is a SET LOCAL of anything but an application's own setting."""
    lead = text[:4].lower()
    if not lead.startswith(b"set") or b"local" not in text[:64].lower():
        return False
    match = _LOCAL.match(text)
    return match is None or not NO_MATTER.match(match[1].decode("ascii").lower())


def read_deallocation(text: bytes) -> tuple[bytes, ...] | None:
    """The prepared statement that one DEALLOCATE is about, as () or a tuple of one; b"" = all of them. None
    where it is not plain. Any other statement: ()."""
    lead = text[:10].lower()
    if lead.startswith(b"discard"):
        return (b"",) if read_assignment(text) == Assignment(EVERYTHING, None) else ()
    if lead != b"deallocate":
        return ()
    match = _DEALLOCATION.fullmatch(text)
    if match is None:
        return None
    if match["all"]:
        return (b"",)
    if match["quoted"]:
        return (_clipped(match["quoted"].replace(b'""', b'"')),)
    return (_clipped(match["plain"].lower()),)


def _clipped(name: bytes) -> bytes:
    """An identifier as far as it counts: 63 bytes, and no part of a character (manual 4.1.1)."""
    end = 63
    while len(name) > 63 and end > 60 and name[end] & 0xC0 == 0x80:
        end -= 1
    return name[:end]


def _tokens(text: bytes) -> list[tuple[str, str]] | None:
    """(kind, text) per token; None when a byte is of no plain token."""
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        position = match.end()
        if match.lastgroup is not None:
            token = match.group()
            if not token.isascii():
                return None
            found.append((match.lastgroup, token.decode("ascii")))
    while found and found[-1][1] == ";":
        found.pop()
    return None if any(value == ";" for _, value in found) else found


def _read_reset(words: list[str]) -> Assignment | str | None:
    if words[1:] == ["all"]:
        return Assignment(ALL, None)
    if words[1:] == ["time", "zone"]:
        return Assignment("timezone", None)
    if words[1:2] == ["session"] or words[1:] in (["role"], ["session_authorization"]):
        return "role"
    return _assign("".join(words[1:]), None)


def _read_discard(words: list[str]) -> Assignment | str | None:
    return Assignment(EVERYTHING, None) if words[1:] == ["all"] else None


def _read_set(tokens: list[tuple[str, str]], words: list[str]) -> Assignment | str | None:
    if words[1:2] in (["."], ["="], ["to"]):
        return _read_named(tokens, words)  # whatever its name: local.x is a setting, LOCAL x is a clause
    match words[:2]:
        case ["local" | "transaction" | "constraints", *_]:
            return None
        case ["session", "authorization"] | ["role", *_]:
            return "role"
        case ["session", "characteristics"]:
            return "setting"
        case ["session", *_]:
            return _read_set(tokens[1:], words[1:])
        case ["seed", *_]:
            return "seed"
        case ["time", "zone"]:
            return (
                _value("timezone", tokens[2:]) if len(tokens) == 3 and tokens[2][0] == "string" else "setting"
            )
        case ["names", *_]:
            return (
                _value("client_encoding", tokens[1:])
                if len(tokens) == 2 and tokens[1][0] == "string"
                else "setting"
            )
    return _read_named(tokens, words)


def _read_named(tokens: list[tuple[str, str]], words: list[str]) -> Assignment | str | None:
    for index, word in enumerate(words):
        if word in ("to", "="):
            return _value("".join(words[:index]), tokens[index + 1 :])
    return "setting"


def _value(name: str, tokens: list[tuple[str, str]]) -> Assignment | str | None:
    """The assignment of a value that consists of constants and commas."""
    expected = True
    for kind, value in tokens:
        if expected == (value == ",") or (kind == "mark" and value != ","):
            return "setting"
        expected = not expected
    if expected:
        return "setting"
    if len(tokens) == 1 and tokens[0][1].lower() == "default":
        return _assign(name, None)
    if len(tokens) > 1 and any(value.lower() == "default" for kind, value in tokens if kind == "word"):
        return "setting"
    return _assign(name, "".join(", " if value == "," else value for _, value in tokens))


def _assign(name: str, fragment: str | None) -> Assignment | str | None:
    name = name.replace('"', "").lower()
    if not all(part.isidentifier() for part in name.split(".")):
        return "setting"
    if name in _TRANSACTION:
        return None
    return _NOT_PLAIN.get(name) or Assignment(name, fragment)
