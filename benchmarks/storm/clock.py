"""Two clocks in one: Lambda time, which the model counts in, and the machine's, which waits.

`scale` seconds of Lambda pass in one of the machine's, so that a flow that is forgotten after 350 s need not
take so long to watch. What the database does takes as long as it takes: its latencies are wall time.
"""

from __future__ import annotations

import asyncio
import time as machine
from collections.abc import Callable


class Clock:
    """Starts at 0 when it is made, and once more at `begin`.

    `time` tells wall seconds. It is not the event loop's own: uvloop's ticks once a millisecond, and stands
    still while a callback runs, so that a generator that is late would not see it.
    """

    def __init__(self, scale: float = 1.0, time: Callable[[], float] = machine.monotonic) -> None:
        if not scale > 0:
            raise ValueError(f"a clock's scale must be more than 0, this is {scale}")
        self.scale = scale
        self._time = time
        self._began = time()

    def begin(self) -> None:
        """It is 0 now: what had to be made ready takes no time of the trial."""
        self._began = self._time()

    def now(self) -> float:
        """Lambda time in seconds."""
        return self.elapsed() * self.scale

    def elapsed(self) -> float:
        """Wall time in seconds."""
        return self._time() - self._began

    async def sleep_until(self, moment: float) -> None:
        """Until this Lambda time, and never shorter; at once where it has passed, without a turn of the loop:
        what is to be sent in one moment is sent in one."""
        while (left := moment / self.scale - self.elapsed()) > 0:
            await asyncio.sleep(left)  # uvloop rounds to milliseconds, and may wake too early

    async def sleep(self, seconds: float) -> None:
        """So many seconds of Lambda time."""
        await asyncio.sleep(seconds / self.scale)
