"""Runs a target on what the mutator makes of its corpus, and keeps what breaks it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from poolproxy.log import configure
from tests.fuzz.mutator import Mutator
from tests.fuzz.target import Target


@dataclass(slots=True)
class Outcome:
    inputs: int = 0
    crash: Path | None = None
    problem: BaseException | None = None


def fuzz(target: Target, seed: int, going: Callable[[int], bool], every: int = 10) -> Outcome:
    """Until `going(inputs)` is false, or something breaks, which is kept. One input of `every` is measured:
    that costs ten times as much."""
    corpus = list(target.corpus().values())
    mutator = Mutator([*corpus, b"".join(target.tokens)], target.tokens, seed)
    outcome = Outcome()
    while going(outcome.inputs):
        data = mutator.next()
        outcome.inputs += 1
        try:
            if outcome.inputs % every:
                target.run(data)
            else:
                target.measured(data)
        except Exception as problem:
            outcome.problem = problem
            outcome.crash = target.keep(data, "crash")
            break
    return outcome


def seconds(limit: float) -> Callable[[int], bool]:
    """For `fuzz`: so many seconds from now on."""
    end = time.monotonic() + limit
    return lambda inputs: time.monotonic() < end


def inputs(limit: int) -> Callable[[int], bool]:
    """For `fuzz`: so many inputs."""
    return lambda done: done < limit


def quiet() -> None:
    """Servers and clients that break the protocol are logged, each of them: here it is what they are for."""
    configure("error", "json", os.open(os.devnull, os.O_WRONLY))
