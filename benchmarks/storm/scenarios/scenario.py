"""What a scenario is: functions, arrivals, what is done to the environments meanwhile, and what must hold.

A scenario knows neither which endpoint it is let loose on nor how anything is measured.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Literal, Protocol

from benchmarks.storm import results
from benchmarks.storm.clock import Clock
from benchmarks.storm.endpoints import Limits
from benchmarks.storm.events import EVENTS, Event
from benchmarks.storm.histogram import Histogram
from benchmarks.storm.model.callers import GATEWAY_SECONDS
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import SUCCEEDED, Invocation, Kind
from benchmarks.storm.model.poller import Poller
from benchmarks.storm.results import UNKNOWN, Check, Trial
from benchmarks.storm.runner import Storm


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event that somebody sends at an intended Lambda time."""

    function: str
    intended: float
    number: int
    kind: Kind = "synchronous"
    make: Callable[[int, float], Event] = EVENTS["order"]

    def event(self) -> object:
        return self.make(self.number, self.intended)


Isolation = Literal["task", "process"]


class Postgres(Protocol):
    """The database, as far as a scenario may touch it."""

    async def restart(self) -> None:
        """As an operator does it: sessions end, and it is back. Raises Unable where nobody may."""

    async def servers_in_transaction(self) -> int:
        """Of the endpoint's servers."""

    async def clients(self) -> int:
        """Connections of clients that the endpoint has."""

    async def waiting(self) -> int:
        """Clients that wait for a server at the endpoint."""

    async def memory(self) -> int:
        """Bytes of the endpoint's own memory."""


class Link(Protocol):
    """What joins the environments with the endpoint."""

    def cut(self) -> None:
        """What is sent is lost, and nobody says so."""

    def mend(self) -> None: ...


class Unable(Exception):
    """What a scenario needs cannot be had with this endpoint; the message says what and why."""


TINY = 50  #: environments
LOOK_EVERY = 0.1  #: seconds

NOT_KNOWN = "not known"
NONE_KEPT = "none kept"
"""Found by a check where nobody can say. It has not passed; whether it counts, the trial decides."""


