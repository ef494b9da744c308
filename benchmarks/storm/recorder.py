"""What happens in a trial, counted as it happens: the runner tells, a Trial comes out.

Latency counts from the intended start of an invocation to its end as its caller sees it, so a generator or a
target that is late cannot hide it (no coordinated omission). Must not know how anything is done.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from benchmarks.storm.histogram import Histogram
from benchmarks.storm.model.invocation import SUCCEEDED, Invocation
from benchmarks.storm.results import Timeline, Trial
from benchmarks.storm.runtime.runtime import Answer

LATE = 50.0
"""ms: arrivals that were sent later than this at their 99th percentile mean that the generator was the limit."""


class Recorder:
    """Collects one trial. `scale` is the clock's: latencies are shown in wall time."""

    def __init__(self, scenario: str, target: str, number: int, scale: float) -> None:
        self._scale = scale
        began = datetime.now(UTC).isoformat(timespec="seconds")
        self.trial = Trial(scenario, target, number, began, 0.0)
        self.outcomes: Counter[str] = Counter()
        self.acknowledged: list[tuple[str, int]] = []  #: attempts whose handler has seen its COMMIT answered
        self.arrivals = 0
        self._errors: Counter[str] = Counter()
        self._timeline = Timeline()

    def sent(self, late: float) -> None:
        """An arrival went out so many wall seconds after its intended time."""
        self.arrivals += 1
        self.trial.lateness.record(late * 1e3)

    def answered(self, invocation: Invocation, attempt: int, answer: Answer) -> None:
        """The handler has returned, or raised."""
        self.met(answer)
        if not answer.failed:
            self.acknowledged.append((invocation.id, attempt))

    def met(self, answer: Answer) -> None:
        """What a piece of an environment's code has spent with its database, and the errors it met."""
        meter = answer.meter
        for seconds in meter.first_answers:
            self.trial.connect.record(seconds * 1e3)
        self._errors.update(meter.errors)
        for label, example in meter.examples.items():
            self.trial.examples.setdefault(label, example)
        if answer.failed and answer.label not in meter.errors:
            self._errors[answer.label] += 1
            self.trial.examples.setdefault(answer.label, answer.message)

    def settled(self, invocation: Invocation, outcome: str, now: float) -> None:
        """Its caller has heard the end of it, at this Lambda time."""
        self.outcomes[outcome] += 1
        ms = (now - invocation.intended) / self._scale * 1e3
        self.trial.latency.record(ms)
        self._timeline.record(now / self._scale, ms, outcome != SUCCEEDED)

    def finish(self, seconds: float) -> Trial:
        """The trial is over."""
        trial = self.trial
        trial.seconds = seconds
        trial.outcomes = dict(self.outcomes)
        trial.errors = dict(self._errors)
        trial.timeline = self._timeline.slices()
        trial.generator_limited = limited(trial.lateness)
        return trial


def limited(lateness: Histogram) -> str:
    """A sentence where the generator was the limit, else nothing."""
    late = lateness.percentile(99) if len(lateness) else 0.0
    if late <= LATE:
        return ""
    return (
        f"The generator was late: 1 % of the arrivals went out {late:.0f} ms after their time or later, so what"
        " is measured here is this machine, not the target alone."
    )
