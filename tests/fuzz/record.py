"""Makes the seeds of the corpus: `python -m tests.fuzz.record` rewrites every `seed-*` in it.

Real drivers log in to the door of the target `login`, our own login goes to a real PostgreSQL, and psycopg
and asyncpg talk to it: what each side said is written down. With the target's fixed nonces a recorded login
is a whole one when it is replayed. Of texts that nobody sends (rules, urls) a few of each kind are written
here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg

from poolproxy.demo.postgres import LocalPostgres
from poolproxy.protocol.auth_methods import ALL
from poolproxy.transport.poller import Poller
from tests.fuzz import dialogues
from tests.fuzz.dialogues import AND, PASSWORD, USER
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.support import messages as m


class Relay:
    """Between a client that connects to `port` and whoever `connect` reaches; remembers what both said."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self.client = bytearray()
        self.server = bytearray()
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        near, _ = self._listener.accept()
        far = self._connect()
        back = threading.Thread(target=self._copy, args=(far, near, self.server), daemon=True)
        back.start()
        self._copy(near, far, self.client)
        back.join()
        near.close()
        far.close()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket, said: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                said += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """After the client has gone: both have said everything."""
        self._threads[0].join(10)
        self._listener.close()


@contextlib.contextmanager
def relay(connect: Callable[[], socket.socket]) -> Iterator[Relay]:
    one = Relay(connect)
    try:
        yield one
    finally:
        one.close()


# Clients at the door of the target `login`.


def door(control: int) -> socket.socket:
    """A connection to it; its login is served by a thread."""
    poller = Poller(lambda pollable, problem: None)
    _, login, peer = dialogues.opened(control, poller)
    peer.setblocking(True)

    def serve() -> None:
        while not login.stream.closed:
            poller.wait(0.01)
        poller.close()

    threading.Thread(target=serve, daemon=True).start()
    return peer


def _psycopg(port: int, **more: Any) -> None:
    psycopg.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname=USER, **more).close()


def _asyncpg(port: int, **more: Any) -> None:
    async def body() -> None:
        with contextlib.suppress(Exception):
            connection = await asyncpg.connect(
                host="127.0.0.1", port=port, user=USER, password=PASSWORD, database=USER, timeout=5, **more
            )
            connection.terminate()

    asyncio.run(body())


def record_clients() -> None:
    target = TARGETS["login"]
    for control in range(3):
        for connect in (_psycopg, _asyncpg):
            with relay(lambda control=control: door(control)) as said:  # type: ignore[misc]
                connect(said.port)
            target.keep(bytes([control]) + said.client, "seed")
            _keep_first_packet(bytes(said.client))
    with relay(lambda: door(0)) as said:
        _psycopg(
            said.port,
            application_name="fuzz",
            options="-c search_path=a,b -c work_mem=1MB",
            sslmode="disable",
        )
    first = bytes(said.client)
    target.keep(b"\0" + first, "seed")
    target.keep(b"\x04PROXY TCP4 10.1.2.3 10.0.0.1 40000 5432\r\n" + first, "seed")
    target.keep(b"\x0c\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\1\2\3\x0a\0\0\1\x9c\x40\x15\x38" + first, "seed")
    target.keep(b"\0" + m.gssenc_request() + m.ssl_request() + first, "seed")
    target.keep(b"\0" + m.cancel_request(1, b"key!"), "seed")
    _keep_first_packet(first)
    TARGETS["startup"].keep(m.cancel_request(1, b"k" * 32), "seed")
    _keep_scram_server(first)


def _keep_first_packet(said: bytes) -> None:
    """Without what comes behind it."""
    while said[4:8] in (m.ssl_request()[4:], m.gssenc_request()[4:]):
        said = said[8:]
    TARGETS["startup"].keep(said[: int.from_bytes(said[:4], "big")], "seed")


def _keep_scram_server(said: bytes) -> None:
    """The exchange of the target `scram_server`, whose nonce differs from the door's: its proof is made
    anew."""
    from scramp import ScramClient  # type: ignore[import-untyped]

    from poolproxy.protocol.scram import ScramServer

    client = ScramClient(["SCRAM-SHA-256"], USER, PASSWORD)
    first = client.get_client_first()
    client.set_server_first(ScramServer(dialogues._SECRET, dialogues.NONCE).first(first.encode()).decode())
    TARGETS["scram_server"].keep(first.encode() + AND + client.get_client_final().encode(), "seed")


