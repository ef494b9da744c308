"""From a startup message to the parameters that a client wants, by PostgreSQL's own reading of it.

Sources: manual 54.2 (StartupMessage) and process_startup_packet: database and user aside, every name is a
setting. What only a starting session takes is told apart: its client needs a server that has started with it
(sessions.md, rule 18).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from poolproxy.errors import (
    InvalidParameterName,
    ReplicationRefused,
    UnknownParameter,
)
from poolproxy.session.parameters import EMPTY, ParameterSet, fragment_of, parameter_set
from poolproxy.session.startup_options import merged_date_style, read_options

#: Startup messages, without their names, that are remembered: at most 2.5 MB of a stranger's choice.
MAX_REMEMBERED: Final = 128

#: Not settings at all (manual 54.7).
_ADDRESS: Final = frozenset({"user", "database", "options", "replication"})

#: Settings that only a starting session takes (guc_tables.c: PGC_BACKEND, PGC_SU_BACKEND).
_AT_START: Final = frozenset(
    {"ignore_system_indexes", "jit_debugging_support", "jit_profiling_support", "log_connections",
     "log_disconnections", "post_auth_delay", "local_preload_libraries", "session_preload_libraries"}
)  # fmt: skip

#: Pairs of such a setting, in lower case, and its value, sorted.
AtStart: TypeAlias = tuple[tuple[str, str], ...]

#: Booleans of the replication parameter that ask for an ordinary connection.
_OFF: Final = frozenset({"false", "off", "no", "0", "f", "n", "of"})


class Wanted:
    """What a startup message asks for."""

    __slots__ = ("at_start", "parameters")

    def __init__(self, parameters: ParameterSet, at_start: AtStart) -> None:
        self.parameters = parameters  #: what can be set at any time
        self.at_start = at_start  #: what only a starting session takes

    def __repr__(self) -> str:
        return f"<Wanted {self.parameters} at start {self.at_start}>"


def wanted_parameters(startup: Mapping[str, str]) -> Wanted:
    """The parameters that a startup message's (name, value) pairs ask for.

    Raises ReplicationRefused, InvalidParameterName, UnknownParameter, and what `read_options` raises.
    """
    if len(startup) == 2 and "user" in startup and "database" in startup:
        return NOTHING_WANTED
    # Who asks is left out: clients of one driver ask for the same, and time is to tell no names.
    return _wanted(tuple([pair for pair in startup.items() if pair[0] != "user" and pair[0] != "database"]))


@lru_cache(maxsize=MAX_REMEMBERED)
def _wanted(pairs: tuple[tuple[str, str], ...]) -> Wanted:
    """Remembered: 5 us of every login otherwise. An error is worked out anew each time."""
    startup = dict(pairs)
    replication = startup.get("replication", "").lower()
    if replication and replication not in _OFF:
        raise ReplicationRefused
    values: dict[str, str] = {}
    at_start: dict[str, str] = {}
    for name, value in (*read_options(startup.get("options", "")), *startup.items()):
        key = name.lower()
        if key in _ADDRESS or key.startswith("_pq_."):
            continue
        if key in _AT_START:
            at_start[key] = value
            continue
        if not all(part.isidentifier() for part in key.split(".")):
            raise InvalidParameterName(name=name) if "." in key else UnknownParameter(name=name)
        if key == "application_name":
            value = application_name(value)
        elif key == "datestyle" and key in values:
            value = merged_date_style(values[key], value)
        values[key] = value
    parameters = parameter_set({name: fragment_of(name, value) for name, value in values.items()})
    return Wanted(parameters, tuple(sorted(at_start.items())))


def application_name(value: str) -> str:
    """As PostgreSQL keeps it: printable ASCII, the rest as \\xNN, at most 63 bytes (pg_clean_ascii)."""
    if value.isascii() and value.isprintable():
        return value[:63]
    raw = value.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in raw)[:63]


NOTHING_WANTED: Final = Wanted(EMPTY, ())