@dataclass(slots=True)
class Underway:
    """A trial while it runs, for those scenarios that do something to it, and afterwards for their checks:
    `found` is what they have noted (UNKNOWN included), `groups` are latencies in ms and `ended` outcomes, by
    `Scenario.group`."""

    storm: Storm
    clock: Clock
    database: Postgres
    groups: dict[str, Histogram]
    ended: Mapping[str, Counter[str]]
    link: Link | None = None  #: of the environments, where they are apart
    found: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A function and the code it runs (see loading.HandlerSource.find)."""

    function: Function
    handler: str = "order"


class Scenario(ABC):
    """See the module. A quick one has less of everything; a tiny one so little that nothing can be measured,
    and all can be tried out."""

    name: ClassVar[str]
    about: ClassVar[results.Scenario]
    scale: ClassVar[float] = 1.0  #: Lambda seconds per second of the machine
    limits: ClassVar[Limits] = Limits()
    patience: ClassVar[float] = 60.0  #: Lambda seconds that the last invocations may take
    gateway: ClassVar[float] = GATEWAY_SECONDS  #: Lambda seconds after which who waits for an answer gives up
    isolation: ClassVar[Isolation] = "task"
    apart: ClassVar[bool] = False  #: environments are in a network namespace, whose link can be cut
    restarts: ClassVar[bool] = False  #: the database, which must be ours
    encrypted: ClassVar[bool] = False  #: clients come over TLS, to endpoints that take no others
    most: ClassVar[int] = 1_000  #: environments, in the account
    account_limit: ClassVar[int] = 1_000
    idle_seconds: ClassVar[float] = 600.0  #: after which a frozen environment is reaped

    def __init__(self, quick: bool, environments: int | None = None) -> None:
        self.quick = quick
        self.asked = environments is not None
        self.environments = environments or (200 if quick else 1000)

    @property
    def tiny(self) -> bool:
        """So few environments were asked for that it is about the course of things alone."""
        return self.asked and self.environments <= TINY

    @abstractmethod
    def deployed(self) -> Sequence[Deployed]:
        """The functions of the account."""

    @abstractmethod
    def arrivals(self, chance: Random) -> Iterator[Arrival]:
        """In the order of their intended times."""

    def work(self, invocation: Invocation) -> float:
        """Lambda seconds of other work than with the database, once the handler is done."""
        return 0.0

    def pollers(self) -> Sequence[Poller]:
        """Queues and what polls them."""
        return ()

    async def alongside(self, underway: Underway) -> None:  # noqa: B027 - most do nothing
        """What is done to environments and database while the arrivals come. The trial waits for its end."""

    def group(self, invocation: Invocation) -> str:
        """Latencies of which invocations are looked at together."""
        return invocation.function.name

    @abstractmethod
    def checks(self, trial: Trial, underway: Underway) -> list[Check]:
        """What must hold of a trial."""


async def until_none(
    underway: Underway, counts: Mapping[str, Callable[[], Awaitable[int]]], since: float, bound: float
) -> None:
    """Count until all counts are 0, or `bound` seconds have passed `since` (of the machine, both). Notes the
    last counts by their names, and in `seconds` when all were 0."""
    found, clock = underway.found, underway.clock
    while True:
        begun = clock.elapsed() - since
        for name, count in counts.items():
            found[name] = await count()
        if not any(found[name] for name in counts):
            found["seconds"] = clock.elapsed() - since
        if "seconds" in found or begun >= bound:
            return
        await asyncio.sleep(min(LOOK_EVERY, bound - begun))


def none_left(name: str, underway: Underway, counts: Sequence[str], bound: float) -> Check:
    """What `until_none` has found of these counts."""
    found = underway.found
    said = f"{found['seconds']:.2f} s" if "seconds" in found else "never"
    if UNKNOWN in [found[count] for count in counts]:
        said = NOT_KNOWN
    return Check(name, said, f"{bound:g} s", "seconds" in found)


def at_most(name: str, found: float, bar: float) -> Check:
    """Passed when what was found is known, and not above the bar."""
    return Check(name, _known(found), f"at most {bar:g}", found <= bar and found != UNKNOWN)


def at_least(name: str, found: float, bar: float) -> Check:
    """Passed when what was found is known, and not below the bar."""
    return Check(name, _known(found), f"at least {bar:g}", found >= bar and found != UNKNOWN)


def _known(found: float) -> str:
    return NOT_KNOWN if found == UNKNOWN else f"{found:g}"


def none_failed(trial: Trial, name: str = "failed invocations") -> Check:
    """There were invocations, and every one has succeeded."""
    return all_succeeded(name, trial.outcomes)


def all_succeeded(name: str, outcomes: Mapping[str, int], of: int = 1) -> Check:
    """The same of some of them; `of` is how many there must be at least."""
    failed = sum(count for outcome, count in outcomes.items() if outcome != SUCCEEDED)
    total = sum(outcomes.values())
    return Check(name, f"{failed} of {total}", "0" if of == 1 else f"0 of {of}", failed == 0 and total >= of)


def ledger_clean(trial: Trial) -> Check:
    """Every acknowledged commit is there exactly once, and nothing by halves."""
    if not trial.ledger:
        return Check("ledger", NONE_KEPT, "no fault", False)
    faults = trial.ledger.get("faults", 0)
    found = f"{faults} faults among {trial.ledger.get('acknowledged', 0)} acknowledged"
    return Check("ledger", found, "no fault", faults == 0 and trial.ledger.get("acknowledged", 0) > 0)


def servers_at_most(trial: Trial, bar: int) -> Check:
    """By the samples."""
    return at_most("servers", max((sample.servers for sample in trial.samples), default=UNKNOWN), bar)
