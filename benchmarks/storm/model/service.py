"""Lambda: one account's functions in one Region. Inputs with their time go in, actions come out.

Puts the parts together: `lifecycle` moves environments, the callers (`callers`, `retries`, `poller`) say what
becomes of invocations, `scaling` what there is room for, `timers` what is due. Must not know a clock, nor who
carries out the actions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from random import Random

from benchmarks.storm.model.actions import Action
from benchmarks.storm.model.bill import Bill
from benchmarks.storm.model.callers import GATEWAY_SECONDS, Caller, Gateway
from benchmarks.storm.model.environment import Environment
from benchmarks.storm.model.fleet import Fleet
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation, Kind
from benchmarks.storm.model.lifecycle import IDLE_SECONDS, LIFETIME, Ages, Lifecycle
from benchmarks.storm.model.poller import Poller, Polling
from benchmarks.storm.model.register import Register
from benchmarks.storm.model.retries import EventQueue
from benchmarks.storm.model.scaling import ACCOUNT_LIMIT, pools
from benchmarks.storm.model.timers import Timers


class Service:
    """All times are Lambda time, in seconds, and `now` never runs backwards. The same seed and the same
    inputs give the same actions.

    Whoever carries them out reports `initialised` after a Start, and after a Run `answered`, or `crashed`
    when the runtime has exited (module code that raises under `Run.initialise` included); nothing more of a
    run after its Reset or Shutdown. `environment.invocation` says which one the model thinks it serves.
    """

    def __init__(
        self,
        functions: Iterable[Function],
        *,
        seed: int = 0,
        account_limit: int = ACCOUNT_LIMIT,
        gateway_timeout: float = GATEWAY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        lifetime: float = LIFETIME,
    ) -> None:
        """`gateway_timeout` may be infinite. Raises ValueError for two functions of one name, and where more
        concurrency is reserved than an account may."""
        self._functions: dict[str, Function] = {}
        for function in functions:
            if self._functions.setdefault(function.name, function) is not function:
                raise ValueError(f"there are two functions named {function.name}")
        self._pools = pools(self._functions.values(), account_limit)
        self._timers: Timers[Action] = Timers()
        # Dice of their own, so that one more invocation does not change every cold start after it.
        self._register = Register(Random(f"{seed} invocations"))
        self._numbers = itertools.count(1)
        self._ages = Ages(idle_seconds, lifetime)
        self.bill = {
            name: Bill(function.memory, function.provisioned) for name, function in self._functions.items()
        }
        self.fleets: dict[str, Fleet] = {}
        self._lifecycles: dict[str, Lifecycle] = {}
        for name in self._functions:
            self._add(name, Random(f"{seed} environments of {name}"))
        self._direct: dict[Kind, Gateway | EventQueue] = {
            "synchronous": Gateway(self._register, self._timers, self._attempt, gateway_timeout),
            "asynchronous": EventQueue(self._register, self._timers, self._attempt),
        }
        self._pollings: dict[str, Polling] = {}

    def _add(self, name: str, random: Random) -> None:
        self.fleets[name] = Fleet(self._functions[name], self._pools[name])
        self._lifecycles[name] = Lifecycle(
            self.fleets[name],
            self.bill[name],
            self._timers,
            self._ended,
            ages=self._ages,
            numbers=self._numbers,
            random=random,
        )

    # From clients.

    def begin(self, now: float) -> list[Action]:
        """Provisioned environments are started."""
        return [action for lifecycle in self._lifecycles.values() for action in lifecycle.begin(now)]

    def invoke(
        self, function: str, event: object, kind: Kind, now: float, intended: float
    ) -> tuple[Invocation, list[Action]]:
        """One event, synchronous or asynchronous, which the client meant to send at `intended`. Raises
        ValueError for an unknown function, and for a poller, which gets its messages by `send`."""
        if kind not in self._direct:
            raise ValueError(f"kind is {' or '.join(self._direct)} here, not {kind!r}")
        invocation = self._register.enter(self._function(function), event, kind, now, intended)
        return invocation, self._direct[kind].send(invocation, now)

    def attach(self, poller: Poller) -> None:
        """A queue and what polls it. Raises ValueError for an unknown function, a queue that has one, and a
        visibility timeout below the function's timeout."""
        if poller.queue in self._pollings:
            raise ValueError(f"the queue {poller.queue} has a poller")
        self._pollings[poller.queue] = Polling(
            poller,
            self._function(poller.function),
            self._register,
            self._timers,
            self._attempt,
        )

    def send(self, queue: str, message: object, now: float, intended: float) -> list[Action]:
        """One message into a poller's queue. Raises ValueError for an unknown queue."""
        if queue not in self._pollings:
            raise ValueError(f"there is no poller for the queue {queue}")
        return self._pollings[queue].send(message, now, intended)

    def deploy(self, function: str, now: float) -> list[Action]:
        """All environments are replaced: idle ones at once, busy ones when they are done."""
        return self._lifecycles[self._function(function).name].deploy(now)

    # From environments.

    def initialised(self, environment: Environment, now: float, failed: bool = False) -> list[Action]:
        """Its module's code has run, or has raised."""
        return self._of(environment).initialised(environment, now, failed)

    def answered(
        self, environment: Environment, now: float, failed: bool, waited: float = 0.0
    ) -> list[Action]:
        """Its handler has returned, or raised; `waited` seconds of that for a connection."""
        self.waited(environment, waited)
        return self._of(environment).answered(environment, now, failed)

    def crashed(self, environment: Environment, now: float, waited: float = 0.0) -> list[Action]:
        """Its runtime is gone."""
        self.waited(environment, waited)
        return self._of(environment).crashed(environment, now)

    def waited(self, environment: Environment, seconds: float) -> None:
        """Seconds that a run has waited for a connection: for those which a Reset has cut off."""
        self.bill[environment.function.name].waiting += seconds

    # From the clock.

    def tick(self, now: float) -> list[Action]:
        """Everything whose time has come: walls, gateway timeouts, retries, polling, reaping, recycling."""
        return self._timers.run(now)

    def next_time(self) -> float | None:
        """When tick is wanted next, None: not before the next input."""
        return self._timers.next_time()

    # How it stands.

    @property
    def unsettled(self) -> int:
        """Invocations whose callers have not heard the end, and messages that no batch has taken yet."""
        return len(self._register) + sum(polling.waiting for polling in self._pollings.values())

    @property
    def environments(self) -> int:
        """Those that live, in all states."""
        return sum(len(fleet) for fleet in self.fleets.values())

    @property
    def in_flight(self) -> int:
        """Invocations that environments serve or start for."""
        return sum(fleet.in_flight for fleet in self.fleets.values())

    def __repr__(self) -> str:
        fleets = ", ".join(repr(fleet) for fleet in self.fleets.values())
        return f"<Service {self.unsettled} unsettled: {fleets}>"

    def _function(self, name: str) -> Function:
        if name not in self._functions:
            raise ValueError(f"there is no function {name}, only {', '.join(self._functions)}")
        return self._functions[name]

    def _of(self, environment: Environment) -> Lifecycle:
        return self._lifecycles[environment.function.name]

    def _attempt(self, invocation: Invocation, now: float) -> list[Action]:
        """Runs it, or has its caller hear that there is no room."""
        name = invocation.function.name
        requests = self._pools[name].requests if invocation.kind != "asynchronous" else None
        if requests is not None and not requests.has_one(now):
            return self._caller(invocation).throttled(invocation, now)
        actions = self._lifecycles[name].place(invocation, now)
        if actions is None:
            return self._caller(invocation).throttled(invocation, now)
        if requests is not None:
            requests.take(now)
        return actions

    def _ended(self, invocation: Invocation, outcome: str, now: float) -> list[Action]:
        return self._caller(invocation).ended(invocation, outcome, now)

    def _caller(self, invocation: Invocation) -> Caller:
        if invocation.kind == "poller":
            return self._pollings[invocation.queue]
        return self._direct[invocation.kind]
