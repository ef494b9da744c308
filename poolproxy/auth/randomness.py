"""Random bytes for nonces, salts, pids and cancel keys, a block at a time.

A login needs them three times, and a system call for each is 2 us of it. No settings, no I/O but os.urandom.
"""

from __future__ import annotations

import os

from poolproxy.protocol.pieces import cut

#: Bytes asked for at once: enough for thirty logins.
BLOCK = 1024


class RandomBytes:
    """Gives out the bytes of os.urandom, none of them twice."""

    __slots__ = ("_block", "_taken")

    def __init__(self) -> None:
        self._block = b""
        self._taken = 0

    def take(self, size: int) -> bytes:
        """`size` bytes, at most BLOCK."""
        begin = self._taken
        if len(self._block) - begin < size:
            self._block = os.urandom(BLOCK)
            begin = 0
        self._taken = begin + size
        return cut(self._block, begin, begin + size)
