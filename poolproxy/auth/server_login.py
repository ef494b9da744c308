"""We log in to PostgreSQL, from the startup message to the first ReadyForQuery (manual: Start-up).

No I/O, no settings, no pool. Authentication is mutual where the server offers it: with SCRAM the server must
prove that it holds our secret before we believe its AuthenticationOk.
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from poolproxy.auth.dialogue import RECEIVE, Dialogue, Message, Offload, Send
from poolproxy.errors import UnexpectedServerAnswer, shown
from poolproxy.protocol import auth_methods, codes, messages, scram
from poolproxy.protocol.md5 import md5_hash, md5_response

#: We ask for 3.2, for its long cancel keys. Older servers answer NegotiateProtocolVersion and speak theirs.
PROTOCOL_MINOR = 2
#: What a request for authentication is to require_auth, and in words.
_ASKED = {
    codes.AUTH_OK: (auth_methods.NONE, "no proof"),
    codes.AUTH_CLEARTEXT: (auth_methods.PASSWORD, "a cleartext password"),
    codes.AUTH_MD5: (auth_methods.MD5, "an md5 hash"),
    codes.AUTH_SASL: (auth_methods.SCRAM, "SCRAM-SHA-256"),
}
_METHOD_NAMES = {2: "Kerberos V5", 7: "GSSAPI", 9: "SSPI"}


class ServerRefusedLogin(Exception):
    """The server said no, or we did (`RefusedByUs`). A log line, not an answer to a client.

    `sqlstate` is the server's; 28P01 or 28000 where the refusal is ours. `message` is fit for a log line.
    """

    def __init__(self, sqlstate: str, message: str, at_once: bool = False) -> None:
        """`at_once`: the server said no before it asked for anything."""
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate
        self.message = message
        self.at_once = at_once


class RefusedByUs(ServerRefusedLogin):
    """The server asks for what we cannot or must not give."""


@dataclass(frozen=True, slots=True)
class Channel:
    """What a login is said over."""

    private: bool = False  #: a cleartext password on it can be read by nobody else: TLS, or a Unix socket
    encrypted: bool = False
    #: tls-server-end-point; None: nothing to bind to
    end_point: bytes | None = field(default=None, repr=False)
    binding: str = "prefer"  #: libpq's channel_binding: disable, prefer, require


@dataclass(frozen=True, slots=True)
class ServerGreeting:
    """What a server tells at login. `status` is one of codes.STATUS_*; `key` has 4 to 256 bytes.

    A server that sends no BackendKeyData takes no cancel requests: pid 0 and an empty key.
    """

    parameters: dict[bytes, bytes]
    pid: int
    key: bytes = field(repr=False)
    status: int = codes.STATUS_IDLE


class ScramKeyCache:
    """Derived keys by (password, salt, iterations): a role's salt stays, so stretching is needed once for it.

    Bounded, the least recently used goes first. Holds no password: the index is an HMAC under a key of its
    own. Touched by one thread only; what runs elsewhere is the derivation alone.
    """

    __slots__ = ("_index_key", "_keys", "_size")

    def __init__(self, size: int = 1000) -> None:
        self._size = size
        self._index_key = os.urandom(32)
        self._keys: OrderedDict[bytes, scram.ScramKeys] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, password: str, salt: bytes, iterations: int) -> scram.ScramKeys | None:
        index = self._index(password, salt, iterations)
        keys = self._keys.get(index)
        if keys is not None:
            self._keys.move_to_end(index)
        return keys

    def put(self, password: str, salt: bytes, iterations: int, keys: scram.ScramKeys) -> None:
        self._keys[self._index(password, salt, iterations)] = keys
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)

    def _index(self, password: str, salt: bytes, iterations: int) -> bytes:
        # Lengths first: no two triples share a text.
        secret = password.encode("utf-8", "surrogateescape")
        return hmac.digest(self._index_key, b"%d %d %b%b" % (iterations, len(salt), salt, secret), "sha256")


_NO_PASSWORD = (
    "the server asks for a password and none is configured for this user: give the database a url with user "
    "and password, or add [users.NAME] with the password itself"
)


def server_login(
    user: str,
    password: str | scram.ScramProof | None,
    parameters: Mapping[str, str],
    channel: Channel,
    keys: ScramKeyCache,
    methods: frozenset[str] = auth_methods.ALL,
) -> Dialogue[ServerGreeting]:
    """Opens a session as `user`. `parameters`: the rest of the startup message, "database" at least.

    `methods`: what the server may ask for (auth_methods). Raises ServerRefusedLogin, or
    UnexpectedServerAnswer where the server breaks the protocol or proves an impostor.
    """
    yield Send(messages.startup_message({"user": user, **parameters}, PROTOCOL_MINOR))
    try:
        code, data = yield from _authentication_request()
    except ServerRefusedLogin as refusal:
        raise ServerRefusedLogin(refusal.sqlstate, refusal.message, at_once=True) from None
    if code in _ASKED and _ASKED[code][0] not in methods:
        raise RefusedByUs("28000", f"the server asks for {_ASKED[code][1]}: not by require_auth")
    if channel.binding == "require" and code != codes.AUTH_SASL:
        # Whatever else it would take, it could pass on to another server (CVE-2025-49146).
        raise RefusedByUs("28000", "channel binding is required, and the server asks for no SCRAM")
    if code != codes.AUTH_OK:
        if password is None:
            raise RefusedByUs("28P01", _NO_PASSWORD)
        yield from _authenticate(code, data, user, password, channel, keys)
        # Asked once only: a server that went on asking could step down to a weaker method, or ask for ever.
        yield from _authentication_data(codes.AUTH_OK)
    return (yield from _greeting())


def _authenticate(
    code: int,
    data: bytes,
    user: str,
    password: str | scram.ScramProof,
    channel: Channel,
    keys: ScramKeyCache,
) -> Dialogue[None]:
    """Answers the server's one request for authentication."""
    if code == codes.AUTH_SASL:
        yield from _scram(data, password, channel, keys)
    elif isinstance(password, scram.ScramProof):
        asked = _ASKED[code][1] if code in _ASKED else f"method {code}"
        raise RefusedByUs("28P01", f"the server asks for {asked}: what clients prove by SCRAM is none")
    elif code == codes.AUTH_MD5:
        yield from _md5(data, user, password)
    elif code == codes.AUTH_CLEARTEXT and channel.private:
        yield Send(messages.password_message(password))
    else:
        raise RefusedByUs("28000", _unsupported(code))


