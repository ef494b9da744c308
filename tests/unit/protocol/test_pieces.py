"""Cutting and joining bytes, held against what Python's own operators do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.protocol import messages
from poolproxy.protocol.pieces import cut, find, numbered_message, xor

POSITIONS = st.integers(-3, 40)


@given(st.binary(max_size=30), POSITIONS, POSITIONS)
def test_a_cut_is_a_slice_within_bounds(data: bytes, start: int, end: int) -> None:
    if 0 <= start <= end <= len(data):
        assert cut(data, start, end) == data[start:end]
    else:
        with pytest.raises(IndexError):
            cut(data, start, end)


@given(st.binary(max_size=30), st.integers(0, 255), POSITIONS)
def test_found_where_python_finds_it(data: bytes, byte: int, start: int) -> None:
    if 0 <= start <= len(data):
        assert find(data, byte, start) == data.find(bytes((byte,)), start)
    else:
        with pytest.raises(IndexError):
            find(data, byte, start)


@given(st.integers(0, 127), st.integers(-(2**31), 2**31 - 1), st.binary(max_size=300))
def test_a_numbered_message(kind: int, number: int, data: bytes) -> None:
    body = number.to_bytes(4, "big", signed=True) + data
    assert numbered_message(kind, number, data) == messages.message(kind, body)


@given(st.integers(0, 70).flatmap(lambda size: st.tuples(*[st.binary(min_size=size, max_size=size)] * 2)))
def test_an_exclusive_or(pair: tuple[bytes, bytes]) -> None:
    assert xor(*pair) == bytes(a ^ b for a, b in zip(*pair, strict=True))


def test_an_exclusive_or_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="same length"):
        xor(b"a", b"ab")
