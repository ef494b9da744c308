"""The proxy's log, written in this process and caught."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator

from poolproxy import log


class Captured:
    """See `captured`."""

    def __init__(self, reader: int) -> None:
        self._reader = reader
        self._data = b""

    def lines(self) -> list[bytes]:
        """All lines so far, without their ends."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._reader, 1 << 20):
                self._data += data
        assert not self._data or self._data.endswith(b"\n")
        return self._data.split(b"\n")[:-1]

    def forget(self) -> None:
        """What comes next is all there is."""
        self.lines()
        self._data = b""


@contextlib.contextmanager
def captured(level: log.Level, format: log.Format) -> Iterator[Captured]:  # noqa: A002
    """Whatever is logged, from this level up. Afterwards the log is as tests have it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    root = logging.getLogger()
    handlers = list(root.handlers)
    log.configure(level, format, writer)
    try:
        yield Captured(reader)
    finally:
        log.configure("warning")
        root.handlers[:] = handlers
        os.close(reader)
        os.close(writer)
