"""An account under test: what a shell would do is done by hand, and what the model decides is read as words.

`"Run 1 a cold"` is Run on environment 1, of the invocation whose event is `a`, with `cold` set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.storm.model.actions import Action, Freeze, Reset, Run, Settled, Shutdown, Start
from benchmarks.storm.model.environment import Environment
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation, Kind
from benchmarks.storm.model.service import Service


def label(invocation: Invocation | None) -> str:
    """Its event, or the bodies of its batch."""
    if invocation is None:
        return "nobody"
    if isinstance(invocation.event, tuple):
        return "+".join(str(message.body) for message in invocation.event)
    return str(invocation.event)


def word(action: Action) -> str:
    match action:
        case Start():
            return f"Start {action.environment.id}" + (" provisioned" if action.provisioned else "")
        case Run():
            marks = [name for name in ("cold", "initialise") if getattr(action, name)]
            return " ".join([f"Run {action.environment.id} {label(action.invocation)}", *marks])
        case Freeze():
            return f"Freeze {action.environment.id}"
        case Reset():
            return f"Reset {action.environment.id} {label(action.invocation)}"
        case Shutdown():
            return f"Shutdown {action.environment.id} in {action.grace:g}"
        case Settled():
            return f"{label(action.invocation)} {action.outcome}"


class Account:
    """A service, and the environments it has started, by their numbers."""

    def __init__(self, *functions: Function, **settings: Any) -> None:
        self.service = Service(functions, **settings)
        self.name = functions[0].name
        self.environments: dict[int, Environment] = {}
        self.starts: dict[int, float] = {}

    def heard(self, actions: Sequence[Action]) -> list[str]:
        for action in actions:
            if isinstance(action, Start):
                self.environments[action.environment.id] = action.environment
                self.starts[action.environment.id] = action.seconds
        return [word(action) for action in actions]

    def begin(self, now: float) -> list[str]:
        return self.heard(self.service.begin(now))

    def invoke(
        self, event: object, now: float, kind: Kind = "synchronous", function: str | None = None
    ) -> list[str]:
        _, actions = self.service.invoke(function or self.name, event, kind, now, now)
        return self.heard(actions)

    def send(self, body: object, now: float, queue: str | None = None) -> list[str]:
        return self.heard(self.service.send(queue or self.name, body, now, now))

    def initialised(self, number: int, now: float, failed: bool = False) -> list[str]:
        return self.heard(self.service.initialised(self.environments[number], now, failed))

    def answered(self, number: int, now: float, failed: bool = False, waited: float = 0.0) -> list[str]:
        return self.heard(self.service.answered(self.environments[number], now, failed, waited))

    def crashed(self, number: int, now: float) -> list[str]:
        return self.heard(self.service.crashed(self.environments[number], now))

    def deploy(self, now: float) -> list[str]:
        return self.heard(self.service.deploy(self.name, now))

    def tick(self, now: float) -> list[str]:
        return self.heard(self.service.tick(now))

    def warm(self, number: int, now: float = 0.0) -> None:
        """Invoke until there is a new environment of this number, which is then frozen."""
        assert self.invoke(f"warm {number}", now) == [f"Start {number}"]
        self.initialised(number, now)
        self.answered(number, now)

    def ticks_until(self, end: float) -> list[tuple[float, str]]:
        """Tick whenever the model wants it, until `end`: what was heard, with its times."""
        heard: list[tuple[float, str]] = []
        while (at := self.service.next_time()) is not None and at <= end:
            heard += [(at, each) for each in self.tick(at)]
        return heard
