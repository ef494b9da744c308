"""One TLS handshake, of either side, on a stream: its messages come and go here, OpenSSL computes.

The stream is paused meanwhile, and nothing is computed before whole records have come, nor before a client's
hello has been read: a peer that trickles bytes costs nothing. When it is over a `TlsStream` takes the
stream's place. Must not know certificates, users or what is said once it is over.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

from poolproxy.errors import PoolproxyError
from poolproxy.transport.client_hello import (
    UNEXPECTED_MESSAGE,
    ClientHello,
    HelloRefused,
    alert_record,
    asks_again,
    first_word,
    is_answer,
    is_hello,
    read_client_hello,
)
from poolproxy.transport.stream import Handler, Stream
from poolproxy.transport.tls_stream import TlsStream, whole_records
from poolproxy.transport.workers import Workers

#: Bytes a peer may send for it: more than the longest chain of certificates.
LONGEST = 131_072

#: Steps: the hello's answer, and what has to be done for a client's Finished. That is alone in so many bytes
#: at most, a startup message behind it included; with a certificate before it they are more.
ANSWER, FINISH = 1, 2
ALONE = 512

#: Seconds below which a step is not worth a thread, and those below which it need not even wait for its turn.
LIGHT = 0.001
INSTANT = 0.0001


class HandshakeFailed(Exception):
    """It could not be made; the message says why, in OpenSSL's words or ours, and nothing secret."""


#: What is told of it: the stream, or why there is none; and the handshake, which knows the rest.
Ended = Callable[[TlsStream | None, "Handshake", HandshakeFailed | None], None]


