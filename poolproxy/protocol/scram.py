"""SCRAM-SHA-256 from both ends (RFC 5802, RFC 7677), as PostgreSQL speaks it.

Bytes in, bytes out: no I/O, no users, no messages of the wire protocol. The server's end does no key
stretching: it works from a stored secret, with two short HMACs per login. The client's end needs
`derive_keys`, which takes milliseconds by design; the caller runs it off the data-plane thread and may keep
its result.

Either end may bind the exchange to the TLS connection it is made over, by tls-server-end-point (RFC 5929,
4): TLS ends at the proxy, so each side of it has a binding of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from dataclasses import dataclass

from poolproxy.errors import ChannelBindingFailed, ProtocolViolation, UnexpectedServerAnswer
from poolproxy.protocol.pieces import cut, find, xor
from poolproxy.protocol.saslprep import saslprep

MECHANISM = b"SCRAM-SHA-256"
#: The same, bound to a TLS connection.
MECHANISM_PLUS = b"SCRAM-SHA-256-PLUS"
#: PostgreSQL's default (scram_iterations) and its salt length in bytes (SCRAM_DEFAULT_SALT_LEN).
DEFAULT_ITERATIONS = 4096
SALT_LENGTH = 16
#: What a server may ask of us: more iterations would let it burn our CPU, RFC 7677 recommends no fewer than
#: 4096.
MAX_ITERATIONS = 100_000
MAX_SALT_LENGTH = 1024
MAX_NONCE_LENGTH = 1024
_KEY_LENGTH = 32
_BLOCK_LENGTH = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))
_NONCE_LENGTH = 24
# Any byte -> one of 64 printable characters, each as likely as the others.
_PRINTABLE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" * 4

# GS2 header -> its base64, which the client's final message repeats. "y": it could bind, and believes we
# cannot.
_GS2_HEADERS = {b"n,,": b"biws", b"y,,": b"eSws"}
#: That of who binds.
BINDING_HEADER = b"p=tls-server-end-point,,"
#: And of a client that would, where the server offers nothing to bind to.
UNOFFERED_HEADER = b"y,,"


class ProofRejected(Exception):
    """The client's proof is wrong: it does not know the password."""


class Mac:
    """HMAC-SHA-256 under a key that stays (RFC 2104). Its two padded blocks are hashed once, not for every
    message: 0.6 us instead of the 1.5 us that hmac.digest takes to find the algorithm and to set itself up.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """`key` has at most 64 bytes, SHA-256's block."""
        if len(key) > _BLOCK_LENGTH:
            raise ValueError("an HMAC key of at most 64 bytes is expected")
        block = key.ljust(_BLOCK_LENGTH, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER_PAD))
        self._outer = hashlib.sha256(block.translate(_OUTER_PAD))

    def digest(self, message: bytes) -> bytes:
        """The 32 bytes of the message's HMAC."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


_EMPTY = hashlib.sha256()


def _hashed(text: bytes) -> bytes:
    """SHA-256. A copy, for to set up a new one OpenSSL looks for its algorithm."""
    state = _EMPTY.copy()
    state.update(text)
    return state.digest()


class ScramSecret:
    """What a server stores instead of a password. Its thief can pose as the server, not as the client.

    Immutable. What every login with it would have to compute again is computed here.
    """

    __slots__ = (
        "_asked", "_challenge", "_server_mac", "_stored_mac", "iterations", "salt", "server_key",
        "stored_key",
    )  # fmt: skip

    def __init__(self, iterations: int, salt: bytes, stored_key: bytes, server_key: bytes) -> None:
        self.iterations = iterations
        self.stored_key = stored_key
        self.server_key = server_key
        self._asked = b",i=%d" % iterations
        self._stored_mac = Mac(stored_key)
        self._server_mac = Mac(server_key)
        self._ask_with(salt)

    def _ask_with(self, salt: bytes) -> None:
        self.salt = salt
        self._challenge = b",s=" + _b64(salt) + self._asked

    def salted(self, salt: bytes) -> ScramSecret:
        """The same keys under another salt, not prepared again: for mocks, which nothing matches."""
        other = ScramSecret.__new__(ScramSecret)
        other.stored_key, other.server_key = self.stored_key, self.server_key
        other._stored_mac, other._server_mac = self._stored_mac, self._server_mac
        other.iterations, other._asked = self.iterations, self._asked
        other._ask_with(salt)
        return other

    def is_of(self, password: str) -> bool:
        """Whether it was made from this password. As slow as `derive_keys`."""
        keys = derive_keys(password, self.salt, self.iterations)
        return hmac.compare_digest(_hashed(keys.client_key), self.stored_key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScramSecret) and self.format() == other.format()

    def __hash__(self) -> int:
        return hash(self.format())

    def __repr__(self) -> str:
        return f"ScramSecret(iterations={self.iterations})"

    @classmethod
    def parse(cls, text: str) -> ScramSecret:
        """From pg_authid: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. Else ValueError.

        The message of the error names no part of the text: a password may have been put there by mistake.
        """
        try:
            mechanism, parameters, keys = text.split("$")
            iterations, salt = parameters.encode("ascii").split(b":")
            stored_key, server_key = keys.encode("ascii").split(b":")
            secret = cls(_count(iterations), *map(_decoded, (salt, stored_key, server_key)))
        except ValueError:
            raise ValueError("not a SCRAM-SHA-256 secret") from None
        right_keys = len(secret.stored_key) == len(secret.server_key) == _KEY_LENGTH
        if mechanism != "SCRAM-SHA-256" or not (secret.iterations and secret.salt and right_keys):
            raise ValueError("not a SCRAM-SHA-256 secret")
        return secret

    def format(self) -> str:
        """The text that `parse` reads and PostgreSQL's CREATE ROLE ... PASSWORD takes."""
        salt, stored, server = (_b64(part).decode() for part in (self.salt, self.stored_key, self.server_key))
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


