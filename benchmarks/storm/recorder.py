"""What happens in a trial, counted as it happens: the runner tells, a Trial comes out.

Latency counts from the intended start of an invocation to its end as its caller sees it, so a generator or a
target that is late cannot hide it (no coordinated omission). Must not know how anything is done.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks.storm.histogram import Histogram
from benchmarks.storm.live import Progress
from benchmarks.storm.model.invocation import SUCCEEDED, Invocation
from benchmarks.storm.results import Timeline, Trial
from benchmarks.storm.runtime.runtime import Answer

LATE = 50.0
"""ms: arrivals sent later than this at their 99th percentile mean that the generator was the limit."""


class Recorder:
    """Collects one trial, and lets whoever watches know. `scale` is the clock's: latencies are wall time."""

    def __init__(self, progress: Progress, scale: float, group: Callable[[Invocation], str]) -> None:
        self._scale = scale
        self._group = group
        self.groups: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.ended: defaultdict[str, Counter[str]] = defaultdict(Counter)  #: outcomes, by group
        self._progress = progress
        began = datetime.now(UTC).isoformat(timespec="seconds")
        self.trial = Trial(progress.scenario, progress.target, progress.number, began, 0.0)
        self.acknowledged: list[tuple[str, int]] = []  #: attempts whose handler has seen its COMMIT answered
        self._timeline = Timeline()

    def sent(self, late: float) -> None:
        """An arrival went out so many wall seconds after its intended time."""
        self.trial.lateness.record(late * 1e3)

    def answered(self, invocation: Invocation, attempt: int, answer: Answer) -> None:
        """The handler has returned, or raised. What it has committed is acknowledged if it says so."""
        self.met(answer)
        if answer.meter.commits and not answer.failed:
            self.acknowledged.append((invocation.id, attempt))

    def met(self, answer: Answer) -> None:
        """What a piece of an environment's code has spent with its database, and the errors it met."""
        meter = answer.meter
        for seconds in meter.first_answers:
            self._progress.connected(seconds * 1e3)
        for label, count in meter.errors.items():
            for _ in range(count):
                self._progress.failed(label, meter.examples[label])
        if answer.failed and answer.label not in meter.errors:
            self._progress.failed(answer.label, answer.message)

    def settled(self, invocation: Invocation, outcome: str, now: float) -> None:
        """Its caller has heard the end of it, at this Lambda time."""
        at, ms = now / self._scale, (now - invocation.intended) / self._scale * 1e3
        self._progress.settled(at, outcome, ms)
        self._timeline.record(at, ms, outcome != SUCCEEDED)
        group = self._group(invocation)
        self.groups[group].record(ms)
        self.ended[group][outcome] += 1

    def finish(self, seconds: float) -> Trial:
        """The trial is over."""
        trial, progress = self.trial, self._progress
        trial.seconds = seconds
        trial.outcomes, trial.errors, trial.examples = progress.outcomes, progress.errors, progress.examples
        trial.latency, trial.connect = progress.latency, progress.connect
        trial.timeline = self._timeline.slices()
        trial.generator_limited = limited(trial.lateness)
        return trial


def limited(lateness: Histogram) -> str:
    """A sentence where the generator was the limit, else nothing."""
    late = lateness.percentile(99) if len(lateness) else 0.0
    if late <= LATE:
        return ""
    return (
        f"The generator was late: 1 % of the arrivals went out {late:.0f} ms after their time or later, so"
        " what is measured here is this machine, not the target alone."
    )
