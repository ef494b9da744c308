"""One TLS handshake, of either side, on a stream: its messages come and go here, workers have OpenSSL
compute.

The stream is paused meanwhile, and nothing is computed before whole records have come: a peer that trickles
bytes costs nothing. When it is over a `TlsStream` takes the stream's place. Must not
know certificates, users or what is said once it is over.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

from poolproxy.errors import PoolproxyError
from poolproxy.transport.stream import Handler, Stream
from poolproxy.transport.tls_stream import TlsStream, whole_records
from poolproxy.transport.workers import Workers

#: Bytes a peer may send for it: more than the longest chain of certificates.
LONGEST = 131_072

#: Steps that are told apart; those behind them, of who sends his certificate in pieces, are one.
MOST_STEPS = 4

#: Seconds of CPU below which a step is not worth a thread.
LIGHT = 0.0005


class HandshakeFailed(Exception):
    """It could not be made; the message says why in OpenSSL's words, and nothing secret."""


#: What is told of it: the stream, or why there is none; and what OpenSSL knows of it in any case.
Ended = Callable[[TlsStream | None, ssl.SSLObject, HandshakeFailed | None], None]


class Cost:
    """What the steps of handshakes of one kind take, each for itself: the first has the key's signature,
    the last next to nothing."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}  #: of CPU, by step; not known at first

    def note(self, step: int, seconds: float) -> None:
        """One has taken so long. Longer ones count at once, shorter ones bit by bit."""
        before = self._seconds.get(step, seconds)
        self._seconds[step] = max(seconds, 0.5 * (before + seconds))

    def light(self, step: int) -> bool:
        """Whether it is known not to be worth a thread."""
        return self._seconds.get(step, LIGHT) < LIGHT


class Handshake(Handler):
    """See the module. Takes the place of the stream's handler until `ended` is called, once; the new
    stream has that handler again, which also hears of the connection's loss meanwhile. Whoever gives up
    closes the stream."""

    __slots__ = (
        "_cost", "_ended", "_handler", "_incoming", "_outgoing", "_received", "_since", "_steps", "_stream",
        "_workers", "tls",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        workers: Workers,
        cost: Cost,
        since: float,
        ended: Ended,
        server_name: str | None = None,
    ) -> None:
        """`context` says which side we are; `server_name`: whom we connect to. `since`: who came earlier
        is served first."""
        self._stream = stream
        self._handler = stream.handler
        self._workers = workers
        self._cost = cost
        self._since = since
        self._ended = ended
        self._received = 0
        self._steps = 0
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        server_side = context.protocol == ssl.PROTOCOL_TLS_SERVER
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)
        stream.handler = self

    def begin(self) -> None:
        """Say the first word: the client's part."""
        self._stream.pause()
        self._compute()

    def on_data(self, buffer: bytearray, end: int) -> None:
        whole = whole_records(buffer, end)
        self._received += whole
        if self._received > LONGEST:
            self._fail("it is too long")
            return
        self._stream.keep(whole, end)
        if whole:
            self._incoming.write(memoryview(buffer)[:whole])
            self._stream.pause()
            self._compute()

    def _compute(self) -> None:
        self._steps = min(self._steps + 1, MOST_STEPS)
        light = self._cost.light(self._steps)
        submit = self._workers.submit_light if light else self._workers.submit
        submit(self._since, self._step, self._stepped)

    def _step(self) -> bool:
        """As far as what has come allows; whether that is its end. On whatever thread."""
        begun = time.thread_time()
        try:
            return self._go_on()
        finally:
            self._cost.note(self._steps, time.thread_time() - begun)

    def _go_on(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _stepped(self, over: bool | None, error: BaseException | None) -> None:
        if self._stream.closed:
            return
        if said := self._outgoing.read():
            self._stream.send(said)
        if error is not None:
            self._fail(_in_words(error))
        elif over:
            self._finish()
        else:
            self._stream.resume()

    def _finish(self) -> None:
        partial = self._stream.look_at_kept()
        self._stream.resume()
        stream = TlsStream(self._stream, self._handler, self.tls, self._incoming, self._outgoing)
        stream.hold(partial)
        self._ended(stream, self.tls, None)

    def _fail(self, reason: str) -> None:
        self._ended(None, self.tls, HandshakeFailed(reason))

    def on_drained(self) -> None:
        """Nothing waits for it."""

    def on_lost(self, reason: str) -> None:
        self._handler.on_lost(reason)

    def fail(self, error: PoolproxyError) -> None:
        self._handler.fail(error)


def _in_words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return type(error).__name__
