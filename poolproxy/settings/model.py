"""The settings: one declaration each, from which file, environment, command line and docs/settings.md follow.

A `Settings` is frozen and complete: every database in it has inherited what it does not set itself. Building
one reads no file and no environment; `load` does. The string below a field is its description in the docs,
the class it stands in its chapter. Nothing here may repeat a value in an error: a value may be a secret.
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from poolproxy.protocol.auth_methods import required_methods
from poolproxy.protocol.md5 import is_md5_hash
from poolproxy.protocol.scram import ScramSecret
from poolproxy.settings.sources import SOURCES, PasswordSource, check_source
from poolproxy.settings.url import DatabaseUrl, parse_url, place_of

#: The entry of [databases] that serves every name no other entry has.
ANY_DATABASE: Final = "*"

#: Settings of one name with parameters of libpq's: all that says how servers are reached over TLS.
SERVER_TLS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "channel_binding")

#: Host, port and dbname: what is one database, whatever it is called and whoever uses it.
ServerDatabase = tuple[str, int, str]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _listed(value: object) -> object:
    """A list in the environment or on the command line: names between commas."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _require_auth(value: str) -> str:
    required_methods(value)
    return value


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError(
            "not a network such as 10.0.0.0/8, or its address has bits behind its mask"
        ) from None


