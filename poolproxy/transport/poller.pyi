from collections.abc import Callable

BUFFER_SIZE: int

class Pollable:
    @property
    def fd(self) -> int: ...
    @property
    def poller(self) -> Poller: ...

class Poller:
    now: float
    @property
    def paced(self) -> int: ...  # streams that are read at a pace now: a timer serves them
    @property
    def buffer(self) -> bytearray: ...
    def __init__(
        self,
        schedule: Callable[[Callable[[], None]], object],
        on_error: Callable[[Pollable, Exception], None],
    ) -> None: ...
    def fileno(self) -> int: ...
    def drain(self) -> None: ...
    def close(self) -> None: ...
