"""The settings that belong to the process and to its pools, by chapter: one declaration each.

The string below a field is its description in the docs, the class it stands in its chapter. Nothing here may
repeat a value in an error: a value may be a secret.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from poolproxy.settings.kinds import (
    Address,
    AuthMethod,
    FileMode,
    FunctionNames,
    HandoverReset,
    LogFormat,
    LogLevel,
    Networks,
    Percent,
    PinningFilters,
    PoolMode,
    Port,
    PositiveSeconds,
    RequireAuth,
    Seconds,
    SslMode,
)

#: Characters of a key that nobody can guess.
SHORTEST_KEY: Final = 16


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
    """How clients prove who they are: `scram-sha-256` (bound to the TLS connection where they can), `md5`
    (SCRAM all the same for a user of whom no more than a SCRAM secret is known, as PostgreSQL has it),
    `password` (in clear text, over TLS or a Unix socket alone), `iam` (likewise, a token that PostgreSQL
    takes, as Amazon RDS does: it is tried there, and believed until it expires), `cert` (a certificate of
    `tls_ca_file` with their name as its CN), or `trust` (they need not)."""
    auth_hba_file: str = ""
    """File of rules in the syntax of PostgreSQL's `pg_hba.conf`: who may come from where, to which
    database, and how they prove who they are (`scram-sha-256`, `md5`, `password`, `iam`, `cert`, `peer`,
    `trust`, `reject`; options `clientcert`, `clientname`, `map`). The first rule that matches decides, who
    matches none is refused with 28000, and `auth_method` is not used. docs/pg_hba.md says what is not
    supported, and what to write instead. Empty = no rules."""
    auth_ident_file: str = ""
    """File of maps in the syntax of `pg_ident.conf`, which rules name by `map=`: which user somebody may
    be whom a certificate, or the operating system (`peer`), calls something else. Empty = none."""
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
    mock_salt_key: SecretStr = SecretStr("")
    """What the salts of users that do not exist are derived from: 16 characters or more that nobody can guess
    (`openssl rand -hex 16`), the same on every replica. Without it they change with every start, while those
    of SCRAM secrets that are stored stay, which tells one who asks twice which names exist."""
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

    @field_validator("mock_salt_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value) < SHORTEST_KEY:
            raise ValueError(
                f"at least {SHORTEST_KEY} characters: whoever guesses it can tell which users exist"
            )
        return value


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
    """Threads for TLS handshakes whose steps take long (a large RSA key's, say; short ones are computed
    between two looks at the traffic), and for passwords that clients say in clear text. The oldest connection
    is served first, and `client_login_timeout` counts for those that wait."""


class PoolSettings(Section):
    """Pools and servers"""

    pool_mode: PoolMode = "transaction"
    """When a client gives its server back: after each `transaction`, or after its whole `session`."""
    pool_size: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Servers that one pool, that is one (database, user) pair, may use for its clients."""
    min_pool_size: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Servers that a pool keeps open when there is no work."""
    max_connections: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Connections poolproxy may open on one database, over all pools and with its own control
    connections; 0 = `max_connections_percent` counts. Cancel requests (32 at once) and trials of clients'
    tokens (8, method `iam`), which last as long as a login, come on top. Names of one database (same
    host, port and dbname) share them, and must have the same value."""
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
    `password` (asked for in clear text, which is answered over TLS or a Unix socket only) and `none` between
    commas, or all but those that have a `!` before them. A server that asks otherwise is refused. Empty =
    any."""
    sslmode: SslMode = "prefer"
    """TLS towards servers, as libpq's `sslmode` has it: `disable`, `allow`, `prefer` (where the server has
    it), `require`, `verify-ca` (certificate of an authority in `sslrootcert`), `verify-full` (and of this
    host). The url's own wins, here and below."""
    sslrootcert: str = ""
    """Authorities in PEM that servers' certificates are checked against, in every mode (for Amazon RDS its
    `global-bundle.pem`), or `system` for those that the system trusts, with which `sslmode` is `verify-full`
    where it is not set; empty = none."""
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
