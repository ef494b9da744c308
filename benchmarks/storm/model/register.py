"""Who has not heard the end of his invocation yet: each is entered once, and settled once.

Must not know what an invocation ended of.
"""

from __future__ import annotations

import uuid
from random import Random

from benchmarks.storm.model.actions import Settled
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import OUTCOMES, Invocation, Kind


class Register:
    """Invocations under way; their ids come from the dice in `random`."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._open: dict[str, Invocation] = {}

    def enter(
        self, function: Function, event: object, kind: Kind, now: float, intended: float, queue: str = ""
    ) -> Invocation:
        """A new invocation, accepted now."""
        name = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        invocation = Invocation(name, function, event, kind, intended, now, queue=queue)
        self._open[name] = invocation
        return invocation

    def settle(self, invocation: Invocation, outcome: str) -> Settled:
        """Its end for its caller. Raises KeyError when it has had one, ValueError when its kind has no
        such."""
        if outcome not in OUTCOMES[invocation.kind]:
            raise ValueError(f"{invocation!r} cannot end {outcome!r}")
        del self._open[invocation.id]
        invocation.outcome = outcome
        return Settled(invocation, outcome)

    def __len__(self) -> int:
        return len(self._open)
