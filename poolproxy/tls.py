"""TLS contexts from files: for clients, made anew when a file changes; for servers, one for each way to
reach one.

Between the settings, which name the files, and the streams, which are given contexts. Must not know
connections.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from poolproxy.protocol.certificates import end_point
from poolproxy.protocol.codes import ALPN
from poolproxy.route import ServerTls

VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

#: What a change of a file shows by.
_Stamp = tuple[tuple[int, int, int] | None, ...]


class BrokenTls(Exception):
    """Files that no context can be made of; the message is for a person, and names the file."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What we show to clients, and whom we believe of them."""

    certificate: str
    key: str
    authorities: str  #: empty = nobody's certificate is asked for
    revoked: str  #: empty = no list
    least: str  #: TLS version


class ClientTls:
    """TLS towards clients as it is now. A new handshake takes `context`; those made before go on with
    theirs."""

    __slots__ = ("_files", "_stamp", "context", "end_point")

    def __init__(self, files: TlsFiles) -> None:
        """Raises BrokenTls."""
        self._files = files
        self._stamp = _stamp(files.certificate, files.key, files.authorities, files.revoked)
        self.context = client_context(files)
        #: what SCRAM-SHA-256-PLUS binds to; None = it cannot
        self.end_point = _own_end_point(files.certificate)

    def changed(self) -> bool:
        """Whether a file is another than the one that was read. Once for each change."""
        files = self._files
        stamp = _stamp(files.certificate, files.key, files.authorities, files.revoked)
        changed = stamp != self._stamp
        self._stamp = stamp
        return changed

    def read_again(self) -> Callable[[], None]:
        """Read the files, on any thread; what is returned puts them in force. Raises BrokenTls: nothing
        changes."""
        context = client_context(self._files)
        binding = _own_end_point(self._files.certificate)

        def use() -> None:
            self.context = context
            self.end_point = binding

        return use


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For the handshakes of clients. Raises BrokenTls."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[files.least]
    # No resumption, as PostgreSQL has it: a ticket's key would outlive the certificate, and be one more
    # secret. (OpenSSL's cache of TLS 1.2 sessions cannot be turned off from here; it forgets those whose
    # client has left, and keeps the others for five minutes, 20,480 at most.)
    context.num_tickets = 0
    context.options |= (
        ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_alpn_protocols([ALPN])
    _load_own(context, files.certificate, files.key)
    if files.authorities:
        _load_authorities(context, files.authorities, files.revoked)
        # Asked for, not demanded: who shows none is told so by a message that his driver shows.
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """For our handshakes with servers, as libpq would make them (manual 32.19). Raises BrokenTls."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([ALPN])
    context.check_hostname = tls.sslmode == "verify-full"
    if tls.sslrootcert == SYSTEM:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif tls.sslrootcert:
        # Whatever the mode: whoever names authorities wants to know that it is one of theirs.
        _load_authorities(context, tls.sslrootcert, "")
    else:
        context.verify_mode = ssl.CERT_NONE
    if tls.sslcert:
        _load_own(context, tls.sslcert, tls.sslkey)
    return context


#: sslrootcert: the authorities that the system trusts.
SYSTEM: Final = "system"


class ServerContexts:
    """The contexts of `server_context`, kept until a file changes."""

    def __init__(self) -> None:
        self._made: dict[ServerTls, tuple[_Stamp, ssl.SSLContext]] = {}

    def known(self, tls: ServerTls) -> ssl.SSLContext | None:
        """The one that was made of the files as they are now, if there is one."""
        made = self._made.get(tls)
        return made[1] if made is not None and made[0] == _server_stamp(tls) else None

    def make(self, tls: ServerTls) -> ssl.SSLContext:
        """Read the files: not for the event loop. Raises BrokenTls."""
        stamp = _server_stamp(tls)
        context = server_context(tls)
        self._made[tls] = (stamp, context)
        return context


def _server_stamp(tls: ServerTls) -> _Stamp:
    return _stamp("" if tls.sslrootcert == SYSTEM else tls.sslrootcert, tls.sslcert, tls.sslkey)


def _load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        # A callback, so that a key with a passphrase is an error and no question on a terminal.
        context.load_cert_chain(certificate, key or None, password=_no_passphrase)
    except _Encrypted:
        raise BrokenTls(f"{key or certificate}: the key has a passphrase: give one without") from None
    except ssl.SSLError as error:
        raise BrokenTls(f"{certificate}, {key or certificate}: {_fault(error)}") from None
    except OSError as error:
        raise BrokenTls(f"{_missing(certificate, key)} cannot be read ({error.strerror})") from None


def _load_authorities(context: ssl.SSLContext, authorities: str, revoked: str) -> None:
    for path in filter(None, (authorities, revoked)):
        try:
            context.load_verify_locations(path)
        except ssl.SSLError:
            raise BrokenTls(f"{path} holds no certificates in PEM") from None
        except OSError as error:
            raise BrokenTls(f"{path} cannot be read ({error.strerror})") from None
    if revoked:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


class _Encrypted(Exception):
    """The key wants a passphrase."""


def _no_passphrase() -> str:
    raise _Encrypted


def _fault(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is another certificate's"
    return "no certificate and key in PEM"


def _missing(certificate: str, key: str) -> str:
    return next((path for path in (certificate, key) if path and not Path(path).is_file()), certificate)


def _own_end_point(path: str) -> bytes | None:
    """Of the first certificate of a file that has just been loaded; None where it is written in another
    way."""
    text = Path(path).read_text("ascii", "replace")
    _, found, behind = text.partition(ssl.PEM_HEADER)
    try:
        return end_point(
            ssl.PEM_cert_to_DER_cert(found + behind.partition(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER)
        )
    except ValueError:
        return None


def _stamp(*paths: str) -> _Stamp:
    """Of each file what changes when it is written or replaced; None where there is none."""

    def one(path: str) -> tuple[int, int, int] | None:
        try:
            found = Path(path).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    return tuple(one(path) if path else None for path in paths)
