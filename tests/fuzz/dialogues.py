"""Targets: both ends of SCRAM, and whole logins, a client's with us and ours with a server, over real
streams.

All that is random is fixed, so that a login that was recorded once succeeds again, and what the mutator
makes of it gets as far. Who gets in without the one right proof in its bytes has broken in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import socket
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

from poolproxy.auth.client_login import AuthMethod
from poolproxy.auth.credentials import Credentials, UserSecret
from poolproxy.auth.server_login import (
    Channel,
    ScramKeyCache,
    ServerGreeting,
    ServerRefusedLogin,
    server_login,
)
from poolproxy.backend import connecting
from poolproxy.errors import PoolproxyError, ProtocolViolation, UnexpectedServerAnswer
from poolproxy.frontend.login import Door, Login
from poolproxy.protocol import messages, scram
from poolproxy.protocol.auth_methods import ALL, SCRAM
from poolproxy.protocol.startup import StartupMessage
from poolproxy.session.startup_parameters import Wanted
from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.stream import Handler, Stream
from tests.fuzz.readers import holds
from tests.fuzz.target import Target
from tests.support.polling import served_poller

USER = "app"
PASSWORD = "correct horse"
NONCE = b"fyko+d2lbbFgONRv9qkxdawL"
_CREDENTIALS = Credentials.from_passwords({USER: PASSWORD}, b"k" * 32)
_SECRET = _CREDENTIALS.lookup(USER).scram
_KEYS = scram.derive_keys(PASSWORD, _SECRET.salt, _SECRET.iterations)

#: Between two messages of a SCRAM exchange in one input.
AND = b"\xff"


def _proves(first: bytes, server_first: bytes, final: bytes) -> bool:
    """Whether these messages of a client's prove that it has the password (RFC 5802, 3)."""
    without_proof, _, proof = final.rpartition(b",p=")
    message = first.split(b",", 2)[2] + b"," + server_first + b"," + without_proof
    signature = hmac.digest(_SECRET.stored_key, message, "sha256")
    key = bytes(a ^ b for a, b in zip(b64decode(proof), signature, strict=True))
    return hashlib.sha256(key).digest() == _SECRET.stored_key


def scram_server(data: bytes) -> None:
    """A client's two messages."""
    first, _, final = data.partition(AND)
    for ahead in (False, True):
        exchange = scram.ScramServer(_SECRET, NONCE)
        try:
            server_first = exchange.first(first)
            if ahead:
                exchange.ahead()
            exchange.final(final)
        except (ProtocolViolation, scram.ProofRejected):
            continue
        holds(_proves(first, server_first, final), "a proof was taken that proves nothing")


def scram_client(data: bytes) -> None:
    """A server's two messages."""
    server_first, _, server_final = data.partition(AND)
    exchange = scram.ScramClient(NONCE)
    exchange.first()
    try:
        _, rounds = exchange.challenge(server_first)
        holds(1 <= rounds <= scram.MAX_ITERATIONS, f"{rounds} rounds")
        without_proof = exchange.final(_KEYS).rpartition(b",p=")[0]
        exchange.verify(server_final)
    except UnexpectedServerAnswer:
        return
    message = b"n=,r=" + NONCE + b"," + server_first + b"," + without_proof
    signature = hmac.digest(_KEYS.server_key, message, "sha256")
    holds(b64decode(server_final[2:].partition(b",")[0]) == signature, "an impostor was believed")


# A client logs in.

#: What drivers want to hear before they believe that they are in.
WELCOME = (
    messages.authentication_ok()
    + messages.parameter_status("server_version", "18.6")
    + messages.backend_key_data(1, b"key!")
    + messages.ready_for_query(0x49)
)

_METHODS: tuple[AuthMethod, ...] = ("scram-sha-256", "md5", "trust")


