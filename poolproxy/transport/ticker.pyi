from collections.abc import Callable

from poolproxy.transport.poller import Poller
from poolproxy.transport.timer import Timer

class Ticker(Timer):
    def __init__(self, poller: Poller, period: float, call: Callable[[float], object]) -> None: ...
    def start(self) -> None: ...
