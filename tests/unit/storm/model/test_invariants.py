"""The model under any order of inputs: limits hold, one event at a time, every invocation settles once.

What is true is kept beside it, from the actions alone: the machine is the shell that carries them out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from benchmarks.storm.model.actions import Action, Freeze, Reset, Run, Settled, Shutdown, Start
from benchmarks.storm.model.environment import Environment
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import OUTCOMES, Invocation
from benchmarks.storm.model.poller import Poller
from benchmarks.storm.model.service import Service
from tests.unit.storm.model.account import word

POLLER = Poller("h", batch_size=2, visibility_timeout=6.0, maximum_concurrency=3, max_receives=2)

#: What the shell knows of an environment, and what the model should call it. Nobody is `idle` between inputs.
STATES = {"starting": "INIT", "running": "INVOKE", "frozen": "FROZEN", "killed": "FROZEN", "gone": "DEAD"}

REPORTS = ("initialised", "answered", "crashed")


@dataclass(frozen=True)
class Plan:
    """An account, and how many may run on demand at once in each group of its functions."""

    functions: tuple[Function, ...]
    account_limit: int
    limits: dict[str, int]

    def service(self) -> Service:
        made = Service(
            self.functions, seed=5, account_limit=self.account_limit, idle_seconds=20.0, lifetime=120.0
        )
        made.attach(POLLER)
        return made


PLANS = {
    "reserved": Plan(
        (
            Function("f", reserved=2, retries=1),
            Function("g", reserved=3, provisioned=2, destination=True, max_event_age=200, extension=True),
            Function("h", reserved=2),
        ),
        account_limit=107,
        limits={"f": 2, "g": 1, "h": 2},
    ),
    "shared": Plan(
        (Function("f"), Function("g", destination=True), Function("h")), account_limit=4, limits={"fgh": 4}
    ),
}


@dataclass
class Real:
    """An environment as its shell sees it."""

    environment: Environment
    provisioned: bool
    state: str = "starting"
    invocation: Invocation | None = None

    @property
    def name(self) -> str:
        return self.environment.function.name

    @property
    def serves(self) -> bool:
        """It runs or starts for an invocation."""
        return self.state == "running" or (self.state == "starting" and not self.provisioned)


def feed(
    service: Service, environments: dict[int, Environment], name: str, arguments: Sequence[Any]
) -> list[Action]:
    """One input, in which environments are numbers."""
    if name in REPORTS:
        arguments = (environments[arguments[0]], *arguments[1:])
    answer: Any = getattr(service, name)(*arguments)
    actions: list[Action] = answer[1] if name == "invoke" else answer
    for action in actions:
        if isinstance(action, Start):
            environments[action.environment.id] = action.environment
    return actions


def exactly(action: Action) -> str:
    """In words, with all that dice have decided."""
    match action:
        case Start():
            return f"{word(action)} {action.seconds!r}"
        case Run() | Settled():
            return f"{word(action)} {action.invocation.id}"
    return word(action)


class Shell(RuleBasedStateMachine):
    """See the module."""

    @initialize(plan=st.sampled_from(sorted(PLANS)))
    def begin(self, plan: str) -> None:
        self.plan = PLANS[plan]
        self.service = self.plan.service()
        self.now = 0.0
        self.environments: dict[int, Environment] = {}
        self.real: dict[int, Real] = {}
        self.invocations: dict[str, Invocation] = {}
        self.settled: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.sent: list[str] = []
        self.inputs: list[tuple[str, Sequence[Any]]] = []
        self.words: list[str] = []
        self.does("begin", 0.0)

    def does(self, name: str, *arguments: Any) -> None:
        self.inputs.append((name, arguments))
        for action in feed(self.service, self.environments, name, arguments):
            self.words.append(exactly(action))
            self.carries_out(action)

    def carries_out(self, action: Action) -> None:
        if isinstance(action, Settled):
            self.invocations[action.invocation.id] = action.invocation
            self.settled[action.invocation.id] += 1
            assert action.outcome == action.invocation.outcome
            assert action.outcome in OUTCOMES[action.invocation.kind]
            return
        number = action.environment.id
        assert (number in self.real) != isinstance(action, Start)
        match action:
            case Start():
                assert 0 < action.seconds < 5
                self.real[number] = Real(action.environment, action.provisioned)
            case Run():
                self.runs_it(self.real[number], action)
            case Freeze():
                assert self.real[number].state == "idle"
                self.real[number].state = "frozen"
            case Reset():
                assert self.real[number].state in ("starting", "running", "idle")
                self.loses_runtime(self.real[number])
            case Shutdown():
                assert self.real[number].state not in ("running", "gone")
                assert action.grace == (2.0 if action.environment.function.extension else 0.0)
                self.real[number].state = "gone"

    def runs_it(self, real: Real, action: Run) -> None:
        invocation = action.invocation
        assert real.state in ("starting", "frozen", "killed")
        assert action.initialise == (real.state == "killed")
        assert action.cold == (real.environment.used == 0 and not real.provisioned)
        assert self.settled[invocation.id] == 0
        assert all(other.invocation is not invocation for other in self.real.values())
        assert invocation.function is action.environment.function
        assert invocation.deadline == self.now + invocation.function.timeout
        self.invocations[invocation.id] = invocation
        real.state, real.invocation = "running", invocation

    def loses_runtime(self, real: Real) -> None:
        if real.invocation is not None:
            self.runs[real.name] += 1
        real.state, real.invocation = "killed", None

    def some(self, draw: st.DataObject, *states: str) -> int:
        return draw.draw(st.sampled_from([n for n, real in self.real.items() if real.state in states]))

    def any_real(self, *states: str) -> bool:
        return any(real.state in states for real in self.real.values())

    @rule(name=st.sampled_from("fgh"), kind=st.sampled_from(["synchronous", "asynchronous"]))
    def invokes(self, name: str, kind: str) -> None:
        before = self.service.unsettled
        self.does("invoke", name, "event", kind, self.now, self.now)
        assert self.service.unsettled <= before + 1

    @rule(count=st.integers(1, 5))
    def sends(self, count: int) -> None:
        for _ in range(count):
            self.sent.append(f"m{len(self.sent)}")
            self.does("send", "h", self.sent[-1], self.now, self.now)

    @precondition(lambda self: self.any_real("starting"))
    @rule(draw=st.data(), failed=st.booleans())
    def initialises(self, draw: st.DataObject, failed: bool) -> None:
        self.has_initialised(self.some(draw, "starting"), failed)

    def has_initialised(self, number: int, failed: bool) -> None:
        if failed:
            self.loses_runtime(self.real[number])
        elif self.real[number].provisioned:
            self.real[number].state = "idle"
        self.does("initialised", number, self.now, failed)

    @precondition(lambda self: self.any_real("running"))
    @rule(draw=st.data(), failed=st.booleans())
    def answers(self, draw: st.DataObject, failed: bool) -> None:
        self.has_answered(self.some(draw, "running"), failed)

    def has_answered(self, number: int, failed: bool) -> None:
        """At the wall the answer comes too late, and a Reset counts the run."""
        real = self.real[number]
        assert real.invocation is not None
        real.state = "idle"
        if self.now < real.invocation.deadline:
            real.invocation = None
            self.runs[real.name] += 1
        self.does("answered", number, self.now, failed)

    @precondition(lambda self: self.any_real("starting", "running", "frozen"))
    @rule(draw=st.data())
    def crashes(self, draw: st.DataObject) -> None:
        number = self.some(draw, "starting", "running", "frozen")
        self.loses_runtime(self.real[number])
        self.does("crashed", number, self.now)

    @precondition(lambda self: self.any_real("killed", "gone"))
    @rule(draw=st.data(), report=st.sampled_from(["answered", "crashed", "initialised"]))
    def reports_what_is_over(self, draw: st.DataObject, report: str) -> None:
        number, before = self.some(draw, "killed", "gone"), len(self.words)
        self.does(report, number, self.now, *([False] if report == "answered" else []))
        assert len(self.words) == before

    @rule(name=st.sampled_from("fgh"))
    def deploys(self, name: str) -> None:
        self.does("deploy", name, self.now)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 4.0, 70.0]))
    def waits(self, seconds: float) -> None:
        """As a good shell does: it ticks at every moment that the model names."""
        end = self.now + seconds
        while (at := self.service.next_time()) is not None and at <= end:
            self.ticks(at)
        self.now = end

    @rule(seconds=st.sampled_from([0.0, 5.0, 40.0]))
    def oversleeps(self, seconds: float) -> None:
        """As a shell does whose machine is busy."""
        self.ticks(self.now + seconds)

    def ticks(self, now: float) -> None:
        self.now = max(self.now, now)
        self.does("tick", self.now)
        after = self.service.next_time()
        assert after is None or after > self.now, "a shell would tick for ever"

    @invariant()
    def limits_hold(self) -> None:
        living = [real for real in self.real.values() if real.state != "gone"]
        on_demand = [real for real in living if not real.provisioned]
        for names, limit in self.plan.limits.items():
            assert sum(1 for real in on_demand if real.name in names and real.serves) <= limit
            for name in names:
                assert sum(1 for real in on_demand if real.name == name) <= limit
        for function in self.plan.functions:
            mine = [real for real in living if real.name == function.name]
            assert sum(1 for real in mine if real.provisioned) == function.provisioned
            assert len(self.service.fleets[function.name]) == len(mine)

    @invariant()
    def the_shell_agrees(self) -> None:
        for real in self.real.values():
            assert real.environment.state == STATES[real.state]
            if real.state != "gone":
                assert real.environment.initialise == (real.state == "killed")
            if real.state == "running":
                assert real.environment.invocation is real.invocation
        assert self.service.in_flight == sum(1 for real in self.real.values() if real.serves)
        assert {name: bill.requests for name, bill in self.service.bill.items()} == {
            name: self.runs[name] for name in self.service.bill
        }

    @invariant()
    def nobody_hears_two_ends(self) -> None:
        assert all(count == 1 for count in self.settled.values())
        for name, invocation in self.invocations.items():
            assert bool(invocation.outcome) == (name in self.settled)

    def teardown(self) -> None:
        if hasattr(self, "plan"):
            self.all_settle()
            self.same_inputs_give_the_same_actions()

    def all_settle(self) -> None:
        """From here on every handler answers at once: there is an end, and everybody hears it."""
        while self.service.unsettled:
            for number in list(self.real):
                if self.real[number].state == "starting":
                    self.has_initialised(number, failed=False)
                if self.real[number].state == "running":
                    self.has_answered(number, failed=False)
            at = self.service.next_time()
            assert at is not None or not self.service.unsettled, "somebody was forgotten"
            if self.service.unsettled and at is not None:
                self.ticks(at)
            assert self.now < 100_000.0
        self.nobody_hears_two_ends()
        assert set(self.settled) == set(self.invocations)
        batches = [each.event for each in self.invocations.values() if each.kind == "poller"]
        bodies = [message.body for batch in batches if isinstance(batch, tuple) for message in batch]
        assert sorted(bodies) == sorted(self.sent)

    def same_inputs_give_the_same_actions(self) -> None:
        service = self.plan.service()
        environments: dict[int, Environment] = {}
        words: list[str] = []
        for name, arguments in self.inputs:
            words += [exactly(action) for action in feed(service, environments, name, arguments)]
        assert words == self.words


TestShell = Shell.TestCase
TestShell.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
