"""What a login dialogue asks of its driver. It must not know sockets, asyncio or threads.

    dialogue = server_login(...)
    step = next(dialogue)
    while True:
        match step:
            case Send(data):     write it;                                step = dialogue.send(None)
            case Receive():      gather one whole message, bounded;       step = dialogue.send((type, body))
            case Offload(call):  run it elsewhere, wait without blocking; step = dialogue.send(result)

StopIteration carries the dialogue's result. A driver that gives up calls `dialogue.close()`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes. A driver may hold them back until the next Receive."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Receive:
    """Resume with the next whole message, a `Message`. The driver bounds its length and the wait for it."""


@dataclass(frozen=True, slots=True)
class Offload:
    """Resume with what this call returns. It takes milliseconds: not to be run on the data-plane thread."""

    call: Callable[[], object]


#: A received message: (type letter, body), the body without letter and length.
Message = tuple[int, bytes]
Step = Send | Receive | Offload
#: A dialogue with a result of type T. What it is resumed with depends on the step, hence Any.
Dialogue = Generator[Step, Any, T]

#: All Receives are equal; one serves every login.
RECEIVE: Final = Receive()