def _unsupported(code: int) -> str:
    if code == codes.AUTH_CLEARTEXT:
        return "the server asks for a cleartext password, which is sent over TLS or Unix sockets only"
    return f"the server asks for authentication by {_METHOD_NAMES.get(code, f'method {code}')}: not supported"


def _next_message() -> Dialogue[Message]:
    """The next message that is not a notice; ServerRefusedLogin where it is an error."""
    while True:
        kind, body = yield RECEIVE
        if kind == codes.ERROR_RESPONSE:
            fields = messages.error_fields(body)
            sqlstate, text = fields.get("C", "XX000"), fields.get("M", "no message")
            raise ServerRefusedLogin(shown(sqlstate, 5), shown(text, 500))
        if kind != codes.NOTICE_RESPONSE:
            return kind, body


def _authentication_request() -> Dialogue[tuple[int, bytes]]:
    """(codes.AUTH_*, data) of the next Authentication message, and a NegotiateProtocolVersion before it."""
    kind, body = yield from _next_message()
    if kind == codes.NEGOTIATE_PROTOCOL_VERSION:
        minor, _ = messages.negotiated_version(body)
        if minor > PROTOCOL_MINOR:
            raise UnexpectedServerAnswer(
                what=f"protocol 3.{minor} offered where 3.{PROTOCOL_MINOR} was asked for"
            )
        kind, body = yield from _next_message()
    if kind != codes.AUTHENTICATION:
        raise UnexpectedServerAnswer(what=f"message type {kind:#04x} during authentication")
    return messages.authentication_fields(body)


