"""A blocking protocol client on a raw socket: it can send what no driver would, cut anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
from types import TracebackType
from typing import Self

from scramp import ScramClient  # type: ignore[import-untyped]

from tests.support import messages as m
from tests.support.messages import Message

Address = tuple[str, int] | str


class WireError(AssertionError):
    """The backend answered with an error where the test expected none."""

    def __init__(self, message: Message) -> None:
        super().__init__(f"{message.fields.get('S')} {message.fields.get('C')}: {message.fields.get('M')}")
        self.message = message
        self.sqlstate = message.fields.get("C", "")
        self.fields = message.fields


class Wire:
    """One connection to `address`: (host, port) or the path of a Unix socket. Each read takes `timeout`
    seconds at most. `source`: the address it comes from, 127.0.0.2 say.

    Use it as a context manager: it ends with Terminate and a close, whatever state it is in.
    """

    def __init__(
        self, address: Address, timeout: float = 15.0, receive_buffer: int = 0, source: str = ""
    ) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            if source:
                self.sock.bind((source, 0))
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        if family == socket.AF_INET:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parameters: dict[str, str] = {}
        self.pid = 0
        self.key = b""
        self.status = ""
        self.notices: list[Message] = []
        self.binding: bytes | None = None  #: to this SCRAM is bound (tls-server-end-point), when it is set
        self._buffer = bytearray()

    @classmethod
    def login(
        cls,
        address: Address,
        user: str,
        password: str,
        database: str,
        *,
        version: int = m.PROTOCOL_3_0,
        timeout: float = 15.0,
        receive_buffer: int = 0,
        source: str = "",
        **parameters: str,
    ) -> Self:
        """Connect and log in. A refusal raises WireError, and leaves no socket behind."""
        wire = cls(address, timeout, receive_buffer, source)
        try:
            wire.send(m.startup({"user": user, "database": database, **parameters}, version))
            wire.authenticate(user, password)
        except BaseException:
            wire.close()
            raise
        return wire

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Bytes.

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_split(self, data: bytes, piece: int = 1) -> None:
        """The same bytes in as many writes as there are pieces of `piece` bytes."""
        for at in range(0, len(data), piece):
            self.sock.sendall(data[at : at + piece])

    def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes; EOFError when the connection ends before them."""
        while len(self._buffer) < count:
            data = self.sock.recv(1 << 18)
            if not data:
                raise EOFError(f"closed by the other side, {len(self._buffer)} bytes of a message before it")
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def unread(self, data: bytes) -> None:
        """Give back bytes that a test took from the socket itself."""
        self._buffer[:0] = data

    # Messages.

    def read(self) -> Message:
        """The next message, whatever it is. ParameterStatus and ReadyForQuery are remembered as well."""
        head = self.read_exactly(5)
        (length,) = struct.unpack_from("!i", head, 1)
        message = Message(chr(head[0]), self.read_exactly(length - 4))
        if message.letter == "S":
            name, value = message.pair
            self.parameters[name] = value
        elif message.letter == "Z":
            self.status = message.status
        elif message.letter == "N":
            self.notices.append(message)
        return message

    def read_until(self, wanted: str) -> list[Message]:
        """Messages up to and including the first whose letter is in `wanted`."""
        read = [self.read()]
        while read[-1].letter not in wanted:
            read.append(self.read())
        return read

    def read_ready(self, count: int = 1) -> list[Message]:
        """Messages up to and including the `count`th ReadyForQuery."""
        read: list[Message] = []
        for _ in range(count):
            read += self.read_until("Z")
        return read

    def read_to_end(self) -> list[Message]:
        """All messages until the other side closes. A reset counts as the end."""
        read: list[Message] = []
        try:
            while True:
                read.append(self.read())
        except (EOFError, ConnectionResetError):
            return read

    def ask(self, data: bytes) -> list[Message]:
        """Send, and read up to one ReadyForQuery."""
        self.send(data)
        return self.read_ready()

    def query(self, sql: str) -> list[Message]:
        """A simple Query that must succeed: its messages. An ErrorResponse raises WireError after its Z."""
        answer = self.ask(m.query(sql))
        for message in answer:
            if message.letter == "E":
                raise WireError(message)
        return answer

    def rows(self, sql: str) -> list[list[str | None]]:
        """The rows of a simple Query that must succeed, as text."""
        return [[None if v is None else v.decode() for v in row] for row in m.rows(self.query(sql))]

    def value(self, sql: str) -> str | None:
        """The single value of a simple Query that must succeed."""
        ((value,),) = self.rows(sql)
        return value

    # Login.

    def authenticate(self, user: str, password: str) -> list[Message]:
        """Answer what the other side asks until ReadyForQuery; returns all messages. An error raises
        WireError.
        """
        read: list[Message] = []
        scram: ScramClient | None = None
        while True:
            message = self.read()
            read.append(message)
            if message.letter == "E":
                raise WireError(message)
            if message.letter == "K":
                self.pid, self.key = struct.unpack_from("!I", message.body)[0], message.body[4:]
            if message.letter == "Z":
                return read
            if message.letter == "R":
                scram = self._answer(message.body, user, password, scram)

    def _answer(self, body: bytes, user: str, password: str, scram: ScramClient | None) -> ScramClient | None:
        (code,) = struct.unpack_from("!i", body)
        if code == 3:
            self.send(m.message("p", m.text(password)))
        elif code == 5:
            inner = hashlib.md5(password.encode() + user.encode()).hexdigest()
            outer = hashlib.md5(inner.encode() + body[4:8]).hexdigest()
            self.send(m.message("p", m.text("md5" + outer)))
        elif code == 10:
            mechanism, binding = "SCRAM-SHA-256", None
            if self.binding is not None:
                mechanism, binding = "SCRAM-SHA-256-PLUS", ("tls-server-end-point", self.binding)
            scram = ScramClient([mechanism], user, password, binding)
            first = scram.get_client_first().encode()
            self.send(m.message("p", m.text(mechanism) + struct.pack("!i", len(first)) + first))
        elif code == 11 and scram is not None:
            scram.set_server_first(body[4:].decode())
            self.send(m.message("p", scram.get_client_final().encode()))
        elif code == 12 and scram is not None:
            scram.set_server_final(body[4:].decode())
        return scram

    # Ends.

    def close(self) -> None:
        """Terminate and close. Harmless when repeated or when the other side has gone."""
        with contextlib.suppress(OSError):
            self.sock.sendall(m.TERMINATE)
        self.sock.close()

    def vanish(self) -> None:
        """Close with a reset, as a machine that disappears does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def cancel(address: Address, pid: int, key: bytes, timeout: float = 15.0, count: int = 1) -> bytes:
    """Send a cancel request, or several at once, wait until the other side closes, return what it said:
    nothing, by the protocol.
    """
    with contextlib.ExitStack() as stack:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        socks = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        for sock in socks:
            sock.settimeout(timeout)
            sock.connect(address)
        for sock in socks:
            sock.sendall(m.cancel_request(pid, key))
        said = b""
        for sock in socks:
            while data := sock.recv(1024):
                said += data
        return said
