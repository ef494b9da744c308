"""TLS on a wire client's socket, with its records in hand: they can be cut, trickled, spoilt and left out."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from tests.support import messages as m
from tests.support.certificates import Identity
from tests.support.messages import Message
from tests.support.wire import Address, Wire

ALPN = "postgresql"
T = TypeVar("T")


def client_context(
    ca: Path | None = None,
    identity: Identity | None = None,
    *,
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    alpn: str | None = ALPN,
) -> ssl.SSLContext:
    """`ca` None believes anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = ca is not None
    if ca is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    if least < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    context.minimum_version, context.maximum_version = least, most
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context


class TlsSocket:
    """What a socket has, as far as `Wire` needs it; over TLS, whose bytes go through `send_raw`.

    `piece`: so many bytes in each write of the plain socket, 0 = all. `record`: so many bytes in each TLS
    record.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        name: str | None,
        piece: int = 0,
        record: int = 16384,
    ) -> None:
        self.plain = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=False, server_hostname=name)
        self._piece = piece
        self._record = record
        self._do(self.tls.do_handshake)

    def send_raw(self, data: bytes) -> None:
        for at in range(0, len(data), self._piece or len(data) or 1):
            self.plain.sendall(data[at : at + (self._piece or len(data))])

    def sealed(self, data: bytes) -> bytes:
        """The records that `data` becomes. They have to be sent next, in this order."""
        for at in range(0, len(data), self._record):
            self.tls.write(data[at : at + self._record])
        return self.outgoing.read()

    def sendall(self, data: bytes) -> None:
        self.send_raw(self.sealed(data))

    def recv(self, size: int) -> bytes:
        """b"" once the other side has said goodbye; without that, EOFError: it was cut off."""
        try:
            return self._do(lambda: self.tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    def _do(self, work: Callable[[], T]) -> T:
        while True:
            try:
                result = work()
            except ssl.SSLWantReadError:
                self.send_raw(self.outgoing.read())
                came = self.plain.recv(1 << 16)
                if not came:
                    raise EOFError("closed by the other side without goodbye") from None
                self.incoming.write(came)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self.send_raw(self.outgoing.read())
                raise
            else:
                self.send_raw(self.outgoing.read())
                return result

    def say_goodbye(self) -> None:
        """close_notify, and no wait for the other's."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.send_raw(self.outgoing.read())

    def settimeout(self, seconds: float) -> None:
        self.plain.settimeout(seconds)

    def setsockopt(self, *option: object) -> None:
        self.plain.setsockopt(*option)  # type: ignore[arg-type]

    def close(self) -> None:
        self.plain.close()


class TlsWire(Wire):
    """A wire client over TLS; `tls` is its socket."""

    tls: TlsSocket
    alert = ""

    @classmethod
    def encrypted(
        cls,
        address: Address,
        context: ssl.SSLContext | None = None,
        *,
        direct: bool = False,
        name: str | None = "localhost",
        piece: int = 0,
        record: int = 16384,
    ) -> Self:
        """Connected, and the handshake is over; whatever raises leaves no socket behind."""
        wire = cls(address)
        try:
            if not direct:
                wire.send(m.ssl_request())
                answer = wire.sock.recv(1)
                assert answer == b"S", answer
            wire.tls = TlsSocket(wire.sock, context or client_context(), name, piece, record)
        except BaseException:
            wire.sock.close()
            raise
        wire.sock = wire.tls  # type: ignore[assignment]
        return wire

    def enter(self, user: str, password: str, database: str, **parameters: str) -> Self:
        """Log in; who is refused is closed."""
        try:
            self.send(m.startup({"user": user, "database": database, **parameters}))
            self.authenticate(user, password)
        except BaseException:
            self.close()
            raise
        return self

    def read_to_end(self) -> list[Message]:
        """Likewise; an alert is remembered, by OpenSSL's name for it."""
        read: list[Message] = []
        try:
            while True:
                read.append(self.read())
        except (EOFError, ConnectionResetError):
            return read
        except ssl.SSLError as error:
            self.alert = error.reason or ""
            return read

    @property
    def certificate(self) -> bytes:
        """What the other side has shown, in DER."""
        return self.tls.tls.getpeercert(binary_form=True) or b""

    @property
    def end_point(self) -> bytes:
        """What SCRAM binds to, for certificates that are signed with SHA-256."""
        return hashlib.sha256(self.certificate).digest()


def client_hello(context: ssl.SSLContext | None = None, name: str | None = "localhost") -> bytes:
    """The first record of a handshake."""
    outgoing = ssl.MemoryBIO()
    tls = (context or client_context()).wrap_bio(
        ssl.MemoryBIO(), outgoing, server_side=False, server_hostname=name
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def alert_in(data: bytes) -> int | None:
    """The description of the plain alert that `data` begins with (RFC 8446, 6)."""
    if len(data) < 7 or data[0] != 21:
        return None
    (length,) = struct.unpack_from("!H", data, 3)
    return data[6] if length == 2 else None
