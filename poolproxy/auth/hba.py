"""Who may log in from where, and how: rules in the syntax of pg_hba.conf (manual 20.1). No I/O, no settings.

`parse` takes the text of a file and a way to read those that it includes; the first rule that matches a
connection decides. What would need PostgreSQL's own catalogue, its host's network or a method that is not
here is an error with its line, never a rule that quietly matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal, NamedTuple

from poolproxy.auth.ident import NO_MAPS, Maps
from poolproxy.auth.rule_files import (
    InvalidRules,
    Listing,
    Problem,
    Read,
    Reader,
    Token,
    no_directories,
    one,
    pattern_of,
)
from poolproxy.errors import shown

Method = Literal["scram-sha-256", "md5", "password", "iam", "cert", "peer", "trust", "reject"]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METHODS: Final[tuple[Method, ...]] = (
    "scram-sha-256",
    "md5",
    "password",
    "iam",
    "cert",
    "peer",
    "trust",
    "reject",
)

#: What PostgreSQL has besides.
_OTHER_METHODS: Final = frozenset({"gss", "sspi", "ident", "ldap", "radius", "pam", "bsd", "oauth"})
#: Kinds of connections -> whether they are local (None: none here is one), and encrypted (None: or not).
_KINDS: Final[dict[str, tuple[bool | None, bool | None]]] = {
    "local": (True, None),
    "host": (False, None),
    "hostssl": (False, True),
    "hostnossl": (False, False),
    "hostgssenc": (None, None),
    "hostnogssenc": (False, None),
}


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
    clientcert: Literal["", "verify-ca", "verify-full"] = ""  #: what certificate is demanded besides
    clientname: Literal["CN", "DN"] = "CN"  #: which name of a certificate is the user's
    map: str = ""  #: how that name, or a peer's, becomes the user's (auth/ident.py); empty: it is

    def matches(self, origin: Origin, database: str, user: str) -> bool:
        return (
            self.local is (origin.address is None)
            and self.encrypted in (None, origin.encrypted)
            and (self.networks is None or origin.within(self.networks))
            and self.databases.match(database, user)
            and self.users.match(user, "")
        )


class Rules:
    """All of them, in their order, and the maps of names that they mean."""

    __slots__ = ("_rules", "maps")

    def __init__(self, rules: Sequence[Rule], maps: Maps = NO_MAPS) -> None:
        self._rules = tuple(rules)
        self.maps = maps

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def __repr__(self) -> str:
        return f"<Rules {len(self)}>"

    def find(self, origin: Origin, database: str, user: str) -> Rule | None:
        """The first one that matches; None: nobody said that it may come in."""
        return next((rule for rule in self._rules if rule.matches(origin, database, user)), None)


def parse(file: str, text: str, read: Read, maps: Maps = NO_MAPS, listing: Listing = no_directories) -> Rules:
    """The rules of a file. Raises InvalidRules with all that is wrong in it, a map that is not there
    included."""
    rules: list[Rule] = []
    reader = Reader(read, lambda where, fields: rules.append(_rule(where, fields)), listing)
    reader.take_file(file, text, 0)
    if reader.problems:
        raise InvalidRules(*reader.problems)
    lost = [
        f"{rule.where}: there is no map {rule.map!r}" for rule in rules if rule.map and rule.map not in maps
    ]
    if lost:
        raise InvalidRules(*lost)
    return Rules(rules, maps)


def _rule(where: str, fields: list[list[Token]]) -> Rule:
    rest = iter(fields)
    kind = one(rest, "the kind of connection").text
    if kind not in _KINDS:
        raise Problem(f"{kind!r} is no kind of connection: {', '.join(_KINDS)}")
    local, encrypted = _KINDS[kind]
    databases = _names(next(rest, None), "databases")
    users = _names(next(rest, None), "users")
    networks = None if local else _networks(rest)
    method = one(rest, "the method").text
    if method in _OTHER_METHODS:
        raise Problem(f"method {method} is not supported: {', '.join(METHODS)} are")
    if method not in METHODS:
        raise Problem(f"{method!r} is no method: {', '.join(METHODS)}")
    options = _options(rest, method, kind)
    return Rule(where, local, encrypted, databases, users, networks, method, **options)


#: Options of rules, with the values that they may have (None: any).
_OPTIONS: Final[dict[str, tuple[str, ...] | None]] = {
    "clientcert": ("verify-ca", "verify-full"),
    "clientname": ("CN", "DN"),
    "map": None,
}


def _options(fields: Iterator[list[Token]], method: str, kind: str) -> dict[str, Any]:
    """What stands behind the method: name=value."""
    options: dict[str, Any] = {}
    for field in fields:
        name, equals, value = ",".join(token.text for token in field).partition("=")
        if name not in _OPTIONS or not equals or not value:
            raise Problem(f"{name!r} is no option: {', '.join(_OPTIONS)} are, with = and a value")
        values = _OPTIONS[name]
        if values is not None and value not in values:
            raise Problem(f"{name} is {' or '.join(values)}, not {value!r}")
        options[name] = value
    _check_options(options, method, kind)
    return options


def _check_options(options: dict[str, Any], method: str, kind: str) -> None:
    """Raises where they do not go with the method, or it not with the kind of connection."""
    if method == "peer" and kind != "local":
        raise Problem("method peer is for local alone")
    of_certificates = ["method cert"] if method == "cert" else list(options)
    if method == "peer" and "map" in options:
        of_certificates.remove("map")
    if of_certificates and kind != "hostssl":
        raise Problem(f"{of_certificates[0]} is for hostssl alone")
    named = method in ("cert", "peer") or options.get("clientcert") == "verify-full"
    if "map" in options and not named:
        raise Problem(
            f"method {method} compares no names: no map without cert, peer, or clientcert=verify-full"
        )
    if method == "cert" and options.get("clientcert") == "verify-ca":
        raise Problem("method cert compares names: it has clientcert=verify-full, not verify-ca")


def _names(tokens: list[Token] | None, what: str) -> Names:
    if not tokens:
        raise Problem(f"the {what} are missing")
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
            raise Problem(
                f"{shown(token.text)} is not supported: who is a member of a role only PostgreSQL knows"
            )
        elif token.text.startswith("/"):
            patterns.append(pattern_of(token.text[1:]))
        else:
            names.add(token.text)
    return Names(everything, same, frozenset(names), tuple(patterns))


def _asks_for_membership(text: str, what: str) -> bool:
    return text in ("samerole", "samegroup") if what == "databases" else text.startswith("+")


def _networks(fields: Iterator[list[Token]]) -> tuple[Network, ...] | None:
    address = one(fields, "the address")
    if address.means("all"):
        return None
    if address.means("samehost") or address.means("samenet"):
        raise Problem(f"{address.text} is not supported: write the network")
    text = address.text
    host, slash, bits = text.partition("/")
    try:
        ip_address(host)
        mask = bits if slash else one(fields, "the mask behind an address").text
        return (network_of(host, mask),)
    except ValueError:
        raise Problem(f"{text!r} is no address with a mask; host names are not looked up") from None


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
