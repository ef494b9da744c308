"""TLS towards clients: who may have it, who must, and what is known of a connection that has it.

Must not know OpenSSL's workings (transport/handshake.py) nor how a login goes on.
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
from poolproxy.tls import ClientTls, NamedObject
from poolproxy.transport.handshake import Cost, Handshake, HandshakeFailed
from poolproxy.transport.stream import Stream
from poolproxy.transport.tls_stream import TlsStream
from poolproxy.transport.workers import Workers


class Encryption:
    """What a handshake has shown. Read when somebody asks: most logins are never asked."""

    __slots__ = ("_tls", "end_point")

    def __init__(self, tls: ssl.SSLObject, end_point: bytes | None) -> None:
        self._tls = tls
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
    def server_name(self) -> str | None:
        """By which name the client has called us."""
        return self._tls.server_name if isinstance(self._tls, NamedObject) else None

    @property
    def certificate(self) -> PeerCertificate | None:
        """The client's, verified."""
        return self._tls.getpeercert() or None


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
        self._cost = Cost()
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

        def over(encrypted: TlsStream | None, known: ssl.SSLObject, failure: HandshakeFailed | None) -> None:
            reason = str(failure) if failure is not None else ""
            if encrypted is not None and direct and known.selected_alpn_protocol() != ALPN:
                # Else a page of the web's could have a browser speak to us (ALPACA).
                reason = f"direct TLS without ALPN {ALPN}"
            if reason:
                self.handshakes["failed"] += 1
                ended(encrypted, None, TlsHandshakeFailed(reason=reason))
            else:
                self.handshakes["ok"] += 1
                ended(encrypted, Encryption(known, binding), None)

        Handshake(stream, tls.context, self.workers, self._cost, since, over)

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