AuthMethod = Annotated[
    Literal["scram-sha-256", "md5", "password", "iam", "cert", "trust"], BeforeValidator(_lower)
]
HandoverReset = Annotated[Literal["auto", "always"], BeforeValidator(_lower)]
PinningFilter = Literal["temp_object", "advisory_lock", "holdable_cursor", "sql_prepare", "listen"]
PinningFilters = Annotated[tuple[PinningFilter, ...], NoDecode, BeforeValidator(_listed)]
FunctionName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]
FunctionNames = Annotated[tuple[FunctionName, ...], NoDecode, BeforeValidator(_listed)]
Network = Annotated[str, AfterValidator(_network)]
RequireAuth = Annotated[str, AfterValidator(_require_auth)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_listed)]
SslMode = Annotated[
    Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"], BeforeValidator(_lower)
]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
HostNames = Annotated[tuple[HostName, ...], NoDecode, BeforeValidator(_listed)]
PoolMode = Annotated[Literal["transaction", "session"], BeforeValidator(_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["auto", "text", "json"], BeforeValidator(_lower)]
Seconds = Annotated[float, Field(ge=0, le=2_000_000, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=2_000_000, allow_inf_nan=False)]
Percent = Annotated[int, Field(ge=1, le=100)]
Port = Annotated[int, Field(ge=0, le=65535)]
Address = Annotated[str, Field(min_length=1)]
FileMode = Annotated[str, Field(pattern=r"^0?[0-7]{3}$")]


class InvalidSettings(Exception):
    """The settings cannot be used; each problem is one line for a person, and holds nothing secret."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Section(BaseModel):
    """What all groups of settings have in common."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class ListenSettings(Section):
    """Listening"""

    listen_host: Address = "0.0.0.0"
    """Address that clients connect to."""
    listen_port: Port = 6432
    """Port that clients connect to; 0 = any free one."""
    unix_socket_dir: str = ""
    """Directory for a Unix socket named `.s.PGSQL.<listen_port>`, besides TCP; empty = none."""
    unix_socket_mode: FileMode = "0777"
    """Permissions of the Unix socket, octal."""
    proxy_protocol_networks: Networks = ()
    """Networks of load balancers, such as `10.0.0.0/8`: each connection from there begins with a PROXY header
    (version 1 or 2), and the client is whom that names. From elsewhere a header is a protocol violation.
    Empty = none."""
    http_host: Address = "0.0.0.0"
    """Address of `/metrics`, `/health` and `/ready`."""
    http_port: Port = 9127
    """Port of `/metrics`, `/health` and `/ready`; 0 = any free one."""


class ClientSettings(Section):
    """Clients"""

    auth_method: AuthMethod = "scram-sha-256"
    """How clients prove who they are: `scram-sha-256` (bound to the TLS connection where they can), `md5`,
    `password` (in clear text, over TLS or a Unix socket alone), `iam` (likewise, a token that PostgreSQL
    takes, as Amazon RDS does: it is tried there, and believed until it expires), `cert` (a certificate of
    `tls_ca_file` with their name as its CN), or `trust` (they need not)."""
    auth_hba_file: str = ""
    """File of rules in the syntax of PostgreSQL's `pg_hba.conf`: who may come from where, to which
    database, and how they prove who they are (`scram-sha-256`, `md5`, `password`, `iam`, `cert`, `trust`,
    `reject`; options `clientcert`, `clientname`, `map`). The first rule that matches decides, who matches
    none is refused with 28000, and `auth_method` is not used. Empty = no rules."""
    auth_ident_file: str = ""
    """File of maps in the syntax of `pg_ident.conf`, which rules name by `map=`: which user somebody may
    be whom a certificate calls something else. Empty = none."""
    auth_file: str = ""
    """File of users in the format of PgBouncer's `userlist.txt`, a line `"NAME" "PASSWORD"` each; the
    password may be what PostgreSQL stores of it. [users.NAME] wins over it, and it over a url. Empty =
    none."""
    auth_query: str = ""
    """SQL that finds the secret of a user whom the settings do not name, `$1`: columns name, password (or
    what PostgreSQL stores of it) and, optionally, `valid_until`, a timestamptz: `SELECT * FROM
    public.user_lookup($1)`. The search_path is `pg_catalog`: name everything else with its schema. A password
    is not used after its VALID UNTIL in any case (docs/auth_query.md). Empty = no question."""
    auth_query_database: str = ""
    """NAME of the [databases.NAME] whose url says where `auth_query` is asked, and as which user. It is for
    that alone: users known from the query may not use it. Empty = the only database there is."""
    auth_query_ttl: Seconds = 60.0
    """Seconds for which an answer of `auth_query` is used again, also that there is no such user; 5 where a
    login has failed by it. 0 = every login is asked for."""
    max_client_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Clients connected at the same time; one more gets 53300. Each needs an open file (`ulimit -Hn`)."""
    client_login_timeout: PositiveSeconds = 60.0
    """Seconds a client has for its part of the login; waiting for a server does not count."""
    max_logins: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Connections that may be logging in at the same time. Nobody is refused because of it: who comes then
    waits in the kernel until another has logged in or left, and who is logging in has 3 s left, or 1 s to say
    anything at all."""
    max_connections_per_address: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Connections from one address at the same time, logged in or not; one more gets 53300. The address is an
    IPv4 address or the /64 of an IPv6 one, that of the PROXY header where there is one; Unix sockets and load
    balancers themselves are not counted. 0 = no limit: behind a NAT, and in a subnet of Lambda's, very many
    clients share an address."""
    failed_login_delay: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.2
    """Seconds that the answer to a wrong password is held back: doubled with every further one from the same
    address up to 5 seconds, and forgotten after a minute without any. A right password is answered at once,
    whatever else comes from its address. 0 = never."""
    idle_client_timeout: Seconds = 1800.0
    """Seconds a client may be idle outside a transaction before it is disconnected with 57P05; 0 = off."""
    drain_timeout: Seconds = 20.0
    """Seconds that transactions have to finish after SIGTERM; then their clients get 57P01."""
    max_pools: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Pools, that is (database, user) pairs in use, at the same time. Each may open `pool_size` servers, and
    each server needs an open file as well."""


class TlsSettings(Section):
    """TLS towards clients"""

    tls_cert_file: str = ""
    """Certificate chain in PEM that is shown to clients; empty = no TLS. It is read again when it changes, as
    are key and authorities: new connections get the new one."""
    tls_key_file: str = ""
    """Its private key in PEM, without a passphrase; empty = it stands in `tls_cert_file`."""
    tls_mode: SslMode = "prefer"
    """What clients are held to: `disable` (no TLS), `allow` and `prefer` (TLS for those who ask), `require`
    (28000 for who comes without), `verify-ca` (and with a certificate of `tls_ca_file`), `verify-full` (whose
    CN is the user's name). Unix sockets are never encrypted, and nobody is held to that there."""
    require_tls: bool = False
    """Short for `tls_mode = require` where that says less."""
    tls_ca_file: str = ""
    """Authorities in PEM that clients' certificates are checked against; empty = none is asked for."""
    tls_crl_file: str = ""
    """Certificates in PEM that these authorities have revoked (CRL); empty = none."""
    tls_min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    """Least version of TLS that clients may use."""
    max_tls_handshakes: Annotated[int, Field(ge=1, le=64)] = 2
    """Handshakes that are computed at the same time, beside the traffic that flows; the oldest connection is
    served first, and `client_login_timeout` counts for those that wait."""


class PoolSettings(Section):
    """Pools and servers"""

    pool_mode: PoolMode = "transaction"
    """When a client gives its server back: after each `transaction`, or after its whole `session`."""
    pool_size: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Servers that one pool, that is one (database, user) pair, may use for its clients."""
    min_pool_size: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Servers that a pool keeps open when there is no work."""
    max_connections: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Connections poolproxy may open on one database, over all pools and with its own control connections;
    0 = `max_connections_percent` counts. Names of one database (same host, port and dbname) share them, and
    must have the same value."""
    max_connections_percent: Percent = 100
    """The same in percent of what the server allows (its `max_connections` less its reserved ones), but at
    least 2. Until the server has said how many that is, one server is open for all clients; below 100 it
    stays at one if the question fails, and the question is repeated every 5 seconds. Not used where
    `max_connections` is set."""
    max_idle_connections_percent: Percent = 50
    """Idle servers kept open on one database, over all pools, in percent of its connection limit; more are
    closed, the coldest first, but for those that `min_pool_size` keeps."""
    connection_borrow_timeout: Seconds = 120.0
    """Seconds a client waits for a server before it gets an error; 0 = never wait for a busy one (one that is
    being opened for it is waited for)."""
    init_query: str = ""
    """SQL run once on each new server connection, before its first client."""
    idle_transaction_timeout: Seconds = 0.0
    """Seconds a client may be idle inside a transaction before it is rolled back and told 25P03; 0 = off."""
    max_parallel_connects: Annotated[int, Field(ge=1, le=1000)] = 4
    """Connection attempts to one database under way at the same time."""
    server_connect_timeout: PositiveSeconds = 15.0
    """Seconds a connection attempt to PostgreSQL may take, login included."""
    require_auth: RequireAuth = ""
    """How a server may have us prove who we are, as libpq's `require_auth` has it: `scram-sha-256`, `md5`,
    `password` (asked for in clear text, which is answered over Unix sockets only) and `none` between commas,
    or all but those that have a `!` before them. A server that asks otherwise is refused. Empty = any."""
    sslmode: SslMode = "prefer"
    """TLS towards servers, as libpq's `sslmode` has it: `disable`, `allow`, `prefer` (where the server has
    it), `require`, `verify-ca` (certificate of an authority in `sslrootcert`), `verify-full` (and of this
    host). The url's own wins, here and below."""
    sslrootcert: str = ""
    """Authorities in PEM that servers' certificates are checked against, in every mode (for Amazon RDS its
    `global-bundle.pem`), or `system` for those that the system trusts; empty = none."""
    sslcert: str = ""
    """Certificate in PEM that we show to servers; empty = none."""
    sslkey: str = ""
    """Its private key in PEM, without a passphrase."""
    sslnegotiation: Literal["postgres", "direct"] = "postgres"
    """Whether TLS is asked for first (`postgres`), or begun at once (`direct`, PostgreSQL 17 and later)."""
    channel_binding: Literal["disable", "prefer", "require"] = "prefer"
    """Whether SCRAM is bound to the server's certificate, as libpq's `channel_binding` has it."""
    password_file: str = ""
    """File with the password towards servers, read at each of our logins: whoever changes it replaces it
    (Vault's agent, a Secret of Kubernetes; see [credentials](credentials.md)). A database has one source of
    its password at most: this, one of the next two, or its url. What it sets itself, it does not inherit."""
    password_secret: str = ""
    """Name or ARN of a secret in AWS Secrets Manager with the password towards servers: JSON with `username`
    and `password`, or the password alone. It may be rotated. Needs `pip install 'poolproxy[aws]'`."""
    iam_auth: bool = False
    """Log in to servers by tokens of RDS IAM; `sslmode` must be `require` or more. Needs
    `pip install 'poolproxy[aws]'`."""
    aws_region: str = ""
    """AWS region of `password_secret` and `iam_auth`; empty = that of the ARN or of the RDS endpoint, else
    the one that AWS's own tools would take (`AWS_DEFAULT_REGION`, the profile)."""
    server_lifetime: Seconds = 3600.0
    """Seconds after which a server connection is replaced once it is free (with some jitter); 0 = never."""
    server_idle_timeout: Seconds = 600.0
    """Seconds after which an idle server above `min_pool_size` is closed (with some jitter); 0 = never."""
    server_rescue_timeout: Seconds = 10.0
    """Seconds a query whose client is gone may go on before it is cancelled."""
    client_loss: Literal["finish", "cancel"] = "finish"
    """What becomes of a query whose client's connection breaks: it may finish, as PostgreSQL has it, within
    `server_rescue_timeout`, or it is cancelled at once. After an orderly end it may finish in any case."""
    max_prepared_statements: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Named prepared statements kept on one server, for all its clients; the least recently used go first,
    and are prepared again when somebody needs them."""
    max_client_prepared_statements: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Named prepared statements that one client may have at the same time; who wants more is disconnected
    with 53400."""

    handover_reset: HandoverReset = "auto"
    """When a server is reset on its way from one client to another: whenever what the first has run may have
    left something that no audit sees (`auto`), or `always`. Prepared statements are kept."""
    session_pinning_filters: PinningFilters = ()
    """Pin reasons (`temp_object`, `advisory_lock`, `holdable_cursor`, `sql_prepare`, `listen`) that do not
    pin: what they stand for is discarded at the end of the transaction instead."""

    pin_on: FunctionNames = ()
    """Functions whose callers keep their server until they leave, say because they use `lastval()` in a later
    transaction. Names without a schema."""
    catalogue_poll_interval: Seconds = 15.0
    """Seconds between two looks at the catalogue for functions that change session state where no statement
    shows it (none while nobody uses the database); 0 = never: then `handover_reset = auto` means `always`."""
    listener_loss: Literal["disconnect", "warn"] = "disconnect"
    """What becomes of listening clients when the server connection that listens for them is lost: they are
    told by the end of their sessions (08006), or by a WARNING once it is back, which drivers often hide."""