def _scram(
    data: bytes, password: str | scram.ScramProof, channel: Channel, keys: ScramKeyCache
) -> Dialogue[None]:
    """The whole exchange. It ends with the server's proof checked: an early AuthenticationOk is refused."""
    mechanism, exchange = _chosen(messages.sasl_mechanisms(data), channel)
    yield Send(messages.sasl_initial_response(mechanism, exchange.first()))
    salt, iterations = exchange.challenge((yield from _authentication_data(codes.AUTH_SASL_CONTINUE)))
    cached: scram.ScramKeys | None
    if isinstance(password, scram.ScramProof):
        cached = derived = _passed_on(password, salt, iterations)
    else:
        cached = keys.get(password, salt, iterations)
        derived = cached or (yield Offload(partial(scram.derive_keys, password, salt, iterations)))
    yield Send(messages.sasl_response(exchange.final(derived)))
    exchange.verify((yield from _authentication_data(codes.AUTH_SASL_FINAL)))
    # Only what a server has accepted is kept: wrong passwords and made-up salts must not fill the cache.
    if cached is None:
        assert isinstance(password, str)
        keys.put(password, salt, iterations, derived)


def _passed_on(proof: scram.ScramProof, salt: bytes, iterations: int) -> scram.ScramKeys:
    """The keys of a client that has logged in, where the server holds the secret that it was checked
    against."""
    if proof.salt != salt or proof.iterations != iterations:
        raise RefusedByUs(
            "28P01",
            "the server's SCRAM secret of this user is not the one that clients are checked against here: "
            "copy it from pg_authid, or configure the password",
        )
    return proof.keys


def _chosen(offered: Sequence[bytes], channel: Channel) -> tuple[bytes, scram.ScramClient]:
    """The mechanism, bound to the TLS connection where that can be, as libpq chooses it (fe-auth.c)."""
    nonce = scram.new_nonce()
    could = channel.end_point is not None and channel.binding != "disable"
    if could and scram.MECHANISM_PLUS in offered:
        return scram.MECHANISM_PLUS, scram.ScramClient(nonce, binding=channel.end_point)
    if channel.binding == "require":
        raise RefusedByUs("28000", f"no channel binding, and it is required: {_unbound(channel)}")
    if scram.MECHANISM not in offered:
        names = shown(b", ".join(offered).decode("ascii", "replace"))
        raise RefusedByUs("28000", f"the server offers no SASL mechanism that we speak: {names}")
    # "y": we could, and you say that you cannot. A server that can knows then that somebody is in between.
    return scram.MECHANISM, scram.ScramClient(nonce, header=scram.UNOFFERED_HEADER if could else b"n,,")


def _unbound(channel: Channel) -> str:
    if not channel.encrypted:
        return "the connection has no TLS"
    if channel.end_point is None:
        return "the signature of the server's certificate has no hash to bind to"
    return "the server does not offer it"


def _authentication_data(expected: int) -> Dialogue[bytes]:
    """What follows the code of the next Authentication message, which must be this one."""
    code, data = yield from _authentication_request()
    if code != expected:
        raise UnexpectedServerAnswer(what=f"authentication request {code} where {expected} was due")
    return data


def _md5(salt: bytes, user: str, password: str) -> Dialogue[None]:
    if len(salt) != 4:
        raise UnexpectedServerAnswer(what="malformed AuthenticationMD5Password")
    yield Send(messages.password_message(md5_response(md5_hash(user, password), salt)))


def _greeting() -> Dialogue[ServerGreeting]:
    """What follows AuthenticationOk, up to ReadyForQuery."""
    parameters: dict[bytes, bytes] = {}
    reported = 0
    pid, key = 0, b""
    while True:
        kind, body = yield from _next_message()
        if kind == codes.PARAMETER_STATUS:
            name, value = messages.parameter_status_fields(body)
            parameters[name] = value
            reported += len(body)
            if len(parameters) > codes.MAX_REPORTED or reported > codes.MAX_REPORTED_BYTES:
                raise UnexpectedServerAnswer(what="no end of parameters reported during login")
        elif kind == codes.BACKEND_KEY_DATA:
            pid, key = messages.backend_key_fields(body)
        elif kind == codes.READY_FOR_QUERY:
            return ServerGreeting(parameters, pid, key, messages.ready_status(body))
        else:
            raise UnexpectedServerAnswer(what=f"message type {kind:#04x} during login")
