"""Every error a client may be told, one class each: SQLSTATE, severity, whose fault, cause and cure.

One declaration per error: `docs/errors.md` is generated from these classes, and
`protocol.messages.error_response` turns any of them into an ErrorResponse. Nothing here may know about
sockets, pools or settings. A message never holds a secret and never more of a foreign value than `shown` lets
through.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Severity = Literal["ERROR", "FATAL"]
Fault = Literal["client", "server", "us"]


def shown(value: str, limit: int = 64) -> str:
    """A foreign value fit for a message or a log line: escaped, and cut after `limit` characters."""
    text = value if len(value) <= limit else value[:limit] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class PoolproxyError(Exception):
    """The base of all errors of ours. `template` is filled from the keyword arguments."""

    sqlstate: str = "XX000"
    severity: ClassVar[Severity] = "FATAL"
    fault: ClassVar[Fault] = "us"
    template: ClassVar[str] = "internal error"
    hint: ClassVar[str] = ""
    #: Clients are told it; else it is a reason in the log, or within an error that they are told.
    told: ClassVar[bool] = True
    cause: ClassVar[str] = (
        "A defect in poolproxy: something happened that nobody foresaw. Only this connection ends."
    )
    cure: ClassVar[str] = "Report it, with the `internal error` line of the log and its traceback."

    def __init__(self, **values: object) -> None:
        self.message = self.template.format(
            **{name: shown(value, 200) if isinstance(value, str) else value for name, value in values.items()}
        )
        super().__init__(self.message)


class ProtocolViolation(PoolproxyError):
    sqlstate, severity, fault = "08P01", "FATAL", "client"
    template = "protocol violation: {what}"
    cause = "The bytes received are not what the protocol allows at this point, or a length is out of range."
    cure = "Check that a PostgreSQL client talks to this port, and that nothing on the way changes its bytes."


class UnsupportedProtocol(PoolproxyError):
    sqlstate, severity, fault = "0A000", "FATAL", "client"
    template = "unsupported frontend protocol {major}.{minor}: poolproxy supports 3.0 to 3.2"
    cause = "The startup packet asks for a protocol of another major version."
    cure = "Use a driver for PostgreSQL 7.4 or later."


class LoginTimeout(PoolproxyError):
    sqlstate, severity, fault = "08P01", "FATAL", "client"
    template = "login not finished within {seconds:g} s (client_login_timeout, or less while others wait)"
    cause = (
        "The client connected but did not send what the login needs in time: in client_login_timeout, or, "
        "while max_logins or max_client_connections are reached and others wait, in 3 s, and its first bytes "
        "in 1 s."
    )
    cure = "Check the network between client and proxy, or raise client_login_timeout."


class AuthenticationFailed(PoolproxyError):
    sqlstate, severity, fault = "28P01", "FATAL", "client"
    template = 'password authentication failed for user "{user}"'
    cause = "Unknown user, unknown database or wrong password: on purpose these cannot be told apart."
    cure = "Check user, database and password against [users] and [databases] in the settings."


class NoHbaEntry(PoolproxyError):
    sqlstate, severity, fault = "28000", "FATAL", "client"
    template = 'no pg_hba.conf entry for host "{host}", user "{user}", database "{database}", {encryption}'
    cause = "No rule of auth_hba_file matches this connection."
    cure = "Add a rule for this address, user and database, or connect from where one matches."


class RejectedByHba(PoolproxyError):
    sqlstate, severity, fault = "28000", "FATAL", "client"
    template = (
        'pg_hba.conf rejects connection for host "{host}", user "{user}", database "{database}", {encryption}'
    )
    cause = "The first rule of auth_hba_file that matches this connection says reject."
    cure = "Change that rule, or put one that lets this connection in ahead of it."


class PeerRefused(PoolproxyError):
    sqlstate, severity, fault = "28000", "FATAL", "client"
    template = 'Peer authentication failed for user "{user}"'
    cause = (
        "A rule of auth_hba_file with the method `peer` matches, and the operating system's user who has "
        "connected is neither called so nor let be this user by the rule's map. The log says who it is."
    )
    cure = "Connect as the user of that name, or map the name to this user (`map=`, auth_ident_file)."


class TokenNotTried(PoolproxyError):
    sqlstate, severity, fault = "57P03", "FATAL", "server"
    template = "logins by token are not possible now: {reason}"
    cause = "A client's token (method `iam`) is tried on PostgreSQL, which could not be reached in time."
    cure = "Look at the database; the client may simply try again."


class TlsRequired(PoolproxyError):
    sqlstate, severity, fault = "28000", "FATAL", "client"
    template = "connection requires TLS"
    cause = "The client came without TLS, and `tls_mode` (or how it is to log in) demands it."
    cure = "Connect with `sslmode=require` or more."


class CertificateRequired(PoolproxyError):
    sqlstate, severity, fault = "28000", "FATAL", "client"
    template = "connection requires a valid client certificate"
    cause = "The client has shown no certificate of an authority in `tls_ca_file`, and has to."
    cure = "Connect with `sslcert` and `sslkey`."


class CertificateMismatch(PoolproxyError):
    sqlstate, severity, fault = "28000", "FATAL", "client"
    template = 'certificate authentication failed for user "{user}"'
    cause = "The client's certificate is valid, but not this user's: its name is another."
    cure = "Connect as the user whom the certificate names, or map that name to this user."


class ChannelBindingFailed(PoolproxyError):
    sqlstate, severity, fault = "28000", "FATAL", "client"
    template = "SCRAM channel binding check failed: {reason}"
    cause = "The client has seen another certificate than ours, or another offer: somebody is in between."
    cure = "Find who ends TLS on the way; behind a load balancer that does, use channel_binding=disable."


class TlsHandshakeFailed(PoolproxyError):
    sqlstate, severity, fault = "08P01", "FATAL", "client"
    template = "TLS handshake failed: {reason}"
    told = False
    cause = (
        "The client and we could not agree on TLS. TLS's own alert has told it why, and it was disconnected."
    )
    cure = "The reason is OpenSSL's, say a certificate that the client does not trust, or too old a TLS."


class UnknownDatabase(PoolproxyError):
    sqlstate, severity, fault = "3D000", "FATAL", "client"
    template = 'database "{database}" is not served here'
    cause = "The login succeeded, but no [databases] entry serves this name to this user."
    cure = 'Add [databases.NAME] to the settings, or a database named "*".'


class UsersNotLookedUp(PoolproxyError):
    sqlstate, severity, fault = "57P03", "FATAL", "server"
    template = "users cannot be looked up now (auth_query)"
    cause = (
        "PostgreSQL did not answer auth_query in time, refused it, or cannot be reached; or too many users "
        "are being looked up. Users of the settings, and those looked up within auth_query_ttl, are let in."
    )
    cure = (
        "Look at the log line `auth_query failed`, which says why; the proxy asks again for the next login, "
        "and clients may simply try again."
    )


class MissingUser(PoolproxyError):
    sqlstate, severity, fault = "28000", "FATAL", "client"
    template = "no PostgreSQL user name specified in startup packet"
    cause = "The startup message names no user."
    cure = "Name a user in the connection string."


class ReplicationRefused(PoolproxyError):
    sqlstate, severity, fault = "0A000", "FATAL", "client"
    template = "replication connections cannot share servers"
    hint = "Connect directly to the PostgreSQL server for replication."
    cause = "The startup message asks for a replication connection."
    cure = "Connect directly to the PostgreSQL server for replication."


class InvalidStartupOptions(PoolproxyError):
    sqlstate, severity, fault = "42601", "FATAL", "client"
    template = "invalid command-line argument for server process: {argument}"
    hint = 'Try "postgres --help" for more information.'
    cause = 'The "options" startup parameter has something that is no switch of PostgreSQL\'s.'
    cure = "Correct the options string."


class StartupOptionWithoutValue(PoolproxyError):
    sqlstate, severity, fault = "42601", "FATAL", "client"
    template = "{option} requires a value"
    cause = 'A setting in the "options" startup parameter is not of the form -c name=value or --name=value.'
    cure = "Correct the options string."


class UnknownParameter(PoolproxyError):
    sqlstate, severity, fault = "42704", "FATAL", "client"
    template = 'unrecognized configuration parameter "{name}"'
    cause = "A startup parameter has a name that no setting can have."
    cure = "Correct the name in the connection string."


class InvalidParameterName(PoolproxyError):
    sqlstate, severity, fault = "42602", "FATAL", "client"
    template = 'invalid configuration parameter name "{name}"'
    cause = "A custom startup parameter has a name that is not made of identifiers."
    cure = "Correct the name in the connection string."


class TooManyClients(PoolproxyError):
    sqlstate, severity, fault = "53300", "FATAL", "us"
    template = "too many clients: {limit} are connected already (max_client_connections)"
    cause = "max_client_connections is reached."
    cure = "Raise max_client_connections, or find the clients that do not disconnect."


class TooManyFromAddress(PoolproxyError):
    sqlstate, severity, fault = "53300", "FATAL", "client"
    template = (
        "too many connections from your address: {limit} are open already (max_connections_per_address)"
    )
    cause = (
        "max_connections_per_address is reached. Logins count as well, and failed ones for as long as their "
        "answers are held back (failed_login_delay)."
    )
    cure = (
        "Raise max_connections_per_address, above all where clients share an address (NAT), or find the "
        "clients there that do not disconnect: the log has the address."
    )


class TooManyPools(PoolproxyError):
    sqlstate, severity, fault = "53300", "FATAL", "us"
    template = "too many pools: {limit} (database, user) pairs are in use already (max_pools)"
    cause = "A login needed a new pool while max_pools were in use."
    cure = "Raise max_pools, or use fewer distinct users."


class TooManyStatements(PoolproxyError):
    sqlstate, severity, fault = "53400", "FATAL", "client"
    template = (
        "too many prepared statements: this session has {limit} already (max_client_prepared_statements)"
    )
    cause = "A session kept preparing named statements and never closed any."
    cure = (
        "Close statements that are not used again (most drivers have a limit for that), or raise the setting."
    )


class PoolFull(PoolproxyError):
    sqlstate, severity, fault = "53300", "ERROR", "us"
    template = (
        "no server of pool {database}/{user} became free within {seconds:g} s (connection_borrow_timeout)"
    )
    cause = "All servers of the pool were busy with other clients for the whole borrow timeout."
    cure = (
        "Raise pool_size or connection_borrow_timeout, or find the long transactions "
        "(poolproxy_transaction_duration_seconds)."
    )


class DatabaseDown(PoolproxyError):
    sqlstate, severity, fault = "57P03", "ERROR", "server"
    template = "no server of pool {database}/{user} could be made ready within {seconds:g} s ({reason})"
    cause = (
        "No connection to PostgreSQL could be opened, or init_query failed on it, during the whole borrow "
        "timeout; the reason is that of the last attempt that ended, if one has."
    )
    cure = (
        "Look at the database, or correct init_query; the proxy retries by itself and clients may simply try "
        "again."
    )


class ServerLoginRefused(PoolproxyError):
    sqlstate, severity = "08006", "FATAL"
    fault: ClassVar[Fault] = "server"
    template = "PostgreSQL refused the proxy's login for pool {database}/{user} ({reason})"
    cause = "The server rejected the credentials or the database name that the proxy holds."
    cure = "Correct the url or password of this database or user in the settings."


class NoServerPassword(ServerLoginRefused):
    sqlstate, severity, fault = "08006", "FATAL", "us"
    template = "there is no password for the proxy's login for pool {database}/{user} ({reason})"
    cause = (
        "The password towards PostgreSQL comes from a file, from AWS Secrets Manager or from RDS IAM, and "
        "could not be had from there; the reason names the setting."
    )
    cure = (
        "Correct what the reason says (the log's `password not obtained` has more); the proxy tries again by "
        "itself. See docs/credentials.md."
    )


class NoSuchDatabase(ServerLoginRefused):
    sqlstate, severity, fault = "3D000", "FATAL", "client"
    template = "{reason}"
    cause = "PostgreSQL has no such database (its own message); it is served here by its name, or by `*`."
    cure = "Create the database, or correct its name, in the client or in the url of the settings."


class StartupParameterRefused(ServerLoginRefused):
    """Told with PostgreSQL's own SQLSTATE, which this is one of."""

    sqlstate, severity, fault = "22023", "FATAL", "client"
    template = "{reason}"
    cause = (
        "PostgreSQL does not take a parameter of the startup message that only a starting session takes "
        "(`ignore_system_indexes`, `log_connections`, ...): its own message and SQLSTATE (22023, 42501, ...)."
    )
    cure = "Correct the parameter in the connection string, or leave it to a user who may set it."

    def __init__(self, sqlstate: str, reason: str) -> None:
        super().__init__(reason=reason)
        self.sqlstate = sqlstate


