"""TLS towards clients: who may have it, who must, and what is known of a connection that has it.

Must not know OpenSSL's workings (transport/handshake.py) nor how a login goes on. Compiled: every login over
TLS begins here.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable

from poolproxy.auth.hba import Rule
from poolproxy.auth.ident import NO_MAPS, Maps
from poolproxy.errors import CertificateMismatch, CertificateRequired, TlsHandshakeFailed, TlsRequired
from poolproxy.protocol.certificates import PeerCertificate, common_name, distinguished_name
from poolproxy.protocol.codes import ALPN
from poolproxy.tls import ClientTls
from poolproxy.transport.client_hello import (
    FINITE_FIELDS,
    HANDSHAKE_FAILURE,
    NO_APPLICATION_PROTOCOL,
    ClientHello,
    HelloRefused,
)
from poolproxy.transport.handshake import Accepting, Cost, Handshake, HandshakeFailed
from poolproxy.transport.stream import Stream
from poolproxy.transport.tls_stream import TlsStream
from poolproxy.transport.workers import Workers


class Encryption:
    """What a handshake has shown. Read when somebody asks: most logins are never asked."""

    __slots__ = ("_tls", "end_point", "server_name")

    def __init__(self, tls: ssl.SSLObject, server_name: str | None, end_point: bytes | None) -> None:
        self._tls = tls
        self.server_name = server_name  #: by which name the client has called us
        self.end_point = end_point  #: what SCRAM is bound to

    def __repr__(self) -> str:
        return f"<Encryption {self.version} {self.cipher}>"

    @property
    def version(self) -> str:
        return self._tls.version() or ""

    @property
    def cipher(self) -> str:
        cipher = self._tls.cipher()
        return cipher[0] if cipher is not None else ""

    @property
    def certificate(self) -> PeerCertificate | None:
        """The client's, verified."""
        return self._tls.getpeercert() or None


_ALPN = ALPN.encode()

#: What is told of a handshake: the stream, if there is one, and what it has shown, or why that is not enough.
Encrypted = Callable[[TlsStream | None, Encryption | None, TlsHandshakeFailed | None], None]


class ClientEncryption:
    """See the module. One for all clients."""

    def __init__(
        self, tls: ClientTls | None, mode: str, workers: Workers, hostnames: dict[str, str] | None = None
    ) -> None:
        """`hostnames`: the database that a name of ours stands for, by the name in lower case."""
        self.tls = tls
        self.workers = workers
        self.handshakes: Counter[str] = Counter()  #: by result
        self._context: ssl.SSLContext | None = None
        self._cost = Cost()  #: of the context's key
        self.required = mode in ("require", "verify-ca", "verify-full")
        self._certified = mode in ("verify-ca", "verify-full")
        self._named = mode == "verify-full"
        self._hostnames = hostnames or {}

    def begin(self, stream: Stream, since: float, direct: bool, ended: Encrypted) -> None:
        """Answer the client's handshake, whose first bytes are to come; `direct`: it was not asked for
        first."""
        tls = self.tls
        assert tls is not None
        binding = tls.end_point
        if tls.context is not self._context:
            self._context = tls.context  # its key may be another
            self._cost = Cost()

        def over(encrypted: TlsStream | None, handshake: Handshake, failure: HandshakeFailed | None) -> None:
            if failure is not None:
                self.handshakes["failed"] += 1
                ended(None, None, TlsHandshakeFailed(reason=str(failure)))
                return
            self.handshakes["ok"] += 1
            assert isinstance(handshake, Accepting)
            hello = handshake.hello
            name = hello.server_name if hello is not None else None
            ended(encrypted, Encryption(handshake.tls, name, binding), None)

        look = _look_directly if direct else _look_asked
        Accepting(stream, tls.context, self.workers, since, over, self._cost, look)

    def check(self, encryption: Encryption | None, user: str) -> None:
        """Raises where a client must not go on as it came, where TLS is `required`."""
        if encryption is None:
            raise TlsRequired
        if self._certified:
            require_certificate(encryption, user if self._named else None)

    def database(self, encryption: Encryption, asked: str) -> str:
        """Which database the client gets: that of the name it has called us by, if it has one."""
        name = encryption.server_name
        return self._hostnames.get(name.lower(), asked) if name is not None and self._hostnames else asked


def _look_asked(hello: ClientHello) -> None:
    """Whether a client that has asked for TLS is answered. Raises HelloRefused."""
    if hello.protocols is not None and _ALPN not in hello.protocols:
        raise HelloRefused(f"the client speaks no {ALPN} (ALPN)", NO_APPLICATION_PROTOCOL)
    if hello.group in FINITE_FIELDS:
        # Up to 140 ms of computing for a stranger's one packet; PostgreSQL has only curves as well
        # (ssl_groups).
        raise HelloRefused("key exchange over a finite field is not offered", HANDSHAKE_FAILURE)


def _look_directly(hello: ClientHello) -> None:
    """The same for one that has not asked: else a page of the web's could have a browser speak to us
    (ALPACA)."""
    if hello.protocols is None:
        raise HelloRefused(f"direct TLS without ALPN {ALPN}", NO_APPLICATION_PROTOCOL)
    _look_asked(hello)


def check_channel(
    method: str,
    encryption: Encryption | None,
    local: bool,
    user: str,
    rule: Rule | None = None,
    maps: Maps = NO_MAPS,
) -> None:
    """Raises where a client must not log in by this method over what it has come by: a password that
    others can listen to, a certificate that is none of this user's. `rule`: which one says so."""
    if method in ("password", "iam") and encryption is None and not local:
        raise TlsRequired
    if method == "cert" or (rule is not None and rule.clientcert):
        named = method == "cert" or (rule is not None and rule.clientcert == "verify-full")
        require_certificate(encryption, user if named else None, rule, maps)


def require_certificate(
    encryption: Encryption | None, user: str | None = None, rule: Rule | None = None, maps: Maps = NO_MAPS
) -> None:
    """Raises where the client has shown none; or where it is not this user's, by the rule's name and map."""
    certificate = encryption.certificate if encryption is not None else None
    if certificate is None:
        raise CertificateRequired
    if user is None:
        return
    by_dn = rule is not None and rule.clientname == "DN"
    name = (distinguished_name if by_dn else common_name)(certificate)
    if name is None or not maps.lets(rule.map if rule is not None else "", name, user):
        raise CertificateMismatch(user=user)
