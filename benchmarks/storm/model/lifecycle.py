"""What happens to the environments of one function: INIT, INVOKE, FREEZE and THAW, the walls, SHUTDOWN.

Rules: Lambda developer guide, Understanding the Lambda execution environment lifecycle. Must not know
callers: a run that is over is told `ended`, and that says what its caller wants done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

from benchmarks.storm.model import coldstart
from benchmarks.storm.model.actions import Action, Freeze, Reset, Run, Shutdown, Start
from benchmarks.storm.model.bill import Bill
from benchmarks.storm.model.environment import DEAD, FROZEN, INIT, INVOKE, Environment
from benchmarks.storm.model.fleet import Fleet
from benchmarks.storm.model.invocation import FAILED, SUCCEEDED, TIMED_OUT, Invocation
from benchmarks.storm.model.scaling import SCALING_BURST, SCALING_RATE, Bucket
from benchmarks.storm.model.timers import Timers

INIT_SECONDS = 10.0
"""For the runtime's start and the module's code; overrun, they are run again inside the first invoke."""

PROVISIONED_INIT_SECONDS = 130.0
"""On provisioned environments: so many, or the function's timeout where that is longer."""

GRACE = 2.0
"""Seconds of SHUTDOWN that an external extension has; without one SIGKILL comes at once."""

IDLE_SECONDS = 600.0
"""After these a frozen environment is reaped. AWS publishes none; ten minutes were measured in "AWS Lambda
Cold Starts After 10 Minutes" (mikhail.io, 2019), 45 to 60 in "How long does AWS Lambda keep your idle
functions around before a cold start?" (pluralsight.com). An assumption, and a parameter."""

LIFETIME = 14_400.0
"""After about these an environment is recycled. AWS says "every few hours"; four were seen in "How does
language, memory and package size affect cold starts of AWS Lambda?" (pluralsight.com). An assumption, and a
parameter."""

LIFETIME_SPREAD = 0.25
"""Lifetimes are drawn evenly from LIFETIME more or less this share, our assumption: those which a burst
started together would otherwise all be replaced in one moment, every four hours."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old environments become, in seconds: frozen without being used, and at all."""

    idle: float = IDLE_SECONDS
    lifetime: float = LIFETIME


