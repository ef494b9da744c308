from poolproxy.transport.poller import Poller
from poolproxy.transport.timer import Timer

class Pacer(Timer):
    def __init__(self, poller: Poller) -> None: ...

def pacer_of(poller: Poller) -> Pacer: ...
