"""The poller: Lambda's event source mapping for an SQS queue, and the queue it reads.

Numbers: Lambda developer guide, Configuring scaling behavior for SQS event source mappings; Creating and
configuring an Amazon SQS event source mapping; Handling errors for an SQS event source in Lambda. Must not
know environments.

Our simplifications: messages that were received together stay one batch, with one invocation id, when they
come back; a batch is not received a second time while it runs (where its INIT makes it outlast the
visibility timeout); a throttled batch is tried again after 1, 2, 4 ... seconds and keeps its place among the
concurrent batches; and the unpublished lowering of concurrency after errors is left out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from benchmarks.storm.model.actions import Action
from benchmarks.storm.model.callers import Attempt
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import DEAD_LETTERED, DROPPED, SUCCEEDED, Invocation
from benchmarks.storm.model.ramp import MOST, Ramp
from benchmarks.storm.model.register import Register
from benchmarks.storm.model.retries import backoff
from benchmarks.storm.model.timers import Timer, Timers

RANGES = {
    "batch_size": (1, 10_000, "messages"),
    "visibility_timeout": (0, 43_200, "s"),
    "batch_window": (0, 300, "s"),
    "retention": (60, 1_209_600, "s"),
}

WITHOUT_WINDOW = 10
"""Messages of a batch without a batch window."""


@dataclass(frozen=True, slots=True)
class Poller:
    """An event source mapping and its queue; raises ValueError, which says what is allowed.

    `function` and `queue` are names, the queue's is the function's unless given. `visibility_timeout`,
    `batch_window` (a batch waits so long to become full) and `retention` (of messages that keep failing, four
    days by default) in seconds. A message that failed `max_receives` times goes to the dead-letter queue.
    """

    function: str
    batch_size: int = 10
    visibility_timeout: float = 30.0
    maximum_concurrency: int | None = None
    max_receives: int | None = None
    queue: str = ""
    batch_window: float = 0.0
    retention: float = 345_600.0

    def __post_init__(self) -> None:
        for field, (least, most, unit) in RANGES.items():
            value = getattr(self, field)
            if not least <= value <= most:
                raise ValueError(f"{field} is {least} to {most:,} {unit}, not {value}")
        if self.batch_size > WITHOUT_WINDOW and self.batch_window < 1:
            raise ValueError(f"batch_size above {WITHOUT_WINDOW} needs a batch_window of at least 1 s")
        if self.maximum_concurrency is not None and not 2 <= self.maximum_concurrency <= MOST:
            raise ValueError(f"maximum_concurrency is None or 2 to {MOST:,}, not {self.maximum_concurrency}")
        if self.max_receives is not None and not 1 <= self.max_receives <= 1000:
            raise ValueError(f"max_receives is None or 1 to 1,000, not {self.max_receives}")
        if not self.queue:
            object.__setattr__(self, "queue", self.function)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a batch, which is a tuple of them in `Invocation.event`. Times: Lambda time, seconds."""

    body: object
    sent: float
    intended: float


@dataclass(slots=True)
class Receipt:
    """A batch's receives so far, and when the last one's visibility timeout is over."""

    receives: int = 0
    visible: float = 0.0


class Polling:
    """A poller at work. Every message is waiting (visible), or in a batch that runs, waits to run again, or
    is invisible; at the end its batch is settled."""

    def __init__(
        self,
        poller: Poller,
        function: Function,
        register: Register,
        timers: Timers[Action],
        attempt: Attempt,
    ) -> None:
        if poller.visibility_timeout < function.timeout:
            raise ValueError(
                f"visibility_timeout is at least the timeout of {function.name} ({function.timeout} s),"
                f" not {poller.visibility_timeout}"
            )
        self._poller = poller
        self._function = function
        self._register = register
        self._timers = timers
        self._attempt = attempt
        self._ramp = Ramp(poller.maximum_concurrency)
        self._waiting: deque[Message] = deque()
        self._returned: deque[Invocation] = deque()
        self._receipts: dict[Invocation, Receipt] = {}
        self._wake: Timer | None = None
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """Messages that no batch has taken yet."""
        return len(self._waiting)

    def send(self, body: object, now: float, intended: float) -> list[Action]:
        self._waiting.append(Message(body, now, intended))
        return self._poll(now)

    def throttled(self, invocation: Invocation, now: float) -> list[Action]:
        """Tried again until its visibility timeout is over."""
        receipt = self._receipts[invocation]
        invocation.throttles += 1

        def again(now: float) -> list[Action]:
            if now < receipt.visible:
                return self._attempt(invocation, now)
            self.in_flight -= 1
            return self._come_back(invocation, now)

        self._timers.set(min(now + backoff(invocation.throttles), receipt.visible), again)
        return []

    def ended(self, invocation: Invocation, outcome: str, now: float) -> list[Action]:
        self.in_flight -= 1
        if outcome == SUCCEEDED:
            return [self._settle(invocation, SUCCEEDED), *self._poll(now)]
        invocation.attempt += 1

        def come_back(now: float) -> list[Action]:
            return self._come_back(invocation, now)

        self._timers.set(max(now, self._receipts[invocation].visible), come_back)
        return self._poll(now)

    def _come_back(self, invocation: Invocation, now: float) -> list[Action]:
        """Its messages are visible again: to the dead-letter queue, gone, or to be received once more."""
        actions: list[Action] = []
        most = self._poller.max_receives
        assert isinstance(invocation.event, tuple)
        oldest: Message = invocation.event[0]
        if most is not None and self._receipts[invocation].receives >= most:
            actions.append(self._settle(invocation, DEAD_LETTERED))
        elif now - oldest.sent >= self._poller.retention:
            actions.append(self._settle(invocation, DROPPED))
        else:
            self._returned.append(invocation)
        return actions + self._poll(now)

    def _settle(self, invocation: Invocation, outcome: str) -> Action:
        del self._receipts[invocation]
        return self._register.settle(invocation, outcome)

    def _poll(self, now: float) -> list[Action]:
        """Receives batches while there are some and the ramp allows it; then says when it wants to look
        again."""
        actions: list[Action] = []
        while self._ready(now) and self.in_flight < self._ramp.limit(now):
            actions += self._receive(self._returned.popleft() if self._returned else self._batch(now), now)
        if self._ready(now):
            self._ramp.press(now)
            wake = self._ramp.reaches(self.in_flight + 1)
        else:
            self._ramp.ease(now, idle=self.in_flight == 0)
            wake = self._waiting[0].sent + self._poller.batch_window if self._waiting else None
        self._timers.cancel(self._wake)
        self._wake = None if wake is None else self._timers.set(wake, self._poll)
        return actions

    def _ready(self, now: float) -> bool:
        """A batch could be received: one that came back, a full one, or one that has waited long enough."""
        if self._returned or len(self._waiting) >= self._poller.batch_size:
            return True
        return bool(self._waiting) and now >= self._waiting[0].sent + self._poller.batch_window

    def _batch(self, now: float) -> Invocation:
        size = min(self._poller.batch_size, len(self._waiting))
        messages = tuple(self._waiting.popleft() for _ in range(size))
        intended = min(message.intended for message in messages)
        queue = self._poller.queue
        invocation = self._register.enter(self._function, messages, "poller", now, intended, queue)
        self._receipts[invocation] = Receipt()
        return invocation

    def _receive(self, invocation: Invocation, now: float) -> list[Action]:
        self.in_flight += 1
        invocation.throttles = 0
        receipt = self._receipts[invocation]
        receipt.receives += 1
        receipt.visible = now + self._poller.visibility_timeout
        return self._attempt(invocation, now)
