"""A client proves who it is (manual: Message Flow, Start-up; SASL Authentication). No I/O, no settings.

It begins after the startup message. On success it returns; AuthenticationOk and all that follows it is the
caller's, who sends everything in one write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from poolproxy.auth.credentials import UserSecret
from poolproxy.auth.dialogue import RECEIVE, Dialogue, Message, Send
from poolproxy.errors import AuthenticationFailed, ProtocolViolation
from poolproxy.protocol import codes, messages, scram
from poolproxy.protocol.md5 import md5_matches

AuthMethod = Literal["scram-sha-256", "md5", "trust"]

# The same for every login.
_OFFER_SCRAM = Send(messages.authentication_sasl([scram.MECHANISM]))


def client_login(
    method: AuthMethod, user: str, secret: UserSecret, random_bytes: Callable[[int], bytes]
) -> Dialogue[bytes]:
    """Authenticates one client against `secret` (from Credentials.lookup: a mock where the user is unknown).

    Returns the bytes to send right before AuthenticationOk: AuthenticationSASLFinal, or none. Raises
    AuthenticationFailed, or ProtocolViolation where the client does not keep to the protocol. "trust" asks
    nothing and lets unknown users in. `random_bytes` is os.urandom, except in tests.
    """
    if method == "scram-sha-256":
        return (yield from _scram_login(user, secret, random_bytes))
    if method == "md5":
        yield from _md5_login(user, secret, random_bytes)
    return b""


def _scram_login(user: str, secret: UserSecret, random_bytes: Callable[[int], bytes]) -> Dialogue[bytes]:
    yield _OFFER_SCRAM
    mechanism, client_first = messages.sasl_initial_fields(_body((yield RECEIVE)))
    if mechanism != scram.MECHANISM:
        raise ProtocolViolation(what="client selected an invalid SASL authentication mechanism")
    if client_first is None:
        # RFC 4422: the first message may come apart; an empty challenge asks for it.
        yield Send(messages.authentication_sasl_continue(b""))
        client_first = _body((yield RECEIVE))
    exchange = scram.ScramServer(secret.scram, lambda: scram.new_nonce(random_bytes))
    yield Send(messages.authentication_sasl_continue(exchange.first(client_first)))
    client_final = _body((yield RECEIVE))
    try:
        server_final = exchange.final(client_final)
    except scram.ProofRejected:
        raise AuthenticationFailed(user=user) from None
    # A mock cannot be matched; this holds even if its keys became known.
    if not secret.known:
        raise AuthenticationFailed(user=user)
    return messages.authentication_sasl_final(server_final)


def _md5_login(user: str, secret: UserSecret, random_bytes: Callable[[int], bytes]) -> Dialogue[None]:
    salt = random_bytes(4)
    yield Send(messages.authentication_md5(salt))
    response = messages.password_text(_body((yield RECEIVE)))
    matches = md5_matches(secret.md5, salt, response)
    if not (matches and secret.known):
        raise AuthenticationFailed(user=user)


def _body(message: Message) -> bytes:
    """The body of a client's answer; every kind of it has the letter p."""
    kind, body = message
    if kind != codes.PASSWORD:
        raise ProtocolViolation(what=f"expected a password or SASL response, got message type {kind:#04x}")
    return body
