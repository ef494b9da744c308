"""A scrape never holds the data plane's thread for long (2 ms): after little work it lets the loop run.

Work is counted, not timed: calls that Python makes, and bytes that are compressed, between two turns of the
event loop. 8,000 calls take about half a millisecond, and zlib's fastest level as long for 32 KiB.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from functools import partial
from types import FrameType
from typing import Any

import pytest

from poolproxy.http import HttpServer, Piece, Request, compressed
from poolproxy.metrics import render
from tests.fakes.snapshots import BusySource

POOLS = 100
MOST_CALLS = 15_000
MOST_COMPRESSED = 32 * 1024


def turns(work: Coroutine[Any, Any, Any]) -> tuple[list[int], Any]:
    """The calls made in each turn that the work takes of the loop, and its result."""
    found: list[int] = []

    def count(_: FrameType, event: str, __: object) -> None:
        found[-1] += event in ("call", "c_call")

    while True:
        found.append(0)
        sys.setprofile(count)
        try:
            yielded = work.send(None)
        except StopIteration as done:
            return found, done.value
        finally:
            sys.setprofile(None)
        assert yielded is None, "the bare yield of asyncio.sleep(0)"


@pytest.mark.parametrize("headers", [{}, {"accept-encoding": "gzip"}], ids=["plain", "gzip"])
@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
async def test_a_turn_is_short(accept: str, headers: dict[str, str]) -> None:
    server = HttpServer(partial(render, BusySource(POOLS)), lambda: True, 1.0, 1.0)
    request = Request("GET", "/metrics", frozenset(), {"accept": accept, **headers}, keep_alive=True)
    calls, _ = turns(server.answer(request))
    assert sum(calls) > 1000 * POOLS, "all pools were rendered under the profiler's eyes"
    assert max(calls) <= MOST_CALLS


@pytest.mark.parametrize("size", [MOST_COMPRESSED, 10**6])
async def test_compressing_takes_turns_too(size: int) -> None:
    """However the bytes come: in one piece, in bytes, in lines."""
    for pieces in ([bytes(size)], [b"x"] * size, [bytearray(100)] * (size // 100)):
        calls, _ = turns(compressed(list[Piece](pieces)))
        assert len(calls) > size / MOST_COMPRESSED