# Our own login, and drivers, at PostgreSQL.


def record_servers() -> None:
    for method, control in (("scram-sha-256", 1), ("md5", 0), ("password", 2), ("trust", 0)):
        with LocalPostgres(
            hba=(
                "local all postgres trust",
                "host all postgres all scram-sha-256",
                f"host all all all {method}",
            )
        ) as postgres:
            # Of the salt and the rounds that the targets know.
            stored = PASSWORD if method == "md5" else dialogues._SECRET.format()
            postgres.sql(f"set password_encryption = 'md5'; create role {USER} login password '{stored}'")
            postgres.sql(f"create database {USER}")
            place = postgres.host, postgres.port
            with relay(lambda place=place: socket.create_connection(place)) as said:  # type: ignore[misc]
                _log_in(said.port)
            TARGETS["server"].keep(bytes([control]) + said.server, "seed")
            if method == "scram-sha-256":
                _keep_scram_client(bytes(said.server))
            if method == "trust":
                _record_sessions(lambda place=place: socket.create_connection(place))  # type: ignore[misc]
    with LocalPostgres() as postgres:
        place = postgres.host, postgres.port
        with relay(lambda: socket.create_connection(place)) as said, contextlib.suppress(Exception):
            _log_in(said.port)
        TARGETS["server"].keep(b"\0" + said.server, "seed")


def _log_in(port: int) -> None:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    with dialogues.fixed_login():
        asyncio.run(dialogues.logged_in(sock, ALL, True))


def _keep_scram_client(said: bytes) -> None:
    bodies = [bytes(body) for letter, body in m.frontend_messages(said) if letter == "R"]
    continued, final = bodies[1][4:], bodies[2][4:]
    TARGETS["scram_client"].keep(continued + AND + final, "seed")


def _record_sessions(connect: Callable[[], socket.socket]) -> None:
    with (
        relay(connect) as said,
        psycopg.connect(
            host="127.0.0.1", port=said.port, user=USER, dbname=USER, sslmode="disable", gssencmode="disable"
        ) as one,
    ):
        one.execute("set work_mem to '1MB'")
        one.execute("select %s::int", (1,), prepare=True)
        one.execute("create temp table t (a int)")
        with one.cursor().copy("copy t from stdin") as copy:
            copy.write(b"1\n")
        with contextlib.suppress(psycopg.Error):
            one.execute("select 1/0")
        one.rollback()
        one.execute("listen x; notify x, 'y'")
    _keep_session(said)
    with relay(connect) as said:
        asyncio.run(_talk(said.port))
    _keep_session(said)


async def _talk(port: int) -> None:
    one = await asyncpg.connect(host="127.0.0.1", port=port, user=USER, database=USER, ssl=False)
    async with one.transaction():
        await one.fetch("select $1::text, generate_series(1, 3)", "a")
    await one.execute("set search_path to a, b")
    await one.close()


def _keep_session(said: Relay) -> None:
    client = bytes(said.client)
    client = client[int.from_bytes(client[:4], "big") :]
    TARGETS["hostile_client"].keep(client, "seed")
    TARGETS["framing"].keep(client, "seed")
    server = bytes(said.server)
    behind = server[server.index(b"Z\0\0\0\5I") + 6 :]
    TARGETS["framing"].keep(server, "seed")
    for control in (1, 3, 6, 17):
        TARGETS["hostile_server"].keep(bytes([control]) + behind, "seed")
    for letter, body in m.frontend_messages(server):
        _keep_message(letter, body)


def _keep_message(letter: str, body: bytes) -> None:
    """For the targets of single messages."""
    number = {"S": 0, "K": 1, "Z": 2, "C": 3, "A": 5, "D": 8}.get(letter)
    if number is not None:
        TARGETS["messages"].keep(bytes([number]) + body, "seed")
    elif letter in "EN":
        TARGETS["reports"].keep(body, "seed")
    elif letter == "T":
        TARGETS["descriptions"].keep(body, "seed")


