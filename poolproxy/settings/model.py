"""The settings: one declaration each, from which file, environment, command line and docs/settings.md follow.

A `Settings` is frozen and complete: every database in it has inherited what it does not set itself.
Building one reads no file and no environment; `load` does. Most of it is declared in `sections`. Nothing
here may repeat a value in an error: a value may be a secret.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from poolproxy.protocol.md5 import is_md5_hash
from poolproxy.protocol.scram import ScramSecret
from poolproxy.settings.kinds import HostNames, PoolMode, SslMode
from poolproxy.settings.sections import (
    ClientSettings,
    ListenSettings,
    LogSettings,
    NetworkSettings,
    PoolSettings,
    Section,
    TlsSettings,
)
from poolproxy.settings.sources import SOURCES, PasswordSource, check_source
from poolproxy.settings.url import DatabaseUrl, parse_url, place_of

#: The entry of [databases] that serves every name no other entry has.
ANY_DATABASE: Final = "*"

#: Settings of one name with parameters of libpq's: all that says how servers are reached over TLS.
SERVER_TLS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "channel_binding")

#: Host, port and dbname: what is one database, whatever it is called and whoever uses it.
ServerDatabase = tuple[str, int, str]


class InvalidSettings(Exception):
    """The settings cannot be used; each problem is one line for a person, and holds nothing secret."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class DatabaseSettings(PoolSettings):
    """One [databases.NAME]: clients ask for NAME, the url says where it is."""

    url: SecretStr
    """`postgres://user:password@host:port/dbname`. Without a user, the client's own is used towards the
    server, with its password in `[users]`, else with what the client itself has proved; without a dbname,
    NAME. A Unix socket:
    `postgres:///dbname?host=/directory`."""

    tls_hostnames: HostNames = ()
    """Host names of ours. A client that connects by one of them over TLS (SNI) gets this database, whatever
    name it asks for."""

    @field_validator("url")
    @classmethod
    def _readable(cls, value: SecretStr) -> SecretStr:
        password = parse_url(value.get_secret_value()).password
        if password is not None and stored_form(password) is not None:
            raise ValueError("the url has a stored form of a password: servers want the password itself")
        return value

    @cached_property
    def location(self) -> DatabaseUrl:
        """The parts of the url."""
        return parse_url(self.url.get_secret_value())

    @cached_property
    def tls(self) -> dict[str, str]:
        """How its servers are reached, by libpq's names: what the url says, else what the settings say."""
        return {name: getattr(self, name) for name in SERVER_TLS} | dict(self.location.tls)

    def sslmode_with(self, inherited: str) -> SslMode:
        """Where nobody has set it: `system` is no use in a weaker mode (manual: libpq, sslrootcert).
        `inherited`: an sslrootcert that counts where none is its own."""
        authorities = dict(self.location.tls).get("sslrootcert") or self.sslrootcert or inherited
        return "verify-full" if authorities == "system" else self.sslmode

    def check_tls(self) -> None:
        """ValueError where libpq would not connect that way either."""
        tls = self.tls
        mode, authorities = tls["sslmode"], tls["sslrootcert"]
        if mode in ("verify-ca", "verify-full") and not authorities:
            raise ValueError(f"sslmode {mode} needs sslrootcert: a file of authorities, or system")
        if authorities == "system" and mode != "verify-full":
            raise ValueError(
                "sslrootcert = system, whom anybody can ask for a certificate, needs sslmode verify-full"
            )
        if tls["sslnegotiation"] == "direct" and mode in ("disable", "allow", "prefer"):
            raise ValueError(f"sslnegotiation = direct needs sslmode require or more, not {mode}")
        if tls["channel_binding"] == "require" and (mode == "disable" or self.location.unix_path):
            raise ValueError("channel_binding = require needs TLS")
        if tls["sslkey"] and not tls["sslcert"]:
            raise ValueError("sslkey is there without sslcert")

    def own_source(self) -> bool:
        """Whether its table says where its password comes from (also: from nowhere)."""
        return self.location.password is not None or not self.model_fields_set.isdisjoint(SOURCES)

    @property
    def password_source(self) -> PasswordSource | None:
        """Where its password comes from, if not from its url or [users]."""
        if self.password_file:
            return PasswordSource("password_file", self.password_file)
        if self.password_secret:
            return PasswordSource("password_secret", self.password_secret, self.aws_region)
        return PasswordSource("iam_auth", region=self.aws_region) if self.iam_auth else None

    def check_password_source(self) -> None:
        """ValueError where there are several, or the one there is cannot be used."""
        check_source([name for name in SOURCES if getattr(self, name)], self.location, self.tls["sslmode"])

    def limits_of_database(self) -> dict[str, int]:
        """What holds for all that is open on the database, by name; not for each of its pools."""
        most = "max_connections" if self.max_connections else "max_connections_percent"
        return {name: getattr(self, name) for name in (most, "max_idle_connections_percent")}