class Lifecycle:
    """Moves the environments of `fleet` along, and returns what is to be done.

    Reports about a run that the model has ended already (its wall was reached, it was shut down) come late,
    and change nothing. `numbers` gives new environments their ids, `random` their cold starts and lifetimes.
    """

    def __init__(
        self,
        fleet: Fleet,
        bill: Bill,
        timers: Timers[Action],
        ended: Callable[[Invocation, str, float], list[Action]],
        *,
        ages: Ages,
        numbers: Iterator[int],
        random: Random,
    ) -> None:
        self._fleet = fleet
        self._function = fleet.function
        self._bill = bill
        self._timers = timers
        self._ended = ended
        self._ages = ages
        self._numbers = numbers
        self._random = random
        self._scaling = Bucket(SCALING_BURST, SCALING_RATE)
        # Of the same size: "exactly the same as the concurrency scaling rate" (Lambda developer guide,
        # Configuring provisioned concurrency for a function).
        self._provisioning = Bucket(SCALING_BURST, SCALING_RATE)
        self._restocking = False

    # What may come from outside.

    def begin(self, now: float) -> list[Action]:
        """Provisioned environments are started, as fast as the scaling rate allows."""
        return self._restock(now)

    def place(self, invocation: Invocation, now: float) -> list[Action] | None:
        """Runs it on a provisioned environment, else on a warm one, else on a new one; None: throttled."""
        environment = self._fleet.warmest(provisioned=True)
        if environment is None:
            if self._fleet.pool.full:
                return None
            environment = self._fleet.warmest(provisioned=False)
        if environment is not None:
            return [self._run(environment, invocation, now, cold=False)]
        if not self._scaling.take(now):
            return None
        return [self._start(now, invocation)]

    def initialised(self, environment: Environment, now: float, failed: bool) -> list[Action]:
        """The module's code has run; `failed`, and it is run again inside the first invoke."""
        if environment.state != INIT:
            return []
        if now >= environment.born + self._init_limit(environment):
            return self._init_overrun(environment, now)
        return self._init_over(environment, now, failed)

    def answered(self, environment: Environment, now: float, failed: bool) -> list[Action]:
        """The handler has returned or raised. At the wall or behind it, that does not count any more."""
        invocation = environment.invocation
        if environment.state != INVOKE or invocation is None:
            return []
        if now >= invocation.deadline:
            return self._wall(environment, now)
        return self._run_over(environment, now, FAILED if failed else SUCCEEDED)

    def crashed(self, environment: Environment, now: float) -> list[Action]:
        """Its runtime is gone, whatever it was doing. The environment stays, and initialises in its next
        run."""
        if environment.state == INIT:
            return self.initialised(environment, now, failed=True)
        if environment.state == FROZEN:
            environment.initialise = True
        if environment.state != INVOKE:
            return []
        environment.initialise = True
        return self._run_over(environment, now, FAILED)

    def deploy(self, now: float) -> list[Action]:
        """All are replaced: who serves nobody at once, the others when they are done."""
        actions: list[Action] = []
        for environment in list(self._fleet):
            actions += self._retire(environment, now)
        return actions

    # INIT.

    def _start(self, now: float, invocation: Invocation | None) -> Action:
        cold_start = coldstart.draw(
            self._function.runtime, self._function.package, self._function.memory, self._random
        )
        environment = Environment(
            next(self._numbers),
            self._function,
            now,
            cold_start=cold_start,
            provisioned=invocation is None,
            invocation=invocation,
        )
        self._fleet.add(environment)
        overrun = partial(self._init_overrun, environment)
        environment.state_timer = self._timers.set(now + self._init_limit(environment), overrun)
        lifetime = self._ages.lifetime * self._random.uniform(1 - LIFETIME_SPREAD, 1 + LIFETIME_SPREAD)
        environment.lifetime_timer = self._timers.set(now + lifetime, partial(self._retire, environment))
        return Start(environment, cold_start.seconds, environment.provisioned)

    def _init_limit(self, environment: Environment) -> float:
        """Seconds from its birth; the package's download is not part of them."""
        seconds = INIT_SECONDS
        if environment.provisioned:
            seconds = max(PROVISIONED_INIT_SECONDS, self._function.timeout)
        return environment.cold_start.download + seconds

    def _init_overrun(self, environment: Environment, now: float) -> list[Action]:
        reset = Reset(environment, environment.invocation)
        return [reset, *self._init_over(environment, now, failed=True)]

    def _init_over(self, environment: Environment, now: float, failed: bool) -> list[Action]:
        seconds = min(now - environment.born, self._init_limit(environment)) - environment.cold_start.download
        self._bill.initialised(max(0.0, seconds), environment.provisioned)
        environment.initialise = failed
        if environment.invocation is not None:
            return [self._run(environment, environment.invocation, now, cold=True)]
        return self._rest(environment, now)

    # INVOKE.

    def _run(self, environment: Environment, invocation: Invocation, now: float, cold: bool) -> Action:
        self._timers.cancel(environment.state_timer)
        self._fleet.move(environment, INVOKE, now)
        environment.invocation = invocation
        initialise, environment.initialise = environment.initialise, False
        invocation.deadline = now + self._function.timeout
        wall = partial(self._wall, environment)
        environment.state_timer = self._timers.set(invocation.deadline, wall)
        return Run(environment, invocation, cold, initialise)

    def _wall(self, environment: Environment, now: float) -> list[Action]:
        reset = Reset(environment, environment.invocation)
        environment.initialise = True
        return [reset, *self._run_over(environment, now, TIMED_OUT)]

    def _run_over(self, environment: Environment, now: float, outcome: str) -> list[Action]:
        invocation = environment.invocation
        assert invocation is not None
        environment.invocation = None
        environment.used += 1
        self._bill.ran(min(now, invocation.deadline) - environment.since, environment.provisioned)
        return [*self._rest(environment, now), *self._ended(invocation, outcome, now)]

    # FREEZE and SHUTDOWN.

    def _rest(self, environment: Environment, now: float) -> list[Action]:
        """Nothing to do for it: frozen until its next run, or shut down if it is to be replaced."""
        if environment.retired:
            return self._shut_down(environment, now)
        self._timers.cancel(environment.state_timer)
        self._fleet.move(environment, FROZEN, now)
        if not environment.provisioned:
            reap = partial(self._shut_down, environment)
            environment.state_timer = self._timers.set(now + self._ages.idle, reap)
        # Of a runtime that is gone there is nothing left to freeze.
        return [] if environment.initialise else [Freeze(environment)]

    def _retire(self, environment: Environment, now: float) -> list[Action]:
        if environment.invocation is None:
            return self._shut_down(environment, now)
        environment.retired = True
        return []

    def _shut_down(self, environment: Environment, now: float) -> list[Action]:
        self._timers.cancel(environment.state_timer)
        self._timers.cancel(environment.lifetime_timer)
        self._fleet.move(environment, DEAD, now)
        shutdown = Shutdown(environment, GRACE if self._function.extension else 0.0)
        return [shutdown, *self._restock(now)] if environment.provisioned else [shutdown]

    def _restock(self, now: float) -> list[Action]:
        """Provisioned environments that are missing are started."""
        actions: list[Action] = []
        while self._fleet.provisioned < self._function.provisioned and self._provisioning.take(now):
            actions.append(self._start(now, None))
        if self._fleet.provisioned < self._function.provisioned and not self._restocking:
            self._restocking = True
            self._timers.set(self._provisioning.next_time(now), self._restock_again)
        return actions

    def _restock_again(self, now: float) -> list[Action]:
        self._restocking = False
        return self._restock(now)