#: What no driver sends us.
def _hellos() -> tuple[bytes, ...]:
    """As OpenSSL says them, in one record and in three; and with what may stand before and behind."""
    said: list[bytes] = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = version
        context.set_alpn_protocols(["postgresql"])
        outgoing = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="db.example").do_handshake()
        said.append(outgoing.read())
    message = said[1][5:]
    pieces = (message[:3], message[3:80], message[80:])
    cut = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    return *said, cut, b"\x14\x03\x03\x00\x01\x01" + said[1] + b"\x15\x03\x03\x00\x02\x01\x00"


WRITTEN: dict[str, tuple[bytes, ...]] = {
    "proxy_header": (
        b"PROXY TCP4 10.1.2.3 10.0.0.1 40000 5432\r\n",
        b"PROXY TCP6 fe80::1 ::1 1 2\r\nrest",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\1\2\3\x0a\0\0\1\x9c\x40\x15\x38",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ),
    "rules": (
        b'local all all trust\nhost "a b",c /^x$ 10.0.0.0/8 scram-sha-256 # why\n',
        b"hostssl all @more ::1/128 reject\ninclude more\nhost sameuser all 10.0.0.1 255.255.255.255 md5\n",
    ),
    "userlist": (b'"app" "secret"\n; more\n"a""b" "SCRAM-SHA-256$4096:x$y:z"\n',),
    "urls": (b"postgres://app:p%40ss@[::1]:5432/shop?sslmode=disable&host=/run", b"postgresql://db/x"),
    "ident_maps": (
        b"m app app\nm x all\n\napp",
        b'# why\nm /^(.*)@example$ \\1\nm "a b" "all"\nm c /^a\ninclude more\n\napp@example',
    ),
    "auth_rows": (
        b"app,SCRAM-SHA-256$4096:c2FsdA==$" + b"A" * 43 + b"=:" + b"B" * 43 + b"=,2030-01-01T00:00:00+00:00",
        b"app,md5" + b"0" * 32,
        b"app,\napp,",
    ),
    "passwords": (b'{"username":"app","password":"secret","port":5432}', b"secret", b'{"a":{"a":[1]}}'),
    "records": (
        b"\x16\x03\x01\x00\x02ab\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x03abc\x15\x03",
        b"\x17\x03\x03\x00\x00\x17\x03\x03\xff\xff",
    ),
    "client_hello": _hellos(),
    "require_auth": (b"scram-sha-256,md5", b"!password,!none"),
    "secrets": (dialogues._SECRET.format().encode(),),
    "http": (
        b"GET /metrics?name[]=a HTTP/1.1\r\nHost: x\r\nAccept: text/plain;q=0.5, */*\r\nAccept-Encoding: br",
    ),
    "options": (b"-c search_path=a\\ b --work-mem=1MB -d2 -F -tpa -fs", b"-B 1 -- rest"),
    "values": (b'"A b", c', b"1.5min", b"ISO, MDY\nGerman"),
    "encodings": (b"UTF8 LATIN1\n\xc3\xa9", b"SJIS EUC_JP\n\x82\xa0"),
    "notified": (b"channel", b'"a"'),
    "audit": (
        b"role,none,app\ndefault_role,none,\nsetting,work_mem,64\nleft,temp_object,\nours,,3\nchannel,x,",
    ),
    "statements": (
        b"set work_mem to '1MB'; select $$a$$, E'\\'' /* x /* y */ */ -- z",
        b"listen \"a b\"; select set_config('a.b', 'c', false)",
        b"deallocate all",
        b"prepare p as select 1",
        b"begin; set local x.y = 1; commit",
    ),
}


def record_written() -> None:
    for name, inputs in WRITTEN.items():
        for data in inputs:
            TARGETS[name].keep(data, "seed")


def _forget_seeds(target: Target) -> None:
    for path in target.folder.glob("seed-*"):
        path.unlink()


def main() -> None:
    for target in TARGETS.values():
        _forget_seeds(target)
    record_written()
    record_clients()
    record_servers()
    for target in TARGETS.values():
        print(f"{target.name}: {len(target.corpus())} inputs")


if __name__ == "__main__":
    main()
