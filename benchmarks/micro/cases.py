"""What is timed: inputs as they are on the wire, made once, outside of the measured call."""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from poolproxy import counters
from poolproxy.protocol import framing, scram, startup
from poolproxy.session import statements

PASSING = b"TDCZ12ns"  #: backend types of an ordinary answer


@dataclass(frozen=True, slots=True)
class Case:
    """`run` does `units` things at once."""

    title: str
    unit: str
    units: int
    run: Callable[[], object]
    build: str


def build_of(module: ModuleType) -> str:
    """`compiled` or `interpreted`: how this process has loaded `module`."""
    return "compiled" if str(module.__file__).endswith(".so") else "interpreted"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def all_cases() -> list[Case]:
    return [*_framing(), *_statements(), *_login(), _histogram()]


def _framing() -> list[Case]:
    rows = bytearray(message(b"D", b"\0\1\0\0\0\x64" + b"x" * 100) * 590)
    answer = bytearray(
        message(b"T", b"x" * 33)
        + message(b"D", b"x" * 10)
        + message(b"C", b"SELECT 1\0")
        + message(b"Z", b"I")
    )
    framer = framing.Framer(framing.stop_table(PASSING))
    build = build_of(framing)

    def walk(buffer: bytearray) -> Callable[[], object]:
        return lambda: framer.scan(buffer, 0, len(buffer))

    return [
        Case("framing: 64 KiB of DataRows of 100 bytes", "message", 590, walk(rows), build),
        Case("framing: the answer to pgbench -S", "answer", 1, walk(answer), build),
    ]


#: An ordinary statement, after which nobody need be asked.
NOT_SUSPECT = "SELECT abalance FROM pgbench_accounts WHERE aid = 523424;"

_STATEMENTS = {
    "pgbench -S": NOT_SUSPECT,
    "BEGIN": "BEGIN",
    "a tracked SET": "SET statement_timeout = '5s'",
    "1 KiB of an ORM": "SELECT "
    + ", ".join(f'"t0"."column_{number}" AS "c{number}"' for number in range(24))
    + ' FROM "orders" "t0" LEFT JOIN "customers" "t1" ON "t1"."id" = "t0"."customer_id"'
    + ' WHERE "t0"."state" = \'open\' AND "t1"."name" LIKE \'it\'\'s %\' ORDER BY 1 LIMIT 100',
    "an INSERT of 64 KiB": "INSERT INTO notes VALUES ('" + "lorem ipsum dolor " * 3640 + "')",
}


def _statements() -> list[Case]:
    return [_look(title, sql) for title, sql in _STATEMENTS.items()]


def _look(title: str, sql: str) -> Case:
    scanner = statements.Scanner()
    text = bytearray(sql.encode())

    def look() -> object:
        return scanner.look(text, 0, len(text))

    return Case(f"statement text: {title}", "statement", 1, look, build_of(statements))


def suspect_check() -> Case:
    """What is done for every statement that is not suspect."""
    case = _look("not suspect", NOT_SUSPECT)
    assert case.run() is None
    return case


def _login() -> list[Case]:
    parameters = b"user\0bench\0database\0bench\0application_name\0orders\0client_encoding\0UTF8\0\0"
    packet = struct.pack(">II", len(parameters) + 8, 0x00030000) + parameters
    secret = scram.secret_from_password("correct horse", salt=os.urandom(16))
    keys = scram.derive_keys("correct horse", secret.salt, secret.iterations)
    client = scram.ScramClient(base64.b64encode(os.urandom(18)))
    nonce = base64.b64encode(os.urandom(18))
    first = client.first()
    client.challenge(scram.ScramServer(secret, nonce).first(first))
    final = client.final(keys)

    def serve() -> object:
        server = scram.ScramServer(secret, nonce)
        server.first(first)
        return server.final(final)

    return [
        Case("startup message", "packet", 1, lambda: startup.read_first_packet(packet), build_of(startup)),
        Case("SCRAM, our side of a client's login", "login", 1, serve, build_of(scram)),
    ]


def _histogram() -> Case:
    histogram = counters.Histogram()
    return Case("histogram", "observation", 1, lambda: histogram.observe(0.000_8), build_of(counters))
