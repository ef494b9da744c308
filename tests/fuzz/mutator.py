"""Makes new inputs out of old ones by chance: no coverage, no package. The same seed, the same inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

#: Bytes of an input at most.
LONGEST = 4096

#: Lengths and counts that readers stumble over, big-endian.
NUMBERS = tuple(
    number.to_bytes(4, "big")
    for number in (0, 1, 3, 4, 7, 8, 0x7FFF, 0xFFFF, 10_000, 10_001, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
)


class Mutator:
    def __init__(self, corpus: Sequence[bytes], tokens: Sequence[bytes], seed: int) -> None:
        self._corpus = list(corpus) or [b""]
        self._tokens = [*tokens, *NUMBERS, b"\0", b"\xff", b"\0\0\0\4"]
        self._chance = random.Random(seed)
        self._ways: list[Callable[[bytearray], None]] = [
            self._flip,
            self._replace,
            self._insert,
            self._remove,
            self._repeat,
            self._splice,
            self._token,
            self._cut,
        ]

    def next(self) -> bytes:
        """One input."""
        data = bytearray(self._chance.choice(self._corpus))
        for _ in range(self._chance.choice((1, 1, 2, 3, 5, 8))):
            self._chance.choice(self._ways)(data)
        return bytes(data[:LONGEST])

    def _place(self, data: bytearray) -> int:
        return self._chance.randrange(len(data) + 1)

    def _piece(self, data: bytearray) -> tuple[int, int]:
        start = self._place(data)
        return start, min(len(data), start + self._chance.choice((1, 1, 2, 4, 8, 32, 200)))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)

    def _replace(self, data: bytearray) -> None:
        start, end = self._piece(data)
        data[start:end] = self._chance.randbytes(end - start)

    def _insert(self, data: bytearray) -> None:
        start = self._place(data)
        data[start:start] = self._chance.randbytes(self._chance.choice((1, 2, 4, 16)))

    def _remove(self, data: bytearray) -> None:
        start, end = self._piece(data)
        del data[start:end]

    def _repeat(self, data: bytearray) -> None:
        start, end = self._piece(data)
        data[start:start] = data[start:end] * self._chance.choice((1, 2, 10, 100))

    def _splice(self, data: bytearray) -> None:
        other = self._chance.choice(self._corpus)
        start = self._place(data)
        at = self._chance.randrange(len(other) + 1)
        data[start : self._place(data)] = other[at : at + self._chance.choice((4, 16, 64, 1000))]

    def _token(self, data: bytearray) -> None:
        token = self._chance.choice(self._tokens)
        start = self._place(data)
        data[start : start + self._chance.choice((0, len(token)))] = token

    def _cut(self, data: bytearray) -> None:
        del data[self._place(data) :]
