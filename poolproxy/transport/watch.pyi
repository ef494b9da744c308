from collections.abc import Callable

from poolproxy.transport.poller import Poller
from poolproxy.transport.timer import Timer

class StallWatch(Timer):
    @property
    def longest(self) -> float: ...  # seconds, since the start
    def __init__(self, poller: Poller, period: float, observe: Callable[[float], None]) -> None: ...
    def start(self) -> None: ...