class Cost:
    """What the steps of handshakes with one key take, by the group of their key exchange and each for itself:
    the first has the key's signature, the last next to nothing. At best, that is: what it took more was
    somebody else's doing."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def note(self, group: int, step: int, seconds: float) -> None:
        """One has taken so long. Of such only as everybody has to take: a stranger could have a dear one look
        short else."""
        if seconds < self.of(group, step):
            self._seconds[group << 2 | step] = seconds

    def of(self, group: int, step: int) -> float:
        """Seconds; infinite where it is not known."""
        return self._seconds.get(group << 2 | step, _UNKNOWN)


_UNKNOWN = float("inf")


class Handshake(Handler):
    """See the module. Takes the place of the stream's handler until `ended` is called, once; the new
    stream has that handler again, which also hears of the connection's loss meanwhile. Whoever gives up
    closes the stream. This one is the connecting side's: workers compute."""

    __slots__ = (
        "_ended", "_handler", "_incoming", "_outgoing", "_received", "_since", "_stream", "_workers", "tls",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        workers: Workers,
        since: float,
        ended: Ended,
        server_name: str | None = None,
    ) -> None:
        """`server_name`: whom we connect to. `since`: who came earlier is served first."""
        self._stream = stream
        self._handler = stream.handler
        self._workers = workers
        self._since = since
        self._ended = ended
        self._received = 0
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, self._accepts(), server_name)
        stream.handler = self

    def begin(self) -> None:
        """Say the first word: the client's part."""
        self._compute()

    def on_data(self, buffer: bytearray, end: int) -> None:
        whole = whole_records(buffer, end)
        try:
            ready = self._ready(whole) if whole else 0
        except HelloRefused as refused:
            self._stream.send(alert_record(refused.alert))
            self._fail(str(refused))
            return
        self._stream.keep(ready, end)
        self._received += ready
        if self._received > LONGEST or end - ready > LONGEST:
            self._fail("it is too long")
        elif ready:
            self._incoming.write(memoryview(buffer)[:ready])
            self._compute()

    def _accepts(self) -> bool:
        return False

    def _ready(self, whole: int) -> int:
        """How much of what has come, so many bytes of whole records, OpenSSL may have. Raises
        HelloRefused."""
        return whole

    def _compute(self) -> None:
        """Have a step taken."""
        self._stream.pause()
        self._workers.submit(self._since, self.step, self.stepped)

    def step(self) -> bool:
        """As far as what has come allows; whether that is its end. On whatever thread."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def stepped(self, over: bool | None, error: BaseException | None) -> None:
        """What came of it. The stream may have been closed meanwhile."""
        self._go_on(bool(over), error)

    def _go_on(self, over: bool, error: BaseException | None) -> None:
        if self._stream.closed:
            return
        said = self._outgoing.read()
        if said:
            self._answered(said)
            self._stream.send(said)
        if error is not None:
            self._fail(_in_words(error))
        elif over:
            self._finish()
        elif self._stream.paused or self._stream.kept:
            self._stream.resume()

    def _answered(self, said: bytes) -> None:
        """This is what OpenSSL has to say now."""

    def _finish(self) -> None:
        partial = self._stream.look_at_kept()
        if self._stream.paused:
            self._stream.resume()
        stream = TlsStream(self._stream, self._handler, self.tls, self._incoming, self._outgoing)
        if partial:
            stream.hold(partial)
        self._ended(stream, self, None)

    def _fail(self, reason: str) -> None:
        self._ended(None, self, HandshakeFailed(reason))

    def on_drained(self) -> None:
        """Nothing waits for it."""

    def on_lost(self, reason: str) -> None:
        self._handler.on_lost(reason)

    def fail(self, error: PoolproxyError) -> None:
        self._handler.fail(error)


class Accepting(Handshake):
    """The accepting side's: OpenSSL has a client's hello when it has been looked at, and who computes depends
    on how long that will take. That is known of TLS 1.3's two steps, as all but a few take them; all others
    are for threads."""

    __slots__ = (
        "_again",
        "_alone",
        "_answer",
        "_cost",
        "_look",
        "_open",
        "_seen",
        "_steps",
        "_took",
        "hello",
    )

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        workers: Workers,
        since: float,
        ended: Ended,
        cost: Cost,
        look: Callable[[ClientHello], None],
    ) -> None:
        """`cost`: of the context's key. `look` raises HelloRefused where a hello is not to be answered."""
        super().__init__(stream, context, workers, since, ended)
        self._cost = cost
        self._look = look
        self._open = True  #: a hello is to come next
        self._again = False  #: for the second time
        self._alone = True  #: what has come last is a hello, or may be no more than a Finished
        self._seen = 0  #: bytes of whole records in which there is no whole hello
        self._steps = 0  #: since the hello
        self._took = 0.0  #: seconds, the last one
        self._answer = 0.0  #: seconds, the first one
        self.hello: ClientHello | None = None

    def _accepts(self) -> bool:
        return True

    def _ready(self, whole: int) -> int:
        """No hello passes unread: not behind another, nor among records that say nothing."""
        if not self._open:
            self._alone = whole <= ALONE
            return whole
        if whole == self._seen:
            return 0
        self._seen = whole
        records = self._stream.copy(0, whole)
        position = first_word(records)
        if position < 0:
            self._seen = 0
            return whole  # an alert, or no record at all: OpenSSL knows what to make of it
        if not is_hello(records, position):
            raise HelloRefused("the client has not said hello", UNEXPECTED_MESSAGE)
        hello = read_client_hello(records, position)
        if hello is None:
            return 0
        self._look(hello)
        self._seen = 0
        self._steps = 0
        self.hello = hello
        return hello.end

    def _compute(self) -> None:
        self._steps += 1
        hello = self._known()
        seconds = self._cost.of(hello.group, self._steps) if hello is not None else _UNKNOWN
        if seconds < INSTANT:
            self.turn()
            return
        self._stream.pause()
        if seconds < LIGHT:
            self._stream.poller.defer(self._since, self.turn)
        else:
            self._workers.submit(self._since, self.step, self.stepped)

    def _known(self) -> ClientHello | None:
        """The hello, where this step is one of those whose cost is noted."""
        hello = self.hello
        if hello is None or not hello.ordinary or self._again or not self._alone or self._steps > FINISH:
            return None
        return hello

    def step(self) -> bool:
        begun = time.monotonic()
        over = Handshake.step(self)
        self._took = time.monotonic() - begun
        return over

    def turn(self) -> None:
        """A step, on the data plane's thread."""
        try:
            over = self.step()
        except Exception as error:
            self._go_on(False, error)
        else:
            self._go_on(over, None)

    def _answered(self, said: bytes) -> None:
        if self._open and is_answer(said):
            self._open = self._again = asks_again(said)
            self._answer = self._took

    def _finish(self) -> None:
        # The system's settings may hold us to TLS 1.2, whatever the client speaks.
        hello = self._known()
        if hello is not None and self._steps == FINISH and self.tls.version() == "TLSv1.3":
            self._cost.note(hello.group, ANSWER, self._answer)
            self._cost.note(hello.group, FINISH, self._took)
        Handshake._finish(self)


def _in_words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return type(error).__name__
