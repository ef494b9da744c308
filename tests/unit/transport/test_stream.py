"""A stream's reading and writing: what is delivered, kept, held back and flushed, on real sockets."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.transport.poller import BUFFER_SIZE
from poolproxy.transport.stream import KEEP_LIMIT
from tests.unit.transport.table import Table, said

#: More than any socket buffer of these tests takes at once.
MUCH = bytes(range(256)) * 8192


class TestReading:
    def test_what_arrives_is_delivered(self, table: Table) -> None:
        _, handler, far = table.pair()
        said(far, b"hello")
        table.settle()
        assert handler.data == b"hello"
        assert not handler.lost

    def test_nothing_is_said_when_nothing_arrives(self, table: Table) -> None:
        _, handler, _ = table.pair()
        table.settle()
        assert handler.told == []

    def test_what_was_there_before_the_stream_is_delivered(self, table: Table) -> None:
        near, far = socket.socketpair()
        table.far(far)
        said(far, b"early")
        _, handler = table.adopt(near)
        table.settle()
        assert handler.data == b"early"

    def test_more_than_one_chunk(self, table: Table) -> None:
        """Edge-triggered: there is no second event for what one read has left."""
        _, handler, far = table.pair(buffer=400_000)
        sent = far.send(MUCH)
        assert sent > 2 * 65536
        table.settle()
        assert handler.data == MUCH[:sent]

    def test_a_long_read_does_not_make_others_wait(self, table: Table) -> None:
        _, busy, busy_far = table.pair(buffer=400_000)
        _, quick, quick_far = table.pair()
        busy_far.send(MUCH)
        said(quick_far, b"x")
        chunks_before: list[int] = []
        quick.on = lambda _: chunks_before.append(busy.told.count("data"))
        table.settle()
        assert chunks_before[0] <= 1
        assert busy.told.count("data") > 2


class TestLook:
    def test_reads_what_is_there_without_being_told(self, table: Table) -> None:
        stream, handler, far = table.pair()
        said(far, b"x")
        stream.look()
        assert handler.data == b"x"
        table.settle()
        assert handler.data == b"x"

    def test_where_nothing_is_there_yet_its_event_tells(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.look()
        assert handler.data == b""
        said(far, b"x")
        table.settle()
        assert handler.data == b"x"

    def test_what_its_handler_raises_is_reported_and_not_the_callers(self, table: Table) -> None:
        stream, handler, far = table.pair()

        def fail(_: bytes) -> None:
            raise RuntimeError("data")

        handler.on = fail
        said(far, b"x")
        stream.look()
        assert [str(error) for _, error in table.errors] == ["data"]


class TestKeeping:
    def test_the_rest_comes_again_in_front_of_what_follows(self, table: Table) -> None:
        stream, handler, far = table.pair()
        handler.keeps = 2
        said(far, b"abcd")
        table.settle()
        assert (handler.data, stream.kept) == (b"ab", 2)
        said(far, b"ef")
        table.settle()
        assert (handler.data, stream.kept) == (b"abcd", 2)

    def test_it_comes_again_after_a_pause_without_anything_new(self, table: Table) -> None:
        stream, handler, far = table.pair()
        handler.keeps = 2
        said(far, b"abcd")
        table.settle()
        stream.pause()
        handler.keeps = 0
        stream.resume()
        assert handler.data == b"ab", "never from within the caller"
        table.settle()
        assert (handler.data, stream.kept) == (b"abcd", 0)

    def test_what_was_kept_comes_before_what_arrived_in_the_pause(self, table: Table) -> None:
        stream, handler, far = table.pair()
        handler.keeps = 2
        said(far, b"abcd")
        table.settle()
        stream.pause()
        said(far, b"ef")
        table.settle()
        handler.keeps = 0
        stream.resume()
        table.settle()
        assert handler.data == b"abcdef"
        assert handler.told.count("data") == 3, "kept bytes are delivered without a read, then the rest"

    def test_it_may_be_taken_away(self, table: Table) -> None:
        stream, handler, far = table.pair()
        handler.keeps = 2
        said(far, b"abcd")
        table.settle()
        assert stream.take_kept() == b"cd"
        assert (stream.take_kept(), stream.kept) == (b"", 0)
        said(far, b"efg")
        table.settle()
        assert handler.data == b"abe"

    def test_only_bytes_of_the_shared_buffer(self, table: Table) -> None:
        stream, _, _ = table.pair()
        with pytest.raises(ValueError, match="shared buffer"):
            stream.keep(0, BUFFER_SIZE + 1)
        with pytest.raises(ValueError, match="shared buffer"):
            stream.keep(-1, 5)
        stream.keep(7, 7)
        assert stream.kept == 0

    def test_as_much_as_a_whole_message_may_be(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=400_000)
        handler.keeps = KEEP_LIMIT
        sent = 0
        while sent < KEEP_LIMIT:
            sent += far.send(MUCH[sent:KEEP_LIMIT])
            table.settle()
        assert (stream.kept, handler.data) == (KEEP_LIMIT, b"")
        handler.keeps = 0
        said(far, b"end")
        table.settle()
        assert handler.data == MUCH[:KEEP_LIMIT] + b"end"
        assert not table.errors

    def test_a_copy_is_its_own(self, table: Table) -> None:
        stream, handler, far = table.pair()
        copies: list[bytes] = []
        handler.on = lambda _: copies.append(stream.copy(1, 3))
        for text in (b"abcd", b"wxyz"):
            said(far, text)
            table.settle()
        assert copies == [b"bc", b"xy"]


class TestPausing:
    def test_nothing_is_delivered_until_it_is_over(self, table: Table) -> None:
        stream, handler, far = table.pair()
        stream.pause()
        said(far, b"abc")
        table.settle()
        assert (handler.data, stream.paused, stream.pending) == (b"", True, True)
        stream.resume()
        table.settle()
        assert (handler.data, stream.paused, stream.pending) == (b"abc", False, False)

    def test_a_paused_stream_does_not_wake_us_again(self, table: Table) -> None:
        stream, _, far = table.pair()
        stream.pause()
        said(far, b"abc")
        table.settle()
        assert not table.wanted, "a waiting client costs nothing"

    def test_from_within_the_handler_in_the_middle_of_much(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=400_000)
        handler.on = lambda _: stream.pause()
        sent = far.send(MUCH)
        table.settle()
        assert handler.told == ["data"]
        while len(handler.data) < sent:
            stream.resume()
            table.settle()
        assert handler.data == MUCH[:sent]

    def test_resumed_and_paused_again_before_its_turn(self, table: Table) -> None:
        stream, handler, far = table.pair()
        handler.keeps = 1
        said(far, b"ab")
        table.settle()
        stream.pause()
        stream.resume()
        stream.pause()
        table.settle()
        assert handler.data == b"a"
        handler.keeps = 0
        stream.resume()
        table.settle()
        assert handler.data == b"ab"


class TestWriting:
    def test_what_fits_is_gone_at_once(self, table: Table) -> None:
        stream, handler, far = table.pair()
        assert stream.write(b"..hello..", 2, 7)
        assert far.recv(100) == b"hello"
        assert stream.write(bytearray(b"..again.."), 2, 7)
        assert far.recv(100) == b"again"
        assert stream.backlog == 0
        table.settle()
        assert handler.told == []

    def test_what_does_not_fit_follows_and_then_it_says_so(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        assert not stream.write(MUCH, 0, len(MUCH))
        assert 0 < stream.backlog < len(MUCH)
        assert handler.told == []
        assert table.heard(far) == MUCH
        assert (handler.told, stream.backlog) == (["drained"], 0)

    def test_what_is_written_behind_a_backlog_stays_behind_it(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.write(MUCH, 0, len(MUCH))
        assert not stream.write(b"second", 0, 6)
        stream.send(b"third")
        assert table.heard(far) == MUCH + b"secondthird"
        assert handler.told == ["drained"]

    def test_a_slow_reader_gets_everything_piece_by_piece(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.write(MUCH, 0, 100_000)
        heard = b""
        while len(heard) < 100_000:
            before = stream.backlog
            heard += far.recv(1000)
            table.settle()
            assert stream.backlog <= before
        assert heard == MUCH[:100_000]
        assert handler.told == ["drained"]

    def test_nothing_is_nothing(self, table: Table) -> None:
        stream, handler, far = table.pair()
        assert stream.write(b"", 0, 0)
        assert stream.write(b"abc", 2, 2)
        table.settle()
        with pytest.raises(BlockingIOError):
            far.recv(1)
        assert handler.told == []

    def test_it_may_fill_up_again_while_it_drains(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        rounds = [MUCH[:50_000]] * 3
        expected = b"".join(rounds)

        class Refiller(type(handler)):  # type: ignore[misc]
            def on_drained(self) -> None:
                super().on_drained()
                if rounds:
                    self.stream.send(rounds.pop())

        refiller = Refiller()
        refiller.stream, stream.handler = stream, refiller
        stream.send(rounds.pop())
        assert table.heard(far) == expected
        assert refiller.told.count("drained") == 3

    def test_reading_goes_on_meanwhile(self, table: Table) -> None:
        stream, handler, far = table.pair(buffer=5000)
        stream.write(MUCH, 0, len(MUCH))
        said(far, b"still here")
        table.settle()
        assert handler.data == b"still here"
        assert stream.backlog > 0


class TestRelaying:
    def test_the_backlog_is_never_more_than_a_chunk(self, table: Table) -> None:
        """Megabytes for one who reads slowly: whoever reads the other side pauses it meanwhile."""
        source, upstream, source_far = table.pair(buffer=400_000)
        sink, downstream, sink_far = table.pair(buffer=5000)
        worst = 0

        def relay(chunk: bytes) -> None:
            nonlocal worst
            if not sink.write(chunk, 0, len(chunk)):
                source.pause()
            worst = max(worst, sink.backlog)

        upstream.on = relay
        downstream.on_drained = source.resume  # type: ignore[method-assign]
        left, heard = MUCH * 4, b""
        while len(heard) < len(MUCH) * 4:
            try:
                left = left[source_far.send(left) :] if left else left
            except BlockingIOError:
                assert source.paused, "the far end is made to wait, and not by us being slow"
            table.settle()
            heard += sink_far.recv(3000)
        assert heard == MUCH * 4
        assert 0 < worst <= 131072


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.integers(0, 400)), max_size=12), st.data())
def test_every_byte_once_and_in_order(chunks: list[tuple[bytes, int]], data: st.DataObject) -> None:
    """Whatever is kept, paused and resumed between the chunks."""
    table = Table()
    try:
        stream, handler, far = table.pair()
        for chunk, keeps in chunks:
            handler.keeps = keeps
            said(far, chunk)
            if data.draw(st.booleans()):
                table.settle()
            (stream.pause if data.draw(st.booleans()) else stream.resume)()
            table.settle()
        handler.keeps = 0
        stream.pause()
        stream.resume()
        said(far, b"end")
        table.settle()
        assert handler.data == b"".join(chunk for chunk, _ in chunks) + b"end"
    finally:
        table.close()
