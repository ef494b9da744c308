from poolproxy.transport.poller import Pollable

class Timer(Pollable):
    def close(self) -> None: ...