class UserSettings(Section):
    """One [users.NAME]: who may log in."""

    password: Annotated[SecretStr, Field(min_length=1)]
    """What NAME logs in with: a password, or what PostgreSQL stores of it (`SCRAM-SHA-256$...`, `md5...`).
    A password is used towards servers as well; of a SCRAM secret what the client proves by it is, where the
    server has the same one (copied from `pg_authid`)."""
    pool_mode: PoolMode | None = None
    """`pool_mode` of this user's pools, before the database's."""
    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """`pool_size` of this user's pools, before the database's."""

    @field_validator("password")
    @classmethod
    def _usable(cls, value: SecretStr) -> SecretStr:
        if stored_form(value.get_secret_value()) == "scram-sha-256":
            ScramSecret.parse(value.get_secret_value())
        return value

    @property
    def plain_password(self) -> str | None:
        """The password, or None where only what PostgreSQL stores of it is known."""
        text = self.password.get_secret_value()
        return None if stored_form(text) else text


def stored_form(password: str) -> Literal["scram-sha-256", "md5"] | None:
    """Which of PostgreSQL's stored forms this is (manual: pg_authid); None = a password itself."""
    if password.startswith("SCRAM-SHA-256$"):
        return "scram-sha-256"
    return "md5" if is_md5_hash(password) else None


