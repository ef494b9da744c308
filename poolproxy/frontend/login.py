"""From an accepted connection to a greeted client, or to a cancel request, or to a refusal.

Drives the first packets and the login dialogue over a stream. Everything it needs of the rest comes through
a `Door`. Must not know pools or servers. Compiled: all of it runs for every client that comes.
"""

from __future__ import annotations

from collections.abc import Callable

from poolproxy.auth.client_login import AuthMethod, ClientLogin, Secrets, client_login
from poolproxy.auth.credentials import UserSecret
from poolproxy.backend.inquiring import Inquirer
from poolproxy.errors import (
    AuthenticationFailed,
    LoginTimeout,
    PoolproxyError,
    ProtocolViolation,
    TlsHandshakeFailed,
)
from poolproxy.frontend.encrypting import ClientEncryption, Encryption
from poolproxy.protocol import messages
from poolproxy.protocol.codes import MAX_STARTUP_LENGTH, TLS_HANDSHAKE
from poolproxy.protocol.proxy_header import V2_LONGEST, read_proxy_header
from poolproxy.protocol.scram import ScramProof
from poolproxy.protocol.startup import (
    CancelRequest,
    FirstPacket,
    GssEncRequest,
    SslRequest,
    StartupMessage,
    negotiation,
    read_first_packet,
)
from poolproxy.session.startup_parameters import Wanted, wanted_parameters
from poolproxy.transport.poller import Poller
from poolproxy.transport.stream import Handler, Stream
from poolproxy.transport.tls_stream import TlsStream
from poolproxy.transport.workers import Workers


