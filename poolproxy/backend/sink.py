"""What a server is attached to, as far as it knows: whoever takes its answers and hears of its end."""

from __future__ import annotations

from poolproxy.pool.queue import Waiter
from poolproxy.session.assignments import Assignment
from poolproxy.session.parameters import NOTHING_REPORTED, ParameterSet
from poolproxy.session.pipeline import Step


class Sink(Waiter):
    """What a server is attached to."""

    __slots__ = ("awaiting", "holding", "listening", "told")

    def __init__(self) -> None:
        super().__init__()
        self.told = NOTHING_REPORTED  #: what it was last told of the server's reported parameters
        self.holding = False  #: it needs its server although nothing is under way
        self.listening = False  #: the hub of its pool listens in its stead
        self.awaiting = False  #: it reads no further until it has heard more answers: `proceed`

    def write(self, buffer: bytearray | bytes, start: int, end: int) -> bool:
        """Answers for the client; False when the server must not be read until `on_drained`."""
        raise NotImplementedError

    def exchange_over(self, now: float) -> None:
        """All that was asked is answered, and the server stays attached."""
        raise NotImplementedError

    def assigned(self, assignments: tuple[Assignment, ...]) -> None:
        """Tracked assignments of the client's hold now."""
        raise NotImplementedError

    def pinned(self, reason: str) -> None:
        """The server stays with this client from now on, for this reason."""
        raise NotImplementedError

    def unpinned(self, reason: str, seconds: float) -> None:
        """The pin for this reason has ended, after so long."""
        raise NotImplementedError

    def hold(self) -> None:
        """Nothing more may be sent to the server until `let_go`."""
        raise NotImplementedError

    def let_go(self) -> None:
        """That is over."""
        raise NotImplementedError

    def notified(self, message: bytes) -> None:
        """A NotificationResponse, whole, from a server that listens for it."""
        raise NotImplementedError

    def took(self, channels: frozenset[str], exact: bool) -> bool:
        """Its server listens to these channels. `exact`: to all that it listens to. True when the hub does
        it from now on."""
        raise NotImplementedError

    def hear_out(self) -> None:
        """`Server.heard` is to follow when it has heard everything that was notified before now."""
        raise NotImplementedError

    def tell_heard(self) -> None:
        """A ReadyForQuery outside a transaction is next: what it has heard goes ahead of it."""
        raise NotImplementedError

    def unlistened(self) -> None:
        """It has discarded everything, its channels too."""
        raise NotImplementedError

    def discarded(self) -> None:
        """All of its session state has been discarded."""
        raise NotImplementedError

    def audited(self, parameters: ParameterSet, role: str) -> None:
        """The settings that the server turned out to hold, and the role that is in force."""
        raise NotImplementedError

    def statement_failed(self, turn: int, parses: int) -> None:
        """An error in the exchange of this number (see Pipeline.turn), after so many of its Parses were
        completed."""
        raise NotImplementedError

    def step_completed(self, step: Step) -> None:
        """A Parse or Close that its names depend on has been done."""
        raise NotImplementedError

    def described_anew(self, step: Step, types: bytes, shape: bytes) -> None:
        """What the client has just parsed is not what others parsed before."""
        raise NotImplementedError

    def deallocated(self, name: bytes | None) -> None:
        """A DEALLOCATE of the client's has been run; None: of everything."""
        raise NotImplementedError

    def proceed(self) -> None:
        """More answers have come."""
        raise NotImplementedError

    def name_of(self, name: bytes) -> bytes | None:
        """The client's own name of a statement that servers know by `name`."""
        raise NotImplementedError

    def in_message(self) -> bool:
        """Whether a message of the client's has been forwarded in part."""
        raise NotImplementedError

    def detached(self, now: float) -> None:
        """The server has been taken back."""
        raise NotImplementedError

    def server_drained(self) -> None:
        """The server's socket has taken all that was written to it."""
        raise NotImplementedError

    def server_lost(self, told: bool, refusal: dict[str, str] | None) -> None:
        """The server is gone. `told`: it said FATAL and that was forwarded. `refusal`: it refused this
        client's settings before it read anything of the client's."""
        raise NotImplementedError
