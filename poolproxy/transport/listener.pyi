from collections.abc import Callable

from poolproxy.transport.poller import Pollable, Poller

class Peer:
    def __str__(self) -> str: ...

class Listener(Pollable):
    @property
    def accepting(self) -> bool: ...
    def __init__(
        self,
        poller: Poller,
        fd: int,
        on_accept: Callable[[int, Peer], None],
        on_exhausted: Callable[[Listener], None],
    ) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...
