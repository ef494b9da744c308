"""The accepting side of a handshake: which hello OpenSSL gets to see, and who computes."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import pytest

from poolproxy.transport.client_hello import FINITE_FIELDS, MOST_RECORDS, ClientHello, HelloRefused
from poolproxy.transport.handshake import ALONE, INSTANT, LIGHT, Cost
from poolproxy.transport.workers import Workers
from tests.unit.transport.table import Table
from tests.unit.transport.test_client_hello import (
    EMPTY,
    NOTHING_SAID,
    VERSIONS,
    WARNING,
    cut,
    hello,
    message,
    offered,
    record,
    shares,
)
from tests.unit.transport.test_tls_stream import Line, client_context

SIGNATURES = b"\x00\x0d\x00\x04\x00\x02\x04\x03"  #: an extension: ECDSA with P-256
MAKES_US_ASK_AGAIN = message(VERSIONS, shares(0x11EC), offered(0x11EC, 29), SIGNATURES)


class Refusing(Line):
    """It has no key exchange over finite fields."""

    def _look(self, hello: ClientHello) -> None:
        super()._look(hello)
        if hello.group in FINITE_FIELDS:
            raise HelloRefused("not with us", 40)


class Watched(Cost):
    """Which steps OpenSSL was asked for."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.taken: list[tuple[int, int]] = []

    def of(self, group: int, step: int) -> float:
        self.taken.append((group, step))
        return self.seconds

    def note(self, group: int, step: int, seconds: float) -> None:
        """It is what we say it is."""


Kept = TypeVar("Kept", bound=Watched)