class _Inside(Handler):
    """Where a client is when it is in. Takes what comes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def on_data(self, buffer: bytearray, end: int) -> None: ...

    def on_drained(self) -> None: ...

    def on_lost(self, reason: str) -> None:
        self._stream.close()

    def fail(self, error: PoolproxyError) -> None: ...


class OpenDoor(Door):
    """Behind it is nothing; remembers what became of its logins."""

    def __init__(self, method: AuthMethod, balanced: bool) -> None:
        super().__init__(method, lambda count: b"\7" * count)
        self._balanced = balanced
        self.results: list[str] = []
        self.entered = 0

    def secret(self, user: str) -> UserSecret:
        return _CREDENTIALS.lookup(user)

    def balanced(self, address: object) -> bool:
        return self._balanced

    def arrived(self, login: Login) -> None: ...

    def admit(self, login: Login) -> None: ...

    def cancel(self, pid: int, key: bytes) -> None: ...

    def enter(self, login: Login, startup: StartupMessage, wanted: Wanted, proof: bytes) -> None:
        self.entered += 1
        self.user = startup.user
        login.stream.handler = _Inside(login.stream)
        login.stream.send(proof + WELCOME)

    def left(self, login: Login, result: str, error: PoolproxyError | None) -> None:
        self.results.append(result)


@contextmanager
def _fast_polling(problems: list[Exception]) -> Iterator[Poller]:
    def broken(pollable: Pollable, problem: Exception) -> None:
        problems.append(problem)

    poller = Poller(broken)
    try:
        yield poller
    finally:
        poller.close()


def _settle(poller: Poller, peer: socket.socket) -> bytes:
    """Let the login do what it can, and hear what it says."""
    heard = b""
    for _ in range(100):
        poller.wait(0.0)
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            if said := peer.recv(1 << 16):
                heard += said
                continue
        if not poller.pending:
            return heard
    return heard


def opened(control: int, poller: Poller) -> tuple[OpenDoor, Login, socket.socket]:
    """A login of the kind that the first byte of an input says, and its client's socket."""
    door = OpenDoor(_METHODS[control % 3], bool(control & 4))
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    return door, Login(door, poller, ours.detach(), "127.0.0.1:7"), theirs


def login(data: bytes) -> None:
    """The first byte says how the client is to prove who it is, whether a balancer stands before it and in
    what pieces it writes; the rest is what it says."""
    control, said = data[0] if data else 0, data[1:]
    piece = (len(said) + 1, 1, 7, 64)[(control >> 3) & 3]
    problems: list[Exception] = []
    heard = b""
    with _fast_polling(problems) as poller:
        door, one, peer = opened(control, poller)
        with peer:
            for start in range(0, len(said), piece):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
                    peer.send(said[start : start + piece])
                heard += _settle(poller, peer)
            peer.shutdown(socket.SHUT_WR) if not one.stream.closed else None
            heard += _settle(poller, peer)
        poller.wait(0.0)
        if not one.stream.closed:
            one.stream.close()
    holds(not problems, f"internal error: {problems}")
    holds(len(door.results) == 1, f"it ended {len(door.results)} times: {door.results}")
    holds(len(heard) < 1000 + 2 * len(said), f"{len(heard)} bytes said to {len(said)}")
    if door.entered:
        _check_entry(door, said)


def _check_entry(door: OpenDoor, said: bytes) -> None:
    holds(door.entered == 1, "it came in twice")
    if door.method == "md5":
        stored = hashlib.md5((PASSWORD + USER).encode()).hexdigest()
        proof = b"md5" + hashlib.md5(stored.encode() + b"\7" * 4).hexdigest().encode()
        holds(door.user == USER and proof in said, "it came in without a proof")
    elif door.method == "scram-sha-256":
        holds(door.user == USER and _has_scram_proof(said), "it came in without a proof")


