"""Who may log in from where, and how: rules in the syntax of pg_hba.conf (manual 20.1). No I/O, no settings.

`parse` takes the text of a file and a way to read those that it includes; the first rule that matches a
connection decides. What would need PostgreSQL's own catalogue, its host's network or a method that is not
here is an error with its line, never a rule that quietly matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal, NamedTuple

Method = Literal["scram-sha-256", "md5", "trust", "reject"]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METHODS: Final[tuple[Method, ...]] = ("scram-sha-256", "md5", "trust", "reject")

#: What PostgreSQL has besides.
_OTHER_METHODS: Final = frozenset(
    {"password", "cert", "gss", "sspi", "ident", "peer", "ldap", "radius", "pam", "bsd", "oauth"}
)
#: Kinds of connections -> whether they are local (None: none here is one), and encrypted (None: or not).
_KINDS: Final[dict[str, tuple[bool | None, bool | None]]] = {
    "local": (True, None),
    "host": (False, None),
    "hostssl": (False, True),
    "hostnossl": (False, False),
    "hostgssenc": (None, None),
    "hostnogssenc": (False, None),
}
_INCLUDES: Final = frozenset({"include", "include_if_exists", "include_dir"})
#: Files within files, as deep as PostgreSQL goes (hba.c: CONF_FILE_MAX_DEPTH).
_DEEPEST: Final = 10

_BLANKS: Final = " \t\r"

#: Reads a file that another one names: (the name as it stands there, the file it stands in) -> (what to call
#: it, its text). Raises OSError, or ValueError that says what is wrong with it.
Read = Callable[[str, str], tuple[str, str]]


class InvalidRules(ValueError):
    """What is wrong, one line for a person each: `FILE line N: ...`."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Origin(NamedTuple):
    """Where a connection comes from. `address`: None for a Unix socket."""

    address: Address | None
    encrypted: bool

    @classmethod
    def of(cls, peer: str, encrypted: bool) -> Origin:
        """`peer`: `host:port`, `[host]:port` or `unix`, as the listener names it."""
        if peer == "unix":
            return cls(None, encrypted)
        address = ip_address(peer.rpartition(":")[0].strip("[]"))
        return cls(getattr(address, "ipv4_mapped", None) or address, encrypted)

    def within(self, networks: Iterable[Network]) -> bool:
        """Whether it comes from one of these."""
        return self.address is not None and any(self.address in network for network in networks)

    def __str__(self) -> str:
        """As PostgreSQL's own errors have it."""
        return "[local]" if self.address is None else str(self.address)


class _Token(NamedTuple):
    text: str
    quoted: bool  #: keywords in quotes are names

    def means(self, keyword: str) -> bool:
        return self.text == keyword and not self.quoted