class Door(Secrets):
    """What a login needs to know and to tell. A class, not a Protocol: compiled, its methods are called
    without a search for their names."""

    __slots__ = ("inquirer", "method", "random_bytes", "tls", "workers")

    def __init__(
        self,
        method: AuthMethod,
        random_bytes: Callable[[int], bytes],
        tls: ClientEncryption | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.method = method
        self.random_bytes = random_bytes
        self.workers = workers  #: who stretches passwords
        self.tls = tls  #: None: nobody gets it, and nobody needs it
        self.inquirer: Inquirer | None = None  #: who asks for secrets that are not at hand; None = nobody

    def balanced(self, address: object) -> bool:
        """Whether who connects from there forwards others, and says so by a PROXY header first."""
        return False

    def method_of(self, login: Login, startup: StartupMessage) -> AuthMethod:
        """How this client is to prove who it is. Raises where it may not come in at all."""
        return self.method

    def inquire(self, login: Login) -> bool:
        """See to what this client has to prove, where there is an inquirer. True: that has to be asked for,
        and the login is told. Raises where nobody can be asked."""
        return False

    def try_out(self, login: Login, token: str) -> bool:
        """Whether the server is known to take this. If not, the login is told by `tried`."""
        raise NotImplementedError

    def arrived(self, login: Login) -> None:
        """Its address is known now. Raises TooManyFromAddress where it cannot even be listened to."""
        raise NotImplementedError

    def admit(self, login: Login) -> None:
        """Raise TooManyClients, TooManyFromAddress or ShuttingDown if it cannot be let in now."""
        raise NotImplementedError

    def holds_back(self, login: Login) -> bool:
        """Its password was wrong: whether it is to be told so later, by `answer_now`."""
        return False

    def let_go(self, login: Login) -> None:
        """It has left, and need not be told any more."""
        raise NotImplementedError

    def cancel(self, pid: int, key: bytes) -> None:
        """A cancel request was received."""
        raise NotImplementedError

    def enter(self, login: Login, startup: StartupMessage, wanted: Wanted, proof: bytes) -> None:
        """Authenticated: takes the stream over; `proof` goes ahead of AuthenticationOk. May refuse."""
        raise NotImplementedError

    def left(self, login: Login, result: str, error: PoolproxyError | None) -> None:
        """The login is over: ok, failed, refused, timeout, lost, cancel."""
        raise NotImplementedError


class OneSecret(Secrets):
    """The secret of one user, which a login keeps: what it was asked for may be forgotten meanwhile."""

    __slots__ = ("_secret",)

    def __init__(self, secret: UserSecret) -> None:
        self._secret = secret

    def secret(self, user: str) -> UserSecret:
        return self._secret


class Login(Handler):
    """One connection that has not logged in yet. Takes over the descriptor."""

    __slots__ = (
        "_computing", "_dialogue", "_door", "_encryption_asked", "_handshaking", "_header_due", "_ignored",
        "_late", "_secrets", "_waits", "_wanted", "address", "began", "encryption", "excess",
        "forwarded", "held", "method", "spoke", "startup", "stream",
    )  # fmt: skip

    def __init__(self, door: Door, poller: Poller, descriptor: int, address: object) -> None:
        self._door = door
        self._dialogue: ClientLogin | None = None
        self.startup: StartupMessage | None = None
        self._wanted: Wanted | None = None
        self._encryption_asked: frozenset[type] = _NOTHING_ASKED
        self._header_due = door.balanced(address)
        self._handshaking = False
        self._computing = False
        self.encryption: Encryption | None = None  #: None: what comes is not encrypted
        self._waits = False  #: for the door to be told what there is to prove
        self._secrets: Secrets = door
        self._late: PoolproxyError | None = None  #: what it is to be told later
        self.forwarded = self._header_due  #: its address is a load balancer's
        self.spoke = False
        self._ignored = 0  #: bytes that it has sent since
        self.held = False  #: it has failed, and its answer is, or was, held back
        self.excess = False  #: when it came, its address had too many connections
        self.address = address
        self.began = poller.now
        self.method: AuthMethod = door.method  #: how it proves who it is; until that is known, the door's
        self.stream = Stream(poller, descriptor, self)

    def __repr__(self) -> str:
        return f"<Login {self.address} {self.user() or 'unknown user'}>"

    def user(self) -> str:
        """Who the client says it is; empty before its startup message."""
        return self.startup.user if self.startup is not None else ""

    def proof(self) -> str | ScramProof | None:
        """What the client has proved that servers may take, too."""
        return self._dialogue.proof() if self._dialogue is not None else None

    def on_data(self, buffer: bytearray, end: int) -> None:
        """Bytes of a PROXY header, of the first packet, or of the dialogue."""
        self.spoke = True
        if self.held:
            self._ignore(end)
            return
        try:
            position = self._header(end) if self._header_due else 0
            if self._dialogue is None and not self._header_due:
                if position < end and buffer[position] == TLS_HANDSHAKE and self._may_encrypt():
                    # The handshake begins at once: PostgreSQL 17's direct TLS (manual 54.2.10).
                    self.stream.keep(position, end)
                    self._encrypt(True)
                    return
                position = self._first_packets(position, end)
            if self._dialogue is not None:
                self._messages(buffer, position, end)
        except PoolproxyError as error:
            self.fail(error)

    def _header(self, end: int) -> int:
        """The position behind the PROXY header. From then on the client is whom that names; where it is not
        whole it is still due."""
        header = read_proxy_header(self.stream.copy(0, min(end, V2_LONGEST)))
        if header is None:
            self.stream.keep(0, end)
            return 0
        self._header_due = False
        if header.source:
            self.address = header.source
            self.forwarded = False
            self._door.arrived(self)
        return header.size

    def _first_packets(self, position: int, end: int) -> int:
        """Act on what comes ahead of the dialogue: the position behind the last packet that is whole."""
        while self._dialogue is None:
            read = read_first_packet(self.stream.copy(position, end))
            if read is None:
                self.stream.keep(position, end)
                break
            packet, size = read
            position += size
            if isinstance(packet, SslRequest) and self._may_encrypt():
                if position < end:
                    # Said before it was encrypted, by whomever: never taken for what is said after
                    # (CVE-2021-3935).
                    raise ProtocolViolation(what="received unencrypted data after SSL request")
                self.stream.send(b"S")
                self._encrypt(False)
                break
            if not self._first_packet(packet):
                break
            if self._waits:
                self.stream.keep(position, end)
                break
        return position

    def local(self) -> bool:
        """Whether it comes over a Unix socket."""
        return str(self.address) == "unix"

    def _may_encrypt(self) -> bool:
        """Whether a handshake may begin now. Over a Unix socket nobody can listen, and there is none, as
        PostgreSQL has it."""
        encryption = self._door.tls
        return (
            encryption is not None
            and encryption.tls is not None
            and self.encryption is None
            and SslRequest not in self._encryption_asked
            and not self.local()
        )

    def _encrypt(self, direct: bool) -> None:
        assert self._door.tls is not None
        self._handshaking = True
        self._door.tls.begin(self.stream, self.began, direct, self._encrypted)
        if direct:
            self.stream.resume()  # its first bytes are with the stream

    def _encrypted(
        self, stream: TlsStream | None, encryption: Encryption | None, error: TlsHandshakeFailed | None
    ) -> None:
        """The handshake is over."""
        if stream is not None:
            self._handshaking = False
            self.stream = stream
        self.encryption = encryption
        # Within TLS there is nothing more to ask for.
        self._encryption_asked = _BOTH_ASKED
        if error is not None:
            self.stream.finish()  # an alert is on its way
            self._over("refused", error)

    def _first_packet(self, packet: FirstPacket) -> bool:
        """Act on a first packet; False when nothing more is to be read."""
        if isinstance(packet, StartupMessage):
            self._start(packet)
            return True
        if isinstance(packet, CancelRequest):
            if self.encryption is None:
                self.stream.close()
            else:
                self.stream.finish()  # libpq takes an end without TLS's farewell for a failure
            self._over("cancel")
            self._door.cancel(packet.pid, packet.key)
            return False
        if type(packet) in self._encryption_asked:
            # Each is answered once at most: two of them in turns must not keep us busy (CVE-2026-6479).
            raise ProtocolViolation(what="encryption was asked for twice")
        self._encryption_asked |= {type(packet)}
        self.stream.send(b"N")
        return True

    def _start(self, startup: StartupMessage) -> None:
        self.startup = startup
        negotiated = negotiation(startup)
        self._door.admit(self)
        self.method = self._door.method_of(self, startup)
        if self._door.inquirer is not None and self._door.inquire(self):
            self._waits = True
            self.stream.pause()
        else:
            self._begin(startup, negotiated)

    def prove(self, secret: UserSecret) -> None:
        """What the client has to prove that it knows."""
        self._secrets = OneSecret(secret)
        if self.method == "md5" and secret.scram_only:
            self.method = "scram-sha-256"  # as PostgreSQL does (manual 20.5: Password Authentication)

    def told(self, secret: UserSecret | None, error: PoolproxyError | None) -> None:
        """What the door has asked for is there, or will not be. The client may have left meanwhile."""
        if not self._waits:
            return
        assert self.startup is not None
        self._waits = False
        try:
            if error is not None:
                raise error
            assert secret is not None
            self.prove(secret)
            self._begin(self.startup, negotiation(self.startup))
        except PoolproxyError as failure:
            self.fail(failure)
        else:
            self.stream.resume()

    def _begin(self, startup: StartupMessage, negotiated: bytes) -> None:
        binding = self.encryption.end_point if self.encryption is not None else None
        self._dialogue = client_login(
            self.method, startup.user, self._secrets, self._door.random_bytes, binding
        )
        asked = self._dialogue.begin()
        if not self._dialogue.done:
            # Asked first, looked up and checked while the client is at work: whoever connects waits for this.
            self.stream.send(negotiated + asked if negotiated else asked)
            self._wanted = wanted_parameters(startup.parameters)
            self._dialogue.ahead()
        else:
            self._wanted = wanted_parameters(startup.parameters)
            self._go_on(negotiated)

    def _go_on(self, answer: bytes) -> None:
        """Say the dialogue's answer; the last one is for the door, which has more to say after it."""
        assert self._dialogue is not None
        assert self.startup is not None
        assert self._wanted is not None
        if self._dialogue.done:
            self._door.enter(self, self.startup, self._wanted, answer)
            self._over("ok")
        else:
            self.stream.send(answer)
            self._dialogue.ahead()

    def _messages(self, buffer: bytearray, position: int, end: int) -> None:
        """Whole messages of the dialogue, each at most as long as PostgreSQL allows before a login."""
        dialogue = self._dialogue
        assert dialogue is not None
        while not dialogue.done and end - position >= 5:
            length = buffer[position + 1]
            length = (length << 8) | buffer[position + 2]
            length = (length << 8) | buffer[position + 3]
            length = (length << 8) | buffer[position + 4]
            if not 4 <= length <= MAX_STARTUP_LENGTH:
                raise ProtocolViolation(what=f"message length {length} out of range during login")
            following = position + 1 + length
            if following > end:
                break
            answer = dialogue.answer(buffer[position], self.stream.copy(position + 5, following))
            position = following
            if dialogue.work is not None:
                self._compute(dialogue)
                break
            if dialogue.token:
                if not self._door.try_out(self, dialogue.token):
                    self._computing = True
                    self.stream.pause()
                    break
                answer = dialogue.conclude(True)
            self._go_on(answer)
        self.stream.keep(position, end)
        if dialogue.done and position < end and not self.stream.paused:
            self.stream.resume()  # what came behind the last message is for the new handler

    def _compute(self, dialogue: ClientLogin) -> None:
        """Have the dialogue's work done elsewhere, and read no further until then."""
        assert self._door.workers is not None
        assert dialogue.work is not None
        self._computing = True
        self.stream.pause()
        self._door.workers.submit(self.began, dialogue.work, self._computed)

    def tried(self, problem: PoolproxyError | None) -> None:
        """What came of it when its token was tried."""
        self._computed(True, problem)

    def _computed(self, result: bool | None, error: BaseException | None) -> None:
        if not self._computing:
            return  # it has been refused meanwhile
        self._computing = False
        assert self._dialogue is not None
        self.stream.resume()  # what came behind is for whom the stream has then, in a turn of its own
        try:
            if error is not None:
                raise error
            self._go_on(self._dialogue.conclude(bool(result)))
        except PoolproxyError as failure:
            self.fail(failure)

    def on_drained(self) -> None:
        """Nothing waits for it."""

    def on_lost(self, reason: str) -> None:
        if self.held:
            self._door.let_go(self)
        else:
            self._over("lost")
        self.stream.close()

    def time_out(self, seconds: float) -> None:
        """The client did not do its part in time."""
        self._refuse(LoginTimeout(seconds=seconds), "timeout")

    def fail(self, error: PoolproxyError) -> None:
        """Tell the client why not, and close. That its password was wrong it may be told later."""
        if self.held:
            self._door.let_go(self)
            self.stream.close()
        elif not isinstance(error, AuthenticationFailed):
            self._refuse(error, "refused")
        elif self._door.holds_back(self):
            self.held = True
            self._late = error
            if self.stream.paused:
                self.stream.resume()  # nobody is asked any more: read on for its end
            self._over("failed", error)
        else:
            self._refuse(error, "failed")

    def _ignore(self, count: int) -> None:
        """Read on for its end, which frees a descriptor, but not for ever."""
        self._ignored += count
        if self._ignored > MAX_STARTUP_LENGTH:
            self.stream.pause()
            self.stream.eager = True

    def answer_now(self) -> None:
        """Say what was held back."""
        if self._late is not None and not self.stream.closed:
            self._say(self._late)

    def _refuse(self, error: PoolproxyError, result: str) -> None:
        if self._handshaking:
            self.stream.close()  # nothing that it could read
        else:
            self._say(error)
        self._over(result, error)

    def _say(self, error: PoolproxyError) -> None:
        self.stream.send(
            messages.error_response_fields("FATAL", error.sqlstate, error.message, "", error.hint)
        )
        self.stream.finish()

    def _over(self, result: str, error: PoolproxyError | None = None) -> None:
        self._computing = False
        self._waits = False
        self._door.left(self, result, error)


_NOTHING_ASKED: frozenset[type] = frozenset()
_BOTH_ASKED: frozenset[type] = frozenset((SslRequest, GssEncRequest))