@dataclass(frozen=True, slots=True, repr=False)
class ScramKeys:
    """The client's end of a ScramSecret. Enough to log in: as precious as the password."""

    client_key: bytes
    server_key: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ScramProof:
    """What a client has shown by logging in: it opens servers that hold the same secret."""

    keys: ScramKeys
    salt: bytes
    iterations: int


def derive_keys(password: str, salt: bytes, iterations: int) -> ScramKeys:
    """The slow part, about 1 ms per 4096 iterations. PBKDF2 releases the GIL: run it on another thread."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password), salt, iterations)
    return ScramKeys(
        hmac.digest(salted, b"Client Key", "sha256"), hmac.digest(salted, b"Server Key", "sha256")
    )


def secret_from_password(
    password: str, iterations: int = DEFAULT_ITERATIONS, salt: bytes | None = None
) -> ScramSecret:
    """A secret for a password; with a fresh random salt unless one is given. As slow as `derive_keys`."""
    chosen = os.urandom(SALT_LENGTH) if salt is None else salt
    keys = derive_keys(password, chosen, iterations)
    return ScramSecret(iterations, chosen, hashlib.sha256(keys.client_key).digest(), keys.server_key)


def new_nonce(random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """24 printable characters of 6 random bits each, as many as PostgreSQL's."""
    drawn = random_bytes(_NONCE_LENGTH)
    return drawn.translate(_PRINTABLE)


def _signatures(secret: ScramSecret, auth_message: bytes) -> tuple[bytes, bytes]:
    """What both ends sign: ClientSignature, and server-final-message with ServerSignature."""
    signature = secret._stored_mac.digest(auth_message)
    return signature, b"v=" + _b64(secret._server_mac.digest(auth_message))


