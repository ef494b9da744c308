"""The `options` of a startup message as PostgreSQL reads them (postgres.c: process_postgres_switches).

Its switches are those of the server's own command line. Each stands for a setting, or for nothing; that some
settings cannot be given by a client is for PostgreSQL to say. Must not know what becomes of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from poolproxy.errors import InvalidStartupOptions, StartupOptionWithoutValue

#: Switches with a value, and those without, that stand for one setting.
_VALUED: Final = {
    "B": "shared_buffers",
    "h": "listen_addresses",
    "k": "unix_socket_directories",
    "N": "max_connections",
    "p": "port",
    "S": "work_mem",
    "W": "post_auth_delay",
}
_PLAIN: Final = {
    "e": ("datestyle", "euro"),
    "F": ("fsync", "false"),
    "i": ("listen_addresses", "*"),
    "l": ("ssl", "true"),
    "O": ("allow_system_table_mods", "true"),
    "P": ("ignore_system_indexes", "true"),
    "s": ("log_statement_stats", "true"),
}

#: Those that a client may give in vain: for a server that is started by hand.
_IGNORED_VALUED: Final = "CDrv"
_IGNORED: Final = "bEjnT"

#: -f and -t: by the beginning of their values.
_PLANS: Final = {
    "s": "enable_seqscan",
    "i": "enable_indexscan",
    "o": "enable_indexonlyscan",
    "b": "enable_bitmapscan",
    "t": "enable_tidscan",
    "n": "enable_nestloop",
    "m": "enable_mergejoin",
    "h": "enable_hashjoin",
}
_STATISTICS: Final = {"pa": "log_parser_stats", "pl": "log_planner_stats", "e": "log_executor_stats"}

#: ASCII digits only: int() refuses some of those that str.isdigit() lets pass.
_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]+)")

#: -d: from which level on.
_DEBUGGING: Final = (
    (2, "log_statement", "all"),
    (3, "debug_print_parse", "true"),
    (4, "debug_print_plan", "true"),
    (5, "debug_print_rewritten", "true"),
)


def read_options(text: str) -> list[tuple[str, str]]:
    """The settings, in order, as (name, value). Raises InvalidStartupOptions, StartupOptionWithoutValue."""
    found: list[tuple[str, str]] = []
    arguments = split_options(text)
    while arguments:
        argument = arguments.pop(0)
        if argument == "--":
            break
        if not argument.startswith("-") or argument == "-":
            raise InvalidStartupOptions(argument=argument)
        rest = argument[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            if letter in _PLAIN:
                found.append(_PLAIN[letter])
            elif letter in "-cdft" or letter in _VALUED or letter in _IGNORED_VALUED:
                if not rest and not arguments:
                    raise InvalidStartupOptions(argument=argument)
                value = rest or arguments.pop(0)
                found += _valued(letter, value, argument if rest else value)
                break
            elif letter not in _IGNORED:
                raise InvalidStartupOptions(argument=argument)
    if arguments:
        raise InvalidStartupOptions(argument=arguments[0])
    return found


def _valued(letter: str, value: str, spelled: str) -> Iterator[tuple[str, str]]:
    """What a switch with a value stands for; `spelled` is what is told where it means nothing."""
    if letter in "-c":
        name, equals, assigned = value.partition("=")
        if not equals:
            raise StartupOptionWithoutValue(option=f"--{value}" if letter == "-" else f"-c {value}")
        yield name.replace("-", "_"), assigned
    elif letter == "d":
        level = _number(value)
        yield "log_min_messages", f"debug{level}" if level > 0 else "notice"
        for least, name, assigned in _DEBUGGING:
            if level >= least:
                yield name, assigned
    elif letter == "f":
        if value[:1] not in _PLANS:
            raise InvalidStartupOptions(argument=spelled)
        yield _PLANS[value[:1]], "false"
    elif letter == "t":
        for beginning, name in _STATISTICS.items():
            if value.startswith(beginning):
                yield name, "true"
                return
        raise InvalidStartupOptions(argument=spelled)
    elif letter in _VALUED:
        yield _VALUED[letter], value


def _number(text: str) -> int:
    """As atoi reads it, up to the largest int."""
    match = _NUMBER.match(text)
    if match is None:
        return 0
    # Not by int() alone, which refuses thousands of digits.
    most = 2**31 - 1 if len(match[2]) > 10 else min(int(match[2]), 2**31 - 1)
    return -most if match[1] == "-" else most


def split_options(text: str) -> list[str]:
    """Words between white space; a backslash keeps the next character (postinit.c: pg_split_opts)."""
    words: list[str] = []
    current: str | None = None
    characters = iter(text)
    for character in characters:
        if character.isspace():
            if current is not None:
                words.append(current)
            current = None
        else:
            current = (current or "") + (next(characters, "") if character == "\\" else character)
    if current is not None:
        words.append(current)
    return words


_STYLES: Final = frozenset({"iso", "sql", "german"})
_ORDERS: Final = {
    "ymd": "YMD", "mdy": "MDY", "us": "MDY", "noneuro": "MDY", "noneuropean": "MDY", "dmy": "DMY",
    "euro": "DMY", "european": "DMY",
}  # fmt: skip


def merged_date_style(before: str, value: str) -> str:
    """A DateStyle given after another one says only what is to change (variable.c: check_datestyle)."""
    parts: dict[str, str] = {}
    for part in (*before.split(","), *value.split(",")):
        word = part.strip().lower()
        if word in _ORDERS:
            parts["order"] = _ORDERS[word]
        elif word in _STYLES or word.startswith("postgres"):
            parts["style"] = word
            if word == "german" and "order" not in parts:
                parts["order"] = "DMY"
        else:
            return value
    return ", ".join(parts[kind] for kind in ("style", "order") if kind in parts)
