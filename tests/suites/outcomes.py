"""What a run of a suite gave, and whether the runs through the proxy are as good as the direct ones.

Pure decisions: no process, no database.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: From best to worst: a test is what its worst phase is.
_RANK = ("passed", "xpassed", "xfailed", "skipped", "failed", "error")


class RunCutOff(Exception):
    """A suite's run ended without its last word: it crashed, or was killed."""


@dataclass(frozen=True)
class Run:
    """The outcome of each test by its id, and the failures' texts."""

    outcomes: Mapping[str, str]
    texts: Mapping[str, str]

    def counts(self) -> Counter[str]:
        return Counter(self.outcomes.values())

    def passed(self) -> frozenset[str]:
        return frozenset(test for test, outcome in self.outcomes.items() if outcome == "passed")


def read(lines: Sequence[str]) -> Run:
    """The run that `recorder` wrote down. A failure outside the test's own body is an error."""
    outcomes: dict[str, str] = {}
    texts: dict[str, str] = {}
    finished = False
    for line in lines:
        entry = json.loads(line)
        if "finished" in entry:
            finished = True
            continue
        test, outcome = entry["test"], entry["outcome"]
        if outcome == "failed" and entry["phase"] != "call":
            outcome = "error"
        if test not in outcomes or _RANK.index(outcome) > _RANK.index(outcomes[test]):
            outcomes[test] = outcome
        if entry["text"]:
            texts[test] = texts.get(test, "") + entry["text"] + "\n"
    if not finished:
        raise RunCutOff(f"the run was cut off after {len(outcomes)} tests; the last: {list(outcomes)[-1:]}")
    return Run(outcomes, texts)


@dataclass(frozen=True)
class Comparison:
    """Runs on direct connections beside one through the proxy."""

    direct: Sequence[Run]
    proxied: Run
    exceptions: Mapping[str, str]
    """Test id -> why no proxy can make it pass."""
    chance: frozenset[str] = frozenset()
    """Those of them that pass now and then, by chance, directly perhaps as well."""
    whole: bool = True
    """Whether the whole suite was run: else listed tests may be absent."""
    again: Run | None = None
    """Another direct run, of a few."""

    def steady(self) -> frozenset[str]:
        """The tests that passed in every direct run: those that the proxy must pass."""
        steady = frozenset.intersection(*(run.passed() for run in self.direct))
        if self.again is not None:
            steady -= self.again.outcomes.keys() - self.again.passed()
        return steady

    def flaky(self) -> frozenset[str]:
        """The tests that passed in some direct runs only: nothing can be said of them."""
        return frozenset.union(*(run.passed() for run in self.direct)) - self.steady()

    def kept(self) -> frozenset[str]:
        """The steady tests that pass through the proxy, too."""
        return self.steady() & self.proxied.passed()

    def lost(self) -> list[str]:
        """The steady tests that the proxy fails and nobody has listed."""
        return sorted(self.steady() - self.proxied.passed() - self.exceptions.keys())

    def verdict(self) -> list[str]:
        """What is wrong, a line each; empty when all is well."""
        steady, passed = self.steady(), self.proxied.passed()
        wrong = [
            f"{test}: passes directly, {self.proxied.outcomes.get(test, 'absent')} through the proxy"
            for test in self.lost()
        ]
        for test in sorted(self.exceptions):
            if test not in self.proxied.outcomes:
                if self.whole:
                    wrong.append(f"{test}: listed as an exception, but there is no such test")
            elif test in self.chance:
                continue
            elif test in passed:
                wrong.append(f"{test}: listed as an exception, but passes: it must leave the list")
            elif test not in steady:
                wrong.append(f"{test}: listed as an exception, but does not pass directly either")
        if not steady:
            wrong.append("no test passes directly: there is nothing to compare")
        return wrong