class Settings(
    ListenSettings, ClientSettings, TlsSettings, PoolSettings, NetworkSettings, LogSettings, BaseSettings
):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="POOLPROXY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    secrets_dir: str = ""
    """Directory of files that hold one setting each, named as in the environment (`users__app__password`)
    or in folders (`users/app/password`); empty = none."""
    databases: dict[str, DatabaseSettings] = Field(default_factory=dict)
    """Databases by name."""
    users: dict[str, UserSettings] = Field(default_factory=dict)
    """Users by name."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the caller gives: `load` reads the other sources."""
        return (init_settings,)

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if not self.databases:
            raise ValueError("no database: set DATABASE_URL, or add [databases.NAME] with its url")
        for name, database in self.databases.items():
            unset = PoolSettings.model_fields.keys() - database.model_fields_set
            if database.own_source():
                unset -= set(SOURCES)
            inherited = {key: getattr(self, key) for key in unset}
            if "sslmode" not in database.model_fields_set | self.model_fields_set:
                inherited["sslmode"] = database.sslmode_with(inherited.get("sslrootcert", ""))
            complete = database.model_copy(update=inherited)
            self.databases[name] = complete
            try:
                complete.check_tls()
                complete.check_password_source()
            except ValueError as error:
                raise ValueError(f"database {name!r}: {error}") from None
            if complete.min_pool_size > complete.pool_size:
                raise ValueError(f"min_pool_size of database {name!r} is above its pool_size")
        self._check_client_tls()
        self._check_users()
        self._check_names_of_one_database()
        return self

    def _check_client_tls(self) -> None:
        if self.auth_method == "cert" and not self.auth_hba_file and not self.tls_ca_file:
            raise ValueError("auth_method cert needs tls_ca_file")
        if not self.tls_cert_file:
            for name in ("tls_key_file", "tls_ca_file", "tls_crl_file"):
                if getattr(self, name):
                    raise ValueError(f"{name} is there without tls_cert_file")
            if self.client_tls_mode not in ("disable", "allow", "prefer"):
                raise ValueError(f"tls_mode {self.client_tls_mode} needs tls_cert_file and tls_key_file")
        if self.client_tls_mode in ("verify-ca", "verify-full") and not self.tls_ca_file:
            raise ValueError(f"tls_mode {self.client_tls_mode} needs tls_ca_file")
        if self.tls_crl_file and not self.tls_ca_file:
            raise ValueError("tls_crl_file is there without tls_ca_file")
        hosts = [host.lower() for database in self.databases.values() for host in database.tls_hostnames]
        for host in hosts:
            if hosts.count(host) > 1:
                raise ValueError(f"tls_hostnames: {host} stands there for two databases")

    def tls_hostnames(self) -> dict[str, str]:
        """Which database each of our host names stands for; in lower case, as names are compared."""
        return {
            host.lower(): name for name, database in self.databases.items() for host in database.tls_hostnames
        }

    @property
    def client_tls_mode(self) -> str:
        """`tls_mode`, with `require_tls` in it."""
        weak = self.tls_mode in ("disable", "allow", "prefer")
        return "require" if self.require_tls and weak else self.tls_mode

    @property
    def takes_tls(self) -> bool:
        """Whether clients may use TLS."""
        return bool(self.tls_cert_file) and self.client_tls_mode != "disable"

    def _check_users(self) -> None:
        for name, user in self.users.items():
            form = stored_form(user.password.get_secret_value())
            if form == "md5" and self.auth_method == "scram-sha-256" and not self.auth_hba_file:
                raise ValueError(
                    f"auth_method scram-sha-256 cannot use the md5 form stored for user {name!r}: "
                    "md5 can, and asks those for SCRAM whose SCRAM secret is stored"
                )
        if self.auth_query:
            self._check_auth_query()
        if not self.may_trust and not self.user_passwords():
            raise ValueError(
                "nobody could log in: add [users.NAME] password, or a url with user and password"
            )

    def _check_auth_query(self) -> None:
        name = self.lookup_database
        if "$1" not in self.auth_query:
            raise ValueError("auth_query has no $1, which stands for the user's name")
        if not name:
            raise ValueError(
                "auth_query_database: say which [databases.NAME] auth_query is asked in: there are several"
            )
        if name not in self.databases or name == ANY_DATABASE:
            raise ValueError(f"auth_query_database: there is no [databases.{name}]")
        if self.databases[name].location.user is None:
            raise ValueError(
                f"auth_query is asked as the user in the url of database {name!r}: it names none"
            )

    def _check_names_of_one_database(self) -> None:
        """They share its connections, so their limits must be the same: whose would hold?"""
        first: dict[ServerDatabase, str] = {}
        for name in self.databases:
            if name != ANY_DATABASE:
                self._check_same_limits(first.setdefault(self.server_database(name), name), name)
        if (everything := self.databases.get(ANY_DATABASE)) is not None:
            for place, name in first.items():
                reached = place[2] not in self.databases  # under its own name, by way of "*"
                if reached and place[:2] == (everything.location.host, everything.location.port):
                    self._check_same_limits(name, ANY_DATABASE)

    def _check_same_limits(self, one: str, other: str) -> None:
        limits = self.databases[one].limits_of_database(), self.databases[other].limits_of_database()
        different = sorted(
            key for key in limits[0].keys() | limits[1] if limits[0].get(key) != limits[1].get(key)
        )
        if different:
            host, port, dbname = self.server_database(one)
            raise ValueError(
                f"databases {one!r} and {other!r} are one database, {dbname!r} on {place_of(host, port)}, "
                f"and share its connections: give both the same {' and '.join(different)}"
            )

    def server_database(self, name: str) -> ServerDatabase:
        """Which database of which server a name of [databases] (but `*`) stands for."""
        location = self.databases[name].location
        return location.host, location.port, location.dbname or name

    @property
    def may_trust(self) -> bool:
        """Whether somebody whom we know nothing of may come in."""
        return self.auth_method in ("trust", "cert", "iam") or bool(self.auth_hba_file or self.auth_query)

    @property
    def lookup_database(self) -> str:
        """The name of the database that auth_query is asked in; empty where that is not clear."""
        only = next(iter(self.databases)) if len(self.databases) == 1 else ""
        return self.auth_query_database or only

    @cached_property
    def bound_users(self) -> frozenset[str]:
        """Those who may use only what their url is for. Where we trust everybody, everybody may use
        everything."""
        trusts_all = self.auth_method == "trust" and not self.auth_hba_file
        return frozenset() if trusts_all else self.url_users()

    def may_use(self, user: str, database: DatabaseSettings) -> bool:
        """A user known only from the url of one database must not become another user in another database.
        One whom only auth_query knows must not become the one who may ask for everybody's secret."""
        if user in self.bound_users:
            return database.location.user in (None, user)
        return user in self.users or not self._for_lookups_alone(database)

    def _for_lookups_alone(self, database: DatabaseSettings) -> bool:
        return bool(self.auth_query) and database is self.databases.get(self.auth_query_database)

    def url_users(self) -> frozenset[str]:
        """Users known from a url alone: they may use only databases whose url names them, or no user."""
        named = {database.location.user for database in self.databases.values()}
        return frozenset(user for user in named if user is not None and user not in self.users)

    def user_passwords(self) -> dict[str, str]:
        """What each user logs in with: a password or its stored form. [users.NAME] wins over a url."""
        passwords: dict[str, str] = {}
        for name, database in self.databases.items():
            user, password = database.location.user, database.location.password
            if user is None or password is None or user in self.users:
                continue
            if passwords.setdefault(user, password) != password:
                raise ValueError(
                    f"the urls of database {name!r} and one before give user {user!r} different passwords: "
                    "add [users.NAME] with the one that clients use"
                )
        return passwords | {name: user.password.get_secret_value() for name, user in self.users.items()}

    def advice(self) -> tuple[str, ...]:
        """What works but deserves a warning at the start, one line each."""
        return *self._advice_of_listening(), *self._advice_of_auth_query()

    def _advice_of_auth_query(self) -> tuple[str, ...]:
        if self.auth_query and self.auth_method in ("trust", "cert") and not self.auth_hba_file:
            return (f"auth_query is never asked: auth_method is {self.auth_method}",)
        if self.auth_query and not self.auth_query_database:
            advice = (
                "auth_query_database is not set: at the server all clients are the user who may ask for the "
                "secrets of all others; give auth_query a [databases.NAME] of its own"
            )
            return (advice,)
        return ()

    def _advice_of_listening(self) -> tuple[str, ...]:
        lines = []
        if _is_loopback(self.listen_host):
            return ()
        if self.auth_method == "trust" and not self.auth_hba_file:
            lines.append(
                f"auth_method is trust and {self.listen_host} is not loopback: all who reach the port get in"
            )
        if not self.tls_cert_file and self.tls_mode != "disable":
            lines.append(
                "clients' connections are not encrypted: set tls_cert_file and tls_key_file, or "
                "tls_mode = disable where nobody else can listen"
            )
        return tuple(lines)


#: The chapters of the settings page, in order; a class's docstring is its title.
CHAPTERS: Final = (ListenSettings, ClientSettings, TlsSettings, PoolSettings, NetworkSettings, LogSettings)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def fields_below(path: tuple[str, ...]) -> dict[str, FieldInfo]:
    """The settings that may stand below a path: (), ("databases", NAME) or ("users", NAME)."""
    if not path:
        return Settings.model_fields
    if len(path) == 2 and path[0] == "databases":
        return DatabaseSettings.model_fields
    if len(path) == 2 and path[0] == "users":
        return UserSettings.model_fields
    return {}
