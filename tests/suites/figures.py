"""What the proxy counted while a suite ran, over all its pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Labels = tuple[tuple[str, str], ...]


class Figures:
    """Sums of counters and peaks of gauges, from any number of scrapes.

    A pool that nobody uses is forgotten after a while, and its counters with it: what it had counted stays
    here.
    """

    def __init__(self) -> None:
        self.broken: list[Mapping[str, Any]] = []
        """Lines of the proxy's output that are not of its log: tracebacks, warnings of Python's."""
        self.most_servers = 0
        """The most servers that carried clients at one moment, in all pools."""
        self.most_in_a_pool = 0
        self.pools: set[Labels] = set()
        self._last: dict[tuple[str, Labels], float] = {}
        self._before: dict[str, dict[Labels, float]] = {}

    def take(self, samples: Iterable[Any]) -> None:
        """One scrape."""
        active: dict[Labels, int] = {}
        for sample in samples:
            labels: Labels = tuple(sorted(sample.labels.items()))
            if sample.name.endswith("_total"):
                self._count(sample.name, labels, sample.value)
            elif sample.name == "poolproxy_servers" and sample.labels["state"] == "active":
                active[labels] = int(sample.value)
        self.pools |= active.keys()
        self.most_servers = max(self.most_servers, sum(active.values()))
        self.most_in_a_pool = max(self.most_in_a_pool, *active.values(), 0)

    def _count(self, name: str, labels: Labels, value: float) -> None:
        last = self._last.get((name, labels), 0.0)
        if value < last:  # counted anew
            gone = self._before.setdefault(name, {})
            gone[labels] = gone.get(labels, 0.0) + last
        self._last[name, labels] = value

    def total(self, name: str) -> float:
        """A counter, over everything."""
        return sum(self.by(name, None).values())

    def by(self, name: str, label: str | None) -> dict[str, float]:
        """A counter by one of its labels, without what is 0."""
        sums: dict[str, float] = {}
        for (counter, labels), value in self._last.items():
            if counter == name:
                key = dict(labels)[label] if label else ""
                value += self._before.get(name, {}).get(labels, 0.0)
                sums[key] = sums.get(key, 0.0) + value
        return {key: value for key, value in sorted(sums.items()) if value}

    def pinned_share(self) -> float:
        """The share of exchanges that ran on a server which was pinned already."""
        return self.total("poolproxy_pinned_queries_total") / max(self.total("poolproxy_queries_total"), 1)

    def verdict(self, ceiling: float) -> list[str]:
        """What is wrong with them, a line each."""
        wrong = [f"the proxy wrote: {line}" for line in self.broken]
        if out_of_sync := self.total("poolproxy_out_of_sync_total"):
            wrong.append(f"{out_of_sync:g} servers gave another answer than the one expected")
        if not self.total("poolproxy_queries_total"):
            wrong.append("nothing went through the proxy")
        if (share := self.pinned_share()) > ceiling:
            wrong.append(f"{share:.2%} of the exchanges ran pinned; the ceiling is {ceiling:.2%}")
        if self.most_in_a_pool == 0:
            wrong.append("no server was ever seen in use")
        return wrong