class ServerLost(PoolproxyError):
    sqlstate, severity, fault = "08006", "FATAL", "server"
    template = "the server connection was lost; a transaction in progress has an unknown outcome"
    cause = "PostgreSQL closed the connection, or the network did, while this client was using it."
    cure = "Connect again; check whether the last transaction was committed before repeating it."


class ListeningServerLost(PoolproxyError):
    sqlstate, severity, fault = "08006", "FATAL", "server"
    template = (
        "the server connection that listened for this session was lost; notifications may have been missed"
    )
    cause = "PostgreSQL closed the connection that listens for all clients of this pool, or the network did."
    cure = (
        "Connect again, LISTEN again, and look at what the notifications were about; with "
        "`listener_loss = warn` the session goes on and is told so by a WARNING."
    )


class NotificationInconvertible(PoolproxyError):
    sqlstate, severity, fault = "22P05", "FATAL", "client"
    template = "a notification on {channel} has a character that {encoding} does not have"
    cause = "The client_encoding of a listening session lacks a character of a channel's name or a payload."
    cure = "Listen with a client_encoding that has all characters in use, such as UTF8."


class NotificationsUnread(PoolproxyError):
    sqlstate, severity, fault = "53400", "FATAL", "client"
    template = "more than {limit} bytes of notifications are waiting for this session"
    cause = "A listening client has not read, or has stayed in one transaction, while others notified."
    cure = "Read notifications as they come, and listen on a connection without long transactions."