class NetworkSettings(Section):
    """Network"""

    tcp_keepalive_idle: Annotated[int, Field(ge=0, le=32_767)] = 60
    """Seconds of silence before the first keepalive probe, to clients and servers; 0 = the system's own."""
    tcp_keepalive_interval: Annotated[int, Field(ge=0, le=32_767)] = 10
    """Seconds between TCP keepalive probes; 0 = the system's own."""
    tcp_keepalive_count: Annotated[int, Field(ge=0, le=127)] = 3
    """Unanswered probes after which a connection is given up; 0 = the system's own."""
    tcp_user_timeout: Seconds = 30.0
    """Seconds that sent bytes may stay unacknowledged before the connection ends; 0 = the system's own."""


class LogSettings(Section):
    """Logs"""

    log_level: LogLevel = "info"
    """Least level of the lines written: `debug`, `info`, `warning` or `error`."""
    log_format: LogFormat = "auto"
    """`text`, `json`, or `auto`: text on a terminal, JSON otherwise."""


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
            complete = database.model_copy(update={key: getattr(self, key) for key in unset})
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
            if form is not None and not self.auth_hba_file and self.auth_method in _OTHER_FORMS.get(form, ()):
                raise ValueError(
                    f"auth_method {self.auth_method} cannot use the {form} form stored for user {name!r}"
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


#: Methods that a stored form of a password is no use for.
_OTHER_FORMS: Final = {"scram-sha-256": ("md5",), "md5": ("scram-sha-256",)}

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
