"""Which pool serves a client: its user and database, looked up in the settings once, at login.

The hot part gets a `Route`, a frozen plain object, and no settings model. Must not know about connections.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from poolproxy.errors import UnknownDatabase
from poolproxy.protocol.auth_methods import required_methods
from poolproxy.route import PasswordProvider, Route, ServerTls, Target
from poolproxy.settings import ANY_DATABASE, DatabaseSettings, PasswordSource, Settings

#: Routes remembered per process. Behind a database "*" clients choose the names, so there must be an end.
MAX_CACHED_ROUTES: Final = 10_000

#: Gives the provider of a user's password at a server (host, port).
Provide = Callable[[PasswordSource, str, str, int], PasswordProvider]


class Router:
    """Turns (user, database) into a Route; equal questions get the same object while it is remembered.
    `provide` is asked where the settings say that a password comes from elsewhere, `passing` where nobody
    knows it but the user himself."""

    def __init__(
        self,
        settings: Settings,
        provide: Provide | None = None,
        passing: Callable[[str, str, int], PasswordProvider] | None = None,
    ) -> None:
        self._settings = settings
        self._provide = provide
        self._passing = passing
        self._remembered: Callable[[str, str], Route] = lru_cache(MAX_CACHED_ROUTES)(self._resolve)

    def route(self, user: str, database: str) -> Route:
        """The pool of a client that proved to be `user`; UnknownDatabase if none serves that user."""
        return self._remembered(user, database)

    def fixed_routes(self) -> tuple[Route, ...]:
        """The pools known before any client comes: of each named database whose url names its user."""
        return tuple(
            self.route(entry.location.user, name)
            for name, entry in self._settings.databases.items()
            if name != ANY_DATABASE and entry.location.user is not None
        )

    def lookup_route(self) -> Route | None:
        """Where auth_query is asked, and as whom; None where it is not."""
        name = self._settings.lookup_database
        if not self._settings.auth_query:
            return None
        user = self._settings.databases[name].location.user
        assert user is not None, "the settings have seen to that"
        return self.route(user, name)

    def _resolve(self, user: str, database: str) -> Route:
        databases = self._settings.databases
        entry = databases.get(database) or databases.get(ANY_DATABASE)
        if entry is None or not self._settings.may_use(user, entry):
            raise UnknownDatabase(database=database)
        own = self._settings.users.get(user)
        pool_size = own.pool_size if own is not None and own.pool_size is not None else entry.pool_size
        return Route(
            database=database,
            user=user,
            target=self._target(user, database, entry),
            pool_mode=own.pool_mode if own is not None and own.pool_mode is not None else entry.pool_mode,
            pool_size=pool_size,
            min_pool_size=min(entry.min_pool_size, pool_size),
            max_connections=entry.max_connections,
            max_connections_percent=entry.max_connections_percent,
            max_idle_connections_percent=entry.max_idle_connections_percent,
            max_parallel_connects=entry.max_parallel_connects,
            connection_borrow_timeout=entry.connection_borrow_timeout,
            idle_transaction_timeout=entry.idle_transaction_timeout,
            server_connect_timeout=entry.server_connect_timeout,
            server_lifetime=entry.server_lifetime,
            server_idle_timeout=entry.server_idle_timeout,
            server_rescue_timeout=entry.server_rescue_timeout,
            client_loss=entry.client_loss,
            max_prepared_statements=entry.max_prepared_statements,
            max_client_prepared_statements=entry.max_client_prepared_statements,
            handover_reset=entry.handover_reset,
            session_pinning_filters=frozenset(entry.session_pinning_filters),
            pin_on=entry.pin_on,
            catalogue_poll_interval=entry.catalogue_poll_interval,
            listener_loss=entry.listener_loss,
            init_query=entry.init_query,
        )

    def _target(self, user: str, database: str, entry: DatabaseSettings) -> Target:
        location = entry.location
        server_user = location.user if location.user is not None else user
        # The url of "*" may name a database for connections of our own; clients get the one they ask for.
        is_any = database not in self._settings.databases
        return Target(
            host=location.host,
            port=location.port,
            unix_path=location.unix_path,
            dbname=database if is_any or location.dbname is None else location.dbname,
            user=server_user,
            password=location.password
            if location.password is not None
            else self._known_password(server_user),
            methods=required_methods(entry.require_auth),
            tls=ServerTls(**entry.tls),
            provider=self._provider(server_user, entry),
        )

    def _provider(self, user: str, entry: DatabaseSettings) -> PasswordProvider | None:
        source = entry.password_source
        if source is None:
            # Nobody knows a password: what the client proves to us may be worth something to the server
            # as well.
            own = entry.location.user is None and self._known_password(user) is None
            if not own or self._passing is None:
                return None
            return self._passing(user, entry.location.host, entry.location.port)
        assert self._provide is not None, "a source of passwords, and nobody who knows it"
        return self._provide(source, user, entry.location.host, entry.location.port)

    def _known_password(self, user: str) -> str | None:
        known = self._settings.users.get(user)
        return known.plain_password if known is not None else None
