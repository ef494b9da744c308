"""Names that strangers choose, in the log: one event is one line, escaped and cut, in either format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from poolproxy import app, log
from poolproxy.log import FIELD_CHARACTERS, LINE_BYTES, RepeatGate
from poolproxy.transport.poller import Pollable
from tests.dialogues.stage import ClientPeer, Stage
from tests.dialogues.words import END, ended
from tests.support import messages as m
from tests.support.captured import Captured, captured

FORGED = "2026-01-01T00:00:00.000Z [error    ] all is lost"
NAMES: dict[str, bytes] = {
    "line feed": b"a\n" + FORGED.encode(),
    "carriage return": b"a\r" + FORGED.encode(),
    "escape": b"a\x1b[2J\x1b[1;31mred",
    "separators": f"a\u2028{FORGED}\u2029{FORGED}\x85{FORGED}\x0b\x0c".encode(),
    "right to left": "a\u202eb\u2066c\ufeffd".encode(),
    "no UTF-8": bytes(range(128, 256)) + b"\xc0\x80",
    "all controls": bytes(range(1, 32)) + b"\x7f",
    "json": b'a", "level": "error", "event": "forged',
    "fields": b"a level=error event=forged user='root'",
    "8 kB": b"a\n" * 4096,
}
ANYBODY: dict[str, Any] = {"databases": {"*": {"url": "postgres://db:5432"}}, "users": {}}


@pytest.fixture(params=["json", "text"])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Captured]:
    monkeypatch.setattr(log, "_GATE", RepeatGate())
    with captured("debug", request.param) as found:
        yield found


def one_line_each(lines: Captured, *events: str) -> str:
    """So many lines, each with its event, and nothing in them that is not printed. All of them."""
    found = [line.decode() for line in lines.lines()]
    lines.forget()
    assert len(found) == len(events), found
    for line, event in zip(found, events, strict=True):
        assert line.isprintable(), line
        assert event in line
        assert len(line.encode()) < LINE_BYTES
        if line.startswith("{"):
            fields = json.loads(line)
            assert fields["event"] == event
            assert fields["level"] in ("info", "warning")
            for value in fields.values():
                assert str(value).isprintable(), value
                assert len(str(value)) <= 10 * (FIELD_CHARACTERS + 3), "each character is an escape at most"
        else:
            assert line.index(event) < 60, "no field looks like the beginning of a line"
    return "\n".join(found)


def packet(user: bytes = b"app", database: bytes = b"app", **others: bytes) -> bytes:
    """A startup message of bytes, whatever they are."""
    fields = {b"user": user, b"database": database} | {key.encode(): value for key, value in others.items()}
    body = b"".join(name + b"\0" + value + b"\0" for name, value in fields.items())
    return m.untyped((3 << 16).to_bytes(4, "big") + body + b"\0")


def into(stage: Stage, data: bytes, address: str = "") -> ClientPeer:
    """It asks to come in and is served, if there is a server for it."""
    peer = stage.knock(address=address)
    peer >> data
    for server in stage.servers:
        if server.heard:
            server.learn()
    return peer


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["user", "database", "both"])
def test_who_logs_in(stages: Callable[..., Stage], lines: Captured, name: str, where: str) -> None:
    stage = stages(**ANYBODY)
    given = NAMES[name][: 4000 if where == "both" else 9000]
    peer = stage.knock()
    fields = {field: given for field in ("user", "database") if where in (field, "both")}
    peer >> packet(**fields)
    (pool,) = stage.pools
    stage.server(pool).learn()
    peer.greeted().leave()
    one_line_each(lines, "client logged in", "client disconnected")


@pytest.mark.parametrize("name", NAMES)
def test_application_name(stages: Callable[..., Stage], lines: Captured, name: str) -> None:
    stage = stages(**ANYBODY)
    stage.server()
    into(stage, packet(application_name=NAMES[name])).greeted().leave()
    one_line_each(lines, "client logged in", "client disconnected")


@pytest.mark.parametrize("name", NAMES)
def test_who_is_refused(stages: Callable[..., Stage], lines: Captured, name: str) -> None:
    stage = stages(auth_method="md5")
    peer = into(stage, packet(user=NAMES[name]))
    peer.take()
    peer >> m.message("p", b"md5nonsense\0")
    peer << ended("28P01") << END
    one_line_each(lines, "login refused")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["options", "replication", "work_mem", "_pq_.x"])
def test_what_else_a_startup_message_says(
    stages: Callable[..., Stage], lines: Captured, name: str, field: str
) -> None:
    """Some of it is taken, most is refused; it is told apart by what is in the log."""
    stage = stages(**ANYBODY)
    stage.server()
    given = NAMES[name] if field != "options" else b"-c" + NAMES[name].replace(b" ", b"")
    into(stage, packet(**{field: given})).leave()
    events = ["client logged in", "client disconnected"] if stage.door.login_results else ["login refused"]
    one_line_each(lines, *events)


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_parameter(stages: Callable[..., Stage], lines: Captured, name: str) -> None:
    stage = stages(**ANYBODY)
    stage.server()
    peer = into(stage, packet(**{"a " + NAMES[name].decode("latin-1"): b"x"}))
    assert peer.take().letter == "E"
    one_line_each(lines, "login refused")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["TCP4 {} 192.0.2.1 5 6", "TCP6 fe80::1%{} ::2 5 6", "{}", "UNKNOWN {}"])
def test_a_proxy_header(stages: Callable[..., Stage], lines: Captured, name: str, kind: str) -> None:
    """Addresses in it come from a trusted network, and may be a stranger's nevertheless."""
    stage = stages(proxy_protocol_networks=["10.0.0.0/8"])
    stage.server()
    given = NAMES[name].replace(b" ", b"")[:60]
    before, after = kind.encode().split(b"{}")
    into(stage, b"PROXY " + before + given + after + b"\r\n" + packet(), "10.0.0.1:5").leave()
    if stage.door.login_results:
        assert kind.startswith("UNKNOWN")
        one_line_each(lines, "client logged in", "client disconnected")
    else:
        one_line_each(lines, "login refused")


class Broken(Stage):
    """What goes wrong inside is logged as the app does it."""

    def _broken(self, pollable: Pollable, problem: Exception) -> None:
        app._broken(pollable, problem)


@pytest.mark.parametrize("name", NAMES)
def test_an_internal_error(lines: Captured, name: str) -> None:
    """Its traceback is the one thing of several lines, as text; none of them begins as one of ours does."""
    stage = Broken(**ANYBODY)
    given = NAMES[name].decode("utf-8", "surrogateescape")

    def pool(_: object) -> None:
        raise ValueError(f"no such thing: {given}")

    stage.pools.pool = pool
    peer = stage.knock()
    peer >> packet(user=NAMES[name])
    peer << ended("XX000", "internal error") << END
    first, *traceback, last = [line.decode() for line in lines.lines()]
    stage.close()
    if first.startswith("{"):
        assert not traceback
        error, refused = json.loads(first), json.loads(last)
        assert (error["event"], refused["event"]) == ("internal error", "login refused")
        assert all(part.isprintable() for part in error["exception"].split("\n"))
    else:
        assert first.index("internal error") < 60
        assert last.index("login refused") < 60
        assert traceback
        assert all(part.startswith("    ") and part.isprintable() for part in traceback), traceback
