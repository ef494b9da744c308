"""Files of rules as PostgreSQL writes them: lines, fields, quotes, lists, and files within files (manual
20.1).

What pg_hba.conf and pg_ident.conf have in common. No I/O, no settings: whoever has the files reads them. Must
not know what a line says.
"""

from __future__ import annotations

import errno
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeVar

from poolproxy.errors import shown

T = TypeVar("T")

_INCLUDES: Final = frozenset({"include", "include_if_exists", "include_dir"})
#: Files within files, as deep as PostgreSQL goes (hba.c: CONF_FILE_MAX_DEPTH).
_DEEPEST: Final = 10

_BLANKS: Final = " \t\r"
#: Classes, collating elements and equivalents in brackets, which are brackets in brackets to Python.
_CLASSES: Final = re.compile(r"\[[^\]]*\[[:.=]")
#: Where a dollar of a regular expression may be no end: escaped, in brackets, in a comment. Or one that is.
_DOLLARS: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?#[^)]*\)|\$", re.DOTALL)

#: Reads a file that another one names: (the name as it stands there, the file it stands in) -> (what to call
#: it, its text). Raises OSError, or ValueError that says what is wrong with it.
Read = Callable[[str, str], tuple[str, str]]
#: Lists a directory that a file names, likewise: its files that count, in their order, as `Read` takes them.
Listing = Callable[[str, str], list[str]]


class InvalidRules(ValueError):
    """What is wrong, one line for a person each: `FILE line N: ...`."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Problem(Exception):
    """Of one line."""


class Token(NamedTuple):
    text: str
    quoted: bool  #: keywords in quotes are names

    def means(self, keyword: str) -> bool:
        return self.text == keyword and not self.quoted


#: A line that says something: (where it stands, its fields). Raises Problem.
Take = Callable[[str, list[list[Token]]], None]


def no_directories(name: str, beside: str) -> list[str]:
    """A `Listing` where there are none."""
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


class Reader:
    """Reads a file and those that it includes, and gives each line to `take`."""

    def __init__(self, read: Read, take: Take, listing: Listing) -> None:
        self.problems: list[str] = []
        self._read = read
        self._take = take
        self._listing = listing

    def take_file(self, file: str, text: str, depth: int) -> None:
        for number, line in _lines(text):
            where = f"{shown(file, 4096)} line {number}"
            try:
                fields = [self._expanded(field, file, depth) for field in _fields(line)]
                if fields and fields[0][0].text in _INCLUDES and not fields[0][0].quoted:
                    self._include(fields, file, depth)
                elif fields:
                    self._take(where, fields)
            except Problem as problem:
                self.problems.append(f"{where}: {problem}")

    def _expanded(self, field: list[Token], file: str, depth: int) -> list[Token]:
        """With the names of the files that it names by `@`."""
        tokens: list[Token] = []
        for token in field:
            if token.quoted or len(token.text) < 2 or token.text[0] != "@":
                tokens.append(token)
                continue
            name, text = self._text_of(token.text[1:], file, depth)
            for _, line in _lines(text):
                for inner in _fields(line):
                    tokens += self._expanded(inner, name, depth + 1)
        return tokens

    def _include(self, fields: list[list[Token]], file: str, depth: int) -> None:
        keyword = fields[0][0].text
        if len(fields) != 2 or len(fields[1]) != 1 or not fields[1][0].text.strip():
            raise Problem(f"{keyword} takes one {'directory' if keyword == 'include_dir' else 'file'}")
        if keyword == "include_dir":
            self._include_dir(fields[1][0].text, file, depth)
            return
        try:
            name, text = self._text_of(fields[1][0].text, file, depth)
        except Problem as problem:
            if keyword == "include_if_exists" and isinstance(problem.__cause__, FileNotFoundError):
                return
            raise
        self.take_file(name, text, depth + 1)

    def _include_dir(self, directory: str, file: str, depth: int) -> None:
        for each in _asked(self._listing, directory, file):
            name, text = self._text_of(each, file, depth)
            self.take_file(name, text, depth + 1)

    def _text_of(self, name: str, file: str, depth: int) -> tuple[str, str]:
        if depth >= _DEEPEST:
            raise Problem(f"files within files, deeper than {_DEEPEST}")
        return _asked(self._read, name, file)


def _asked(ask: Callable[[str, str], T], name: str, file: str) -> T:
    """What `Read` or `Listing` has of a name in this file. Raises Problem."""
    try:
        return ask(name, file)
    except OSError as error:
        raise Problem(f"cannot read {shown(name)}: {error.strerror}") from error
    except ValueError as error:
        raise Problem(f"cannot read {shown(name)}: {error}") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """With their numbers; a backslash at its end joins a line to the next."""
    whole, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first or number
        line = line.removesuffix("\r")
        if line.endswith("\\"):
            whole += line[:-1]
            continue
        yield first, whole + line
        whole, first = "", 0
    if whole:
        yield first, whole


def _fields(line: str) -> list[list[Token]]:
    """Fields between blanks, each a list between commas (hba.c: next_field_expand, next_token)."""
    fields: list[list[Token]] = []
    position, size = 0, len(line)
    joined = False
    while True:
        while position < size and line[position] in _BLANKS + ",":
            position += 1
        if position >= size or line[position] == "#":
            return fields
        text, quoted, inside, doubled, comma = "", line[position] == '"', False, False, False
        while position < size and (inside or line[position] not in _BLANKS):
            char = line[position]
            if not inside and char == "#":
                position = size
                break
            position += 1
            if not inside and char == ",":
                comma = True
                break
            if char != '"' or doubled:
                text += char
            doubled = inside and char == '"' and not doubled
            if char == '"':
                inside = not inside
        if inside:
            raise Problem("a quote is not closed")
        if joined:
            fields[-1].append(Token(text, quoted))
        else:
            fields.append([Token(text, quoted)])
        joined = comma


def one(fields: Iterator[list[Token]], what: str) -> Token:
    field = next(fields, None)
    if field is None:
        raise Problem(f"{what} is missing")
    if len(field) != 1:
        raise Problem(f"{what} is one word, not a list")
    return field[0]


def pattern_of(text: str) -> re.Pattern[str]:
    """As PostgreSQL has it, a newline is a letter like any other: a dot finds it, and a dollar is the end,
    not what is before the last of them. Unless `(?m)` says that they end lines. Letters and digits are
    ASCII's, as with its collation C."""
    if _CLASSES.search(text):
        raise Problem(f"{text!r}: classes such as [:alpha:] are not supported: write a-z and the like")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one day it may mean something else
            pattern = re.compile(text, re.ASCII)
            if pattern.flags & re.MULTILINE:
                return pattern
            text = _DOLLARS.sub(lambda found: r"\Z" if found[0] == "$" else found[0], text)
            return re.compile(text, re.ASCII | re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise Problem(f"{text!r} is no regular expression: {error}") from None
