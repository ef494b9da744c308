"""Where messages begin and end: the one place that reads lengths, compiled because large results are made of
headers.

A `Framer` walks one direction of one connection. It says how far bytes may pass untouched and which message
stands there to be looked at; bodies are never collected and need never be complete. It must not know what a
message means.
"""

from __future__ import annotations

from poolproxy.errors import ProtocolViolation
from poolproxy.protocol.codes import MAX_MESSAGE_LENGTH

#: `Framer.kind` when the walk ended without a message to look at. Below zero: every byte can be a type.
NOTHING = -1
#: `Framer.kind` when less than a header stands at the returned position.
PARTIAL = -2


def stop_table(passing: bytes) -> bytes:
    """256 flags: 1 for every type that is not in `passing`. Unknown types stop, so that somebody refuses
    them."""
    return bytes(0 if kind in passing else 1 for kind in range(256))


class Framer:
    """Walks the headers of a byte stream that arrives in arbitrary pieces.

    `stops` is a `stop_table`; it may be replaced between scans. After `scan`, `kind` is NOTHING, PARTIAL or
    the type of the message at the returned position, and `size` is that message's whole length in bytes,
    header included.
    """

    __slots__ = ("kind", "rest", "size", "stops")

    def __init__(self, stops: bytes) -> None:
        self.stops = stops  #: see stop_table: 256 bytes
        self.kind = NOTHING
        self.size = 0
        self.rest = 0  #: bytes still to come of a message that is passing

    def scan(self, buffer: bytearray, position: int, end: int) -> int:
        """The position of the next message to look at, of a header that is not whole yet, or `end`.

        Raises ProtocolViolation for a length below 4 or above what PostgreSQL itself accepts: checked before
        any arithmetic, and nothing is ever allocated by a length.
        """
        if self.rest > 0:
            if self.rest >= end - position:
                self.rest -= end - position
                self.kind = NOTHING
                return end
            position += self.rest
            self.rest = 0
        if position < 0 or end > len(buffer) or len(self.stops) != 256:
            raise IndexError(f"no bytes {position} to {end} in {len(buffer)}, or no stop table")
        # Compiled, these are pointers: nothing below is checked again, and nothing below lets others run.
        data = buffer
        stops = self.stops
        while end - position >= 5:
            length = data[position + 1]
            length = (length << 8) | data[position + 2]
            length = (length << 8) | data[position + 3]
            length = (length << 8) | data[position + 4]
            if length < 4 or length > MAX_MESSAGE_LENGTH:
                raise ProtocolViolation(what=f"message length {length} out of range")
            if stops[data[position]]:
                self.kind = data[position]
                self.size = length + 1
                return position
            position += length + 1
        self.kind = NOTHING
        if position > end:
            self.rest = position - end
            return end
        if position < end:
            self.kind = PARTIAL
        return position

    def skip(self, position: int, end: int) -> int:
        """Let the message that `scan` has just found at `position` pass: the position behind it, at most
        `end`."""
        position += self.size
        if position > end:
            self.rest = position - end
            return end
        return position


def string_end(buffer: bytearray, position: int, end: int) -> int:
    """Where the String that begins at `position` has its zero byte; -1 when it has none before `end`."""
    if position < 0 or end > len(buffer):
        raise IndexError(f"no bytes {position} to {end} in {len(buffer)}")
    data = buffer  # compiled, a pointer
    while position < end:
        if data[position] == 0:
            return position
        position += 1
    return -1
