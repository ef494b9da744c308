"""Reads the rules and the certificates that settings name, and says what deserves a warning in them.

Between the settings, which read no rules, and auth, which reads no files. Must not know connections.
"""

from __future__ import annotations

from pathlib import Path

from poolproxy.auth.hba import InvalidRules, Rule, Rules, parse
from poolproxy.settings import InvalidSettings, Settings
from poolproxy.settings.load import MAX_FILE_BYTES
from poolproxy.tls import BrokenTls, ClientTls, TlsFiles


def read_rules(settings: Settings) -> Rules | None:
    """The rules, or None where there is no file of them. Raises InvalidSettings, with a line per problem."""
    if not settings.auth_hba_file:
        return None
    try:
        name, text = _read(settings.auth_hba_file, "")
        rules = parse(name, text, _read)
    except OSError as error:
        raise InvalidSettings(
            f"auth_hba_file: {settings.auth_hba_file} cannot be read ({error.strerror})"
        ) from None
    except InvalidRules as error:
        raise InvalidSettings(*(f"auth_hba_file: {problem}" for problem in error.problems)) from None
    except ValueError as error:
        raise InvalidSettings(f"auth_hba_file: {settings.auth_hba_file}: {error}") from None
    if not len(rules):
        raise InvalidSettings(f"auth_hba_file: {name} has no rule: nobody could log in")
    return rules


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
