"""Does what the settings allow fit into the open files of a process? Pure: the caller asks the kernel."""

from __future__ import annotations

from typing import Final

from poolproxy.settings.model import ANY_DATABASE, InvalidSettings, Settings

#: Besides clients and servers: LOGIN_ROOM, HTTP (32 and its backlog), cancels (32), and standard streams,
#: pollers, listeners, DNS and control.
RESERVED_DESCRIPTORS: Final = 128

#: Connections accepted beyond max_client_connections: those that are told 53300, cancel requests, and those
#: that are reading their last error. More wait in the kernel, so that they cannot use up what servers need.
LOGIN_ROOM: Final = 24


def descriptors_needed(max_clients: int, max_servers: int) -> int:
    """How many file descriptors so many clients and servers need, our own included."""
    return max_clients + max_servers + RESERVED_DESCRIPTORS


def fit_descriptors(settings: Settings, hard_limit: int) -> tuple[int, tuple[str, ...]]:
    """The open files to ask the kernel for, and a line of advice where these may not be enough.

    InvalidSettings if the hard limit (RLIMIT_NOFILE) is too small for the clients and for the servers of the
    users and databases that the settings name. Those whom only the clients name (`*`, trust) may never come,
    so a limit that is too small for max_pools of them is no reason to refuse.
    """
    clients = settings.max_client_connections
    check_descriptors(clients, known_servers(settings), hard_limit)
    most = most_servers(settings)
    needed = descriptors_needed(clients, most)
    if needed <= hard_limit:
        return needed, ()
    advice = (
        f"max_pools: {settings.max_pools} pools may open {most} servers and then, with {clients} clients, "
        f"need {needed} open files, but this process may open {hard_limit} at most (ulimit -Hn)"
    )
    return hard_limit, (advice,)


def check_descriptors(max_clients: int, max_servers: int, hard_limit: int) -> None:
    """Raise InvalidSettings, naming both numbers, if the hard limit (RLIMIT_NOFILE) is too small."""
    needed = descriptors_needed(max_clients, max_servers)
    if needed > hard_limit:
        fitting = hard_limit - max_servers - RESERVED_DESCRIPTORS
        cure = (
            f"set max_client_connections to {fitting} or less"
            if fitting > 0
            else "lower pool_size, max_connections or max_pools"
        )
        raise InvalidSettings(
            f"max_client_connections: {max_clients} clients and up to {max_servers} servers need {needed} "
            f"open files, but this process may open {hard_limit} at most (ulimit -Hn): raise that limit, "
            f"or {cure}"
        )


def known_servers(settings: Settings) -> int:
    """The most servers of the users and databases that the settings name, within max_pools; `*` counts as
    one database."""
    every: list[int] = []
    on_databases: dict[object, int] = {}
    for name, database in settings.databases.items():
        sizes = _pool_sizes(settings, name)
        every += sizes
        place = name if name == ANY_DATABASE else settings.server_database(name)
        on_databases[place] = on_databases.get(place, 0) + sum(sizes)
        if database.max_connections:
            on_databases[place] = min(on_databases[place], database.max_connections)
    within_pools = sum(sorted(every, reverse=True)[: settings.max_pools])
    return min(within_pools, sum(on_databases.values()))


def most_servers(settings: Settings) -> int:
    """The same, with all that clients may name: max_pools bounds them, and absolute limits of databases."""
    if not settings.may_trust and ANY_DATABASE not in settings.databases:
        return known_servers(settings)
    total = 0
    for name, database in settings.databases.items():
        sizes = _pool_sizes(settings, name)
        if name == ANY_DATABASE:
            largest = min(max(sizes), database.max_connections or max(sizes))
            total += settings.max_pools * largest
        elif settings.may_trust:
            total += database.max_connections or settings.max_pools * max(sizes)
        else:
            total += sum(sizes)
    largest = max(max(_pool_sizes(settings, name)) for name in settings.databases)
    return min(total, settings.max_pools * largest)


def _pool_sizes(settings: Settings, name: str) -> list[int]:
    """Of the pools that the users we know may have on a database; of one pool where we know nobody."""
    database = settings.databases[name]
    sizes = []
    for user in settings.user_passwords():
        if settings.may_use(user, database):
            own = settings.users[user].pool_size if user in settings.users else None
            sizes.append(own if own is not None else database.pool_size)
    return sizes or [database.pool_size]
