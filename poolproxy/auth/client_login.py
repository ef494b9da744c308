"""A client proves who it is (manual: Message Flow, Start-up; SASL Authentication). No I/O, no settings.

It begins after the startup message. When it is done, AuthenticationOk and all that follows it is the
caller's, who sends everything in one write. Not a generator, as our own login to PostgreSQL is: this side
runs for every client, and a method costs a third of a generator within a generator. Compiled.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import partial
from typing import Literal

from poolproxy.auth.credentials import UserSecret
from poolproxy.errors import AuthenticationFailed, ProtocolViolation
from poolproxy.protocol import messages
from poolproxy.protocol.codes import PASSWORD
from poolproxy.protocol.md5 import md5_hash, md5_matches
from poolproxy.protocol.messages import (
    authentication_sasl_continue,
    authentication_sasl_final,
    sasl_initial_fields,
)
from poolproxy.protocol.scram import (
    MECHANISM,
    MECHANISM_PLUS,
    ProofRejected,
    ScramKeys,
    ScramProof,
    ScramServer,
    new_nonce,
)

AuthMethod = Literal["scram-sha-256", "md5", "password", "iam", "cert", "peer", "trust"]
RandomBytes = Callable[[int], bytes]

# The same for every login.
_ASK_PASSWORD = messages.authentication_cleartext()
_OFFER_SCRAM = messages.authentication_sasl([MECHANISM])
_OFFER_BINDING = messages.authentication_sasl([MECHANISM_PLUS, MECHANISM])


class Secrets:
    """Whose secrets a login is checked against."""

    __slots__ = ()

    def secret(self, user: str) -> UserSecret:
        """What the user has to prove, a mock for one that does not exist."""
        raise NotImplementedError  # abstract


class ClientLogin:
    """How one client logs in. `begin` once, then `answer` for each of its messages, until `done`.

    Both return the bytes to send next. Those returned last go out right before AuthenticationOk, in the same
    write. Raises AuthenticationFailed, or ProtocolViolation where the client does not keep to the protocol.
    This one asks nothing, and lets unknown users in: "trust", and "cert" and "peer", where TLS or the kernel
    has been asked already.
    """

    __slots__ = ("_random_bytes", "_secrets", "_user", "done", "token", "work")

    def __init__(self, user: str, secrets: Secrets, random_bytes: RandomBytes) -> None:
        """`secrets` are asked once it is known that they are needed, and for every user alike."""
        self._user = user
        self._secrets = secrets
        self._random_bytes = random_bytes
        self.done = False
        self.work: Callable[[], bool] | None = None  #: to be computed elsewhere, then `conclude`
        self.token = ""  #: to be tried on the server, then `conclude`

    def begin(self) -> bytes:
        """The first request for authentication."""
        self.done = True
        return b""

    def answer(self, kind: int, body: bytes) -> bytes:
        """Take a whole message of this type letter; the caller bounds its length."""
        if kind != PASSWORD or self.done:  # every kind of answer has the letter p
            raise ProtocolViolation(what=f"expected a password or SASL response, got type {kind:#04x}")
        return self._answer(body)

    def conclude(self, result: bool) -> bytes:
        """What `work` has returned, which an answer has left: the bytes to send next."""
        raise NotImplementedError  # abstract: only where there is work

    def proof(self) -> str | ScramProof | None:
        """What can be passed on to servers: once it is done. None: nothing."""
        return None

    def ahead(self) -> None:
        """Do what can be done before the client's next message; call it when it has been sent what it is to
        answer. Nothing has to: it saves the client a wait."""

    def _answer(self, body: bytes) -> bytes:
        raise NotImplementedError  # abstract: each method that asks has its own


class ScramLogin(ClientLogin):
    """SCRAM-SHA-256: a choice of mechanism with a first message, then a final one."""

    __slots__ = ("_binding", "_bound", "_chosen", "_exchange", "_secret")

    def bind_to(self, binding: bytes | None) -> None:
        """Offer to bind to this TLS connection; None: there is none, or nothing in it to bind to."""
        self._binding = binding

    def begin(self) -> bytes:
        self._exchange: ScramServer | None = None
        self._secret: UserSecret | None = None
        self._chosen = False
        self._bound = False
        return _OFFER_SCRAM if self._binding is None else _OFFER_BINDING

    def ahead(self) -> None:
        if self._exchange is not None:
            self._exchange.ahead()
        elif self._secret is None:
            self._secret = self._secrets.secret(self._user)

    def _answer(self, body: bytes) -> bytes:
        if self._exchange is not None:
            return self._final(self._exchange, body)
        if self._chosen:
            return self._first(body)
        self._chosen = True
        mechanism, client_first = sasl_initial_fields(body)
        self._bound = mechanism == MECHANISM_PLUS and self._binding is not None
        if mechanism != MECHANISM and not self._bound:
            raise ProtocolViolation(what="client selected an invalid SASL authentication mechanism")
        if client_first is None:
            # RFC 4422: the first message may come apart; an empty challenge asks for it.
            return authentication_sasl_continue(b"")
        return self._first(client_first)

    def _first(self, client_first: bytes) -> bytes:
        if self._secret is None:
            self._secret = self._secrets.secret(self._user)
        self._exchange = ScramServer(
            self._secret.scram, new_nonce(self._random_bytes), self._binding, self._bound
        )
        return authentication_sasl_continue(self._exchange.first(client_first))

    def _final(self, exchange: ScramServer, client_final: bytes) -> bytes:
        try:
            server_final = exchange.final(client_final)
        except ProofRejected:
            raise AuthenticationFailed(user=self._user) from None
        assert self._secret is not None
        # A mock cannot be matched; this holds even if its keys became known.
        if not self._secret.known:
            raise AuthenticationFailed(user=self._user)
        self.done = True
        return authentication_sasl_final(server_final)

    def proof(self) -> str | ScramProof | None:
        exchange, secret = self._exchange, self._secret
        if exchange is None or secret is None or not exchange.client_key:
            return None
        keys = ScramKeys(exchange.client_key, secret.scram.server_key)
        return ScramProof(keys, secret.scram.salt, secret.scram.iterations)


class Md5Login(ClientLogin):
    """A hash of the stored hash and a salt."""

    __slots__ = ("_salt",)

    def begin(self) -> bytes:
        self._salt = self._random_bytes(4)
        return messages.authentication_md5(self._salt)

    def _answer(self, body: bytes) -> bytes:
        secret = self._secrets.secret(self._user)
        matches = md5_matches(secret.md5, self._salt, messages.password_text(body))
        if not (matches and secret.known):
            raise AuthenticationFailed(user=self._user)
        self.done = True
        return b""


class PasswordLogin(ClientLogin):
    """The password itself, which is stretched and compared with what SCRAM stores. Whoever chooses this
    sees to it that nobody can listen."""

    __slots__ = ("_password",)

    def begin(self) -> bytes:
        self._password = ""
        return _ASK_PASSWORD

    def _answer(self, body: bytes) -> bytes:
        # The same work for a name that nobody has: its secret is a mock.
        secret = self._secrets.secret(self._user)
        self._password = messages.password_text(body).decode("utf-8", "surrogateescape")
        self.work = partial(_is_password, secret, self._user, self._password)
        return b""

    def conclude(self, result: bool) -> bytes:
        self.work = None
        if not result:
            raise AuthenticationFailed(user=self._user)
        self.done = True
        return b""

    def proof(self) -> str | ScramProof | None:
        return self._password if self.done else None


class TokenLogin(PasswordLogin):
    """A token in place of the password, of which the server alone knows what it is worth: "iam"."""

    __slots__ = ()

    def _answer(self, body: bytes) -> bytes:
        self._password = self.token = messages.password_text(body).decode("utf-8", "surrogateescape")
        if not self.token:
            raise AuthenticationFailed(user=self._user)
        return b""

    def conclude(self, result: bool) -> bytes:
        self.token = ""
        return PasswordLogin.conclude(self, result)


def _is_password(secret: UserSecret, user: str, password: str) -> bool:
    """A few milliseconds: not for the data plane's thread."""
    by_scram = secret.scram.is_of(password)
    by_md5 = hmac.compare_digest(secret.md5, md5_hash(user, password))
    return (by_scram or by_md5) and secret.known and bool(password)


def client_login(
    method: AuthMethod, user: str, secrets: Secrets, random_bytes: RandomBytes, binding: bytes | None = None
) -> ClientLogin:
    """The login of this method, not begun. `random_bytes` is os.urandom, except in tests; `binding`: what
    SCRAM may bind to."""
    if method == "scram-sha-256":
        login = ScramLogin(user, secrets, random_bytes)
        login.bind_to(binding)
        return login
    if method == "md5":
        return Md5Login(user, secrets, random_bytes)
    if method == "password":
        return PasswordLogin(user, secrets, random_bytes)
    if method == "iam":
        return TokenLogin(user, secrets, random_bytes)
    return ClientLogin(user, secrets, random_bytes)
