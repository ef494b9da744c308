"""A Lambda function as its owner configures it. Must not know what becomes of it at run time."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.storm.model.coldstart import RUNTIMES

RANGES = {
    "memory": (128, 10_240, " MB"),
    "timeout": (1, 900, " s"),
    "retries": (0, 2, ""),
    "max_event_age": (60, 21_600, " s"),
}
"""What Lambda allows (Lambda developer guide: Lambda quotas; Configuring error handling settings for Lambda
asynchronous invocations)."""

LARGEST_PACKAGE = 10_240
"""MB of a container image; a .zip archive may have 250, unzipped (Lambda developer guide, Lambda quotas)."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function's settings; raises ValueError, which says what is allowed.

    `package` is MB of the unzipped deployment package, `memory` MB, `timeout` and `max_event_age` seconds.
    `reserved` is its reserved concurrency, guarantee and cap (0: never runs), `provisioned` what of it is
    initialised beforehand. With `extension` (an external one) SHUTDOWN leaves it 2 s. With `destination`
    asynchronous events that fail for good go to a dead-letter queue or destination, else they are dropped.
    """

    name: str
    runtime: str = "python3.13"
    package: float = 10.0
    memory: int = 512
    timeout: float = 3.0
    reserved: int | None = None
    provisioned: int = 0
    extension: bool = False
    destination: bool = False
    retries: int = 2
    max_event_age: float = 21_600.0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a function has a name")
        if self.runtime not in RUNTIMES:
            raise ValueError(f"runtime is one of {', '.join(RUNTIMES)}, not {self.runtime!r}")
        for field, (least, most, unit) in RANGES.items():
            value = getattr(self, field)
            if not least <= value <= most:
                raise ValueError(f"{field} is {least} to {most:,}{unit}, not {value}")
        if not 0 < self.package <= LARGEST_PACKAGE:
            raise ValueError(f"package is more than 0 and at most {LARGEST_PACKAGE:,} MB, not {self.package}")
        if self.reserved is not None and self.reserved < 0:
            raise ValueError(f"reserved is None or at least 0, not {self.reserved}")
        if self.provisioned < 0:
            raise ValueError(f"provisioned is at least 0, not {self.provisioned}")
        if self.reserved is not None and self.provisioned > self.reserved:
            raise ValueError(f"provisioned is at most reserved ({self.reserved}), not {self.provisioned}")
