"""The longest stall of poolproxy's event loop while a figure was measured, from its /metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Stalls:
    """The stall histogram at one moment: seconds (upper edge) -> stalls of at most that."""

    buckets: dict[float, float]
    longest: float  #: seconds, since the start of the process; infinite when it is not told

    def since(self, earlier: Stalls) -> float:
        """An upper bound in seconds of the longest stall after `earlier`: 0 when there was none."""
        below = 0.0
        worst = 0.0
        for edge in sorted(self.buckets):
            count = self.buckets[edge] - earlier.buckets.get(edge, 0.0)
            if count > below:
                worst = edge
            below = max(below, count)
        return min(worst, self.longest)


def read_stalls(exposition: str) -> Stalls:
    """Find the stall histogram, and its maximum if there is one, in Prometheus' text format."""
    buckets: dict[float, float] = {}
    longest = math.inf
    for family in text_string_to_metric_families(exposition):
        if "stall" not in family.name:
            continue
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                buckets[float(sample.labels["le"])] = sample.value
            elif family.type == "gauge":
                longest = sample.value
    return Stalls(buckets, longest)
