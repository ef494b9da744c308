"""No leak: after any client, whatever it did and however it left, the next client on the same server sees
defaults. Every row of the design's table of session state, and every statement that the machine knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.machine.heard import compared
from tests.support.machine.vocabulary import (
    ASKING,
    CALLS,
    CHANNELS,
    CONTROL,
    DATA,
    DEFAULTS,
    FAILING,
    INSIDE,
    LEFT,
    SETTING,
    STARTUP,
)
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire

#: What is asked by whoever comes next, in one write: all that a session can hold, and foreign names.
PROBE = b"".join(map(m.query, DEFAULTS)) + b"".join(
    m.bind(statement=name) + m.execute() + m.SYNC for name in ("s1", "s2", "")
)
#: What a session cannot be freed of (sessions.md, rule 13): its server is closed behind its client.
LASTING = ("setseed",)

PREPARED = [*DATA[:10], *FAILING, "set work_mem = '14MB'", "listen a", "select pg_try_advisory_lock(8)"]

ROWS: dict[str, list[bytes]] = {
    "settings": [m.query(text) for text in SETTING],
    "settings, extended": [m.extended(text) + m.SYNC for text in SETTING if ";" not in text],
    "transactions": [m.query(text) for text in CONTROL],
    "several statements": [b"".join(map(m.query, texts[:-1])) for texts in INSIDE],
    "what pins": [m.query(text) for text in LEFT],
    "two that pin": [m.query(one) + m.query(two) for one, two in zip(LEFT, LEFT[7:], strict=False)],
    "channels": [m.query(text) for text in CHANNELS],
    "prepared statements": [m.extended(text, statement="s1") + m.SYNC for text in PREPARED],
    "parameters": [
        m.extended(text, value, statement="s2") + m.SYNC
        for text, values in ASKING.items()
        for value in values
    ],
    "the unnamed statement": [m.parse(text) + m.SYNC for text in PREPARED],
    "sequences": [m.query("select nextval('counter')"), m.query("select setval('counter', 77)")],
    "portals": [
        m.parse("select 1") + m.bind(portal="c") + m.execute("c", 1) + m.SYNC,
        m.parse("select 1") + m.bind(portal="c") + m.execute("c", 1) + m.FLUSH,
    ],
    "copies": [
        m.query("copy note from stdin") + m.copy_data(b"1\tx\n") + end
        for end in (m.COPY_DONE, m.copy_fail("no"))
    ],
}
WAYS = ["it leaves", "it vanishes", "it vanishes in a transaction", "it commits and stays"]


def asked(wire: Wire, data: bytes) -> None:
    """Answers and errors alike are its own business."""
    wire.send(data)
    count = sum(letter in "QSF" for letter in m.frontend_letters(data))
    if count:
        wire.read_ready(count)
    else:
        wire.read_until("CEs")


def seen(wire: Wire) -> list[str]:
    wire.send(PROBE)
    return [compared(each) for each in wire.read_ready(len(DEFAULTS) + 3)]


@pytest.fixture(scope="module")
def defaults(session_stage: Stage) -> Iterator[tuple[list[str], dict[str, str]]]:
    """What a session of its own sees and is told."""
    address = (session_stage.postgres.host, session_stage.postgres.port)
    with Wire.login(address, "app", PASSWORDS["app"], DATABASE) as wire:
        yield seen(wire), wire.parameters


def finds_defaults(other: Wire, defaults: tuple[list[str], dict[str, str]], what: object) -> str:
    assert (seen(other), other.parameters) == defaults, what
    return str(other.value("select pg_backend_pid()"))


def leave(proxy: ProxyProcess, wire: Wire, way: str, data: bytes) -> None:
    if way in ("it vanishes in a transaction", "it commits and stays"):
        asked(wire, m.query("begin"))
    asked(wire, data)
    if way == "it commits and stays":
        asked(wire, m.SYNC + m.query("commit") + m.query("rollback"))
    if way == "it leaves":
        wire.close()
    elif way.startswith("it vanishes"):
        wire.vanish()
    elif proxy.metrics().by("poolproxy_servers_pinned", "reason"):
        wire.close()  # nobody else could come


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", ROWS)
def test_the_next_client_finds_defaults(
    narrow: ProxyProcess, defaults: tuple[list[str], dict[str, str]], row: str, way: str
) -> None:
    other = narrow.login()
    for data in ROWS[row]:
        wire = narrow.login()
        pid = wire.value("select pg_backend_pid()")
        leave(narrow, wire, way, data)
        found = finds_defaults(other, defaults, (data, way))
        assert found == pid or any(word.encode() in data for word in LASTING), (data, way)
        wire.close()


@pytest.mark.parametrize("way", WAYS)
def test_after_function_calls(
    narrow: ProxyProcess, defaults: tuple[list[str], dict[str, str]], way: str
) -> None:
    with narrow.login() as wire:
        oids = [(name, wire.value(f"select '{name}'::regprocedure::oid")) for name in CALLS if name]
    for name, oid in oids:
        wire = narrow.login()
        leave(narrow, wire, way, m.function_call(int(oid or 0), *CALLS[name]))
        with narrow.login() as other:
            finds_defaults(other, defaults, (name, way))
        wire.close()


@pytest.mark.parametrize("way", WAYS)
def test_after_startup_parameters(
    narrow: ProxyProcess, defaults: tuple[list[str], dict[str, str]], way: str
) -> None:
    for parameters in STARTUP:
        wire = narrow.login(**parameters)
        pid = wire.value("select pg_backend_pid()")
        leave(narrow, wire, way, m.query("reset all"))
        with narrow.login() as other:
            assert finds_defaults(other, defaults, (parameters, way)) == pid
        wire.close()