@dataclass(frozen=True, slots=True)
class Names:
    """A list of databases or users in a rule."""

    all: bool
    same: bool  #: sameuser: the database that is called as its user is
    names: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]

    def match(self, name: str, user: str) -> bool:
        """`user`: for `sameuser`."""
        return (
            self.all
            or name in self.names
            or (self.same and name == user)
            or any(pattern.search(name) for pattern in self.patterns)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One line. `where`: file and line."""

    where: str
    local: bool | None
    encrypted: bool | None
    databases: Names
    users: Names
    networks: tuple[Network, ...] | None  #: None: from everywhere
    method: Method

    def matches(self, origin: Origin, database: str, user: str) -> bool:
        return (
            self.local is (origin.address is None)
            and self.encrypted in (None, origin.encrypted)
            and (self.networks is None or origin.within(self.networks))
            and self.databases.match(database, user)
            and self.users.match(user, "")
        )


class Rules:
    """All of them, in their order."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def __repr__(self) -> str:
        return f"<Rules {len(self)}>"

    def find(self, origin: Origin, database: str, user: str) -> Rule | None:
        """The first one that matches; None: nobody said that it may come in."""
        return next((rule for rule in self._rules if rule.matches(origin, database, user)), None)


def parse(file: str, text: str, read: Read) -> Rules:
    """The rules of a file. Raises InvalidRules with all that is wrong in it."""
    reader = _Reader(read)
    reader.take_file(file, text, 0)
    if reader.problems:
        raise InvalidRules(*reader.problems)
    return Rules(reader.rules)


class _Problem(Exception):
    """Of one line."""


class _Reader:
    def __init__(self, read: Read) -> None:
        self.rules: list[Rule] = []
        self.problems: list[str] = []
        self._read = read

    def take_file(self, file: str, text: str, depth: int) -> None:
        for number, line in _lines(text):
            where = f"{file} line {number}"
            try:
                fields = [self._expanded(field, file, depth) for field in _fields(line)]
                if fields and fields[0][0].text in _INCLUDES and not fields[0][0].quoted:
                    self._include(fields, file, depth)
                elif fields:
                    self.rules.append(_rule(where, fields))
            except _Problem as problem:
                self.problems.append(f"{where}: {problem}")

    def _expanded(self, field: list[_Token], file: str, depth: int) -> list[_Token]:
        """With the names of the files that it names by `@`."""
        tokens: list[_Token] = []
        for token in field:
            if token.quoted or len(token.text) < 2 or token.text[0] != "@":
                tokens.append(token)
                continue
            name, text = self._text_of(token.text[1:], file, depth)
            for _, line in _lines(text):
                for inner in _fields(line):
                    tokens += self._expanded(inner, name, depth + 1)
        return tokens

    def _include(self, fields: list[list[_Token]], file: str, depth: int) -> None:
        keyword = fields[0][0].text
        if keyword == "include_dir":
            raise _Problem("include_dir is not supported: include each file")
        if len(fields) != 2 or len(fields[1]) != 1:
            raise _Problem(f"{keyword} takes one file")
        try:
            name, text = self._text_of(fields[1][0].text, file, depth)
        except _Problem as problem:
            if keyword == "include_if_exists" and isinstance(problem.__cause__, FileNotFoundError):
                return
            raise
        self.take_file(name, text, depth + 1)

    def _text_of(self, name: str, file: str, depth: int) -> tuple[str, str]:
        if depth >= _DEEPEST:
            raise _Problem(f"files within files, deeper than {_DEEPEST}")
        try:
            return self._read(name, file)
        except OSError as error:
            raise _Problem(f"cannot read {name}: {error.strerror}") from error
        except ValueError as error:
            raise _Problem(f"cannot read {name}: {error}") from error


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


def _fields(line: str) -> list[list[_Token]]:
    """Fields between blanks, each a list between commas (hba.c: next_field_expand, next_token)."""
    fields: list[list[_Token]] = []
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
            raise _Problem("a quote is not closed")
        if joined:
            fields[-1].append(_Token(text, quoted))
        else:
            fields.append([_Token(text, quoted)])
        joined = comma


def _rule(where: str, fields: list[list[_Token]]) -> Rule:
    rest = iter(fields)
    kind = _one(rest, "the kind of connection").text
    if kind not in _KINDS:
        raise _Problem(f"{kind!r} is no kind of connection: {', '.join(_KINDS)}")
    local, encrypted = _KINDS[kind]
    databases = _names(next(rest, None), "databases")
    users = _names(next(rest, None), "users")
    networks = None if local else _networks(rest)
    method = _one(rest, "the method").text
    if method in _OTHER_METHODS:
        raise _Problem(f"method {method} is not supported: {', '.join(METHODS)} are")
    if method not in METHODS:
        raise _Problem(f"{method!r} is no method: {', '.join(METHODS)}")
    for option in rest:
        raise _Problem(f"{option[0].text!r}: method {method} has no options")
    return Rule(where, local, encrypted, databases, users, networks, method)


def _one(fields: Iterator[list[_Token]], what: str) -> _Token:
    field = next(fields, None)
    if field is None:
        raise _Problem(f"{what} is missing")
    if len(field) != 1:
        raise _Problem(f"{what} is one word, not a list")
    return field[0]


def _names(tokens: list[_Token] | None, what: str) -> Names:
    if not tokens:
        raise _Problem(f"the {what} are missing")
    names, patterns = set(), []
    everything = same = False
    for token in tokens:
        if token.means("all"):
            everything = True
        elif token.means("sameuser") and what == "databases":
            same = True
        elif token.means("replication") and what == "databases":
            pass  # such connections are refused before any rule is asked
        elif not token.quoted and _asks_for_membership(token.text, what):
            raise _Problem(f"{token.text} is not supported: who is a member of a role only PostgreSQL knows")
        elif token.text.startswith("/"):
            patterns.append(_pattern(token.text[1:]))
        else:
            names.add(token.text)
    return Names(everything, same, frozenset(names), tuple(patterns))


def _asks_for_membership(text: str, what: str) -> bool:
    return text in ("samerole", "samegroup") if what == "databases" else text.startswith("+")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise _Problem(f"{text!r} is no regular expression: {error}") from None


def _networks(fields: Iterator[list[_Token]]) -> tuple[Network, ...] | None:
    address = _one(fields, "the address")
    if address.means("all"):
        return None
    if address.means("samehost") or address.means("samenet"):
        raise _Problem(f"{address.text} is not supported: write the network")
    text = address.text
    host, slash, bits = text.partition("/")
    try:
        ip_address(host)
        mask = bits if slash else _one(fields, "the mask behind an address").text
        return (network_of(host, mask),)
    except ValueError:
        raise _Problem(f"{text!r} is no address with a mask; host names are not looked up") from None


def network_of(address: str, mask: str) -> Network:
    """`mask`: the length of the prefix, or an address of ones and then zeros. ValueError for anything
    else."""
    bits = int(mask) if mask.isdecimal() else _prefix_of(mask, ip_address(address).version)
    network = ip_network(f"{address}/{bits}", strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return ip_network((mapped, network.prefixlen - 96), strict=False)
    return network


def _prefix_of(mask: str, version: int) -> int:
    address = ip_address(mask)
    if address.version != version:
        raise ValueError("a mask of the other family")
    bits = f"{int(address):0{address.max_prefixlen}b}"
    ones = bits.rstrip("0")
    if "0" in ones:
        raise ValueError("the bits of a mask stand in a row")
    return len(ones)
