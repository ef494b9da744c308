"""Bulk data is read at a pace of its own: fewer looks, nothing lost, and everything else at once."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

import pytest

from poolproxy.transport.stream import Stream
from tests.unit.transport.table import Handler, Table, said

PIECE = b"x" * 8192  #: what PostgreSQL sends at a time


def until(table: Table, reached: Callable[[], bool]) -> None:
    """Call the poller whenever it wants to be, until it is so."""
    watched = select.poll()
    watched.register(table.poller.fileno(), select.POLLIN)
    for _ in range(10_000):
        if reached():
            return
        if not table.poller.pending:
            assert watched.poll(5000), "nothing happens any more"
        table.turn()
    raise AssertionError("it never came to that")


def made_bulky(table: Table) -> tuple[Stream, Handler, socket.socket]:
    """A stream that has read so much, piece by piece, that it is paced now."""
    stream, handler, far = table.pair()
    for _ in range(33):
        said(far, PIECE)
        table.turn()
    assert stream.paced
    until(table, lambda: len(handler.data) == 33 * len(PIECE))
    return stream, handler, far


def test_pieces_that_arrive_between_two_looks_are_read_together(table: Table) -> None:
    _, handler, far = made_bulky(table)
    before = handler.told.count("data")
    for _ in range(4):
        said(far, PIECE)
        table.turn()  # an arrival alone delivers nothing
    until(table, lambda: len(handler.data) == 37 * len(PIECE))
    assert handler.told.count("data") - before < 4


def test_small_data_is_never_paced(table: Table) -> None:
    _, handler, far = table.pair()
    for count in range(1, 400):
        said(far, b"y" * 1000)
        table.turn()
        assert len(handler.data) == count * 1000


def test_calmed_it_is_read_at_once(table: Table) -> None:
    stream, handler, far = made_bulky(table)
    stream.calm()
    assert not stream.paced
    for count in range(34, 64):
        said(far, PIECE)
        table.turn()
        assert len(handler.data) == count * len(PIECE)
        stream.calm()  # so much at a time, but each time an exchange of its own


@pytest.mark.parametrize("tail", [b"Z" * 100, b""], ids=["after its end", "after a pause"])
def test_it_is_read_at_once_again(table: Table, tail: bytes) -> None:
    stream, handler, far = made_bulky(table)
    said(far, tail)
    until(table, lambda: not stream.paced)
    wanted = len(handler.data) + 5
    said(far, b"small")
    table.turn()
    assert len(handler.data) == wanted


def test_the_end_of_the_peer_is_seen(table: Table) -> None:
    _, handler, far = made_bulky(table)
    said(far, PIECE + b"last")
    far.close()
    until(table, lambda: bool(handler.lost))
    assert handler.data == PIECE * 34 + b"last"
    assert handler.lost == ["eof"]


def test_paused_it_is_not_looked_at(table: Table) -> None:
    stream, handler, far = made_bulky(table)
    stream.pause()
    said(far, PIECE)
    until(table, lambda: not stream.paced)
    table.settle()
    assert len(handler.data) == 33 * len(PIECE)
    stream.resume()
    table.settle()
    assert len(handler.data) == 34 * len(PIECE)


def test_what_is_written_while_it_is_paced_drains(table: Table) -> None:
    stream, handler, far = made_bulky(table)
    much = b"w" * 3_000_000
    stream.send(much)
    assert stream.backlog
    until(table, lambda: len(table.heard(far)) >= 0 and not stream.backlog)
    assert "drained" in handler.told


def test_closed_it_is_out_of_step(table: Table) -> None:
    stream, handler, far = made_bulky(table)
    other, second, far_too = made_bulky(table)
    stream.close()
    said(far_too, PIECE + b"!")
    until(table, lambda: second.data.endswith(b"!"))
    until(table, lambda: not other.paced)
    assert len(handler.data) == 33 * len(PIECE)
    far.close()
