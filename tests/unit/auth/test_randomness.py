"""Random bytes in blocks: as many as asked for, and none of them twice."""

from __future__ import annotations

import os

import pytest

from poolproxy.auth.randomness import BLOCK, RandomBytes


def test_every_byte_is_given_out_at_most_once(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[bytes] = []
    urandom = os.urandom

    def recorded(size: int) -> bytes:
        blocks.append(urandom(size))
        return blocks[-1]

    monkeypatch.setattr(os, "urandom", recorded)
    random_bytes = RandomBytes().take
    sizes = [18, 4, 32, BLOCK, 0, BLOCK - 1, 2, 1]
    given = [random_bytes(size) for size in sizes]
    assert [len(part) for part in given] == sizes
    stock, position = b"".join(blocks), 0
    for part in given:
        position = stock.find(part, position) + len(part)
        assert position >= len(part), "in the order in which they came, never one again"


def test_two_do_not_give_the_same() -> None:
    assert RandomBytes().take(32) != RandomBytes().take(32)
