"""Headers and nothing else: any stream, any split, any length; both builds alike."""

from __future__ import annotations

import struct
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy.errors import ProtocolViolation
from poolproxy.protocol import framing
from poolproxy.protocol.codes import MAX_MESSAGE_LENGTH
from poolproxy.protocol.framing import NOTHING, PARTIAL, Framer, stop_table
from tests.unit.twins import source_of

SOURCE = source_of("protocol.framing")

PASSING = b"dDT"
STOPS = stop_table(PASSING)

kinds = st.one_of(st.sampled_from(b"dDTZSEC"), st.integers(0, 255))
streams = st.lists(st.tuples(kinds, st.integers(0, 40)), max_size=30)

#: (offset in the whole stream, type, size) of a message that was looked at.
Look = tuple[int, int, int]


def message(kind: int, size: int, fill: bytes = b"\0") -> bytes:
    """A message with a body of `size` bytes."""
    return struct.pack("!BI", kind, size + 4) + fill * size


def expected(messages: list[tuple[int, int]]) -> list[Look]:
    """What a walk must look at, by plain addition."""
    looks, offset = [], 0
    for kind, size in messages:
        if kind not in PASSING:
            looks.append((offset, kind, size + 5))
        offset += size + 5
    return looks


def walk(build: ModuleType, stream: bytes, cuts: list[int], whole: bool) -> tuple[list[Look], int]:
    """The looks of a walk over `stream` cut at `cuts`, and the bytes left over.

    `whole`: what is looked at is kept until all of it is there; else it passes as soon as its header stands.
    """
    framer = build.Framer(STOPS)
    looks: list[Look] = []
    kept = bytearray()
    base = 0
    edges = [0, *sorted(cuts), len(stream)]
    for begin, stop in pairwise(edges):
        buffer = kept + stream[begin:stop]
        position, end = 0, len(buffer)
        while True:
            position = framer.scan(buffer, position, end)
            if framer.kind in (build.NOTHING, build.PARTIAL):
                break
            if whole and position + framer.size > end:
                break
            looks.append((base + position, framer.kind, framer.size))
            position = framer.skip(position, end)
        kept = buffer[position:]
        base += position
    return looks, len(kept)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[int]]:
    # Types 0 and 1 have a test of their own below.
    messages = [(kind, size) for kind, size in draw(streams) if kind > 1]
    total = sum(size + 5 for _, size in messages)
    return messages, draw(st.lists(st.integers(0, total), max_size=12))


@settings(max_examples=300, deadline=None)
@given(cut_streams(), st.booleans())
def test_a_walk_finds_every_message_that_stops_and_only_those(
    stream: tuple[list[tuple[int, int]], list[int]], whole: bool
) -> None:
    messages, cuts = stream
    data = b"".join(message(kind, size, b"Z") for kind, size in messages)
    assert walk(framing, data, cuts, whole) == (expected(messages), 0)


@settings(max_examples=300, deadline=None)
@given(cut_streams(), st.booleans())
def test_both_builds_walk_alike(stream: tuple[list[tuple[int, int]], list[int]], whole: bool) -> None:
    messages, cuts = stream
    data = b"".join(message(kind, size) for kind, size in messages)
    assert walk(framing, data, cuts, whole) == walk(SOURCE, data, cuts, whole)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=4), st.booleans())
def test_both_builds_treat_noise_alike(noise: bytes, cuts: list[int], whole: bool) -> None:
    outcomes: list[object] = []
    for build in (framing, SOURCE):
        try:
            outcomes.append(walk(build, noise, [min(cut, len(noise)) for cut in cuts], whole))
        except ProtocolViolation as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("cut", range(6))
def test_a_header_split_at_any_byte(cut: int) -> None:
    data = message(ord("d"), 3) + message(ord("Z"), 1)
    assert walk(framing, data, [8 + cut], True) == ([(8, ord("Z"), 6)], 0)
    framer = Framer(STOPS)
    first = bytearray(data[: 8 + cut])
    assert framer.scan(first, 0, len(first)) == 8
    assert framer.kind == (NOTHING if cut == 0 else PARTIAL if cut < 5 else ord("Z"))


