"""The poller: every ready socket is served, none disturbs another, and one call of it comes to an end."""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from pathlib import Path

import pytest

from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.stream import Stream
from tests.unit.transport.table import Handler, Table, said


class Failing(Handler):
    """Raises in each of its calls."""

    def on_data(self, buffer: bytearray, end: int) -> None:
        super().on_data(buffer, end)
        raise RuntimeError("data")

    def on_lost(self, reason: str) -> None:
        super().on_lost(reason)
        raise RuntimeError("lost")


def fail(stream: Stream) -> Failing:
    """Give this stream a handler that raises."""
    handler = Failing()
    handler.stream = stream
    stream.handler = handler
    return handler


class TestServing:
    def test_more_sockets_than_one_batch_takes(self, table: Table) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(300, (soft - 100) // 2)
        pairs = [table.pair() for _ in range(count)]
        for _, _, far in pairs:
            said(far, b"x")
        table.settle()
        assert [handler.data for _, handler, _ in pairs] == [b"x"] * count

    def test_its_descriptor_says_when_there_is_something_to_do(self, table: Table) -> None:
        _, _, far = table.pair()
        watch = select.poll()
        watch.register(table.poller.fileno(), select.POLLIN)
        assert watch.poll(0) == []
        said(far, b"x")
        assert len(watch.poll(0)) == 1
        table.turn()
        assert watch.poll(0) == []

    def test_one_call_ends_although_there_is_always_more(self, table: Table) -> None:
        """Two streams that echo each other for ever must leave the event loop its turns."""
        near, far = socket.socketpair()
        (ping, ping_handler), (pong, pong_handler) = table.adopt(near), table.adopt(far)
        ping_handler.on = ping.send
        pong_handler.on = pong.send
        ping.send(b"x")
        table.turn()
        first = len(ping_handler.data)
        assert table.wanted
        table.turn()
        assert len(ping_handler.data) > first

    def test_one_that_wants_another_turn_gets_it_without_an_event(self, table: Table) -> None:
        stream, handler, far = table.pair()
        handler.keeps = 1
        said(far, b"ab")
        table.settle()
        stream.pause()
        assert not table.poller.pending
        stream.resume()
        stream.resume()
        assert table.poller.pending
        handler.keeps = 0
        handler.on = lambda _: table.poller.interrupt()
        table.poller.wait(-1.0)
        assert handler.data == b"ab"
        assert not table.poller.pending

    def test_within_a_round_it_is_in_the_same_one(self, table: Table) -> None:
        other, other_handler, other_far = table.pair()
        other.pause()
        said(other_far, b"y")
        table.settle()
        _, handler, far = table.pair()
        handler.on = lambda _: other.resume()
        said(far, b"x")
        table.turn()
        assert other_handler.data == b"y"
        assert not table.poller.pending

    def test_the_clock_is_read_once_per_round_and_never_goes_back(self, table: Table) -> None:
        _, handler, far = table.pair()
        moments: list[float] = []
        handler.on = lambda _: moments.append(table.poller.now)
        before = table.poller.now
        for _ in range(2):
            said(far, b"x")
            table.settle()
        assert before <= moments[0] <= moments[1] <= table.poller.now

    def test_it_may_be_closed_twice(self) -> None:
        poller = Poller(lambda pollable, error: None)
        poller.close()
        poller.close()


class TestWaiting:
    """`interrupt` is what a handler does that asks the event loop for something."""

    def test_it_serves_one_arrival_after_another_until_it_is_interrupted(self, table: Table) -> None:
        _, handler, far = table.pair()
        rounds: list[bytes] = []

        def hear(chunk: bytes) -> None:
            rounds.append(chunk)
            if len(rounds) < 3:
                said(far, b"x")
            else:
                table.poller.interrupt()

        handler.on = hear
        said(far, b"x")
        assert table.poller.wait(-1.0) is False
        assert rounds == [b"x"] * 3

    def test_an_interruption_from_before_is_none(self, table: Table) -> None:
        """asyncio does not ask to sleep where there is something to do."""
        table.poller.interrupt()
        began = time.monotonic()
        assert table.poller.wait(0.05) is False
        assert time.monotonic() - began >= 0.05

    def test_it_ends_with_its_time_although_there_is_always_more(self, table: Table) -> None:
        near, far = socket.socketpair()
        (ping, ping_handler), (pong, pong_handler) = table.adopt(near), table.adopt(far)
        ping_handler.on = ping.send
        pong_handler.on = pong.send
        ping.send(b"x")
        began = time.monotonic()
        assert table.poller.wait(0.05) is False
        assert time.monotonic() - began >= 0.05
        assert len(ping_handler.data) > 10, "and serves them meanwhile"

    def test_a_watched_descriptor_ends_it_with_its_round(self, table: Table) -> None:
        own, other = socket.socketpair()
        table.far(own)
        table.far(other)
        table.poller.watch(own.fileno())
        _, handler, far = table.pair()
        said(far, b"x")
        said(other, b"!")
        assert table.poller.wait(-1.0) is True
        assert handler.data == b"x", "whoever was ready was served"
        assert own.recv(1) == b"!"
        assert table.poller.wait(0.0) is False

    def test_a_watched_descriptor_is_seen_although_there_is_always_more(self, table: Table) -> None:
        own, other = socket.socketpair()
        table.far(own)
        table.far(other)
        table.poller.watch(own.fileno())
        _, handler, far = table.pair()

        def hear(chunk: bytes) -> None:
            if len(handler.data) == 100:
                said(other, b"!")
            said(far, chunk)

        handler.on = hear
        said(far, b"x")
        assert table.poller.wait(-1.0) is True

    def test_a_descriptor_that_cannot_be_watched_is_an_error(self, table: Table, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file, pytest.raises(PermissionError):
            table.poller.watch(file.fileno())

    def test_a_closed_one_cannot_wait(self) -> None:
        poller = Poller(lambda pollable, error: None)
        poller.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            poller.wait(0.0)

    def test_its_clock_is_right_when_it_returns(self, table: Table) -> None:
        _, handler, far = table.pair()
        handler.on = lambda _: time.sleep(0.02)
        said(far, b"x")
        before = table.poller.now
        table.turn()
        assert table.poller.now - before >= 0.02


class TestDescriptorsUsedAgain:
    def test_an_event_of_a_closed_stream_is_not_its_successors(self, table: Table) -> None:
        """Both hang up in one batch; whoever hears first closes the other, and reuses its number at once."""
        streams: list[tuple[Stream, Handler]] = []
        successors: list[Handler] = []

        def replace(other: Stream) -> None:
            near, far = socket.socketpair()
            table.far(far)
            number = other.fd
            other.close()
            os.dup2(near.fileno(), number)
            near.close()
            successor, handler = table.adopt(socket.socket(fileno=number))
            assert successor.fd == number
            successor.eager = True
            successor.pause()  # so that a foreign hang-up would be told at once
            successors.append(handler)

        fars = []
        for _ in range(2):
            stream, handler, far = table.pair()
            streams.append((stream, handler))
            fars.append(far)
        (first, first_handler), (second, second_handler) = streams
        first_handler.on_lost = lambda reason: replace(second)  # type: ignore[method-assign]
        second_handler.on_lost = lambda reason: replace(first)  # type: ignore[method-assign]
        for far in fars:
            far.close()
        table.turn()
        table.settle()
        assert [handler.told for handler in successors] == [[]]

    def test_a_turn_of_a_closed_stream_is_not_its_successors(self, table: Table) -> None:
        stream, _, far = table.pair()
        stream.pause()
        said(far, b"abc")
        table.settle()
        stream.resume()
        stream.close()
        _, handler, new_far = table.pair()
        table.settle()
        assert handler.told == []
        said(new_far, b"x")
        table.settle()
        assert handler.data == b"x"


class TestClosingOthers:
    def test_one_handler_closes_another_stream_of_the_same_batch(self, table: Table) -> None:
        pairs = [table.pair() for _ in range(2)]
        (first, first_handler, _), (second, second_handler, _) = pairs
        first_handler.on = lambda _: second.close()
        second_handler.on = lambda _: first.close()
        for _, _, far in pairs:
            said(far, b"x")
        table.settle()
        assert sorted([first_handler.data, second_handler.data]) == [b"", b"x"]
        assert not first_handler.lost + second_handler.lost
        assert not table.errors

    def test_one_turn_closes_another_that_waits_for_its_own(self, table: Table) -> None:
        pairs = [table.pair() for _ in range(3)]
        for stream, _, far in pairs:
            stream.pause()
            said(far, b"x")
        table.settle()

        def close_all_but(me: Stream) -> None:
            for stream, _, _ in pairs:
                if stream is not me:
                    stream.close()

        for stream, handler, _ in pairs:
            handler.on = lambda _, me=stream: close_all_but(me)
            stream.resume()
        table.settle()
        assert sorted(handler.data for _, handler, _ in pairs) == [b"", b"", b"x"]


class TestErrors:
    def test_what_a_handler_raises_is_told_with_its_stream(self, table: Table) -> None:
        stream, _, far = table.pair()
        fail(stream)
        said(far, b"x")
        table.settle()
        ((pollable, error),) = table.errors
        assert pollable is stream
        assert (type(error), str(error)) == (RuntimeError, "data")

    def test_the_end_of_a_stream_is_guarded_too(self, table: Table) -> None:
        stream, _, far = table.pair()
        fail(stream)
        far.close()
        table.settle()
        assert [str(error) for _, error in table.errors] == ["lost"]

    def test_no_other_stream_is_disturbed(self, table: Table) -> None:
        pairs = [table.pair() for _ in range(10)]
        for stream, _, _ in pairs[::2]:
            fail(stream)
        for _, _, far in pairs:
            said(far, b"x")
        table.turn()
        assert [handler.data for _, handler, _ in pairs[1::2]] == [b"x"] * 5
        assert len(table.errors) == 5


class Clumsy(Table):
    """Its `on_error` raises as well."""

    def _on_error(self, pollable: Pollable, error: Exception) -> None:
        super()._on_error(pollable, error)
        raise LookupError("a mistake in handling a mistake")


class TestErrorsInHandlingErrors:
    @pytest.fixture
    def told(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What Python was told that nobody could handle."""
        told: list[str] = []
        monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(str(what.exc_value)))
        return told

    def events(self, table: Table) -> list[tuple[Stream, Handler, socket.socket]]:
        """Ten streams, all readable, every second with a handler that raises."""
        pairs = [table.pair() for _ in range(10)]
        for stream, _, _ in pairs[::2]:
            fail(stream)
        return pairs

    def test_the_rest_of_the_batch_is_served(self, told: list[str]) -> None:
        """There is no second edge: an event that is dropped leaves its stream deaf for ever."""
        table = Clumsy()
        pairs = self.events(table)
        for _, _, far in pairs:
            said(far, b"x")
        table.settle()
        heard = [handler.data for _, handler, _ in pairs[1::2]]
        table.close()
        assert heard == [b"x"] * 5
        assert told == ["a mistake in handling a mistake"] * 5

    def test_the_rest_of_those_who_wait_for_a_turn_is_served(self, told: list[str]) -> None:
        table = Clumsy()
        pairs = self.events(table)
        for stream, _, far in pairs:
            stream.pause()
            said(far, b"x")
        table.settle()
        for stream, _, _ in pairs:
            stream.resume()
        table.settle()
        heard = [handler.data for _, handler, _ in pairs[1::2]]
        table.close()
        assert heard == [b"x"] * 5
        assert told == ["a mistake in handling a mistake"] * 5
