"""The face of a runtime: one execution environment's code, and what the platform can do to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final

from benchmarks.storm.clients import Meter

EXITED: Final = "Runtime.ExitError"  #: Lambda's name for a runtime whose process has ended by itself


class Killed(Exception):
    """The runtime was killed while its code ran: there is no answer. `meter` is what is known of it."""

    def __init__(self, meter: Meter | None = None) -> None:
        super().__init__()
        self.meter = meter or Meter()


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt of an invocation, as the runtime gets it."""

    invocation: str  #: Lambda's request id, the same for all attempts
    attempt: int  #: from 1
    event: object
    function: str
    memory: int  #: MB
    environment: int  #: its number
    remaining: float  #: Lambda seconds until the timeout wall


@dataclass(slots=True)
class Answer:
    """What came of an INIT or of an invocation: an error that the code raised has a label and a message."""

    failed: bool = False
    label: str = ""  #: SQLSTATE or exception name
    message: str = ""
    meter: Meter = field(default_factory=Meter)
    exited: bool = False  #: its process has ended by itself: the module's code must be run again first


class Runtime(ABC):
    """The code of one environment. One piece of it runs at a time: `initialise`, or one `invoke`."""

    @abstractmethod
    async def initialise(self) -> Answer:
        """Run the module's code (INIT); again after a kill, with everything forgotten. Raises Killed."""

    @abstractmethod
    async def invoke(self, request: Request) -> Answer:
        """Call the handler. Raises Killed."""

    @abstractmethod
    def sessions(self) -> int:
        """Connections that it holds open, as far as is known here."""

    @abstractmethod
    def freeze(self) -> None:
        """Nothing of it runs, and its sockets are neither read nor written, until `thaw`."""

    @abstractmethod
    def thaw(self) -> None: ...

    @abstractmethod
    def kill(self) -> None:
        """As SIGKILL does: what runs ends in mid-statement, and the kernel closes the sockets."""


class Host(ABC):
    """Where runtimes are made. One function's code per host."""

    @abstractmethod
    async def start(self) -> None:
        """Get ready, so that the first `make` takes no longer than the others. Else `make` does it."""

    @abstractmethod
    async def make(self) -> Runtime:
        """A runtime whose code has not run yet."""

    @abstractmethod
    async def close(self) -> None:
        """Kill all that is left."""
