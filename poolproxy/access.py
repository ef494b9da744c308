"""Reads the rules and the certificates that settings name, and says what deserves a warning in them.

Between the settings, which read no rules, and auth, which reads no files. Must not know connections.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from poolproxy.auth import hba, ident
from poolproxy.auth.hba import Rule, Rules
from poolproxy.auth.ident import NO_MAPS
from poolproxy.auth.rule_files import InvalidRules, Read
from poolproxy.settings import InvalidSettings, Settings
from poolproxy.settings.load import MAX_FILE_BYTES
from poolproxy.tls import BrokenTls, ClientTls, TlsFiles

T = TypeVar("T")


def read_rules(settings: Settings) -> Rules | None:
    """The rules, or None where there is no file of them. Raises InvalidSettings, with a line per problem."""
    if not settings.auth_hba_file:
        return None
    parse_maps = partial(ident.parse, listing=_list)
    maps = _read_file("auth_ident_file", settings.auth_ident_file, parse_maps) or NO_MAPS
    parse_rules = partial(hba.parse, maps=maps, listing=_list)
    rules = _read_file("auth_hba_file", settings.auth_hba_file, parse_rules)
    if not rules:
        raise InvalidSettings(f"auth_hba_file: {settings.auth_hba_file} has no rule: nobody could log in")
    certified = [rule.where for rule in rules if rule.method == "cert" or rule.clientcert]
    if certified and not (settings.takes_tls and settings.tls_ca_file):
        raise InvalidSettings(f"auth_hba_file: {certified[0]}: certificates of clients need tls_ca_file")
    return rules


def _read_file(setting: str, path: str, parse: Callable[[str, str, Read], T]) -> T | None:
    """What a file says; None where the setting is empty."""
    if not path:
        return None
    try:
        name, text = _read(path, "")
        return parse(name, text, _read)
    except OSError as error:
        raise InvalidSettings(f"{setting}: {path} cannot be read ({error.strerror})") from None
    except InvalidRules as error:
        raise InvalidSettings(*(f"{setting}: {problem}" for problem in error.problems)) from None
    except ValueError as error:
        raise InvalidSettings(f"{setting}: {path}: {error}") from None


def read_tls(settings: Settings) -> ClientTls | None:
    """TLS towards clients, or None where there is none. Raises InvalidSettings."""
    if not settings.takes_tls:
        return None
    files = TlsFiles(
        settings.tls_cert_file,
        settings.tls_key_file,
        settings.tls_ca_file,
        settings.tls_crl_file,
        settings.tls_min_version,
    )
    try:
        return ClientTls(files)
    except BrokenTls as error:
        raise InvalidSettings(f"TLS towards clients: {error}") from None


def advice(rules: Rules | None) -> tuple[str, ...]:
    """What works but deserves a warning at the start, one line each."""
    return tuple(
        f"{rule.where}: all who reach the port from there get in without a password"
        for rule in rules or ()
        if rule.method == "trust" and not _from_here_only(rule)
    )


def _from_here_only(rule: Rule) -> bool:
    return rule.local is True or (
        rule.networks is not None and all(network.is_loopback for network in rule.networks)
    )


def _read(name: str, beside: str) -> tuple[str, str]:
    """A file that stands in another one's folder, unless its path says more."""
    path = Path(beside).parent / name
    with path.open("rb") as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    try:
        return str(path), data.decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None


def _list(name: str, beside: str) -> list[str]:
    """The files of a directory beside another file that are read of it, in the order of their bytes: those
    that PostgreSQL reads (conffiles.c: GetConfFilesInDir)."""
    found = [
        path.name
        for path in (Path(beside).parent / name).iterdir()
        if path.name.endswith(".conf") and not path.name.startswith(".") and not path.is_dir()
    ]
    return [str(Path(name, each)) for each in sorted(found, key=os.fsencode)]
