"""Who provides which password: one provider for each source, shared by all targets that have it.

Must not know the settings of pools, nor connections.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from poolproxy.backend.aws import Aws, SecretSource, TokenSource, region_of_host, region_of_secret
from poolproxy.backend.passwords import Passwords, Source
from poolproxy.backend.plain import FileSource
from poolproxy.settings import PasswordSource, Settings

#: What a source has passwords of: nothing of a file, a user of a secret, a user at a server of IAM.
_Key = tuple[PasswordSource, str, str, int]


class Providers:
    """See the module. InvalidSettings where what the settings name cannot be used here."""

    def __init__(self, settings: Settings) -> None:
        # For as long as a route has it: who may log in as anybody would fill it.
        self._known: WeakValueDictionary[_Key, Passwords] = WeakValueDictionary()
        self._aws: Aws | None = None
        for database in settings.databases.values():
            source = database.password_source
            if source is not None:
                # All that costs time is done now, and what is missing is told: no client waits for an import.
                self._source(source, "", database.location.host, database.location.port)

    def provider(self, source: PasswordSource, user: str, host: str, port: int) -> Passwords:
        """Of `user`'s password at the server `host`:`port`."""
        at_server = source.setting == "iam_auth"
        key = (
            source,
            user if source.setting != "password_file" else "",
            host if at_server else "",
            port if at_server else 0,
        )
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Passwords(self._source(source, user, host, port))
        return found

    def _source(self, source: PasswordSource, user: str, host: str, port: int) -> Source:
        if source.setting == "password_file":
            return FileSource(source.name)
        if self._aws is None:
            self._aws = Aws(source.setting)
        if source.setting == "password_secret":
            region = source.region or region_of_secret(source.name)
            return SecretSource(self._aws.service("secretsmanager", region), source.name, user)
        return TokenSource(self._aws.service("rds", source.region or region_of_host(host)), host, port, user)
