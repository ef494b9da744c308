"""What a target is, where its corpus lies, and what one input may cost."""

from __future__ import annotations

import hashlib
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

CORPUS = Path(__file__).resolve().parent / "corpus"

#: Lines of Python that an input may run, and for each of its bytes: what a reader does that looks at each a
#: few
#: times. Work and not time: a busy machine makes no difference.
LINES = 60_000
LINES_PER_BYTE = 400

#: Bytes that an input may allocate at its peak for each of its own: copies of it, and of its parts.
PEAK_PER_BYTE = 200


class Broken(AssertionError):
    """A promise that an input broke."""


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any bytes; whatever it raises is a defect. `tokens`: what such bytes are made of."""

    name: str
    run: Callable[[bytes], None]
    tokens: tuple[bytes, ...] = ()
    room: int = 1 << 20  #: bytes that an input may allocate at its peak, besides PEAK_PER_BYTE

    @property
    def folder(self) -> Path:
        return CORPUS / self.name

    def corpus(self) -> dict[str, bytes]:
        """Contents by file name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("*"))}

    def keep(self, data: bytes, kind: str) -> Path:
        """Add an input to the corpus."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        return path

    def measured(self, data: bytes) -> None:
        """Run it, and hold its work and its memory to what so many bytes may cost."""
        meter = _Meter(LINES + LINES_PER_BYTE * len(data))
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            with meter:
                self.run(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        if peak - before > self.room + PEAK_PER_BYTE * len(data):
            raise Broken(f"{peak - before} bytes of memory for {len(data)} bytes")


class _Meter:
    """Counts the lines of the product's Python that run; too many raise Broken from within. What is compiled
    is not seen: the interpreted build is for that."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.limit = limit

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line if "/poolproxy/" in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Broken(f"more than {self.limit} lines run, in {frame.f_code.co_qualname}")
        return self._line