class ScramServer:
    """The server's end of one login: `first`, then `final`, once each. Every fault of the client's raises.

    Between them `ahead` may be called, while the client is at work: it does what `final` would have to do.
    """

    __slots__ = (
        "_ahead", "_binding", "_bound", "_expected", "_first_messages", "_nonce", "_secret", "client_key",
    )  # fmt: skip

    def __init__(
        self, secret: ScramSecret, nonce: bytes = b"", binding: bytes | None = None, bound: bool = False
    ) -> None:
        """`nonce`: ours, printable; a new one unless it is given. `binding`: what we have offered to bind to;
        `bound`: the client has chosen to, by its mechanism."""
        if bound and binding is None:
            raise ValueError("there is nothing to bind to")
        self._secret = secret
        self._binding = binding
        self._bound = bound
        self._nonce = nonce or new_nonce()
        self._first_messages = b""
        self._expected = b""
        self._ahead: tuple[bytes, bytes] | None = None
        self.client_key = b""  #: the client's, once it has proved that it knows the password

    def first(self, client_first: bytes) -> bytes:
        """server-first-message. ProtocolViolation where the message is malformed or wants binding,
        ChannelBindingFailed where it does not want what we have offered."""
        # [reserved-mext ","] username "," nonce ["," extensions]. PostgreSQL ignores the name: the startup
        # message's counts. Unknown extensions are ignored as well; a mandatory one ("m=") is not a name, so
        # it is refused.
        size = len(client_first)
        start = len(BINDING_HEADER) if self._bound else 3
        header = cut(client_first, 0, min(start, size))
        encoded_header = self._encoded(header)
        comma = _attribute(client_first, start, 0x6E)
        end = _attribute(client_first, comma + 1, 0x72)
        if end < 0 or find(client_first, 0, start) >= 0:
            raise ProtocolViolation(what="malformed SCRAM client-first-message")
        _check_nonce(client_first, comma + 3, end)
        nonces = cut(client_first, comma + 1, end) + self._nonce
        server_first = nonces + self._secret._challenge
        self._first_messages = b"".join((cut(client_first, start, size), b",", server_first, b","))
        self._expected = b"".join((b"c=", encoded_header, b",", nonces))
        return server_first

    def _encoded(self, header: bytes) -> bytes:
        """What the final message must repeat of this header, in base64, the binding behind it."""
        if self._bound:
            if header != BINDING_HEADER or self._binding is None:
                raise ProtocolViolation(what=_gs2_fault(header, True))
            return _b64(BINDING_HEADER + self._binding)
        encoded = _GS2_HEADERS.get(header)
        if encoded is None:
            raise ProtocolViolation(what=_gs2_fault(header, False))
        if self._binding is not None and header == UNOFFERED_HEADER:
            # We have offered it: somebody in between has taken that out (RFC 5802, 6).
            raise ChannelBindingFailed(reason="it was offered, and the client believes it was not")
        return encoded

    def ahead(self) -> None:
        """Sign the exchange as it will be, unless the client's final message has extensions."""
        self._ahead = _signatures(self._secret, self._first_messages + self._expected)

    def final(self, client_final: bytes) -> bytes:
        """server-final-message, which proves to the client that we hold the secret.

        Raises ProtocolViolation where the message does not continue this exchange, ChannelBindingFailed where
        it is bound to another certificate, ProofRejected where it continues, but the proof is wrong.
        """
        expected = self._expected
        size, repeated = len(client_final), len(expected)
        # What this exchange must repeat (header and nonces), then at most optional extensions. A nonce that
        # is not this login's is how a replayed message shows.
        same = size > repeated and cut(client_final, 0, repeated) == expected
        behind = _proof(client_final, repeated) if same else -1
        if behind < 0:
            if self._bound and client_final.partition(b",")[0] != expected.partition(b",")[0]:
                # What it saw was another certificate than ours: somebody in the middle has one of his own.
                raise ChannelBindingFailed(reason="it is to another certificate than ours")
            raise ProtocolViolation(what="SCRAM client-final-message does not continue this exchange")
        try:
            claimed = _decoded(cut(client_final, behind + 3, size))
        except ValueError:
            raise ProtocolViolation(what="malformed SCRAM proof") from None
        if len(claimed) != _KEY_LENGTH or not expected:
            raise ProtocolViolation(what="malformed SCRAM proof")
        self._expected = b""
        # Both signatures before the verdict, so that a right and a wrong proof cost the same.
        signatures = self._ahead
        if signatures is None or behind != repeated:
            signatures = _signatures(self._secret, self._first_messages + cut(client_final, 0, behind))
        signature, server_final = signatures
        client_key = xor(claimed, signature)
        if not hmac.compare_digest(_hashed(client_key), self._secret.stored_key):
            raise ProofRejected
        self.client_key = client_key
        return server_final


