"""How long the platform's part of INIT takes: the package's way to a new microVM, and the runtime's start.

The function's own code is not in it: that one is run for real, by whoever carries out the model. Must not
know functions or environments, only runtimes and numbers.

AWS publishes no such table, only that cold starts take "from under 100 ms to over 1 second" (Lambda
developer guide, Understanding the Lambda execution environment lifecycle). The figures here are approximate,
from tests that others published; a run that compares two databases gives both the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

RUNTIMES = {
    # name: (seconds that it takes at one whole vCPU, share of them that waits for CPU)
    "python3.12": (0.076, 0.05),
    "python3.13": (0.076, 0.05),
    "nodejs22.x": (0.100, 0.05),
    "java21": (0.368, 0.25),
    "dotnet8": (0.300, 0.25),
    "provided.al2023": (0.053, 0.05),
}
"""Medians for an empty handler. Python, Java and Go (`provided.al2023`): "Four Million Lambda Invokes Across
Python, Java, Rust, and Go" (I. Yalovoy). Node.js and .NET: the low end of the range in "AWS Lambda: Cold
Start Times by Runtime" (hivebook.wiki, 2026), which counts more into a cold start. That interpreters hardly
mind a small memory, while the JVM and .NET do, is told by "Benchmarking AWS Lambda runtimes in 2021: cold
start" (A. Filichkin); the shares themselves are our assumption."""

PLACING = 0.050
"""Seconds until a microVM is there: the low end of the 50 to 200 ms in "AWS Lambda Cold Starts"
(stripesys.com). Not billed."""

SECONDS_PER_MB = 0.0015
"""Download and unpacking of the package: 300 to 500 ms for 250 MB (same source). Not billed."""

WHOLE_CPU = 1769.0
"""MB of memory that come with one vCPU; less memory, proportionally less CPU (Lambda developer guide,
Configure Lambda function memory)."""

SPREAD = 0.25
"""Sigma of the log-normal factor on both parts, our assumption: p99 is 1.8 times the median."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds of the two parts: `download` comes before INIT proper and is not billed, `runtime` is its
    start."""

    download: float
    runtime: float

    @property
    def seconds(self) -> float:
        return self.download + self.runtime


def median(runtime: str, package: float, memory: int) -> ColdStart:
    """What half of the cold starts stay below; `package` and `memory` in MB."""
    seconds, share = RUNTIMES[runtime]
    shortage = max(0.0, WHOLE_CPU / memory - 1.0)
    return ColdStart(PLACING + package * SECONDS_PER_MB, seconds * (1.0 + share * shortage))


def draw(runtime: str, package: float, memory: int, random: Random) -> ColdStart:
    """One cold start, by the dice in `random`."""
    middle = median(runtime, package, memory)
    return ColdStart(
        middle.download * random.lognormvariate(0.0, SPREAD),
        middle.runtime * random.lognormvariate(0.0, SPREAD),
    )