def test_what_passes_is_never_collected() -> None:
    framer = Framer(STOPS)
    head = bytearray(message(ord("D"), 0)[:1] + struct.pack("!I", MAX_MESSAGE_LENGTH) + b"xy")
    assert framer.scan(head, 0, len(head)) == len(head)
    assert (framer.kind, framer.rest) == (NOTHING, MAX_MESSAGE_LENGTH - 4 - 2)
    chunk = bytearray(b"Z" * 1000)
    assert framer.scan(chunk, 0, 1000) == 1000
    assert framer.rest == MAX_MESSAGE_LENGTH - 4 - 2 - 1000


def test_only_what_stands_before_end_is_read() -> None:
    """The shared buffer holds other connections' bytes behind `end`."""
    buffer = bytearray(message(ord("Z"), 1) + b"\xff" * 100)
    framer = Framer(STOPS)
    assert (framer.scan(buffer, 6, 6), framer.kind) == (6, NOTHING)
    assert (framer.scan(buffer, 0, 4), framer.kind) == (0, PARTIAL)
    assert (framer.scan(buffer, 0, 6), framer.kind, framer.size) == (0, ord("Z"), 6)
    assert framer.skip(0, 3) == 3
    assert framer.rest == 3


@pytest.mark.parametrize("kind", [ord("D"), ord("Z"), 0, 255])
@pytest.mark.parametrize("length", [0, 1, 3, MAX_MESSAGE_LENGTH + 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_length_out_of_range_is_refused_as_soon_as_it_stands(kind: int, length: int) -> None:
    data = bytearray(message(ord("d"), 2) + struct.pack("!BI", kind, length))
    framer = Framer(STOPS)
    assert framer.scan(data, 0, len(data) - 1) == 7
    with pytest.raises(ProtocolViolation, match=str(length)):
        framer.scan(data, 7, len(data))


@pytest.mark.parametrize("length", [4, 5, MAX_MESSAGE_LENGTH])
def test_a_length_in_range_is_taken(length: int) -> None:
    data = bytearray(struct.pack("!BI", ord("Z"), length))
    framer = Framer(STOPS)
    assert (framer.scan(data, 0, 5), framer.kind, framer.size) == (0, ord("Z"), length + 1)


@pytest.mark.parametrize("kind", range(256))
def test_every_type_that_stops_can_be_told_from_the_end_of_the_walk(kind: int) -> None:
    """A type that looked like "nothing here" would be kept for ever, and what follows it with it."""
    data = bytearray(message(kind, 1))
    framer = Framer(stop_table(b""))
    try:
        assert framer.scan(data, 0, len(data)) == 0
    except ProtocolViolation:
        return
    assert framer.kind not in (NOTHING, PARTIAL)


def test_stops_may_change_between_scans() -> None:
    data = bytearray(message(ord("D"), 1) + message(ord("C"), 1) + message(ord("D"), 1))
    framer = Framer(STOPS)
    assert framer.scan(data, 0, len(data)) == 6
    framer.stops = stop_table(b"C")
    assert framer.scan(data, 6, len(data)) == 12


def test_a_stop_table_stops_at_all_but_what_it_names() -> None:
    assert [kind for kind in range(256) if not STOPS[kind]] == sorted(PASSING)
    assert len(STOPS) == 256


@pytest.mark.parametrize(("position", "end"), [(-1, 5), (0, 11), (11, 11), (-5, 0)])
def test_what_lies_outside_the_buffer_is_never_read(position: int, end: int) -> None:
    with pytest.raises(IndexError, match="no bytes"):
        Framer(stop_table(b"")).scan(bytearray(10), position, end)


@pytest.mark.parametrize("stops", [b"", bytes(255), bytes(257)])
def test_a_table_of_another_size_is_no_stop_table(stops: bytes) -> None:
    with pytest.raises(IndexError, match="stop table"):
        Framer(stops).scan(bytearray(10), 0, 10)