class ScramClient:
    """The client's end of one login: `first`, `challenge`, `final`, `verify`, in this order, once each."""

    __slots__ = ("_bare", "_binding", "_header", "_nonce", "_nonces", "_server_first", "_server_signature")

    def __init__(
        self, nonce: bytes, user: bytes = b"", header: bytes = b"n,,", binding: bytes | None = None
    ) -> None:
        """`nonce`: printable, new each time. `user`: PostgreSQL ignores it, it reads the startup message.

        `header`: "n,,"; or "y,," where we could bind and the server offers nothing to bind with.
        `binding`: what SCRAM-SHA-256-PLUS binds to, in place of either.
        """
        self._nonce = nonce
        self._header = BINDING_HEADER if binding is not None else header
        self._binding = binding or b""
        self._bare = b"n=%b,r=%b" % (user, nonce)
        self._nonces = self._server_first = b""
        self._server_signature = b""

    def first(self) -> bytes:
        """client-first-message."""
        return self._header + self._bare

    def challenge(self, server_first: bytes) -> tuple[bytes, int]:
        """(salt, iterations) for `derive_keys`, checked against our bounds."""
        fields = server_first.split(b",")
        if len(fields) < 3 or [part[:2] for part in fields[:3]] != [b"r=", b"s=", b"i="]:
            raise UnexpectedServerAnswer(what="malformed SCRAM server-first-message")
        nonces, salt, iterations = (part[2:] for part in fields[:3])
        # The server must add to the nonce: with ours alone it could replay an older exchange.
        if not nonces.startswith(self._nonce) or not len(self._nonce) < len(nonces) <= 2 * MAX_NONCE_LENGTH:
            raise UnexpectedServerAnswer(what="SCRAM server nonce does not continue ours")
        self._nonces, self._server_first = nonces, server_first
        return _server_salt(salt), _server_iterations(iterations)

    def final(self, keys: ScramKeys) -> bytes:
        """client-final-message, with the proof."""
        without_proof = b"c=%b,r=%b" % (_b64(self._header + self._binding), self._nonces)
        auth_message = b"%b,%b,%b" % (self._bare, self._server_first, without_proof)
        stored_key = hashlib.sha256(keys.client_key).digest()
        self._server_signature = hmac.digest(keys.server_key, auth_message, "sha256")
        proof = xor(keys.client_key, hmac.digest(stored_key, auth_message, "sha256"))
        return b"%b,p=%b" % (without_proof, _b64(proof))

    def verify(self, server_final: bytes) -> None:
        """UnexpectedServerAnswer unless the server has proved that it holds our secret and is no impostor."""
        claimed, _, _ = server_final.partition(b",")
        if claimed[:2] != b"v=":
            raise UnexpectedServerAnswer(what="malformed SCRAM server-final-message")
        try:
            signature = _decoded(claimed[2:])
        except ValueError:
            raise UnexpectedServerAnswer(what="malformed SCRAM server signature") from None
        if not self._server_signature or not hmac.compare_digest(signature, self._server_signature):
            raise UnexpectedServerAnswer(what="its SCRAM signature is wrong: it does not know our password")


def _gs2_fault(header: bytes, bound: bool) -> str:
    """What to tell a client whose GS2 header is not one of ours."""
    if bound:
        return "SCRAM channel binding is by tls-server-end-point only, without an authorization identity"
    if header[:1] == b"p":
        return "SCRAM channel binding was not offered"
    if header[:2] in (b"n,", b"y,"):
        return "SCRAM authorization identity is not supported"
    return "malformed SCRAM client-first-message"


def _attribute(text: bytes, start: int, letter: int) -> int:
    """Where the attribute of this letter ("r=...") that begins at `start` ends; -1 where there is none."""
    if start <= 0 or start + 2 > len(text) or text[start] != letter or text[start + 1] != 0x3D:
        return -1
    comma = find(text, 0x2C, start)
    return comma if comma >= 0 else len(text)


def _proof(text: bytes, comma: int) -> int:
    """Where ",p=" is, the last attribute, from the comma at this place on; -1 where there is none."""
    if text[comma] != 0x2C:
        return -1
    while comma >= 0 and comma + 3 <= len(text):
        if text[comma + 1] == 0x70 and text[comma + 2] == 0x3D:
            return comma
        comma = find(text, 0x2C, comma + 1)
    return -1


def _check_nonce(text: bytes, start: int, end: int) -> None:
    """The nonce is text[start:end]."""
    if not 0 < end - start <= MAX_NONCE_LENGTH:
        raise ProtocolViolation(what="malformed SCRAM nonce")
    for index in range(start, end):
        byte = text[index]
        if byte < 0x21 or byte > 0x7E or byte == 0x2C:  # RFC 5802 "printable": visible ASCII but the comma
            raise ProtocolViolation(what="malformed SCRAM nonce")


def _server_salt(field_value: bytes) -> bytes:
    try:
        salt = _decoded(field_value)
    except ValueError:
        salt = b""
    if not 0 < len(salt) <= MAX_SALT_LENGTH:
        raise UnexpectedServerAnswer(what="malformed SCRAM salt")
    return salt


def _server_iterations(field_value: bytes) -> int:
    iterations = _count(field_value)
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise UnexpectedServerAnswer(what=f"SCRAM iterations not within 1 to {MAX_ITERATIONS}")
    return iterations


def _count(digits: bytes) -> int:
    """A count of iterations as PostgreSQL stores it (an int32); 0 for anything else."""
    count = int(digits) if digits.isdigit() and len(digits) <= 10 else 0
    return count if count <= 0x7FFFFFFF else 0


def _b64(data: bytes) -> bytes:
    line = b2a_base64(data)  # a keyword for "no newline" costs as much as the conversion
    return cut(line, 0, len(line) - 1)


def _decoded(data: bytes) -> bytes:
    """Strict base64; ValueError on anything else."""
    try:
        return a2b_base64(data, strict_mode=True)
    except Base64Error:
        raise ValueError("not base64") from None