def _has_scram_proof(said: bytes) -> bool:
    """Whether a whole exchange that proves something stands in these bytes, wherever."""
    server_nonce = scram.new_nonce(lambda count: b"\7" * count)
    for found in re.finditer(rb"[ny],,n=", said):
        first = _of_length(said, found.start(), 0)
        for final in re.finditer(rb"c=", said[found.start() :]):
            with contextlib.suppress(ValueError, ProtocolViolation):
                server_first = scram.ScramServer(_SECRET, server_nonce).first(first)
                if _proves(first, server_first, _of_length(said, found.start() + final.start(), 4)):
                    return True
    return False


def _of_length(said: bytes, start: int, counted: int) -> bytes:
    """What stands from here on, of the length that stands before it; `counted`: bytes of that itself."""
    return said[start : start + int.from_bytes(said[start - 4 : start], "big") - counted]


# We log in to a server.


def _at_once(call: Callable[[], object]) -> asyncio.Future[object]:
    """`aside` without its thread: a measured run has one."""
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
    return future


def _derived(password: str, salt: bytes, iterations: int) -> scram.ScramKeys:
    """In one round: what the others cost, a target for the SCRAM bounds holds."""
    holds(iterations <= scram.MAX_ITERATIONS, f"{iterations} rounds")
    return _KEYS if (salt, iterations) == (_SECRET.salt, _SECRET.iterations) else _derive(password, salt, 1)


_derive = scram.derive_keys


@contextmanager
def fixed_login() -> Iterator[None]:
    """Our nonce is the same each time, and nothing runs aside."""
    with (
        patch.object(scram, "new_nonce", lambda: NONCE),
        patch.object(scram, "derive_keys", _derived),
        patch.object(connecting, "aside", _at_once),
    ):
        yield


async def logged_in(sock: socket.socket, methods: frozenset[str], local: bool) -> ServerGreeting:
    """Our login on a connected socket."""
    async with served_poller() as poller:
        parameters: Mapping[str, str] = {"database": USER}
        dialogue = server_login(USER, PASSWORD, parameters, Channel(private=local), ScramKeyCache(), methods)
        driver = connecting.LoginDriver(
            Stream(poller, sock.detach(), connecting.LoginDriver.__new__(connecting.LoginDriver)), dialogue
        )
        try:
            async with asyncio.timeout(30):
                return await driver.done
        finally:
            driver.stream.close()


def server(data: bytes) -> None:
    """The first byte says what the server may ask for; the rest is what it says."""
    control, said = data[0] if data else 0, data[1:]
    scram_only, local = bool(control & 1), bool(control & 2)
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with theirs, fixed_login():
        with contextlib.suppress(BlockingIOError):
            theirs.send(said)
        theirs.shutdown(socket.SHUT_WR)
        methods = frozenset({SCRAM}) if scram_only else ALL
        try:
            greeting = asyncio.run(logged_in(ours, methods, local))
        except (ServerRefusedLogin, UnexpectedServerAnswer, ConnectionResetError):
            return
    holds(sum(len(n) + len(v) for n, v in greeting.parameters.items()) <= len(said), "more than was said")
    if scram_only:
        holds(b"v=" in said and b"r=" + NONCE in said, "believed without a proof")


TARGETS = (
    Target("scram_server", scram_server, (b"n,,", b"y,,", b"p=", b",r=", b"c=biws", b"m=", AND, b"=")),
    Target("scram_client", scram_client, (b"r=" + NONCE, b",s=", b",i=4096", b",i=", b"v=", AND, b"e=")),
    Target(
        "login",
        login,
        (b"\0\3\0\0", b"\x04\xd2\x16\x2f", b"p\0\0\0\4", b"SCRAM-SHA-256\0", b"n,,n=,r=", b"PROXY "),
    ),
    Target(
        "server",
        server,
        (b"R\0\0\0\x08\0\0\0\0", b"E\0\0\0", b"Z\0\0\0\5I", b"S\0\0\0", b"v\0\0\0", b"N\0\0\0\4"),
    ),
)
