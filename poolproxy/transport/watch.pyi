from collections.abc import Callable

from poolproxy.transport.poller import Pollable, Poller

class StallWatch(Pollable):
    @property
    def longest(self) -> float: ...  # seconds, since the start
    def __init__(self, poller: Poller, period: float, observe: Callable[[float], None]) -> None: ...
    def start(self) -> None: ...
    def close(self) -> None: ...