class SettingsRefused(PoolproxyError):
    sqlstate, severity, fault = "08006", "FATAL", "server"
    template = "the session's settings could not be applied to a server: {reason}"
    cause = "PostgreSQL refused to repeat a setting of this session on another server."
    cure = "Connect again; if it happens again use session mode for this database."


class IdleClientTimeout(PoolproxyError):
    sqlstate, severity, fault = "57P05", "FATAL", "client"
    template = "terminating connection: idle for {seconds:g} s (idle_client_timeout)"
    cause = "The client sent nothing for idle_client_timeout."
    cure = "Reconnect when needed, or raise idle_client_timeout."


class IdleSessionTimeout(PoolproxyError):
    sqlstate, severity, fault = "57P05", "FATAL", "client"
    template = "terminating connection due to idle-session timeout"
    cause = "The client sent nothing for as long as its own idle_session_timeout says."
    cure = "Reconnect when needed, or set idle_session_timeout to another value."


class IdleTransactionTimeout(PoolproxyError):
    sqlstate, severity, fault = "25P03", "FATAL", "client"
    template = "terminating connection: idle in transaction for {seconds:g} s (idle_transaction_timeout)"
    cause = "The client left a transaction open and sent nothing for idle_transaction_timeout."
    cure = "Commit or roll back before waiting for anything else, or raise idle_transaction_timeout."


class QueryCanceledInQueue(PoolproxyError):
    sqlstate, severity, fault = "57014", "ERROR", "client"
    template = "canceling statement due to user request (it was waiting for a server)"
    cause = "A cancel request arrived while the client was waiting for a server."
    cure = "None needed: the statement never reached PostgreSQL."


class ShuttingDown(PoolproxyError):
    sqlstate, severity, fault = "57P01", "FATAL", "us"
    template = "terminating connection: poolproxy is shutting down"
    cause = "The proxy received SIGTERM and is draining."
    cure = "Connect again; another instance, or the restarted one, will serve you."


class UnexpectedServerAnswer(PoolproxyError):
    sqlstate, severity, fault = "08P01", "FATAL", "server"
    template = "the server's answer was not the one expected: {what}"
    told = False
    cause = "The bytes from the server do not fit what was asked of it; the server connection was closed."
    cure = "Report it with the log line: it should never happen."


def told_errors() -> list[type[PoolproxyError]]:
    """Every error class that clients may be told, in the order of declaration."""
    direct = PoolproxyError.__subclasses__()
    found = [kind for error in direct for kind in (error, *error.__subclasses__())]
    return [error for error in found if error.told]
