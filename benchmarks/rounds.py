"""The order of the runs: in every round each figure against each target, and never the same target first."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.figures import Figure
from benchmarks.report import Outcome, number
from benchmarks.targets import Target
from benchmarks.workloads import Plan, Sample, Void, Workload

ATTEMPTS = 3  #: at a run that was void


class Rounds:
    """Runs figures against started targets, those over TLS against `encrypted` ones. `warm_up` is run
    unmeasured where a process is new."""

    def __init__(
        self, targets: Sequence[Target], encrypted: Sequence[Target], plan: Plan, warm_up: Workload
    ) -> None:
        self._targets = {False: targets, True: encrypted}
        self._plan = plan
        self._warm_up = warm_up
        self._warm: set[Target] = set()

    def run(self, figures: Sequence[Figure], rounds: int) -> list[Outcome]:
        """Every figure against every target, `rounds` times. Ctrl-C ends it with what there is."""
        outcomes = [Outcome(figure, {target.name: {} for target in self._of(figure)}) for figure in figures]
        try:
            for turn in range(rounds):
                for outcome in outcomes:
                    say(f"round {turn + 1} of {rounds}: {outcome.figure.title}")
                    targets = self._of(outcome.figure)
                    shift = turn % max(len(targets), 1)
                    for target in [*targets[shift:], *targets[:shift]]:
                        self._measure(outcome, target, turn)
        except KeyboardInterrupt:
            say("interrupted: reporting what there is")
        return outcomes

    def _of(self, figure: Figure) -> list[Target]:
        return [target for target in self._targets[figure.tls] if target.name not in figure.without]

    def _measure(self, outcome: Outcome, target: Target, turn: int) -> None:
        """One run of one figure against one target. A run that fails is noted, and the others go on."""
        figure = outcome.figure
        try:
            self._prepare(figure, target)
            before = target.stalls()
            sample = self._sample(outcome, target)
            if sample is None:
                return
            after = target.stalls()
        except (RuntimeError, OSError) as error:
            outcome.failures[target.name] = str(error)
            say(f"  {target.name}: FAILED: {error}")
            return
        outcome.samples[target.name][turn] = sample
        if before is not None and after is not None:
            outcome.stalls.append(after.since(before))
        rate = "" if sample.rate is None else f", {number(sample.rate)} {figure.per}/s"
        say(f"  {target.name}: {number(sample.value)} {figure.unit}{rate}")

    def _sample(self, outcome: Outcome, target: Target) -> Sample | None:
        """One run that counts. What was void is tried again, a few times: a round may have no result."""
        for _ in range(ATTEMPTS):
            try:
                return outcome.figure.workload.run(target, self._plan)
            except Void as void:
                outcome.void.append(f"{target.name}: {void}")
                say(f"  {outcome.void[-1]}")
        return None

    def _prepare(self, figure: Figure, target: Target) -> None:
        """A new process for a figure that wants one, and for the others one that has its servers open."""
        if figure.fresh:
            target.stop()
            target.start()
            self._warm.discard(target)
        elif self._plan.warm_seconds and target not in self._warm:
            self._warm_up.run(target, self._plan.warming())
            self._warm.add(target)


def say(line: str) -> None:
    """Progress goes to standard error: standard output is the report."""
    print(line, file=sys.stderr, flush=True)
