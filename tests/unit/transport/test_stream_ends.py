"""How streams end: hang-ups, resets, failed writes, closing and finishing, and what is still delivered."""

from __future__ import annotations

import os
import socket

import pytest

from tests.unit.transport.table import Table, reset, said

MUCH = b"x" * 300_000


class TestHangUps:
    def test_the_end_is_reported_once(self, table: Table) -> None:
        _, handler, far = table.pair()
        far.close()
        table.settle()
        assert handler.told == ["lost: eof"]

    def test_behind_all_that_came_before(self, table: Table) -> None:
        _, handler, far = table.pair()
        said(far, b"last words")
        far.close()
        table.settle()
        assert (handler.data, handler.told) == (b"last words", ["data", "lost: eof"])

    def test_behind_more_than_one_chunk(self, table: Table) -> None:
        _, handler, far = table.pair(buffer=400_000)
        sent = far.send(MUCH)
        far.close()
        table.settle()
        assert len(handler.data) == sent > 2 * 65536
        assert handler.told[-1] == "lost: eof"

    def test_one_who_only_stops_talking_is_at_its_end_too(self, table: Table) -> None:
        _, handler, far = table.pair()
        said(far, b"bye")
        far.shutdown(socket.SHUT_WR)
        table.settle()
        assert (handler.data, handler.lost) == (b"bye", ["eof"])

    def test_a_paused_stream_still_delivers_what_came_before(self, table: Table) -> None:
        """A client that sent its last INSERT and left: the INSERT is wanted, whenever its turn comes."""
        stream, handler, far = table.pair()
        stream.pause()
        said(far, b"insert")
        far.close()
        table.settle()
        assert handler.told == []
        stream.resume()
        table.settle()
        assert (handler.data, handler.told) == (b"insert", ["data", "lost: eof"])

    def test_paused_again_after_a_part_of_it(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=400_000)
        handler.on = lambda _: stream.pause()
        sent = far.send(MUCH)
        far.close()
        for _ in range(10):
            table.settle()
            assert stream.paused or handler.lost
            stream.resume()
        assert len(handler.data) == sent
        assert handler.told[-1] == "lost: eof"

    def test_what_was_kept_is_delivered_before_the_end(self, table: Table) -> None:
        stream, handler, far = table.pair()
        handler.keeps = 3
        said(far, b"abcdef")
        table.settle()
        stream.pause()
        far.close()
        table.settle()
        handler.keeps = 0
        stream.resume()
        table.settle()
        assert (handler.data, handler.lost) == (b"abcdef", ["eof"])

    def test_eager_hears_of_it_although_paused(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.eager = True
        stream.pause()
        said(far, b"no longer wanted")
        far.close()
        table.settle()
        assert handler.told == ["lost: eof"]

    def test_eager_is_not_told_of_mere_data(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.eager = True
        stream.pause()
        said(far, b"abc")
        table.settle()
        assert handler.told == []


class TestResets:
    def test_the_reason_is_told(self, table: Table) -> None:
        _, handler, far = table.tcp_pair()
        reset(far)
        table.settle()
        assert handler.lost == ["Connection reset by peer"]

    def test_a_paused_stream_is_told_at_once(self, table: Table) -> None:
        """Nothing can be read behind a reset, so nothing is lost by telling."""
        stream, handler, far = table.tcp_pair()
        stream.pause()
        reset(far)
        table.settle()
        assert len(handler.lost) == 1

    def test_a_failed_write_is_told_in_a_turn_of_its_own(self, table: Table) -> None:
        stream, handler, far = table.tcp_pair()
        reset(far)
        assert stream.write(b"hello", 0, 5), "nobody needs to wait for it to drain"
        assert handler.told == [], "the writer may be in the middle of its books"
        table.settle()
        assert len(handler.lost) == 1
        assert stream.write(b"more", 0, 4)
        assert stream.backlog == 0

    def test_a_paused_stream_is_told_of_a_failed_write(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.pause()
        far.close()
        stream.send(b"hello")
        table.settle()
        assert handler.lost == ["Broken pipe"]

    def test_while_much_is_still_to_be_written(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.send(MUCH)
        far.close()
        table.settle()
        assert len(handler.lost) == 1
        assert "drained" not in handler.told
        assert stream.backlog == 0


class TestClosing:
    def test_the_far_end_sees_it_and_we_hear_no_more(self, table: Table) -> None:
        stream, handler, far = table.pair()
        said(far, b"too late")
        stream.close()
        assert (stream.closed, stream.fd) == (True, -1)
        table.settle()
        assert handler.told == []
        with pytest.raises(ConnectionResetError):
            far.recv(100)

    def test_twice_and_all_else_afterwards(self, table: Table) -> None:
        stream, handler, far = table.pair()
        handler.keeps = 2
        said(far, b"abcd")
        table.settle()
        stream.close()
        stream.close()
        stream.finish()
        stream.pause()
        stream.resume()
        assert stream.write(b"x", 0, 1)
        table.settle()
        assert (stream.kept, stream.backlog, handler.told) == (0, 0, ["data"])

    def test_in_the_middle_of_being_read(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=400_000)
        handler.on = lambda _: stream.close()
        far.send(MUCH)
        table.settle()
        assert handler.told == ["data"]

    def test_while_it_waits_for_its_turn(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.pause()
        said(far, b"abc")
        table.settle()
        stream.resume()
        stream.close()
        table.settle()
        assert handler.told == []

    def test_with_a_backlog_it_is_dropped(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.send(MUCH)
        stream.close()
        heard = table.heard(far)
        assert 0 < len(heard) < len(MUCH)
        assert handler.told == []


class TestFinishing:
    def test_when_the_peer_has_closed_too(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.send(b"bye")
        stream.finish()
        assert (far.recv(10), far.recv(10)) == (b"bye", b"")
        assert not stream.closed
        far.close()
        table.settle()
        assert (stream.closed, handler.told) == (True, [])

    def test_with_unread_input_the_peer_is_not_reset(self, table: Table) -> None:
        stream, handler, far = table.tcp_pair()
        stream.pause()
        said(far, b"what nobody has read")
        stream.send(b"bye")
        stream.finish()
        said(far, b"and what comes later")
        table.settle()
        assert (far.recv(10), far.recv(10)) == (b"bye", b"")
        far.close()
        table.settle()
        assert (stream.closed, handler.told) == (True, [])

    def test_one_who_never_stops_talking_is_cut_off(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.finish()
        sent = 0
        while not stream.closed:
            sent += far.send(b"x" * 10_000)
            table.settle()
        assert 2**20 < sent < 2**20 + 30_000
        assert handler.told == []

    def test_nothing_more_is_written(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.finish()
        stream.send(b"an afterthought")
        table.settle()
        assert (far.recv(10), handler.told) == (b"", [])

    def test_after_the_backlog_has_gone(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.send(MUCH)
        stream.finish()
        assert stream.backlog > 0
        assert table.heard(far) == MUCH
        assert far.recv(10) == b""
        far.close()
        table.settle()
        assert stream.closed
        assert handler.told == [], "whoever finishes wants to hear no more"

    def test_what_arrives_meanwhile_is_nobodys(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.send(MUCH)
        stream.finish()
        said(far, b"one more thing")
        assert table.heard(far) == MUCH
        assert handler.told == []

    def test_one_who_hangs_up_meanwhile_is_let_go(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.send(MUCH)
        stream.finish()
        far.close()
        table.settle()
        assert (stream.closed, handler.told) == (True, [])

    def test_one_who_stops_talking_still_gets_the_rest(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.send(MUCH)
        stream.finish()
        far.shutdown(socket.SHUT_WR)
        assert table.heard(far) == MUCH
        assert (stream.closed, handler.told) == (True, [])

    def test_after_a_failed_write(self, table: Table) -> None:
        stream, handler, far = table.pair()
        far.close()
        stream.send(b"hello")
        stream.finish()
        assert stream.closed
        table.settle()
        assert handler.told == []


def test_descriptors_are_given_back(table: Table) -> None:
    """A stream owns its descriptor, and gives it back exactly once."""
    stream, _, _ = table.pair()
    number = stream.fd
    os.fstat(number)
    stream.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    again = os.dup2(table.pair()[2].fileno(), number)
    stream.close()
    os.fstat(again)
    os.close(again)
