"""A stream to a PostgreSQL server: its name looked up, a socket connected, and TLS as libpq's sslmode has it.

asyncio for the waiting, the data plane's own streams for the bytes. Must not know what is said on it, users
or pools.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from poolproxy.backend.aside import aside
from poolproxy.errors import PoolproxyError, UnexpectedServerAnswer
from poolproxy.protocol.certificates import end_point
from poolproxy.protocol.codes import ALPN
from poolproxy.protocol.messages import ssl_request
from poolproxy.route import Target
from poolproxy.tls import BrokenTls, ServerContexts
from poolproxy.transport.handshake import Handshake, HandshakeFailed
from poolproxy.transport.poller import Poller
from poolproxy.transport.sockets import TcpOptions
from poolproxy.transport.stream import Handler, Stream
from poolproxy.transport.tls_stream import TlsStream
from poolproxy.transport.workers import Workers

#: How a server is tried, by sslmode: with TLS or without (libpq: PQconnectPoll,
#: select_next_encryption_method).
_WAYS: Final[dict[str, tuple[bool, ...]]] = {
    "disable": (False,),
    "allow": (False, True),
    "prefer": (True, False),
}


class NoTls(ConnectionError):
    """There is no TLS with this server; the message says why, in words for a person."""


@dataclass(frozen=True, slots=True)
class Line:
    """A stream that nothing has been said on; it is paused."""

    stream: Stream
    encrypted: bool = False
    #: of the server's certificate, for SCRAM to bind to
    end_point: bytes | None = field(default=None, repr=False)


class Dialer:
    """See the module. One for all connections that we make."""

    def __init__(self, poller: Poller, options: TcpOptions, workers: Workers) -> None:
        self.poller = poller
        self._options = options
        self._workers = workers
        self._contexts = ServerContexts()

    async def dial(self, target: Target, encrypted: bool) -> Line:
        """`encrypted`: one of `ways_to` the target. Where sslmode leaves it to the server, and it has no
        TLS, the line has none either. Raises OSError (NoTls among them), UnexpectedServerAnswer; the
        caller bounds the time."""
        sock = await open_socket(target, self._options)
        try:
            if encrypted and target.tls.sslnegotiation != "direct" and not await _takes_tls(sock):
                if target.tls.sslmode != "prefer":
                    raise NoTls(f"the server has no TLS, and sslmode {target.tls.sslmode} demands it")
                encrypted = False
        except BaseException:
            sock.close()
            raise
        waiting = _Waiting()
        stream = Stream(self.poller, sock.detach(), waiting)
        if not encrypted:
            stream.pause()
            return Line(stream)
        try:
            return await self._encrypt(stream, waiting, target)
        except BaseException:
            stream.close()
            raise

    async def _encrypt(self, stream: Stream, waiting: _Waiting, target: Target) -> Line:
        context = await self._context(target)

        def ended(encrypted: TlsStream | None, _: Handshake, failure: HandshakeFailed | None) -> None:
            if encrypted is not None:
                encrypted.pause()
                waiting.succeed(encrypted)
            else:
                waiting.give_up(NoTls(f"the TLS handshake failed: {failure}"))

        # Ahead of all clients: there are few of these, and somebody waits for each.
        handshake = Handshake(stream, context, self._workers, 0.0, ended, target.host)
        handshake.begin()
        encrypted = await waiting.done
        if target.tls.sslnegotiation == "direct" and handshake.tls.selected_alpn_protocol() != ALPN:
            encrypted.close()
            raise NoTls(f"the server has taken direct TLS without ALPN {ALPN}: it is no PostgreSQL")
        certificate = handshake.tls.getpeercert(binary_form=True)
        return Line(encrypted, True, end_point(certificate) if certificate else None)

    async def _context(self, target: Target) -> ssl.SSLContext:
        try:
            known = self._contexts.known(target.tls)
            return known if known is not None else await aside(partial(self._contexts.make, target.tls))
        except BrokenTls as error:
            raise NoTls(str(error)) from None


def ways_to(target: Target) -> tuple[bool, ...]:
    """With TLS or without, in the order in which they are tried."""
    return (False,) if target.unix_path is not None else _WAYS.get(target.tls.sslmode, (True,))


async def _takes_tls(sock: socket.socket) -> bool:
    """Ask for it. One byte is read and no more: what comes behind it belongs to the handshake, and what
    somebody has put there before that is no handshake (CVE-2021-23222)."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, ssl_request())
    answer = await loop.sock_recv(sock, 1)
    if answer == b"E":
        # Its text is not to be believed, nor shown: nobody has proved anything yet (CVE-2024-10977).
        raise NoTls("the server has answered the request for TLS with an error")
    if not answer:
        raise ConnectionResetError("the server has closed the connection when it was asked for TLS")
    if answer not in (b"S", b"N"):
        raise UnexpectedServerAnswer(what=f"{answer[0]:#04x} to the request for TLS")
    return answer == b"S"


class _Waiting(Handler):
    """Waits for a handshake."""

    def __init__(self) -> None:
        self.done: asyncio.Future[TlsStream] = asyncio.get_running_loop().create_future()

    def succeed(self, stream: TlsStream) -> None:
        if self.done.done():
            stream.close()  # nobody waits for it any more
        else:
            self.done.set_result(stream)

    def give_up(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def on_data(self, buffer: bytearray, end: int) -> None:
        raise UnexpectedServerAnswer(what="bytes before it was asked anything")

    def on_drained(self) -> None:
        """Nothing waits for it."""

    def on_lost(self, reason: str) -> None:
        self.give_up(NoTls(f"the connection was lost in the TLS handshake: {reason}"))

    def fail(self, error: PoolproxyError) -> None:
        known = isinstance(error, UnexpectedServerAnswer)
        self.give_up(error if known else UnexpectedServerAnswer(what=error.message))


async def addresses(target: Target) -> list[tuple[int, Any]]:
    """(family, address) of each, one at least; socket.gaierror, an OSError, where the name is not known."""
    if target.unix_path is not None:
        return [(socket.AF_UNIX, target.unix_path)]
    look_up = partial(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
    try:
        found = look_up(flags=socket.AI_NUMERICHOST)  # no name, no question
    except socket.gaierror:
        found = await aside(look_up)
    if not found:
        raise OSError(errno.EADDRNOTAVAIL, f"no address for {target.host}")
    return [(entry[0], entry[4]) for entry in found]


async def _connect(sock: socket.socket, address: Any) -> None:
    """As loop.sock_connect, which may have a thread look up the address, and keep that thread."""
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        writable = loop.create_future()

        def over() -> None:
            if not writable.done():
                writable.set_result(None)

        loop.add_writer(sock, over)
        try:
            await writable
        finally:
            loop.remove_writer(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, f"cannot connect to {address}: {os.strerror(code)}")


async def open_socket(target: Target, options: TcpOptions) -> socket.socket:
    """A connected, non-blocking socket; OSError says what was tried. All addresses of the name are tried in
    turn."""
    problem: OSError | None = None
    for family, address in await addresses(target):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            options.set_on(sock)
            await _connect(sock, address)
            return sock
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
    assert problem is not None, "no address was tried"
    raise problem
