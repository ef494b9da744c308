"""Snapshots to Prometheus' two text formats, in slices.

A scrape shares its thread with the data plane, so after at most `SLICE` samples it lets the event loop run.
A pool's samples are turned into text at once, family by family, because its counters are live objects that
may be read but not kept; the text of a family is contiguous at the end, as both formats ask.

The formatting is prometheus-client's own. Nothing here may know what the metrics mean, nor about HTTP.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Set
from typing import Any, Final, Protocol, cast

from prometheus_client import exposition, utils
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from poolproxy.metrics.families import DATABASE, POOL, PROCESS, Family, Labels, S, families
from poolproxy.pool.snapshot import PoolSnapshot, ProcessSnapshot

#: Samples rendered between two turns of the event loop. At 6-12 us each a slice stays below 1 ms.
SLICE: Final = 60

#: The buckets shown, as powers of two in microseconds (64 us to 67 s): every one in the range that matters,
#: every second one above a second. Leaving edges out loses no count: buckets are cumulative.
EDGES: Final = (*range(6, 21), 22, 24, 26)

_EDGE_LABELS: Final = tuple(cast(Any, utils).floatToGoString(2**edge / 1e6) for edge in EDGES)
_UNITS: Final = ("seconds", "bytes")


class Source(Protocol):
    """Where a scrape gets its snapshots: the app."""

    def process_snapshot(self) -> ProcessSnapshot:
        """What belongs to no pool, now."""

    def pool_snapshots(self) -> Iterator[PoolSnapshot]:
        """One snapshot per pool, made when asked for. Pools may come and go between two of them."""


async def render(source: Source, openmetrics: bool, names: Set[str] = frozenset()) -> list[bytes | bytearray]:
    """A scrape as text, in pieces to be sent in this order; of these metrics only, where any are named. Lets
    the loop run after every `SLICE` samples."""
    page = _Page(openmetrics, names)
    process = source.process_snapshot()
    for process_family in page.wanted(PROCESS):
        await page.add(process_family, (), process)
    of_databases = page.wanted(DATABASE)
    for database in process.databases if of_databases else ():
        identity: Labels = (_label(database.database),)
        for database_family in of_databases:
            await page.add(database_family, identity, database)
    of_pools = page.wanted(POOL)
    for pool in source.pool_snapshots() if of_pools else ():
        await page.room(1)  # its snapshot takes as long as a sample, whatever is read from it
        identity = (_label(pool.database), _label(pool.user))
        if pool.at_start:
            identity += (_label(pool.at_start),)
        for pool_family in of_pools:
            await page.add(pool_family, identity, pool)
    return page.pieces()


class _Page:
    """One scrape in the making: text per family, and the count of samples since the loop last ran."""

    def __init__(self, openmetrics: bool, names: Set[str]) -> None:
        self._openmetrics = openmetrics
        self._texts = {family: bytearray() for _, family in families() if family.named_in(names)}
        self._unyielded = 0

    def wanted(self, group: tuple[Family[S], ...]) -> list[Family[S]]:
        """Those of the group that this page shows."""
        return [family for family in group if family in self._texts]

    async def room(self, samples: int) -> None:
        """Let the loop run first where so many more would be too many for one turn."""
        if self._unyielded + samples > SLICE:
            await asyncio.sleep(0)
            self._unyielded = 0
        self._unyielded += samples

    async def add(self, family: Family[S], identity: Labels, snapshot: S) -> None:
        """Render one family of one snapshot; its values are all read before the first yield."""
        readings = family.readings(snapshot)
        step = max(1, SLICE // _weight(family))
        for start in range(0, len(readings), step):
            part = readings[start : start + step]
            await self.room(len(part) * _weight(family))
            self._texts[family] += _samples(family, identity, part, self._openmetrics)

    def pieces(self) -> list[bytes | bytearray]:
        """Header and samples of each family, then the end mark of the format."""
        found: list[bytes | bytearray] = []
        for family, text in self._texts.items():
            found += (_header(family, self._openmetrics), text)
        return [*found, _end_mark(self._openmetrics)]


class _Collector:
    """What prometheus-client's formatters ask for: something with `collect`."""

    def __init__(self, metric: Metric | None) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        if self._metric is not None:
            yield self._metric


def _format(metric: Metric | None, openmetrics: bool) -> bytes:
    """The text of one metric family, with the end mark."""
    formatter: Any = openmetrics_exposition.generate_latest if openmetrics else exposition.generate_latest
    return cast(bytes, formatter(_Collector(metric)))


@functools.cache
def _end_mark(openmetrics: bool) -> bytes:
    """What ends a page: OpenMetrics' `# EOF`."""
    return _format(None, openmetrics)


@functools.cache
def _header(family: Family[Any], openmetrics: bool) -> bytes:
    """`# HELP`, `# TYPE` and `# UNIT` of a family."""
    return _format(_metric(family, (), []), openmetrics).removesuffix(_end_mark(openmetrics))


def _samples(
    family: Family[Any], identity: Labels, readings: list[tuple[Labels, Any]], openmetrics: bool
) -> bytes:
    """The sample lines alone: the formatter's text without what `_header` and the end mark hold."""
    text = _format(_metric(family, identity, readings), openmetrics)
    return text.removeprefix(_header(family, openmetrics)).removesuffix(_end_mark(openmetrics))


def _metric(family: Family[Any], identity: Labels, readings: list[tuple[Labels, Any]]) -> Metric:
    """prometheus-client's form of these readings."""
    names = (*_identity_labels()[family][: len(identity)], *family.labels)
    unit = next((unit for unit in _UNITS if family.name.endswith("_" + unit)), "")
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.meaning, labels=names, unit=unit)
        for labels, (counts, total) in readings:
            histogram.add_metric((*identity, *labels), _cumulative(counts), total)
        return histogram
    if family.kind == "info":
        info = InfoMetricFamily(family.name, family.meaning, labels=names)
        for labels, _ in readings:
            info.add_metric((*identity, *labels), {})
        return info
    plain = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = plain(family.name, family.meaning, labels=names, unit=unit)
    for labels, value in readings:
        metric.add_metric((*identity, *labels), value)
    return metric


def _weight(family: Family[Any]) -> int:
    """Samples per reading."""
    return len(EDGES) + 3 if family.kind == "histogram" else 1


@functools.cache
def _identity_labels() -> dict[Family[Any], Labels]:
    return {family: identity for identity, family in families()}


def _cumulative(counts: tuple[int, ...]) -> list[tuple[str, float]]:
    """Log2 buckets as Prometheus wants them: (upper edge in seconds, all observations below it)."""
    shown = [(label, float(sum(counts[: edge + 1]))) for edge, label in zip(EDGES, _EDGE_LABELS, strict=True)]
    return [*shown, ("+Inf", float(sum(counts)))]


def _label(name: str) -> str:
    """A foreign name as a label value: bytes that are not UTF-8 become escapes, else every scrape fails."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
