"""Does what the settings allow fit into the open files of a process? Pure: the caller asks the kernel."""

from __future__ import annotations

from typing import Final

from poolproxy.settings.model import InvalidSettings

#: Besides clients and servers: LOGIN_ROOM, HTTP (32 and its backlog), cancels (32), and standard streams,
#: pollers, listeners, DNS and control.
RESERVED_DESCRIPTORS: Final = 128

#: Connections accepted beyond max_client_connections: those that are told 53300, cancel requests, and those
#: that are reading their last error. More wait in the kernel, so that they cannot use up what servers need.
LOGIN_ROOM: Final = 24


def descriptors_needed(max_clients: int, max_servers: int) -> int:
    """How many file descriptors so many clients and servers need, our own included."""
    return max_clients + max_servers + RESERVED_DESCRIPTORS


def check_descriptors(max_clients: int, max_servers: int, hard_limit: int) -> None:
    """Raise InvalidSettings, naming both numbers, if the hard limit (RLIMIT_NOFILE) is too small."""
    needed = descriptors_needed(max_clients, max_servers)
    if needed > hard_limit:
        fitting = max(0, hard_limit - max_servers - RESERVED_DESCRIPTORS)
        raise InvalidSettings(
            f"max_client_connections: {max_clients} clients and up to {max_servers} servers need {needed} "
            f"open files, but this process may open {hard_limit} at most (ulimit -Hn): raise that limit, "
            f"or set max_client_connections to {fitting} or less"
        )