def watched(line: Line, *, cost: Kept, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Kept:
    """The next handshake of this line; the one before is forgotten."""
    line.cost = cost
    line._begin(line.table, version)
    return cost


def greet(line: Line) -> None:
    """The hello, and its answer."""
    with pytest.raises(ssl.SSLWantReadError):
        line.far.do_handshake()
    line.carry()


@pytest.fixture
def line(table: Table) -> Line:
    return Refusing(table)


def test_a_hello_that_is_refused_is_never_computed(line: Line) -> None:
    cost = watched(line, cost=Watched(INSTANT / 2))
    line.sock.send(hello("ffdhe8192"))
    line.table.settle()
    assert cost.taken == []
    assert str(line.failure) == "not with us"
    assert line.table.heard(line.sock) == b"\x15\x03\x03\x00\x02\x02\x28"


@pytest.mark.parametrize("before", [NOTHING_SAID, WARNING, EMPTY, NOTHING_SAID + WARNING + EMPTY])
@pytest.mark.parametrize("together", [True, False])
def test_nothing_takes_it_past_us(line: Line, before: bytes, together: bool) -> None:
    watched(line, cost=Watched(INSTANT / 2))
    line.sock.send(before)
    if not together:
        line.table.settle()
    if line.failure is None:
        line.sock.send(hello("ffdhe8192"))
        line.table.settle()
        assert str(line.failure) == "not with us"


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("between", [b"", NOTHING_SAID, WARNING, record(b"junk", 23)])
@pytest.mark.parametrize("early", [b"", b"\x00\x2a\x00\x00"], ids=["", "early data"])
def test_nor_behind_another(line: Line, together: bool, between: bytes, early: bytes) -> None:
    """Who offers no key that we know is asked for another, and may have sent it already. Who announces early
    data may send anything before it, which OpenSSL skips."""
    watched(line, cost=Watched(INSTANT / 2))
    line.sock.send(message(VERSIONS, shares(0x11EC), offered(0x11EC, 29), SIGNATURES, early))
    if not together:
        line.table.settle()
        assert line.table.heard(line.sock)[:1] == b"\x16"
        assert line.failure is None
    line.sock.send(between + hello("ffdhe8192"))
    line.table.settle()
    if between in (b"", NOTHING_SAID):
        assert str(line.failure) == "not with us"
    assert line.failure is not None
    assert line.hellos[-1].group in (0, 260)


def test_nobody_begins_without_a_hello(line: Line) -> None:
    cost = watched(line, cost=Watched(INSTANT / 2))
    line.sock.send(record(b"\x10\x00\x00\x01a") + hello())
    line.table.settle()
    assert str(line.failure) == "the client has not said hello"
    assert cost.taken == []


def test_a_hello_in_pieces_costs_nothing_until_it_is_whole(line: Line) -> None:
    cost = watched(line, cost=Watched(INSTANT / 2))
    with pytest.raises(ssl.SSLWantReadError):
        line.far.do_handshake()
    said = cut(line.outgoing.read(), 1, 2, 60)
    for byte in said[:-1]:
        line.sock.send(bytes((byte,)))
        line.table.settle()
    assert cost.taken == []
    line.sock.send(said[-1:])
    line.meet()
    assert cost.taken == [(29, 1), (29, 2)]
    assert line.hellos[0].server_name == "db.example"


def test_a_hello_in_too_many_records_is_refused(line: Line) -> None:
    """Each is read again when another one has come: not for ever."""
    watched(line, cost=Watched(INSTANT / 2))
    line.sock.send(cut(hello(), 10)[:15] + EMPTY * MOST_RECORDS)
    line.table.settle()
    assert str(line.failure) == "the client's hello cannot be read"


def test_a_handshake_of_tls_1_2(table: Table) -> None:
    line = Line(table, ssl.TLSVersion.TLSv1_2)
    line.meet()
    assert len(line.hellos) == 1


# Who computes.


def test_what_next_to_nothing_is_needed_for_is_done_at_once(line: Line) -> None:
    """In the turn that reads it."""
    watched(line, cost=Watched(INSTANT / 2))
    with pytest.raises(ssl.SSLWantReadError):
        line.far.do_handshake()
    line.sock.send(line.outgoing.read())
    line.table.turn()
    assert line.sock.recv(5)[:1] == b"\x16"
    assert not line.table.poller.pending


def test_light_steps_are_taken_one_between_two_rounds_and_the_oldest_first(table: Table) -> None:
    """However many wait: a round in between for whom there is traffic."""
    order: list[str] = []
    _, traffic, far = table.pair()
    traffic.on = lambda data: order.append("read")
    lines = {since: Line(table) for since in (2.0, 1.0, 3.0)}
    for since, line in lines.items():
        line.since = since
        watched(line, cost=Watched(LIGHT / 2))
        line.sock.send(hello())
    for _ in range(10):
        table.turn()
        for since, line in lines.items():
            with contextlib.suppress(BlockingIOError):
                assert line.sock.recv(65536)[:1] == b"\x16"
                order.append(str(since))
                far.send(b"x")
    assert order == ["1.0", "read", "2.0", "read", "3.0", "read"]


def test_what_is_not_known_or_takes_long_is_for_threads(line: Line) -> None:
    posted: deque[Callable[[], None]] = deque()
    told = threading.Semaphore(0)

    def post(call: Callable[[], None]) -> None:
        posted.append(call)
        told.release()

    line.workers = Workers(1, post)
    watched(line, cost=Watched(LIGHT))
    for _ in range(2):
        with contextlib.suppress(ssl.SSLWantReadError):
            line.far.do_handshake()
        line.carry()
        assert told.acquire(timeout=20)
        posted.popleft()()
        line.carry()
    assert line.stream is not None
    assert not posted


class Noted(Watched):
    """What has been noted."""

    def __init__(self) -> None:
        super().__init__(INSTANT / 2)
        self.noted: list[tuple[int, int]] = []

    def note(self, group: int, step: int, seconds: float) -> None:
        self.noted.append((group, step))


def test_both_steps_are_noted_when_all_is_over(table: Table) -> None:
    line = Line(table)
    cost = watched(line, cost=Noted())
    greet(line)
    assert cost.noted == []
    line.meet()
    assert cost.noted == [(29, 1), (29, 2)]


def test_what_came_before_a_hello_makes_it_no_later_step(line: Line) -> None:
    """The step behind it takes next to nothing, and would be taken at once."""
    cost = watched(line, cost=Noted())
    line.sock.send(EMPTY)
    line.table.settle()
    line.sock.send(hello())
    line.table.settle()
    assert cost.taken == [(29, 1)]


def test_who_is_asked_again_is_for_threads(line: Line) -> None:
    cost = watched(line, cost=Noted())
    line.sock.send(MAKES_US_ASK_AGAIN)
    line.table.settle()
    line.sock.send(hello())
    line.table.settle()
    assert cost.taken == cost.noted == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_older_versions_are_for_threads_and_tell_nothing(table: Table, version: ssl.TLSVersion) -> None:
    """Also where it is our settings, or the system's, that hold a client to one."""
    line = Line(table, ssl.TLSVersion.TLSv1_2)
    line.far = client_context(version).wrap_bio(line.incoming, line.outgoing, server_hostname="db.example")
    cost = watched(line, cost=Noted(), version=ssl.TLSVersion.TLSv1_2)
    line.meet()
    assert cost.noted == []
    if version is ssl.TLSVersion.TLSv1_2:
        assert cost.taken == []


def test_a_flight_in_pieces_is_for_threads_behind_the_second(table: Table) -> None:
    """A stranger could have any step look short by them."""
    line = Line(table)
    cost = watched(line, cost=Noted())
    greet(line)
    line.far.do_handshake()
    line.sock.send(NOTHING_SAID)
    table.settle()
    assert cost.taken == [(29, 1), (29, 2)]
    line.carry()
    assert line.stream is not None
    assert cost.taken == [(29, 1), (29, 2)]
    assert cost.noted == []


def test_a_startup_message_behind_the_last_word_is_no_certificate(table: Table) -> None:
    line = Line(table)
    cost = watched(line, cost=Noted())
    greet(line)
    line.far.do_handshake()
    line.far.write(bytes(300))
    line.carry()
    assert cost.noted == [(29, 1), (29, 2)]


def test_certificates_are_for_threads(table: Table) -> None:
    """There may be 90 KB of them, and OpenSSL looks at each."""
    line = Line(table)
    cost = watched(line, cost=Noted())
    greet(line)
    line.far.do_handshake()
    line.sock.send(record(bytes(ALONE), 23))
    table.settle()
    assert cost.taken == [(29, 1)]
    assert line.failure is not None


def test_failures_tell_nothing(table: Table) -> None:
    line = Line(table)
    cost = watched(line, cost=Noted())
    line.sock.send(message(VERSIONS, shares(29)))  # it offers no signature
    table.settle()
    assert line.failure is not None
    assert cost.taken == [(29, 1)]
    assert cost.noted == []


def test_what_a_step_costs() -> None:
    """By group and place, each for itself, and at best: what it took more was the machine's doing."""
    cost = Cost()
    assert cost.of(29, 1) == float("inf")
    cost.note(29, 1, 0.002)
    cost.note(29, 2, 0.0001)
    cost.note(24, 1, 0.005)
    assert (cost.of(29, 1), cost.of(29, 2), cost.of(24, 1)) == (0.002, 0.0001, 0.005)
    cost.note(29, 1, 0.0004)
    cost.note(29, 1, 0.1)
    assert cost.of(29, 1) == 0.0004
    assert cost.of(24, 2) == float("inf")
