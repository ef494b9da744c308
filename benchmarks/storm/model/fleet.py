"""The environments of one function: which there are, in which state, and which one is next.

Every environment is in one collection per state, and `move` is what moves it. Must not know time limits,
callers or what is done in a state.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.storm.model.environment import BUSY, DEAD, FROZEN, INIT, INVOKE, Environment
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.scaling import Pool


class Fleet:
    """Environments that live. Those on demand and busy are counted in the function's pool."""

    def __init__(self, function: Function, pool: Pool) -> None:
        self.function = function
        self.pool = pool
        # Dicts for their order: the last one frozen is at the end.
        self._states: dict[str, dict[Environment, None]] = {INIT: {}, INVOKE: {}, FROZEN: {}}
        self._frozen_provisioned: dict[Environment, None] = {}
        self.provisioned = 0

    def add(self, environment: Environment) -> None:
        """A new one, in INIT."""
        self._states[INIT][environment] = None
        if environment.provisioned:
            self.provisioned += 1
        else:
            self.pool.in_flight += 1

    def move(self, environment: Environment, state: str, now: float) -> None:
        """Into another state, the only way there; raises IllegalMove."""
        before = environment.state
        environment.move(state, now)
        del self._collection(environment, before)[environment]
        if state != DEAD:
            self._collection(environment, state)[environment] = None
        if not environment.provisioned:
            self.pool.in_flight += (state in BUSY) - (before in BUSY)
        elif state == DEAD:
            self.provisioned -= 1

    def _collection(self, environment: Environment, state: str) -> dict[Environment, None]:
        if state == FROZEN and environment.provisioned:
            return self._frozen_provisioned
        return self._states[state]

    def warmest(self, provisioned: bool) -> Environment | None:
        """The frozen one that was used last, None when there is none.

        AWS does not say which one it takes. That the last one used comes first is our assumption: it lets the
        others grow old and be reaped, as fleets are seen to shrink when traffic does.
        """
        frozen = self._frozen_provisioned if provisioned else self._states[FROZEN]
        return next(reversed(frozen), None)

    def count(self, state: str) -> int:
        """How many are in it, provisioned ones included."""
        return len(self._states[state]) + (len(self._frozen_provisioned) if state == FROZEN else 0)

    @property
    def in_flight(self) -> int:
        """Invocations that are served or started for; provisioned environments in INIT have none yet."""
        return self.count(INVOKE) + sum(1 for each in self._states[INIT] if each.invocation is not None)

    def __len__(self) -> int:
        return sum(self.count(state) for state in self._states)

    def __iter__(self) -> Iterator[Environment]:
        for collection in (*self._states.values(), self._frozen_provisioned):
            yield from collection

    def __repr__(self) -> str:
        states = ", ".join(f"{self.count(state)} {state}" for state in self._states)
        return f"<Fleet {self.function.name}: {states}>"
