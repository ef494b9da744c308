"""The lean client's two conversations, without a socket: logging in, and asking one statement.

Each takes the server's messages one by one, returns what is to be said next, and is `done` in the end, with
`error` when a server has said one. Raises ProtocolError for what PostgreSQL does not say at that point. Must
not know sockets or event loops.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from benchmarks.scram import ScramLogin
from benchmarks.storm.clients import messages
from benchmarks.storm.clients.address import Address
from benchmarks.storm.clients.errors import ConnectFailed, ProtocolError, ServerError
from benchmarks.storm.clients.messages import Decoder
from benchmarks.storm.clients.session import Row

_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
_SCRAM = b"SCRAM-SHA-256"


class Exchange(Protocol):
    """What a connection needs to know of either."""

    done: bool
    error: ServerError | None
    skipped: frozenset[int]  #: letters of messages that it learns nothing from

    @property
    def outcome(self) -> object:
        """What whoever waits for it gets, once it is done without an error."""

    def take(self, kind: int, body: bytes) -> bytes: ...


class Login:
    """From the StartupMessage to the first ReadyForQuery, by whatever the server asks for: nothing (trust),
    a cleartext password, MD5, or SCRAM-SHA-256, whose server must prove that it knows the secret."""

    __slots__ = ("_address", "_admitted", "_scram", "done", "error", "skipped")

    def __init__(self, address: Address) -> None:
        self.skipped = messages.ABOUT_THE_SESSION
        self.done = False
        self.error: ServerError | None = None
        self._address = address
        self._scram: ScramLogin | None = None
        self._admitted = False

    @property
    def outcome(self) -> None:
        """It is in."""

    def first(self) -> bytes:
        """What the client says before anything is heard."""
        address = self._address
        who = (("user", address.user), ("database", address.database), ("client_encoding", "UTF8"))
        return messages.startup((*who, *address.parameters))

    def take(self, kind: int, body: bytes) -> bytes:
        if kind == messages.AUTHENTICATION and not self._admitted:
            return self._authenticate(int.from_bytes(body[:4], "big"), body[4:])
        if kind == messages.ERROR_RESPONSE:
            self.error = messages.server_error(body)
            self.done = True
        elif kind == messages.READY_FOR_QUERY and self._admitted:
            self.done = True
        elif kind not in messages.ASIDES and kind not in messages.ABOUT_THE_SESSION:
            raise _unexpected(kind, "during login")
        return b""

    def _authenticate(self, code: int, data: bytes) -> bytes:
        if code == _OK:
            if self._scram is not None:
                raise ProtocolError("the server admits us without a proof that it knows the secret")
            self._admitted = True
            return b""
        if code == _CLEARTEXT:
            return messages.password(self._password().encode())
        if code == _MD5:
            inner = hashlib.md5((self._password() + self._address.user).encode()).hexdigest()
            return messages.password(b"md5" + hashlib.md5(inner.encode() + data).hexdigest().encode())
        if code == _SASL:
            if _SCRAM not in data.split(b"\0"):
                raise ProtocolError(f"the server offers no SCRAM-SHA-256 but {data!r}")
            self._scram = ScramLogin(self._password())
            return messages.sasl_initial(_SCRAM, self._scram.first())
        if code in (_SASL_CONTINUE, _SASL_FINAL) and self._scram is not None:
            return self._go_on(self._scram, code, data)
        raise ProtocolError(f"the server asks for authentication {code}, which this client does not know")

    def _go_on(self, scram: ScramLogin, code: int, data: bytes) -> bytes:
        try:
            if code == _SASL_CONTINUE:
                return messages.sasl_response(scram.final(data))
            scram.verify(data)
        except (KeyError, ValueError) as error:
            raise ProtocolError(f"SCRAM failed: {error}") from None
        self._scram = None
        return b""

    def _password(self) -> str:
        if not self._address.password:
            raise ConnectFailed("the server asks for a password, and the connection URL has none")
        return self._address.password


class Answer:
    """The answer to one Query, or to one Parse, Bind, Describe, Execute and Sync, up to ReadyForQuery. Of its
    rows and its tag one is wanted: the rows if they are to be kept."""

    __slots__ = ("_decoders", "_keep", "done", "error", "rows", "skipped", "tag")

    def __init__(self, keep: bool) -> None:
        self.done = False
        self.error: ServerError | None = None
        self.rows: list[Row] = []  #: empty unless they are to be kept
        self.tag = ""
        self.skipped = messages.STEPS if keep else messages.STEPS_AND_ROWS
        self._keep = keep
        self._decoders: list[Decoder] = []

    @property
    def outcome(self) -> list[Row] | str:
        return self.rows if self._keep else self.tag

    def take(self, kind: int, body: bytes) -> bytes:
        if kind == messages.DATA_ROW:
            if self._keep:
                self.rows.append(messages.row(body, self._decoders))
        elif kind == messages.READY_FOR_QUERY:
            self.done = True
        elif kind == messages.COMMAND_COMPLETE:
            self.tag = body[:-1].decode("ascii", "replace")
        elif kind == messages.ROW_DESCRIPTION:
            if self._keep:
                self._decoders = messages.row_decoders(body)
        elif kind == messages.ERROR_RESPONSE:
            self.error = messages.server_error(body)
            self.done = self.error.fatal  # no ReadyForQuery follows
        elif kind not in messages.STEPS and kind not in messages.ASIDES:
            raise _unexpected(kind, "in answer to a statement")
        return b""


def _unexpected(kind: int, when: str) -> ProtocolError:
    return ProtocolError(f"the server sends {chr(kind)!r} {when}")
