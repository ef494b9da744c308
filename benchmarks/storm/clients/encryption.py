"""TLS of the lean client: what it asks of the other side, as libpq's `sslmode` has it, and how it gets there.

PostgreSQL manual, "SSL Session Encryption": the client asks, the server says `S` in a byte of its own, and
all that follows is TLS. Every connection has a handshake of its own: no session is resumed, for an execution
environment that is new has none. Must not know handlers or targets.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from functools import lru_cache

from benchmarks.storm.clients.address import Address
from benchmarks.storm.clients.errors import ConnectFailed, ProtocolError

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
SYSTEM = "system"  #: `sslrootcert`: the authorities that this machine trusts
_YES, _NO = b"S", b"N"


@lru_cache(maxsize=16)
def context(sslmode: str, sslrootcert: str) -> ssl.SSLContext:
    """For so many connections as there are. Raises OSError when there are no such authorities."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.set_alpn_protocols(["postgresql"])
    made.check_hostname = sslmode == "verify-full"
    if sslrootcert == SYSTEM:
        made.load_default_certs()
    elif sslrootcert:
        made.load_verify_locations(sslrootcert)  # whoever names authorities wants one of theirs: libpq too
    else:
        made.verify_mode = ssl.CERT_NONE
    return made


class _Request(asyncio.Protocol):
    """Asks for TLS; `answer` has all that is said to it before there is any."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("closed when it was asked for TLS"))


async def connect(session: asyncio.Protocol, address: Address) -> None:
    """A connection to `address` over TLS, with `session` as its protocol.

    Raises ConnectFailed when the server has no TLS, ProtocolError when it is none, else OSError.
    """
    loop = asyncio.get_running_loop()
    plain, request = await loop.create_connection(_Request, address.host, address.port)
    try:
        plain.write(SSL_REQUEST)
        answer = await request.answer
        if answer == _NO:
            raise ConnectFailed(f"{address} has no TLS")
        if answer != _YES:  # more than a byte was sent by somebody in between: nothing of it is believed
            raise ProtocolError(f"{address} answers {answer[:20]!r} when it is asked for TLS")
        tls = context(address.sslmode, address.sslrootcert)
        encrypted = await loop.start_tls(plain, session, tls, server_hostname=address.host)
        if encrypted is None or encrypted.is_closing():
            raise ConnectFailed(f"{address} closed the connection during the handshake")
    except BaseException:
        plain.abort()
        raise
    session.connection_made(encrypted)
