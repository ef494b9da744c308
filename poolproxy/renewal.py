"""Certificates that are replaced while we run: looked for now and then, read aside, in force for who
comes next.

Must not know connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from poolproxy.backend.aside import aside
from poolproxy.log import get_logger
from poolproxy.tls import BrokenTls, ClientTls

_log = get_logger()

#: Seconds between two looks at the files.
LOOK_EVERY: Final = 5.0


class Renewal:
    """See the module."""

    def __init__(self, tls: ClientTls) -> None:
        self._tls = tls
        self._look_at = 0.0
        self._broken = False
        self._reading: asyncio.Future[Callable[[], None]] | None = None

    def look(self, now: float) -> None:
        """Read the files if they have changed, or could not be read last time: key and certificate are
        two."""
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            if self._tls.changed() or self._broken:
                self.read()

    def read(self) -> None:
        """Read them now."""
        if self._reading is None:
            self._reading = aside(self._tls.read_again)
            self._reading.add_done_callback(self._read)

    def _read(self, reading: asyncio.Future[Callable[[], None]]) -> None:
        self._reading = None
        try:
            use = reading.result()
        except (BrokenTls, OSError) as error:
            if not self._broken:
                _log.error("certificate not renewed", reason=str(error))
            self._broken = True
            return
        use()
        self._broken = False
        _log.info("certificate renewed")
